"""A simulated ocean on its grid: time, depth, latitude and longitude, with land and a sea floor.

Temperature and salinity follow from a handful of rules that every atlas of the oceans shows: warm
water on top of cold, a thermocline that is deepest in the subtropics, where evaporation makes the
surface salty, rain at the equator, a fresh layer in between, seasons in the upper hundred meters.
Basins have waters of their own, and weather and the noise of measurement come on top. Tiles of the
grid are not alike at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dfmr_dask.randomness import Stage, generator

DIMS = ("time", "depth", "latitude", "longitude")
FEATURES = ("temperature", "salinity")
DEPTHS = (5.0, 25.0, 60.0, 120.0, 220.0, 400.0, 650.0, 1000.0, 1500.0, 2200.0)
NORTHERNMOST = 60.0
LAND = 0.25  # of the grid's columns
DEEPEST = 4000.0  # meters, of the sea floor
MODES = 12  # of what varies along latitude and longitude
SIZES = (0.7, 0.12)  # of weather, in degrees and grams per kilogram
BASINS = 2.0  # times as large is what stays where it is
NOISE = (0.05, 0.01)  # of measurement, in degrees and grams per kilogram
ABOUT = {
    "temperature": {"units": "degree_Celsius", "long_name": "sea water temperature"},
    "salinity": {"units": "g kg-1", "long_name": "sea water salinity"},
    "depth": {"units": "m", "positive": "down"},
    "latitude": {"units": "degrees_north"},
    "longitude": {"units": "degrees_east"},
}

Array = NDArray[np.float64]


def simulated_ocean(
    *, latitudes: int = 24, longitudes: int = 36, months: int = 12, seed: int = 0
) -> xr.Dataset:
    """Simulate monthly temperature and salinity of an ocean; NaN on land and below the sea floor.

    Parameters
    ----------
    latitudes, longitudes : int
        Between 60° S and 60° N, and around the globe.
    months : int
    seed : int

    Returns
    -------
    xarray.Dataset
        ``temperature`` in degrees Celsius and ``salinity`` in g/kg, float32, along ``time``,
        ``depth`` (10 levels), ``latitude`` and ``longitude``.

    Examples
    --------
    >>> from dfmr_dask.experiments.ocean_grid import simulated_ocean
    >>> ocean = simulated_ocean(latitudes=12, longitudes=18)
    >>> dict(ocean.sizes)
    {'time': 12, 'depth': 10, 'latitude': 12, 'longitude': 18}
    """
    rng = generator(seed, Stage.SIMULATE)
    latitude = (np.arange(latitudes) + 0.5) * 2 * NORTHERNMOST / latitudes - NORTHERNMOST
    longitude = (np.arange(longitudes) + 0.5) * 360.0 / longitudes
    t, z, y, x = np.meshgrid(
        np.arange(months), DEPTHS, latitude, longitude, indexing="ij", sparse=True
    )
    floor = _sea_floor(y[0, 0], x[0, 0], rng)
    values = {}
    for name, rule, size, noise in zip(
        FEATURES, (_temperature, _salinity), SIZES, NOISE, strict=True
    ):
        basins = BASINS * _waves(0.0 * t[:1], y, x, rng) * np.exp(-z / 3000.0)
        weather = _waves(t, y, x, rng) * np.exp(-z / 400.0)
        exact = rule(t, z, y) + size * (basins + weather)
        measured = exact + rng.normal(scale=noise, size=exact.shape)
        values[name] = (DIMS, np.where(z < floor, measured, np.nan).astype(np.float32))
    start = np.datetime64("2020-01", "M") + np.arange(months)
    places = (start.astype("datetime64[ns]"), np.array(DEPTHS), latitude, longitude)
    dataset = xr.Dataset(values, coords=dict(zip(DIMS, places, strict=True)))
    for one, told in ABOUT.items():
        dataset[one].attrs.update(told)
    return dataset


@dataclass(frozen=True, slots=True)
class Tile:
    """A piece of the grid: a slice of each dimension, and its number in the order of chunks."""

    number: int
    where: Mapping[str, slice]


def tiles(dataset: xr.Dataset, chunks: Mapping[str, int]) -> list[Tile]:
    """Return the pieces that chunks of these sizes cut a grid into, the last dimension fastest.

    Examples
    --------
    >>> from dfmr_dask.experiments.ocean_grid import simulated_ocean, tiles
    >>> len(tiles(simulated_ocean(latitudes=12, longitudes=18), {"latitude": 6, "longitude": 6}))
    6
    """
    sizes = [dataset.sizes[dim] for dim in DIMS]
    steps = [chunks.get(dim, size) for dim, size in zip(DIMS, sizes, strict=True)]
    counts = [-(-size // step) for size, step in zip(sizes, steps, strict=True)]
    return [
        Tile(i, {dim: slice(k * step, (k + 1) * step)
                 for dim, k, step in zip(DIMS, place, steps, strict=True)})
        for i, place in enumerate(np.ndindex(*counts))
    ]  # fmt: skip


def with_broken_sensors(
    dataset: xr.Dataset, broken: Mapping[str, Sequence[Tile]], seed: int = 0
) -> xr.Dataset:
    """Return the grid with wrong values in some tiles; land stays land.

    Parameters
    ----------
    dataset : xarray.Dataset
        From :func:`simulated_ocean`.
    broken : mapping of {"stuck", "noise", "unit"} to sequence of Tile
        ``stuck`` repeats one value, within its noise; ``noise`` is uniform over the range of the
        ocean; ``unit`` gives temperatures in degrees Fahrenheit.
    seed : int
    """
    out = dataset.copy(deep=True)
    for kind, some in broken.items():
        for tile in some:
            rng = generator(seed, Stage.CORRUPT_ROWS, tile.number)
            part = {name: dataset[name].isel(tile.where).values for name in FEATURES}
            for name, values in BROKEN[kind](dataset, part, rng).items():
                there = np.where(np.isfinite(part[name]), values, np.nan)
                out[name][tile.where] = there.astype(np.float32)
    return out


def _temperature(t: Array, z: Array, y: Array) -> Array:
    """Warm tropics, a thermocline, and seasons that reach some fifty meters down."""
    surface = -1.0 + 29.0 * np.exp(-((y / 38.0) ** 2))
    reach = 150.0 + 450.0 * np.exp(-(((np.abs(y) - 28.0) / 12.0) ** 2))
    season = 5.0 * np.sin(np.radians(1.5 * y)) * np.cos(2 * np.pi * (t - 7.5) / 12.0)
    return np.asarray(2.0 + (surface - 2.0) * np.exp(-z / reach) + season * np.exp(-z / 50.0))


def _salinity(t: Array, z: Array, y: Array) -> Array:
    """A salty subtropical surface, rain at the equator, a fresh layer in between."""
    salty = 2.2 * np.exp(-(((np.abs(y) - 24.0) / 12.0) ** 2)) - 0.5 * np.exp(-((y / 8.0) ** 2))
    layer = -0.5 * np.exp(-(((z - 800.0) / 350.0) ** 2) - ((y + 25.0) / 35.0) ** 2)
    rain = 0.15 * np.cos(2 * np.pi * (t - 3.0) / 12.0) * np.exp(-z / 60.0) * np.cos(np.radians(y))
    return np.asarray(34.8 + (salty - 0.7) * np.exp(-z / 300.0) + layer + rain)


def _waves(t: Array, y: Array, x: Array, rng: np.random.Generator) -> Array:
    """Return a smooth field about 1 in size, whose waves travel east or west with time."""
    out = np.zeros(np.broadcast_shapes(t.shape, y.shape, x.shape))
    for _ in range(MODES):
        wave, slope = rng.integers(1, 7), rng.normal(scale=0.12)
        speed, phase = rng.normal(scale=0.6), rng.uniform(0, 2 * np.pi)
        out += np.sin(np.radians(wave * x) + slope * y + speed * t + phase)
    return np.asarray(out / np.sqrt(MODES / 2))


def _sea_floor(y: Array, x: Array, rng: np.random.Generator) -> Array:
    """Depth of the sea floor in meters, 0 on land: a smooth field, its highest parts dry."""
    height = np.zeros(np.broadcast_shapes(y.shape, x.shape))
    for wave in (1, 2, 3, 4, 5):
        for slope in (0.0, 0.03, 0.06):
            phase, size = rng.uniform(0, 2 * np.pi), rng.normal() / (wave + 30.0 * slope)
            height += size * np.sin(np.radians(wave * x) + slope * y + phase)
    shore = np.quantile(height, 1.0 - LAND)
    below = (shore - height) / (shore - height.min())
    return np.asarray(DEEPEST * np.clip(below, 0.0, 1.0) ** 0.5)


def _stuck(whole: xr.Dataset, part: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    known = np.flatnonzero(np.isfinite(part[FEATURES[0]]))
    one = int(rng.choice(known)) if len(known) else 0
    return {
        name: part[name].ravel()[one] + rng.normal(scale=0.1 * noise, size=part[name].shape)
        for name, noise in zip(FEATURES, NOISE, strict=True)
    }


def _noise(whole: xr.Dataset, part: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    return {
        name: rng.uniform(float(whole[name].min()), float(whole[name].max()), part[name].shape)
        for name in FEATURES
    }


def _unit(whole: xr.Dataset, part: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    return {"temperature": 1.8 * part["temperature"] + 32.0}


BROKEN: Mapping[str, Callable[[xr.Dataset, Mapping[str, Any], np.random.Generator], dict[str, Any]]]
BROKEN = {"stuck": _stuck, "noise": _noise, "unit": _unit}
