"""Datasets and DataArrays of xarray as sources, in memory, in a store or in Dask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from dfmr_dask.data.arrays import NO_INTEGRITY, one_unit
from dfmr_dask.data.backends import (
    GridBackend,
    Opened,
    content_hash,
    from_dask,
    from_memory,
    from_store,
)
from dfmr_dask.data.choice import FEATURE, Choice, chosen
from dfmr_dask.data.cost import Cost
from dfmr_dask.data.features import Wanted, common_dtype
from dfmr_dask.data.grid import Grid, coarsest, n_boxes
from dfmr_dask.data.integrity import checked_variable
from dfmr_dask.data.lazy import chunk_axes, selection_hash
from dfmr_dask.data.readers import Layout, WeightArray, native
from dfmr_dask.errors import InvalidSource


def opened_labelled(
    data: xr.Dataset | xr.DataArray,
    features: Wanted,
    location: str = "",
    weight: Any = None,
    fills: bool = False,
) -> Opened:
    """Open a Dataset or DataArray: variables on the same dimensions, or along one of them."""
    choice = _checked(chosen(data, features, location, weight), fills)
    variables, dims = choice.variables, choice.sample_dims
    dtype = common_dtype({str(v.name): v.dtype for v in variables})
    in_dask = any(variable.chunks is not None for variable in variables)
    variables = tuple(v.chunk() if in_dask else v for v in variables)
    grids, units = zip(*(_grids(variable, dims) for variable in variables), strict=True)
    arrays = _arrays(variables, in_dask)
    # the loaded ones are NumPy arrays by now, and only they travel with their rows alone
    loaded = all(isinstance(array, np.ndarray) for array in arrays)
    layout = Layout(
        arrays,
        tuple(tuple(v.dims.index(dim) for dim in dims) for v in variables),
        len(choice.features),
        dtype,
        coarsest(units),
        _weight_array(choice, in_dask, loaded),
    )
    grid = coarsest(grids)
    make = from_dask if in_dask else from_memory if loaded else from_store
    weighing = () if choice.weight is None else (choice.weight,)
    told = partial(_identity, (*variables, *weighing), dims, layout)
    return Opened(
        features=choice.features,
        sample_dims=dims,
        dtype=dtype,
        grid=grid,
        cost=_cost(layout, variables, units, in_dask, loaded),
        location=location or str(choice.dataset.encoding.get("source") or "xarray object"),
        backend=GridBackend(layout, make, partial(_view, choice, grid, loaded, dtype), told),
        feature_units=_feature_units(choice),
        notes=(*choice.notes, NO_INTEGRITY) if in_dask else choice.notes,
        in_memory=loaded,
        named=choice.named,
        weight=weight,
    )


def _checked(choice: Choice, fills: bool) -> Choice:
    """Read what lies in a store so that chunks which are not there are noticed."""
    ours = {name: checked_variable(choice.dataset[name], fills) for name in choice.names}
    weight = None if choice.weight is None else checked_variable(choice.weight, fills)
    return replace(choice, dataset=choice.dataset.assign(ours), weight=weight)


def _grids(variable: xr.DataArray, dims: Sequence[str]) -> tuple[Grid, Grid]:
    """Return the chunks that make partitions, and those that decode alone."""
    shards, inner = chunk_axes(variable.variable, True), chunk_axes(variable.variable, False)
    return tuple(shards[dim] for dim in dims), tuple(inner[dim] for dim in dims)


def _arrays(variables: Sequence[xr.DataArray], in_dask: bool) -> tuple[Any, ...]:
    if in_dask or all(variable.variable._in_memory for variable in variables):
        return tuple(variable.data for variable in variables)
    return tuple(_bare(variable.variable) for variable in variables)


def _weight_array(choice: Choice, in_dask: bool, loaded: bool) -> WeightArray | None:
    """Return where weights lie, in the library of the features."""
    weight = choice.weight
    if weight is None:
        return None
    if weight.chunks is not None and not in_dask:
        raise InvalidSource(
            f"sample_weight={weight.name!r} is a Dask array, and the features are not; compute() "
            "it, or chunk() the dataset"
        )
    axes = tuple(weight.dims.index(d) if d in weight.dims else None for d in choice.sample_dims)
    if in_dask:
        return WeightArray(weight.chunk().data, axes)
    there = loaded or weight.variable._in_memory
    return WeightArray(np.asarray(weight.values) if there else _bare(weight.variable), axes)


def _bare(variable: xr.Variable) -> xr.Variable:
    """Drop what a task need not carry."""
    bare = variable.drop_encoding()
    bare.attrs = {}
    return bare


def _cost(
    layout: Layout,
    variables: Sequence[xr.DataArray],
    units: Sequence[Grid],
    in_dask: bool,
    loaded: bool,
) -> Cost:
    together = layout.n_features if len(variables) < layout.n_features else 1
    arrays = tuple(
        (grid, native(v.dtype).itemsize * together)
        for grid, v in zip(units, variables, strict=True)
    )
    copies = 3 if in_dask else 2 if loaded else 1  # read from a store, rows never lie there twice
    return Cost(layout.row_bytes, arrays, copies, streams=not in_dask and not loaded)


def _feature_units(choice: Choice) -> dict[str, str]:
    if choice.dim is not None:
        return one_unit(choice.variables[0].attrs.get("units"), choice.features)
    units = {str(v.name): v.attrs.get("units") for v in choice.variables}
    return {name: unit for name, unit in units.items() if isinstance(unit, str)}


def _view(choice: Choice, grid: Grid, loaded: bool, dtype: np.dtype[Any]) -> xr.DataArray:
    """Return one lazy array; blocks of Dask stay as they are, stores are cut at their chunks."""
    variables, dims = choice.variables, choice.sample_dims
    lengths: dict[Any, Any] = dict.fromkeys(dims, "auto")
    if n_boxes(grid) > 1 or not loaded:
        lengths = {
            dim: tuple(stop - start for start, stop in axis.spans)
            for dim, axis in zip(dims, grid, strict=True)
        }
    parts = [one if one.chunks is not None else one.chunk(lengths) for one in variables]
    own = variables[0].attrs if len(variables) == 1 else {}
    if choice.dim is None:
        joined = _side_by_side([part.variable.transpose(*dims).data for part in parts], dtype)
        coords = choice.dataset[list(choice.names)].coords
        view = xr.DataArray(joined, dims=(*dims, FEATURE), coords=coords)
    else:
        view = parts[0].transpose(*dims, choice.dim).chunk({choice.dim: -1})
        view = view.drop_vars(choice.dim, errors="ignore").rename({choice.dim: FEATURE})
    named = view.assign_coords({FEATURE: list(choice.features)})
    return named.assign_attrs({**choice.dataset.attrs, **own})


def _side_by_side(arrays: Sequence[Any], dtype: np.dtype[Any]) -> Any:
    """Put variables beside each other, in one task for each block."""
    axes = tuple(range(arrays[0].ndim))
    core: Any = da.core  # Dask is only half typed
    alike = core.unify_chunks(*(part for array in arrays for part in (array, axes)))[1]
    return core.map_blocks(
        partial(_joined, out=dtype),
        *alike,
        dtype=dtype,
        new_axis=len(axes),
        chunks=(*alike[0].chunks, (len(alike),)),
        meta=np.empty((0,) * (len(axes) + 1), dtype),
        token="dfmr-features",
    )


def _joined(*blocks: Any, out: np.dtype[Any]) -> Any:
    return np.stack(blocks, axis=-1).astype(out, copy=False)


def _identity(
    variables: Sequence[xr.DataArray], dims: Sequence[str], layout: Layout
) -> dict[str, Any]:
    weighing = () if layout.weight is None else (layout.weight.array,)
    arrays = (*layout.arrays, *weighing)
    if all(isinstance(array, np.ndarray) for array in arrays):
        return {"kind": "xarray", "sha256": content_hash(list(arrays))}
    names = [str(getattr(array, "name", "")) for array in arrays]
    coords = [variables[0].coords[dim].values for dim in dims if dim in variables[0].coords]
    return {
        "kind": "xarray",
        "arrays": [
            {
                "dims": list(map(str, variable.dims)),
                "dtype": variable.dtype.str,
                "encoding": {k: str(v) for k, v in sorted(variable.encoding.items()) if k in FACTS},
                "selection": selection_hash(variable.variable),
                "token": name,
            }
            for variable, name in zip(variables, names, strict=True)
        ],
        "coords": content_hash(coords),
    }


FACTS = ("chunks", "shards", "dtype", "_FillValue", "missing_value", "scale_factor", "add_offset")
