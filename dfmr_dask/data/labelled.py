"""Datasets and DataArrays of xarray as sources: which values are features, which are rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from dfmr_dask.data.arrays import NO_INTEGRITY
from dfmr_dask.data.backends import (
    GridBackend,
    Opened,
    content_hash,
    from_dask,
    from_memory,
    from_store,
)
from dfmr_dask.data.cost import Cost
from dfmr_dask.data.features import Wanted, check_known, common_dtype, feature_axis, listed, numbers
from dfmr_dask.data.grid import Grid, coarsest
from dfmr_dask.data.lazy import chunk_axes, selection_hash
from dfmr_dask.data.readers import Layout, native
from dfmr_dask.errors import InvalidSource


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Variables that hold the features, and the dimension of features if it is one variable."""

    variables: tuple[xr.DataArray, ...]
    dim: str | None
    notes: tuple[str, ...] = ()

    @property
    def sample_dims(self) -> tuple[str, ...]:
        """The dimensions that count rows, in the order of the first variable."""
        return tuple(str(dim) for dim in self.variables[0].dims if dim != self.dim)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        if self.dim is None:
            return tuple(str(variable.name) for variable in self.variables)
        (variable,) = self.variables
        if self.dim in variable.coords:
            return tuple(str(value) for value in variable.coords[self.dim].values.tolist())
        return tuple(f"{self.dim}_{i}" for i in range(variable.sizes[self.dim]))


def opened_dataarray(array: xr.DataArray, features: Wanted, location: str = "") -> Opened:
    """Open a DataArray: one of its dimensions holds the features, or it is one feature."""
    name = str(array.name) if array.name is not None else "x0"
    named = array.rename(name)
    if features in (name, [name], (name,)) and features not in array.dims:
        return _opened(array.to_dataset(name=name), Choice((named,), None), location)
    dims = [str(dim) for dim in array.dims]
    if features is not None and not isinstance(features, str | int):
        raise InvalidSource(
            f"features={features!r} for a DataArray; name one dimension out of {dims}, or select "
            "features with .sel first"
        )
    axis = feature_axis(features, dims, True, f"the DataArray {name}")
    choice = Choice((named,), None if axis is None else dims[axis])
    return _opened(array.to_dataset(name=name), choice, location)


def opened_dataset(dataset: xr.Dataset, features: Wanted, location: str = "") -> Opened:
    """Open a Dataset: variables on the same dimensions, or a dimension of one variable."""
    if not dataset.data_vars:
        raise InvalidSource(
            f"{location or 'the dataset'} has no data variables (coordinates: "
            f"{', '.join(map(str, dataset.coords)) or 'none'}); name a group inside with group="
        )
    if isinstance(features, str) and features in dataset.dims:
        choice = _along(dataset, features)
    elif features is not None:
        names = listed(features)
        check_known(names, [*dataset.data_vars])
        choice = Choice(tuple(dataset[name] for name in names), None)
    else:
        choice = _default(dataset)
    return _opened(dataset, choice, location)


def _along(dataset: xr.Dataset, dim: str) -> Choice:
    having = [v for v in dataset.data_vars.values() if dim in v.dims and numbers(v.dtype)]
    if len(having) != 1:
        names = ", ".join(str(v.name) for v in having) or "none"
        raise InvalidSource(
            f"features={dim!r} is a dimension of several variables or of none ({names}); pass one "
            "of them: open_source(dataset[name], features=...)"
        )
    return Choice((having[0],), dim)


def _default(dataset: xr.Dataset) -> Choice:
    every = list(dataset.data_vars.values())
    good = [variable for variable in every if numbers(variable.dtype) and variable.ndim]
    names = {variable.name for variable in good}
    left = [str(variable.name) for variable in every if variable.name not in names]
    notes = (f"left out, no numbers on a dimension: {', '.join(left)}",) if left else ()
    if not good:
        common_dtype({str(variable.name): variable.dtype for variable in every})
        raise InvalidSource(f"no variable has a dimension that counts rows: {', '.join(left)}")
    if len(good) > 1:
        return Choice(tuple(good), None, notes)
    dims = [str(dim) for dim in good[0].dims]
    if len(dims) <= 2:
        return Choice((good[0],), dims[1] if len(dims) == 2 else None, notes)
    raise InvalidSource(
        f"the variable {good[0].name!r} has dimensions {', '.join(dims)}; say what the features "
        f"are: features=['{good[0].name}'] for one feature on all of them, or the dimension that "
        f"holds them, one of {', '.join(f'features={dim!r}' for dim in dims)}"
    )


def _check_dims(choice: Choice) -> None:
    first = choice.variables[0]
    groups: dict[tuple[str, ...], list[str]] = {}
    for variable in choice.variables:
        groups.setdefault(tuple(sorted(map(str, variable.dims))), []).append(str(variable.name))
    if len(groups) > 1:
        told = "; ".join(f"{', '.join(v)} on ({', '.join(k)})" for k, v in groups.items())
        raise InvalidSource(
            f"features must share their dimensions: {told}; choose some with features="
        )
    if not choice.sample_dims:
        raise InvalidSource(f"no dimension is left for rows in {first.name!r}, {first.dims}")
    if "feature" in choice.sample_dims:
        raise InvalidSource("a dimension of rows is named 'feature'; rename it first, .rename()")


def _opened(dataset: xr.Dataset, choice: Choice, location: str) -> Opened:
    _check_dims(choice)
    dtype = common_dtype({str(v.name): v.dtype for v in choice.variables})
    dims, features = choice.sample_dims, choice.features
    in_dask = any(variable.chunks is not None for variable in choice.variables)
    variables = tuple(v.chunk() if in_dask else v for v in choice.variables)
    grids, units = zip(*(_grids(variable, dims) for variable in variables), strict=True)
    layout = Layout(
        _arrays(variables, in_dask),
        tuple(tuple(v.dims.index(dim) for dim in dims) for v in variables),
        len(features),
        dtype,
        coarsest(units),
    )
    grid = coarsest(grids)
    source = location or str(dataset.encoding.get("source") or "xarray object")
    # the loaded ones are NumPy arrays by now, and only they travel with their rows alone
    loaded = all(isinstance(array, np.ndarray) for array in layout.arrays)
    make = from_dask if in_dask else from_memory if loaded else from_store
    told = partial(_identity, variables, dims, layout)
    view = partial(_view, dataset, Choice(variables, choice.dim), grid)
    notes = (*choice.notes, NO_INTEGRITY) if in_dask else choice.notes
    return Opened(
        features=features,
        sample_dims=dims,
        dtype=dtype,
        grid=grid,
        units=layout.units,
        cost=_cost(layout, variables, units, in_dask),
        location=source,
        backend=GridBackend(layout, make, view, told),
        feature_units=_feature_units(choice),
        notes=notes,
    )


def _grids(variable: xr.DataArray, dims: Sequence[str]) -> tuple[Grid, Grid]:
    """Return the chunks that make partitions, and those that decode alone."""
    shards, inner = chunk_axes(variable.variable, True), chunk_axes(variable.variable, False)
    return tuple(shards[dim] for dim in dims), tuple(inner[dim] for dim in dims)


def _arrays(variables: Sequence[xr.DataArray], in_dask: bool) -> tuple[Any, ...]:
    if in_dask or all(variable.variable._in_memory for variable in variables):
        return tuple(variable.data for variable in variables)
    return tuple(_bare(variable.variable) for variable in variables)


def _bare(variable: xr.Variable) -> xr.Variable:
    """Drop what a task need not carry."""
    bare = variable.drop_encoding()
    bare.attrs = {}
    return bare


def _cost(
    layout: Layout, variables: Sequence[xr.DataArray], units: Sequence[Grid], in_dask: bool
) -> Cost:
    together = layout.n_features if len(variables) < layout.n_features else 1
    arrays = tuple(
        (grid, native(v.dtype).itemsize * together)
        for grid, v in zip(units, variables, strict=True)
    )
    return Cost(layout.row_bytes, arrays, copies=2 if in_dask else 1)


def _feature_units(choice: Choice) -> dict[str, str]:
    if choice.dim is not None:
        unit = choice.variables[0].attrs.get("units")
        return dict.fromkeys(choice.features, unit) if isinstance(unit, str) else {}
    units = {str(v.name): v.attrs.get("units") for v in choice.variables}
    return {name: unit for name, unit in units.items() if isinstance(unit, str)}


def _view(dataset: xr.Dataset, choice: Choice, grid: Grid) -> xr.DataArray:
    lengths = {
        dim: tuple(stop - start for start, stop in axis.spans)
        for dim, axis in zip(choice.sample_dims, grid, strict=True)
    }
    if choice.dim is None:
        names = [variable.name for variable in choice.variables]
        parts = [variable.chunk(lengths).variable for variable in choice.variables]
        turned = [part.transpose(*choice.sample_dims).data for part in parts]
        stack: Any = da.stack  # Dask is only half typed
        joined = xr.Variable((*choice.sample_dims, "feature"), stack(turned, axis=-1))
        view = xr.DataArray(joined, coords=dataset[names].coords, attrs=dataset.attrs)
    else:
        (variable,) = choice.variables
        view = variable.chunk(lengths).transpose(*choice.sample_dims, choice.dim)
        view = view.drop_vars(choice.dim, errors="ignore").rename({choice.dim: "feature"})
    return view.chunk(feature=-1).assign_coords(feature=list(choice.features))


def _identity(
    variables: Sequence[xr.DataArray], dims: Sequence[str], layout: Layout
) -> dict[str, Any]:
    if all(isinstance(array, np.ndarray) for array in layout.arrays):
        return {"kind": "xarray", "sha256": content_hash(list(layout.arrays))}
    names = [str(getattr(array, "name", "")) for array in layout.arrays]
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
        "coords": content_hash([c if c.dtype != object else c.astype(str) for c in coords]),
    }


FACTS = ("chunks", "shards", "dtype", "_FillValue", "missing_value", "scale_factor", "add_offset")
