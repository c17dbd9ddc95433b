"""Arrays and tables without labels as sources: Zarr, Dask, NumPy, pandas."""

from __future__ import annotations

import hashlib
import json
import math
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray

from dfmr_dask.data.backends import (
    FrameBackend,
    GridBackend,
    Opened,
    RowsBackend,
    content_hash,
    from_dask,
    from_memory,
    from_store,
)
from dfmr_dask.data.cost import Cost
from dfmr_dask.data.features import (
    Wanted,
    check_known,
    column_names,
    common_dtype,
    feature_axis,
    listed,
    numbered,
)
from dfmr_dask.data.grid import Axis, irregular, regular
from dfmr_dask.data.integrity import checked
from dfmr_dask.data.readers import WEIGHT_BYTES, Layout, WeightArray, frame_rows, native
from dfmr_dask.data.weights import GIVEN, check_weight, given_weights
from dfmr_dask.errors import InvalidSource

NO_INTEGRITY = "no integrity check, no resume: dask blocks"
CF = ("_FillValue", "missing_value", "scale_factor", "add_offset")


def opened_zarr(
    array: zarr.Array[Any],
    features: Wanted,
    location: str,
    in_memory: bool = False,
    fills: bool = False,
) -> Opened:
    """Open a Zarr array of rows and features; one in this process's memory is loaded as it is."""
    names = dimension_names(array)
    dims = names or tuple(f"dim_{i}" for i in range(array.ndim))
    axis = feature_axis(features, dims, bool(names), f"the Zarr array {location}")
    dtype = common_dtype({location: array.dtype})
    order = tuple(i for i in range(array.ndim) if i != axis)
    shards = array.shards or array.chunks
    n_features = 1 if axis is None else array.shape[axis]
    units = regular([array.shape[i] for i in order], [array.chunks[i] for i in order])
    own = checked(array, "the array", fills or in_memory)
    values: Any = np.asarray(own[...]) if in_memory else own
    layout = Layout((values,), (order,), n_features, dtype, units)
    sample_dims = tuple(dims[i] for i in order) if names or len(order) > 1 else ("row",)
    known = _names(features, n_features, axis, dims)
    told = partial(_loaded_identity, values) if in_memory else partial(_zarr_identity, array)
    view = partial(_zarr_view, values, order, sample_dims, known, shards)
    return Opened(
        features=known,
        sample_dims=sample_dims,
        dtype=dtype,
        grid=regular([array.shape[i] for i in order], [shards[i] for i in order]),
        cost=Cost.of_one(
            units, layout.row_bytes, copies=2 if in_memory else 1, streams=not in_memory
        ),
        location=location,
        backend=GridBackend(layout, from_memory if in_memory else from_store, view, told),
        feature_units=one_unit(array.attrs.get("units"), known),
        notes=_cf_notes(array),
        in_memory=in_memory,
        named=not numbered(known),
    )


def _names(
    features: Wanted, n_features: int, axis: int | None, dims: tuple[str, ...]
) -> tuple[str, ...]:
    names_axis = isinstance(features, int) or (isinstance(features, str) and features in dims)
    return column_names(None if names_axis else features, n_features)


def one_unit(unit: Any, features: tuple[str, ...]) -> dict[str, str]:
    """Return the unit of each feature, where one is told for all."""
    return dict.fromkeys(features, unit) if isinstance(unit, str) else {}


def _cf_notes(array: zarr.Array[Any]) -> tuple[str, ...]:
    found = [name for name in CF if name in array.attrs]
    if not found:
        return ()
    return (f"{', '.join(found)} not applied: open the group, not the array, for CF decoding",)


def dimension_names(array: zarr.Array[Any]) -> tuple[str, ...]:
    """Return the names of an array's dimensions; none when one of them has no name."""
    named = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    found = tuple(named) if isinstance(named, list | tuple) else ()
    return found if all(isinstance(n, str) for n in found) and len(found) == array.ndim else ()


def _zarr_view(
    array: Any,
    order: tuple[int, ...],
    sample_dims: tuple[str, ...],
    features: tuple[str, ...],
    chunks: tuple[int, ...],
) -> xr.DataArray:
    whole = tuple(chunks[i] if i in order else array.shape[i] for i in range(array.ndim))
    from_array: Any = da.from_array  # Dask is only half typed
    return _labelled(from_array(array, chunks=whole), order, sample_dims, features)


def _labelled(
    lazy: Any, order: tuple[int, ...], sample_dims: tuple[str, ...], features: tuple[str, ...]
) -> xr.DataArray:
    rest = [axis for axis in range(lazy.ndim) if axis not in order]
    turned = lazy.transpose(*order, *rest) if rest else lazy[..., None]
    view = xr.DataArray(turned.rechunk({-1: -1}), dims=(*sample_dims, "feature"))
    return view.assign_coords(feature=list(features))


def _zarr_identity(array: zarr.Array[Any]) -> dict[str, Any]:
    facts = {k: v for k, v in array.metadata.to_dict().items() if k != "attributes"}
    text = json.dumps(facts, sort_keys=True, default=str)
    return {
        "kind": "zarr",
        "chunks": list(array.chunks),
        "shards": list(array.shards) if array.shards else None,
        "metadata": hashlib.sha256(text.encode()).hexdigest(),
    }


def _loaded_identity(values: NDArray[Any]) -> dict[str, Any]:
    return {"kind": "memory", "sha256": content_hash([values])}


def opened_dask(array: Any, features: Wanted, weight: Any = None) -> Opened:
    """Open a ``dask.array`` of rows and features, or of rows alone, with an array of weights."""
    if any(math.isnan(length) for along in array.chunks for length in along):
        raise InvalidSource("the dask array has unknown chunk sizes; compute_chunk_sizes() first")
    if array.ndim not in (1, 2):
        raise InvalidSource(
            f"the dask array has shape {array.shape}; wanted (rows, features) or (rows,): "
            "wrap more dimensions into an xarray.DataArray and name one with features="
        )
    dtype = common_dtype({"dask array": array.dtype})
    n_features = 1 if array.ndim == 1 else int(array.shape[1])
    grid = irregular(array.chunks[:1])
    names = column_names(features, n_features)
    weighing = None if weight is None else WeightArray(_beside(array, weight), (0,))
    layout = Layout((array,), ((0,),), n_features, dtype, grid, weighing)
    token = array.name if weighing is None else f"{array.name} {weighing.array.name}"
    return Opened(
        features=names,
        sample_dims=("row",),
        dtype=dtype,
        grid=grid,
        cost=Cost(layout.row_bytes, ((grid, layout.row_bytes),), copies=3),
        location="dask array",
        backend=GridBackend(
            layout,
            from_dask,
            partial(_labelled, array, (0,), ("row",), names),
            partial(dict, kind="dask.array", token=token),
        ),
        notes=(NO_INTEGRITY,),
        named=not numbered(names),
        weight=None if weight is None else GIVEN,
    )


def _beside(array: Any, weight: Any) -> Any:
    """Return weights in the blocks of the rows they belong to."""
    from_array: Any = da.from_array  # Dask is only half typed
    lazy = weight if isinstance(weight, da.Array) else from_array(given_weights(weight, len(array)))
    if lazy.shape != array.shape[:1] or lazy.dtype.kind not in "biuf":
        raise InvalidSource(
            f"sample_weight has shape {lazy.shape} and dtype {lazy.dtype}; wanted a number for "
            f"each row, ({len(array)},)"
        )
    return lazy.rechunk(array.chunks[:1])


def opened_numpy(array: Any, features: Wanted, weight: Any = None) -> Opened:
    """Open a NumPy array (rows, features), or (rows,) for one feature; weights are an array."""
    if isinstance(array, np.ma.MaskedArray):
        raise InvalidSource("a masked array: turn what is masked into NaN first, .filled(np.nan)")
    if array.ndim not in (1, 2):
        raise InvalidSource(
            f"the array has shape {array.shape}; wanted (rows, features) or (rows,): wrap more "
            "dimensions into an xarray.DataArray and name one with features="
        )
    table = array[:, None] if array.ndim == 1 else array
    dtype = common_dtype({"array": array.dtype})
    names = column_names(features, table.shape[1])
    return _table(table, names, dtype, given_weights(weight, len(table)), GIVEN)


def _table(
    table: Any,
    features: tuple[str, ...],
    dtype: np.dtype[Any],
    weights: NDArray[np.float64] | None,
    weight: str,
) -> Opened:
    # one chunk for the plans, yet any row can be read alone
    grid, single = (Axis(len(table), max(1, len(table))),), (Axis(len(table), 1),)
    return Opened(
        features=features,
        sample_dims=("row",),
        dtype=dtype,
        grid=grid,
        cost=Cost.of_one(single, _row_bytes(table, dtype, weights), copies=2),
        location="in memory",
        backend=RowsBackend(table, features, None, weights),
        in_memory=True,
        named=not numbered(features),
        weight=None if weights is None else weight,
    )


def _row_bytes(table: Any, dtype: np.dtype[Any], weights: Any) -> int:
    return int(table.shape[1]) * dtype.itemsize + (0 if weights is None else WEIGHT_BYTES)


def opened_pandas(frame: pd.DataFrame, features: Wanted, weight: Any = None) -> Opened:
    """Open the columns of a pandas frame; weights are a column or an array."""
    by_name = isinstance(weight, str)
    chosen, names, dtype = frame_columns(frame, features, weight if by_name else None)
    if not by_name:
        rows = np.asarray(frame_rows(chosen, dtype))
        return _table(rows, names, dtype, given_weights(weight, len(frame)), GIVEN)
    came = frame_rows(chosen, dtype, weight)
    return _table(came[0], names, dtype, came[1], weight)


def frame_columns(
    frame: Any, features: Wanted, weight: Any = None
) -> tuple[Any, tuple[str, ...], np.dtype[Any]]:
    """Return the columns that were asked for, their names and their common dtype.

    The column of weights stands behind the others, and is not counted among them.
    """
    if not frame.columns.is_unique:
        raise InvalidSource("columns of the table have the same name; rename them first")
    if weight is not None:
        check_weight(weight, list(frame.columns), features)
        check_weight(weight, [weight], None, _plain(frame.dtypes[weight]))
        chosen, names, dtype = frame_columns(frame.drop(columns=[weight]), features)
        return frame[[*chosen.columns, weight]], names, dtype
    if features is not None:
        wanted = listed(features)
        check_known(wanted, list(frame.columns))
        frame = frame[wanted]
    if not len(frame.columns):
        raise InvalidSource("the table has no columns; nothing to fit")
    names = tuple(str(name) for name in frame.columns)
    dtypes = {name: _plain(dtype) for name, dtype in zip(names, frame.dtypes, strict=True)}
    return frame, names, common_dtype(dtypes)


def _plain(dtype: Any) -> Any:
    """Return the NumPy dtype of a column; nullable integers need room for NaN."""
    inner = getattr(dtype, "numpy_dtype", None)
    if isinstance(dtype, np.dtype) or not isinstance(inner, np.dtype):
        return dtype
    return native(np.float64) if inner.kind in "biu" else inner


def opened_frame(frame: Any, features: Wanted, weight: Any = None) -> Opened:
    """Open the columns of a ``dask.dataframe``, one of which may hold weights."""
    chosen, names, dtype = frame_columns(frame, features, weight)
    return Opened(
        features=names,
        sample_dims=("row",),
        dtype=dtype,
        grid=None,
        cost=None,
        location="dask dataframe",
        backend=FrameBackend(chosen, dtype, chosen.to_delayed(), weight),
        notes=(NO_INTEGRITY,),
        weight=weight,
    )
