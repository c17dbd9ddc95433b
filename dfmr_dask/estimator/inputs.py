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
from numpy.typing import NDArray

from dfmr_dask.data.choice import FEATURE
from dfmr_dask.data.features import Expected, numbered
from dfmr_dask.data.source import Source
from dfmr_dask.data.views import lazy_rows
from dfmr_dask.families.base import Family
from dfmr_dask.run.valid import read_valid

OPENED = (Source, str, os.PathLike, zarr.Array, zarr.Group, xr.DataArray, xr.Dataset)


def is_table(data: Any) -> bool:
    """Tell whether data are what scikit-learn validates: NumPy, pandas, lists and their like."""
    return not isinstance(data, OPENED) and not is_dask_collection(data)


def feature_names(features: Sequence[str]) -> list[str] | None:
    """Return names of features, or None where they are but numbered: x0, x1, ..."""
    return None if numbered(features) else list(features)


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
    if rows < needed:
        raise ValueError(
            f"n_samples = {rows} rows came; n_components = {n_components} components of "
            f"{n_features} features need at least {needed}: give more rows, fewer components, "
            "or a simpler covariance_type"
        )
    free = free_parameters(family, n_components, n_features)
    if rows < free:
        warnings.warn(f"{rows} rows for {free} free parameters", UserWarning, stacklevel=4)


def free_parameters(family: Family, n_components: int, n_features: int) -> int:
    """Return how many parameters the same rows must tell.

    Where columns are independent given the component, each tells of its own.
    """
    free = family.n_parameters(n_components, n_features)
    return -(-free // n_features) if family.takes_missing else free


def rows_in_memory(
    source: Source, outliers: float | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return the valid rows of a source that lies in memory, and their weights if it has some."""
    parts = [read_valid(source.rows(i), outliers) for i in range(len(source.plan))]
    rows = np.concatenate([part.table for part in parts]).astype(np.float64, copy=False)
    weights = [part.weights for part in parts if part.weights is not None]
    return rows, np.concatenate(weights) if weights else None


def opened(data: Any, expected: Expected) -> tuple[Any, Any]:
    """Return data that can be labelled, and which of their features are those of the fit.

    Parameters
    ----------
    data : Source, path, zarr object, xarray object or Dask collection
    expected : Expected
        The features of the fit.

    Raises
    ------
    InvalidSource
        When a name of the fit is missing.
    """
    if isinstance(data, OPENED):
        return lazy_rows(data, expected), FEATURE
    if not hasattr(data, "columns"):
        return data, None
    numbers = [f"x{i}" for i in range(expected.n_features)]
    there = numbers if set(numbers) <= set(data.columns) else None
    return data, there if expected.names is None else list(expected.names)
