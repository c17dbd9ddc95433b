"""An xarray object seen as rows of features on a grid: lazy blocks, and what the grid is called.

Nothing is stacked or reordered: the dimensions that are no features stay as they are, with their
chunks and coordinates.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import xarray as xr

from dfmr_dask.errors import InvalidSource

FEATURE = "feature"
# Attributes that speak of the values of the features, and would be wrong on an answer about them.
OF_VALUES = frozenset(
    {
        *(
            "units",
            "standard_name",
            "long_name",
            "short_name",
            "cell_methods",
            "ancillary_variables",
        ),
        *("valid_min", "valid_max", "valid_range", "actual_range", "missing_value", "_FillValue"),
        *("flag_values", "flag_meanings", "flag_masks", "scale_factor", "add_offset"),
    }
)
# How a coordinate was laid out in its store says nothing about the one where answers will lie.
OF_MEANING = frozenset({"units", "calendar", "dtype", "_FillValue", "scale_factor", "add_offset"})


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Rows on a grid.

    Attributes
    ----------
    arrays : tuple of dask arrays
        One array with the features along its last axis, or an array for each feature.
    stacked : bool
        Which of the two it is.
    dims : tuple
        Names of the dimensions that are no features.
    coords : xarray coordinates along them
    attrs : mapping
    """

    arrays: tuple[da.Array, ...]
    stacked: bool
    dims: tuple[Hashable, ...]
    coords: Any
    attrs: Mapping[Any, Any]


def field_of(
    data: xr.DataArray | xr.Dataset, features: Sequence[str] | str | None, n_features: int
) -> Field:
    """Return the rows of an xarray object, lazily.

    Parameters
    ----------
    data : DataArray or Dataset
    features : sequence of str, str or None
        Names of variables, or of the one dimension that the features lie along.
    n_features : int
        How many there must be.

    Raises
    ------
    InvalidSource
        When there are other features, no such names, or no numbers.
    """
    if isinstance(data, xr.DataArray):
        return _along_dimension(data, features, n_features)
    if isinstance(features, str) and features in data.dims:
        return _only_variable(data, features, n_features)
    names = _names(data, features)
    if len(names) == 1 and n_features > 1 and features is None:
        return _only_variable(data, None, n_features)
    return _of_variables(data, names, n_features)


def describing_attributes(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Leave out the attributes that describe the features' values and not the place."""
    return {name: value for name, value in attrs.items() if name not in OF_VALUES}


def _names(data: xr.Dataset, features: Sequence[str] | str | None) -> list[Any]:
    numeric = [name for name, one in data.data_vars.items() if one.dtype.kind in "biuf"]
    wanted = [features] if isinstance(features, str) else list(features or numeric)
    if missing := [name for name in wanted if name not in numeric]:
        raise InvalidSource(
            f"no numeric variables {missing}; there are {numeric}, and dimensions {list(data.dims)}"
        )
    return wanted


def _only_variable(data: xr.Dataset, dimension: str | None, n_features: int) -> Field:
    """Take the one variable of a Dataset that has the dimension of the features."""
    names = _names(data, None)
    if dimension is not None:
        names = [name for name in names if dimension in data[name].dims]
    if len(names) != 1:
        raise InvalidSource(f"one variable along {dimension!r} is wanted; there are {names}")
    one = data[names[0]]
    return _along_dimension(one.assign_attrs({**data.attrs, **one.attrs}), dimension, n_features)


def _of_variables(data: xr.Dataset, names: Sequence[Any], n_features: int) -> Field:
    _check_number(n_features, len(names), f"variables {list(names)}")
    dims = data[names[0]].dims
    for name in names:
        if set(data[name].dims) != set(dims):
            raise InvalidSource(f"{name} lies along {data[name].dims}, {names[0]} along {dims}")
    arrays = tuple(_blocks(data[name].transpose(*dims)) for name in names)
    return Field(arrays, False, dims, _coords(data[names[0]], dims), data.attrs)


def _along_dimension(
    data: xr.DataArray, features: Sequence[str] | str | None, n_features: int
) -> Field:
    if data.dtype.kind not in "biuf":
        raise InvalidSource(f"rows of numbers are wanted, and dtype {data.dtype} came")
    dimension = _dimension(data, features, n_features)
    if dimension is None:
        return Field((_blocks(data),), False, data.dims, _coords(data, data.dims), data.attrs)
    _check_number(n_features, data.sizes[dimension], f"dimension {dimension!r}")
    dims = tuple(name for name in data.dims if name != dimension)
    blocks = _blocks(data.transpose(*dims, dimension))
    return Field((blocks,), True, dims, _coords(data, dims), data.attrs)


def _dimension(
    data: xr.DataArray, features: Sequence[str] | str | None, n_features: int
) -> Hashable | None:
    """Return the dimension of the features; None when the array itself is the one feature."""
    if features is not None:
        if isinstance(features, str) and features in data.dims:
            return features
        raise InvalidSource(f"features={features!r} came; the dimensions are {list(data.dims)}")
    if FEATURE in data.dims:
        return FEATURE
    if n_features == 1 and (data.ndim == 1 or data.shape[-1] != 1):
        return None
    if data.ndim == 2:
        return data.dims[-1]
    raise InvalidSource(
        f"which dimension holds the {n_features} features? Say features= one of {list(data.dims)}"
    )


def _coords(data: xr.DataArray, dims: Sequence[Hashable]) -> Any:
    """Coordinates that lie along the dimensions of the grid and nothing else."""
    others = [name for name, one in data.coords.items() if not set(one.dims) <= set(dims)]
    kept = data.drop_vars(others).copy(deep=False).coords
    for one in kept.values():
        one.encoding = {name: one.encoding[name] for name in OF_MEANING & set(one.encoding)}
    return kept


def _blocks(data: xr.DataArray) -> da.Array:
    """Return the dask array of a variable; a lazily opened one is cut as its store is.

    Without chunks xarray would load a lazily opened variable whole.
    """
    if data.chunks is None:
        preferred = data.encoding.get("preferred_chunks", {})
        data = data.chunk({name: preferred.get(name, "auto") for name in data.dims})
    blocks: da.Array = data.data
    return blocks


def _check_number(wanted: int, came: int, what: str) -> None:
    if came != wanted:
        raise InvalidSource(f"{what} came, with {came} features; the mixture has {wanted}")
