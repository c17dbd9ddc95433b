"""Which values of a dataset are the features, and which of its dimensions count rows.

One place decides it for fits and for predictions: by what was asked for, else by the names that a
model knows, else by what the data obviously are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import xarray as xr

from dfmr_dask.data.features import (
    Expected,
    Wanted,
    check_known,
    common_dtype,
    feature_axis,
    listed,
    numbered,
    numbers,
)
from dfmr_dask.data.weights import check_weight
from dfmr_dask.errors import InvalidSource

FEATURE = "feature"  # the dimension of features in what we return


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Variables that hold the features, and the dimension of features if it is one variable.

    ``weight`` is the variable, not among them, that tells how often each row counts.
    """

    dataset: xr.Dataset
    names: tuple[Any, ...]
    dim: str | None
    notes: tuple[str, ...] = ()
    weight: xr.DataArray | None = None

    @property
    def variables(self) -> tuple[xr.DataArray, ...]:
        """The variables that were chosen."""
        return tuple(self.dataset[name] for name in self.names)

    @property
    def sample_dims(self) -> tuple[str, ...]:
        """The dimensions that count rows, in the order of the first variable."""
        return tuple(str(dim) for dim in self.variables[0].dims if dim != self.dim)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        if self.dim is None:
            return tuple(map(str, self.names))
        if self.dim in self.dataset.coords:
            return tuple(str(value) for value in self.dataset.coords[self.dim].values.tolist())
        return tuple(f"{self.dim}_{i}" for i in range(self.dataset.sizes[self.dim]))

    @property
    def named(self) -> bool:
        """Whether the features have names, and are not but numbered."""
        if self.dim is None:
            return not numbered(self.features)
        return self.dim in self.dataset.coords


def chosen(
    data: xr.Dataset | xr.DataArray, wanted: Wanted, location: str = "", weight: Any = None
) -> Choice:
    """Return which variables, or which dimension of a variable, are the features.

    Parameters
    ----------
    data : Dataset or DataArray
    wanted : str, int, list of str, Expected or None
        Variables, or the dimension (or its number, where there is one variable) that holds them;
        or what a model expects, which is looked for by name. By default all numeric variables,
        sorted by name since stores list them in any order; of a single one the dimension
        ``feature``, or the last of two.
    location : str
        What to call the data in errors.
    weight : str, optional
        The variable or coordinate that weighs the rows; it is no feature.

    Raises
    ------
    InvalidSource
        When nothing fits; with what would.
    """
    dataset = data if isinstance(data, xr.Dataset) else _as_dataset(data)
    if weight is not None:
        check_weight(weight, [*dataset.data_vars, *dataset.coords], wanted)
        choice = chosen(dataset.drop_vars(weight, errors="ignore"), wanted, location)
        return replace(choice, weight=_weight(dataset, weight, choice))
    if not dataset.data_vars:
        raise InvalidSource(
            f"{location or 'the dataset'} has no data variables (coordinates: "
            f"{', '.join(map(str, dataset.coords)) or 'none'}); name a group inside with group="
        )
    choice = _chosen(dataset, wanted)
    _check_dims(choice)
    return choice


def _weight(dataset: xr.Dataset, name: str, choice: Choice) -> xr.DataArray:
    """Return the variable that weighs rows, if it lies along dimensions that count them."""
    weight = dataset[name]
    check_weight(name, [name], None, weight.dtype)
    if not weight.ndim or not set(weight.dims) <= set(choice.sample_dims):
        raise InvalidSource(
            f"sample_weight={name!r} has dimensions {weight.dims}; wanted some of those that count "
            f"rows, {choice.sample_dims}"
        )
    return weight


def _as_dataset(array: xr.DataArray) -> xr.Dataset:
    nameless = array.name is None or array.name in array.coords
    return array.to_dataset(name="x0" if nameless else str(array.name))


def _chosen(dataset: xr.Dataset, wanted: Wanted) -> Choice:
    if isinstance(wanted, Expected):
        return _by_name(dataset, wanted) or _default(dataset, wanted)
    if wanted is None:
        return _default(dataset, None)
    if isinstance(wanted, int):
        variable = _only(dataset, f"features={wanted}", list(dataset.data_vars.values()))
        dims = list(map(str, variable.dims))
        axis = feature_axis(wanted, dims, True, f"the variable {variable.name!r}")
        return Choice(dataset, (variable.name,), None if axis is None else dims[axis])
    if isinstance(wanted, str) and wanted in dataset.dims:
        having = [v for v in _numeric(dataset) if wanted in v.dims]
        return Choice(dataset, (_only(dataset, f"features={wanted!r}", having).name,), wanted)
    names = listed(wanted)
    check_known(names, [*dataset.data_vars], [*dataset.dims])
    return Choice(dataset, tuple(names), None)


def _numeric(dataset: xr.Dataset) -> list[xr.DataArray]:
    """Return variables of numbers that have a dimension, in the same order in any process."""
    every = sorted(dataset.data_vars.values(), key=lambda variable: str(variable.name))
    return [variable for variable in every if numbers(variable.dtype) and variable.ndim]


def _only(dataset: xr.Dataset, asked: str, found: list[xr.DataArray]) -> xr.DataArray:
    if len(found) != 1:
        names = ", ".join(str(v.name) for v in found) or "none"
        raise InvalidSource(
            f"{asked} is a dimension of several variables or of none ({names}); pass one of "
            f"them: open_source(dataset[name], features=...). There are: "
            f"{', '.join(map(str, dataset.data_vars))}"
        )
    return found[0]


def _by_name(dataset: xr.Dataset, expected: Expected) -> Choice | None:
    """Return the variables, or the one dimension, that have the names a model knows."""
    several = expected.n_features > 1
    numbers_alone = tuple(f"x{i}" for i in range(expected.n_features)) if several else ("",)
    names = expected.names or numbers_alone
    if set(names) <= set(dataset.data_vars):
        return Choice(dataset, names, None)
    if expected.names is None:
        return None
    along = [
        Choice(dataset, (variable.name,), str(dim))
        for variable in _numeric(dataset)
        for dim in variable.dims
        if variable.sizes[dim] == expected.n_features
    ]
    fitting = [choice for choice in along if set(choice.features) == set(expected.names)]
    return fitting[0] if len(fitting) == 1 else None


def _default(dataset: xr.Dataset, expected: Expected | None) -> Choice:
    good = _numeric(dataset)
    names = tuple(variable.name for variable in good)
    left = sorted(str(name) for name in dataset.data_vars if name not in names)
    notes = (f"left out, no numbers on a dimension: {', '.join(left)}",) if left else ()
    if not good:
        common_dtype({str(name): one.dtype for name, one in dataset.data_vars.items()})
        raise InvalidSource(f"no variable has a dimension that counts rows: {', '.join(left)}")
    if len(good) > 1:
        return Choice(dataset, names, None, notes)
    return Choice(dataset, names, _obvious_dim(good[0], expected), notes)


def _obvious_dim(variable: xr.DataArray, expected: Expected | None) -> str | None:
    """Return the dimension of the features; None when the variable is one feature."""
    dims = [str(dim) for dim in variable.dims]
    if FEATURE in dims and len(dims) > 1:
        return FEATURE
    one = expected is not None and expected.n_features == 1 and variable.shape[-1] != 1
    if one or len(dims) == 1:
        return None
    if len(dims) == 2:
        return dims[1]
    raise InvalidSource(
        f"the variable {variable.name!r} has dimensions {', '.join(dims)}; say what the features "
        f"are: features=['{variable.name}'] for one feature on all of them, or the dimension that "
        f"holds them, one of {', '.join(f'features={dim!r}' for dim in dims)}"
    )


def _check_dims(choice: Choice) -> None:
    groups: dict[tuple[str, ...], list[str]] = {}
    for variable in choice.variables:
        groups.setdefault(tuple(sorted(map(str, variable.dims))), []).append(str(variable.name))
    if len(groups) > 1:
        told = "; ".join(f"{', '.join(v)} on ({', '.join(k)})" for k, v in groups.items())
        raise InvalidSource(
            f"features must share their dimensions: {told}; choose some with features="
        )
    if not choice.sample_dims:
        first = choice.variables[0]
        raise InvalidSource(f"no dimension is left for rows in {first.name!r}, {first.dims}")
    if FEATURE in choice.sample_dims:
        raise InvalidSource("a dimension of rows is named 'feature'; rename it first, .rename()")
