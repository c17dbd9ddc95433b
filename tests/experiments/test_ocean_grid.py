"""An ocean on its grid: warm on top, dry on land, and wrong where a sensor is broken."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dfmr_dask.experiments.ocean_grid import (
    DIMS,
    FEATURES,
    NOISE,
    simulated_ocean,
    tiles,
    with_broken_sensors,
)

CHUNKS = {"time": 3, "latitude": 5, "longitude": 6}


@pytest.fixture(scope="module")
def ocean() -> xr.Dataset:
    return simulated_ocean(latitudes=12, longitudes=18, months=4, seed=1)


def test_an_ocean_is_warm_on_top_has_seasons_and_land(ocean: xr.Dataset) -> None:
    temperature = ocean.temperature
    assert temperature.dims == DIMS
    top, bottom = temperature.isel(depth=0), temperature.isel(depth=-1)
    assert float(top.mean()) > float(bottom.mean()) + 5.0
    north, south = top.sel(latitude=slice(30, 60)), top.sel(latitude=slice(-60, -30))
    assert float((north[1] - north[3]).mean()) < 0.0 < float((south[1] - south[3]).mean())
    missing = ocean.to_array().isnull()
    assert bool((missing[0] == missing[1]).all())  # land is land for every sensor
    deeper = missing[0].astype(int).diff("depth")
    assert int(deeper.min()) == 0  # no water under the sea floor
    assert 0.1 < float(top.isnull().mean()) < 0.5


def test_tiles_cover_the_grid_once_in_the_order_of_chunks(ocean: xr.Dataset) -> None:
    seen = xr.full_like(ocean.temperature, 0.0)
    found = tiles(ocean, CHUNKS)
    for tile in found:
        seen[tile.where] += 1.0
    assert bool((seen == 1.0).all())
    assert [tile.number for tile in found] == list(range(2 * 1 * 3 * 3))
    assert found[1].where["longitude"] == slice(6, 12)


@pytest.mark.parametrize("kind", ["stuck", "noise", "unit"])
def test_broken_sensors_change_their_tile_alone(ocean: xr.Dataset, kind: str) -> None:
    wet = [t for t in tiles(ocean, CHUNKS) if ocean.salinity.isel(t.where).notnull().mean() > 0.5]
    spoilt = with_broken_sensors(ocean, {kind: wet[2:3]})
    where = wet[2].where
    assert bool((spoilt.to_array().isnull() == ocean.to_array().isnull()).all())
    changed = (spoilt.temperature != ocean.temperature) & ocean.temperature.notnull()
    assert int(changed.sum()) == int(changed.isel(where).sum()) > 0
    before, after = ocean.isel(where), spoilt.isel(where)
    if kind == "stuck":
        for name, noise in zip(FEATURES, NOISE, strict=True):
            assert float(after[name].std()) < noise
    elif kind == "noise":
        layers = [
            one.temperature.mean(["time", "latitude", "longitude"]) for one in (before, after)
        ]
        assert float(layers[0].std()) > 3.0 * float(layers[1].std())  # as warm at every depth
    else:
        np.testing.assert_allclose(after.temperature, 1.8 * before.temperature + 32.0, rtol=1e-6)
        xr.testing.assert_equal(after.salinity, before.salinity)
