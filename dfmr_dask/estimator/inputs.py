"""What may be given as ``X``: tables in memory, or anything that has to be opened first."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
import zarr
from dask.base import is_dask_collection

from dfmr_dask.data.source import Source, open_source
from dfmr_dask.errors import InvalidSource
from dfmr_dask.families.base import Family


def is_table(data: Any) -> bool:
    """Tell whether data are what scikit-learn validates: NumPy, pandas, lists and their like."""
    opened = (Source, str, os.PathLike, zarr.Array, zarr.Group, xr.DataArray, xr.Dataset)
    return not isinstance(data, opened) and not is_dask_collection(data)


def feature_names(features: Sequence[str]) -> list[str] | None:
    """Return names of features, or None where they are but numbered: x0, x1, ..."""
    names = list(features)
    return None if names == [f"x{i}" for i in range(len(names))] else names


def check_size(family: Family, n_components: int, rows: int | None, n_features: int) -> None:
    """Refuse rows that are too few for the order, and warn where they are scarce.

    Raises
    ------
    ValueError
        When not even one partition of all rows could be fitted; it names the numbers.
    """
    if rows is None:  # dataframes do not know; each partition counts its own
        return
    needed = max(n_components, family.min_rows(n_components, n_features))
    free = family.n_parameters(n_components, n_features)
    if rows < needed:
        raise ValueError(
            f"n_samples = {rows} rows came; n_components = {n_components} components of "
            f"{n_features} features need at least {needed}: give more rows, fewer components, "
            "or a simpler covariance_type"
        )
    if rows < free:
        warnings.warn(f"{rows} rows for {free} free parameters", UserWarning, stacklevel=4)


def rows_in_memory(source: Source) -> np.ndarray[Any, Any]:
    """Return the finite rows of a source that lies in memory."""
    rows = np.concatenate([source.rows(i)() for i in range(len(source.plan))])
    return np.asarray(rows[np.isfinite(rows).all(axis=1)], dtype=np.float64)


def opened(data: Any, names: Sequence[str] | None) -> tuple[Any, Any]:
    """Return data that can be labelled, and which of their features the model was fitted on.

    Parameters
    ----------
    data : Source, path, zarr object, xarray object or Dask collection
    names : sequence of str or None
        The features' names when the model was fitted.

    Raises
    ------
    InvalidSource
        When a name of the fit is missing.
    """
    if isinstance(data, str | os.PathLike | zarr.Array | zarr.Group):
        data = _opened_with(data, names)
    if isinstance(data, Source):
        return _in_order(data, names)
    return data, _features_among(data, names)


def _in_order(source: Source, names: Sequence[str] | None) -> tuple[Any, Any]:
    """Pick the features by name, since a store may list its variables in any order."""
    came = feature_names(source.features)
    if names is None or came is None or came == list(names):
        return source, None
    if missing := [name for name in names if name not in came]:
        raise InvalidSource(f"the mixture was fitted on {list(names)}; {missing} not among {came}")
    return source.as_dataarray().sel(feature=list(names)), "feature"


def _opened_with(data: Any, names: Sequence[str] | None) -> Source:
    """Open a store by the features' names, where it has such names."""
    if names is None:
        return open_source(data)
    try:
        return open_source(data, features=list(names))
    except InvalidSource:
        return open_source(data)


def _features_among(data: Any, names: Sequence[str] | None) -> Any:
    """Return the variables, columns or the dimension that carry the names of the fit."""
    if names is None or not isinstance(data, xr.DataArray | xr.Dataset):
        return list(names) if names is not None and hasattr(data, "columns") else None
    if isinstance(data, xr.Dataset) and set(names) <= set(data.data_vars):
        return list(names)
    for dim in data.dims:
        if dim in data.coords and [str(value) for value in data[dim].values] == list(names):
            return dim
    return None
