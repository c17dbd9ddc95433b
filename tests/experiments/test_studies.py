"""The studies look at what users are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from dfmr_dask.experiments.populations import write_photographs
from dfmr_dask.experiments.studies import pixels


def test_the_pixels_of_the_study_are_those_of_the_quickstart(tmp_path: Path) -> None:
    path = write_photographs(tmp_path / "a.zarr", chunk_rows=6832, seed=3)
    store = xr.open_zarr(path, group="photograph", consolidated=False)["color"].values
    assert np.array_equal(pixels("china.jpg", 3, 0), store.reshape(-1, 3))
