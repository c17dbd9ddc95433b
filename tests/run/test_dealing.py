"""Samples of interleaved partitions resemble all rows, whatever the sizes of the pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dfmr_dask.data import open_source
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.local.start import Sample
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.agreement import draw_samples
from dfmr_dask.run.context import Context
from dfmr_dask.run.dealing import deal, dealt, portion, shares
from dfmr_dask.run.events import ignore
from dfmr_dask.run.partition import Drawn
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import Failure, InProcess
from dfmr_dask.run.way import Shares

START = Mixture(
    COVARIANCE_TYPES["full"], [1.0], {"means": [[0.0, 0.0]], "covariances": [np.eye(2)]}
)


def contexts(path: Path, weight: str | None = None) -> tuple[Context, Context]:
    source = open_source(path, features=["a", "b"], sample_weight=weight)
    settings = Settings(family=START.family, n_components=1)
    tasks = InProcess()
    pieces = Context(source, settings, tasks, ignore)
    return pieces, Context(source.interleaved(), settings, tasks, ignore)


def stored(path: Path, size: int = 24_000, piece: int = 2000) -> Path:
    """Column a tells the piece; the second half is mostly missing, and rows weigh as they say."""
    rng = np.random.default_rng(0)
    a = np.repeat(np.arange(size // piece), piece) + 0.01 * rng.normal(size=size)
    a[size // 2 :][rng.random(size // 2) < 0.75] = np.nan
    weight = np.where(np.arange(size) < piece, 3.0, 1.0)
    names = {"a": a, "b": rng.normal(size=size), "w": weight}
    data = xr.Dataset({name: ("row", values) for name, values in names.items()})
    encoding = {name: {"chunks": (piece,)} for name in names}
    data.to_zarr(path, encoding=encoding, consolidated=False)
    return path


def test_pieces_give_in_proportion_to_their_valid_rows(tmp_path):
    pieces, mixed = contexts(stored(tmp_path / "s.zarr"))
    samples = draw_samples(pieces)
    shared = shares(pieces, samples, START, mixed.source)
    found = deal(pieces, samples, mixed, shared)
    assert list(found) == list(range(8))
    rows = np.concatenate([found[i].sample.fit for i in found])
    counts = np.bincount(rows[:, 0].round().astype(int), minlength=12)
    assert np.allclose(counts[:6], counts[:6].mean(), rtol=0.02)
    assert np.allclose(counts[6:], counts[:6].mean() / 4, rtol=0.12)
    for one in found.values():
        ours = np.bincount(one.sample.fit[:, 0].round().astype(int), minlength=12)
        assert np.allclose(ours, counts / 8, atol=1.0)
        assert one.rows == pytest.approx(0.625 * 3000, rel=0.05)
        assert len(one.sample.score) > 100
    both = np.concatenate([rows, *(found[i].sample.score for i in found)])
    assert len(np.unique(both, axis=0)) == len(both)  # nothing is dealt twice


def test_weights_go_with_their_rows(tmp_path):
    pieces, mixed = contexts(stored(tmp_path / "s.zarr"), "w")
    samples = draw_samples(pieces)
    shared = shares(pieces, samples, START, mixed.source)
    assert shared.mass == pytest.approx((2000 * 3 + 10_000 + 3000) / 24_000, rel=0.05)
    for one in deal(pieces, samples, mixed, shared).values():
        weight, first = one.sample.fit_weight, one.sample.fit[:, 0] < 0.5
        assert weight.mean() == pytest.approx(1.0)
        assert np.allclose(weight[first] / weight[~first][0], 3.0)


def test_a_piece_without_rows_to_score_on_does_not_silence_the_others(tmp_path):
    values = np.random.default_rng(0).normal(size=(24_000, 2))
    values[2000:3997] = np.nan  # three rows are left
    data = xr.Dataset({name: ("row", values[:, i]) for i, name in enumerate("ab")})
    data.to_zarr(
        tmp_path / "s", encoding={n: {"chunks": (2000,)} for n in "ab"}, consolidated=False
    )
    pieces, mixed = contexts(tmp_path / "s")
    samples = draw_samples(pieces)
    found = deal(pieces, samples, mixed, shares(pieces, samples, START, mixed.source))
    assert min(len(one.sample.score) for one in found.values()) > 100


def test_pieces_that_gave_no_sample_are_passed_over():
    drawn = Drawn(Sample(np.zeros((8, 2)), np.ones((4, 2))), 12, None, 12)
    shared = Shares(0.5, 0.25, 1.0, None, 2)
    given = portion(drawn, 12, shared)
    assert isinstance(given, Drawn)
    assert (len(given.sample.fit), len(given.sample.score)) == (6, 3)
    failure = Failure("no")
    assert portion(failure, 12, shared) is failure
    one = dealt(0, 6, shared, 0, failure, given)
    assert isinstance(one, Drawn)
    assert len(one.sample.fit) == 3
    assert isinstance(dealt(0, 6, shared, 0, failure), Failure)
