"""Data as one lazy array, with the features that a model expects."""

from __future__ import annotations

from typing import Any

import xarray as xr

from dfmr_dask.data.features import Expected, Wanted, positions
from dfmr_dask.data.opening import opened_data
from dfmr_dask.data.source import Source


def lazy_rows(data: Any, expected: Expected, features: Wanted = None) -> xr.DataArray:
    """Return the features that a model expects as one lazy array, in the model's order.

    Parameters
    ----------
    data : Source, path, URL, zarr object or xarray object
    expected : Expected
        Features are put in order by name; by position only where one side has no names.
    features : str, int or list of str, optional
        As in :func:`open_source`; by default they are looked for by the names expected.

    Returns
    -------
    DataArray
        With dimensions (sample dimensions..., ``feature``) and the coordinates of the data.

    Raises
    ------
    InvalidSource
        When data cannot be opened, or have other features.
    """
    given = expected if features is None else features
    found = data if isinstance(data, Source) else opened_data(data, given)
    order = positions(found.features, found.named, expected)
    view = found.backend.dataarray()
    return view if order == list(range(view.sizes["feature"])) else view.isel(feature=order)
