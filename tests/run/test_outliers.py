"""Rows that are errors of measurement are left out on request, and counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dfmr_dask.data.source import open_source
from dfmr_dask.experiments.populations import population
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.pipeline import Settings, fit
from dfmr_dask.run.results import Result
from dfmr_dask.run.tasks import InProcess

TRUTH = population(3, 2, separation=5.0, seed=7)
CHUNK, CHUNKS = 1000, 8


def run(path: Path, x: Any, outliers: float | None, start: Mixture | None = None) -> Result:
    columns = {"a": ("row", x[:, 0]), "b": ("row", x[:, 1])}
    xr.Dataset(columns).chunk(row=CHUNK).to_zarr(path, consolidated=False, mode="w")
    full = COVARIANCE_TYPES["full"]
    asked = Settings(family=full, n_components=3, outliers=outliers, start=start, n_init=1)
    return fit(open_source(path), asked, InProcess())


def test_rows_at_a_million_spreads_do_no_harm_when_they_are_left_out(tmp_path: Path) -> None:
    x, _ = TRUTH.sample(CHUNK * CHUNKS, np.random.default_rng(5))
    far = x.copy()
    far[::CHUNK] = 1e6 * np.random.default_rng(6).normal(size=(CHUNKS, 2))
    clean = run(tmp_path / "clean.zarr", x, None)
    saved = run(tmp_path / "far.zarr", far, 1e3)
    harmed = run(tmp_path / "far.zarr", far, None)
    means = clean.mixture.params["means"]
    np.testing.assert_allclose(saved.mixture.params["means"], means, atol=0.05)
    assert abs(saved.score - clean.score) < 0.02
    assert saved.score_rows == (CHUNK - 1) * CHUNKS
    assert [m.dropped_rows for m in saved.messages] == [1] * CHUNKS
    assert [m.dropped_rows for m in harmed.messages] == [0] * CHUNKS
    held_out, _ = TRUTH.sample(5000, np.random.default_rng(9))
    assert abs(saved.mixture.score(held_out) - TRUTH.score(held_out)) < 0.02
    assert harmed.mixture.score(held_out) < TRUTH.score(held_out) - 0.5


def test_off_means_off(tmp_path: Path) -> None:
    x, _ = TRUTH.sample(CHUNK * CHUNKS, np.random.default_rng(5))
    plain, wide = (run(tmp_path / "s.zarr", x, outliers, TRUTH) for outliers in (None, 1e3))
    assert np.array_equal(plain.mixture.params["means"], wide.mixture.params["means"])
