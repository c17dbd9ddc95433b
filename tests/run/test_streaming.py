"""A streamed partition gives the estimate of one that is held in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from dfmr_dask.data import open_source, streaming
from dfmr_dask.data.source import Source
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run import partition, polish
from dfmr_dask.run.partition import LocalSettings
from dfmr_dask.run.valid import ValidBlocks, read_valid

CENTERS = np.array([[0.0, 0.0, 0.0], [4.0, 1.0, 0.0], [0.0, 5.0, 3.0]])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a block be 32 KiB, so that few rows are many of them."""
    monkeypatch.setattr(streaming, "READ_BYTES", 1 << 15)


def rows(n: int, dtype: str, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    x = CENTERS[rng.integers(3, size=n)] + rng.standard_normal((n, 3)) * [1.0, 0.5, 2.0]
    return np.asarray((100.0 * x).round() if dtype.startswith("i") else x, dtype=dtype)


def store(path: Path, x: NDArray[Any], weights: NDArray[Any] | None = None) -> Path:
    """Write rows as variables along one dimension, in chunks that are no multiple of tiles."""
    names = {name: ("row", x[:, i]) for i, name in enumerate("abc")}
    extra = {} if weights is None else {"w": ("row", weights)}
    dataset = xr.Dataset(names | extra)
    chunks = {name: {"chunks": (1033,)} for name in dataset}
    dataset.to_zarr(path, encoding=chunks, consolidated=False, write_empty_chunks=True)
    return path


def both(path: Path, weighted: bool = False) -> tuple[Source, Source]:
    """Return a source of one partition that is held, and the same streamed."""
    weight = "w" if weighted else None
    names = ["a", "b", "c"]
    held = open_source(path, features=names, plan="rows", n_partitions=1, sample_weight=weight)
    streamed = replace(held, plan=replace(held.plan, streamed=(0,)))
    return held, streamed


def settings(kind: str, **changes: Any) -> LocalSettings:
    given: dict[str, Any] = {
        "family": COVARIANCE_TYPES[kind], "n_components": 3, "features": ("a", "b", "c"),
        "seed": 0, "tol": 1e-7, "reg_covar": 1e-6, "max_iter": 200, "n_init": 1,
        "init_params": "overfit",
    }  # fmt: skip
    return LocalSettings(**given | changes)


def begin(kind: str, scale: float = 1.0) -> Mixture:
    """Return a start that lies off the centers."""
    spread = {
        "full": {"covariances": np.stack([2.0 * scale**2 * np.eye(3)] * 3)},
        "tied": {"covariances": np.stack([2.0 * scale**2 * np.eye(3)] * 3)},
        "diag": {"variances": np.full((3, 3), 2.0 * scale**2)},
    }[kind]
    means = scale * (CENTERS + 0.7)
    return Mixture(COVARIANCE_TYPES[kind], np.full(3, 1 / 3), {"means": means, **spread})


def fitted(source: Source, kind: str, scale: float = 1.0, **changes: Any) -> Message:
    return partition.fit(
        0, source.rows(0), begin(kind, scale), None, None, None, settings(kind, **changes)
    )


def assert_same(one: Message, other: Message) -> None:
    assert (one.status, one.rows, one.dropped_rows, one.reason) == (
        other.status, other.rows, other.dropped_rows, other.reason,
    )  # fmt: skip
    if one.mass is None:
        assert other.mass is None
    else:
        assert other.mass == pytest.approx(one.mass, rel=1e-12)
    if one.mixture is None:
        assert other.mixture is None
        return
    assert other.mixture is not None
    np.testing.assert_allclose(other.mixture.weights, one.mixture.weights, rtol=1e-8)
    for name, array in one.mixture.params.items():
        size = np.abs(array).max()
        np.testing.assert_allclose(other.mixture.params[name], array, rtol=1e-8, atol=1e-8 * size)
    assert other.log_likelihood == pytest.approx(one.log_likelihood, rel=1e-10)


@pytest.mark.parametrize("kind", ["full", "tied", "diag"])
@pytest.mark.parametrize(("dtype", "weighted"), [("f4", True), ("f8", False), ("i2", True)])
def test_a_streamed_fit_is_that_in_memory(
    tmp_path: Path, kind: str, dtype: str, weighted: bool
) -> None:
    x, rng = rows(20_000, dtype), np.random.default_rng(1)
    if dtype.startswith("f"):
        x[rng.integers(len(x), size=300), 1] = np.nan
        x[7:5000, 0] = np.inf  # whole blocks
    weights = rng.integers(0, 4, len(x)).astype(float) if weighted else None
    if weights is not None:
        weights[::1000] = np.nan
    held, streamed = both(store(tmp_path / "s.zarr", x, weights), weighted)
    scale = 100.0 if dtype == "i2" else 1.0
    one, other = fitted(held, kind, scale), fitted(streamed, kind, scale)
    assert one.status == "fitted"
    assert one.n_iter == other.n_iter
    assert isinstance(read_valid(streamed.rows(0)).x, ValidBlocks)
    assert_same(one, other)


@pytest.mark.parametrize(("outliers", "tested"), [(4.0, 1 << 24), (1000.0, 1 << 14)])
def test_outliers_are_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outliers: float, tested: int
) -> None:
    monkeypatch.setattr("dfmr_dask.run.valid.TESTED_BYTES", tested)
    x = rows(20_000, "f8")
    x[::97] *= 1e6
    x[5::501] = np.nan
    weights = np.random.default_rng(2).integers(0, 3, len(x)).astype(float)
    path = store(tmp_path / "s.zarr", x, weights)
    for weighted in (False, True):
        held, streamed = both(path, weighted)
        one, other = (fitted(source, "full", outliers=outliers) for source in (held, streamed))
        assert one.status == "fitted"
        assert one.dropped_rows > 100
        assert_same(one, other)
        here = read_valid(held.rows(0), outliers)
        there = list(read_valid(streamed.rows(0), outliers).blocks)
        np.testing.assert_array_equal(np.concatenate([block for block, _ in there]), here.x)
        table = held.rows(0)()
        again = read_valid(table, outliers)  # in memory from the beginning
        np.testing.assert_array_equal(again.x, here.x)
        assert (again.rows, again.dropped, again.read) == (here.rows, here.dropped, here.read)


def test_what_cannot_be_fitted_has_the_same_reason(tmp_path: Path) -> None:
    x = rows(4000, "f8")
    cases: dict[str, tuple[NDArray[Any], NDArray[Any] | None]] = {
        "constant": (np.where(np.arange(3) == 1, 3.5, x), None),
        "few": (np.where(np.arange(4000)[:, None] < 6, x, np.nan), None),
        "none": (np.full_like(x, np.nan), None),
        "negative": (x, np.where(np.arange(4000) % 1000 == 3, -2.5, 1.0)),
        "infinite": (x, np.full(4000, 1e308)),
        "weightless": (x, np.zeros(4000)),
    }
    told = {}
    for name, (table, weights) in cases.items():
        path = store(tmp_path / name, table, weights)
        held, streamed = both(path, weights is not None)
        one, other = fitted(held, "full"), fitted(streamed, "full")
        assert_same(one, other)
        told[name] = one.reason or one.status
    assert told["constant"] == "constant in every row: feature 'b'"
    assert told["few"].startswith("6 valid rows")
    assert told["none"] == told["weightless"] == "empty"
    assert told["negative"].startswith("negative weights in 4 of 4000 rows, the lowest is -2.5")
    assert told["infinite"].startswith("the sum of the weights is infinite")


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_and_polishing_steps_are_those_in_memory(tmp_path: Path, weighted: bool) -> None:
    x = rows(20_000, "f4")
    weights = np.random.default_rng(3).integers(0, 4, len(x)).astype(float)
    held, streamed = both(store(tmp_path / "s.zarr", x, weights), weighted)
    here = begin("full")
    one, mass = partition.log_likelihoods(held.rows(0), [here, begin("diag")])
    other, same = partition.log_likelihoods(streamed.rows(0), [here, begin("diag")])
    np.testing.assert_allclose(other, one, rtol=1e-12)
    assert same == pytest.approx(mass, rel=1e-12)
    steps = [
        polish.step(0, source.rows(0), None, here, 1e5, 1, settings("full"))
        for source in (held, streamed)
    ]
    left, right = steps
    assert isinstance(left, polish.Step)
    assert isinstance(right, polish.Step)
    assert left.mixture is not None
    assert right.mixture is not None
    np.testing.assert_allclose(right.mixture.params["means"], left.mixture.params["means"], 1e-10)
    assert right.score == pytest.approx(left.score, rel=1e-12)
    assert right.rows == left.rows


def test_blocks_can_be_looked_up(tmp_path: Path) -> None:
    _, streamed = both(store(tmp_path / "s.zarr", rows(5000, "f8")))
    blocks = read_valid(streamed.rows(0)).x
    assert isinstance(blocks, ValidBlocks)
    assert len(blocks) == len(list(blocks)) > 3
    np.testing.assert_array_equal(blocks[2][0], list(blocks)[2][0])
    np.testing.assert_array_equal(blocks[-1][0], list(blocks)[-1][0])
    with pytest.raises(IndexError):
        blocks[len(blocks)]
