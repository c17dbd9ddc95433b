"""Simulated stores: the same seed gives the same rows, and half a store is never taken for one."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_image

from dfmr_dask.data.files import read_mixture
from dfmr_dask.errors import InvalidSource
from dfmr_dask.experiments import populations
from dfmr_dask.experiments.populations import (
    population,
    recipe_of,
    truth_path,
    write_gaussians,
    write_photographs,
)
from dfmr_dask.mixture import Mixture


def closest(truth: Mixture) -> float:
    """Smallest Mahalanobis distance between two means, computed pair by pair."""
    pairs = combinations(range(truth.n_components), 2)
    means, covariances = truth.params["means"], truth.params["covariances"]
    return min(
        float(
            np.sqrt(
                (means[a] - means[b])
                @ np.linalg.inv((covariances[a] + covariances[b]) / 2)
                @ (means[a] - means[b])
            )
        )
        for a, b in pairs
    )


@settings(max_examples=30, deadline=None)
@given(
    order=st.integers(2, 8),
    d=st.integers(1, 8),
    separation=st.floats(0.5, 20.0),
    seed=st.integers(0, 1000),
)
def test_separation_is_the_smallest_distance_between_means(
    order: int, d: int, separation: float, seed: int
) -> None:
    truth = population(order, d, separation=separation, seed=seed)
    assert closest(truth) == pytest.approx(separation, rel=1e-6)
    assert truth.weights.max() <= 2.0 * truth.weights.min() + 1e-12


def test_scales_widen_components_in_turn() -> None:
    truth = population(4, 50, scales=[1.0, 3.0], seed=1)
    sd = np.sqrt(np.trace(truth.params["covariances"], axis1=1, axis2=2) / 50)
    assert sd[[1, 3]] / sd[[0, 2]] == pytest.approx(3.0, rel=0.25)


def test_one_component_is_a_population() -> None:
    assert population(1, 2).n_components == 1


def test_rows_come_from_the_truth_that_lies_beside_them(tmp_path: Path) -> None:
    truth = population(3, 2, separation=8.0, seed=4)
    path = write_gaussians(tmp_path / "a.zarr", truth, 20_000, chunk_rows=3000, seed=4)
    x = np.asarray(zarr.open_array(path, mode="r")[:])
    beside = read_mixture(truth_path(path))
    assert np.array_equal(beside.weights, truth.weights)
    shares = np.bincount(beside.labels(x), minlength=3) / len(x)
    assert shares == pytest.approx(truth.weights, abs=0.02)
    for k in range(3):
        mine = x[beside.labels(x) == k]
        assert mine.mean(axis=0) == pytest.approx(truth.params["means"][k], abs=0.1)


def test_chunks_do_not_depend_on_each_other_or_on_when_they_are_written(tmp_path: Path) -> None:
    truth = population(3, 2)
    short = write_gaussians(tmp_path / "a.zarr", truth, 200, chunk_rows=100, seed=7)
    long = write_gaussians(tmp_path / "b.zarr", truth, 450, chunk_rows=100, seed=7)
    other = write_gaussians(tmp_path / "c.zarr", truth, 200, chunk_rows=100, seed=8)
    a, b, c = (np.asarray(zarr.open_array(p, mode="r")[:]) for p in (short, long, other))
    assert np.array_equal(a, b[:200])
    assert not np.array_equal(a, c)
    assert len(np.unique(b, axis=0)) == 450


def test_every_chunk_is_there_and_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = write_gaussians(tmp_path / "a.zarr", population(2, 3), 450, chunk_rows=100)
    array = zarr.open_array(path, mode="r")
    assert array.nchunks_initialized == array.nchunks == 5
    chunk = path / "c" / "2" / "0"
    damaged = bytearray(chunk.read_bytes())
    damaged[17] ^= 4
    chunk.write_bytes(damaged)
    with pytest.raises(ValueError, match="checksum"):
        array[200:300]


def test_dtype_and_recipe_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    recipe = {"kind": "gaussian", "rows": 10}
    write_gaussians(path, population(2, 3), 10, chunk_rows=100, dtype="float32", recipe=recipe)
    array = zarr.open_array(path, mode="r")
    assert (array.dtype, array.chunks) == (np.float32, (10, 3))
    assert recipe_of(path) == recipe


def test_a_store_from_elsewhere_has_no_recipe(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", shape=(3, 2), dtype="f8")
    assert recipe_of(tmp_path / "a.zarr") is None
    (tmp_path / "text").write_text("no store")
    with pytest.raises(InvalidSource, match="no Zarr store"):
        recipe_of(tmp_path / "text")


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").write_text("precious")
    with pytest.raises(InvalidSource, match="is there already"):
        write_gaussians(tmp_path / "a.zarr", population(2, 3), 10, chunk_rows=5)
    assert (tmp_path / "a.zarr").read_text() == "precious"


def test_half_a_store_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_gaussians(tmp_path / "a.zarr", population(2, 3), 50, chunk_rows=5, count=interrupted)
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_chunks(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_gaussians(
        tmp_path / "a.zarr",
        population(2, 3),
        11,
        chunk_rows=5,
        count=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photographs") / "a.zarr"
    return write_photographs(path, chunk_rows=6832)


def opened(path: Path, group: str) -> xr.Dataset:
    return xr.open_zarr(path, group=group, consolidated=False, chunks=None)


def test_the_photograph_lies_on_its_grid(photographs: Path) -> None:
    color = opened(photographs, "photograph")["color"]
    assert color.dims == ("y", "x", "channel")
    assert list(color["channel"].values) == ["red", "green", "blue"]
    assert color["y"].values.tolist() == list(range(427))
    grey = color.values * 255.0 - load_sample_image("china.jpg")
    assert np.abs(grey).max() < 0.5 + 1e-4
    assert abs(grey.mean()) < 1e-2
    assert grey.std() == pytest.approx(np.sqrt(1 / 12), rel=0.01)


def test_rows_are_the_same_pixels_in_another_order(photographs: Path) -> None:
    color = opened(photographs, "photograph")["color"].values.reshape(-1, 3)
    rows = opened(photographs, "rows")["color"].values
    assert not np.array_equal(rows, color)
    assert np.array_equal(rows[np.lexsort(rows.T)], color[np.lexsort(color.T)])


def test_each_chunk_of_rows_is_a_random_sample(photographs: Path) -> None:
    array = zarr.open_group(photographs, mode="r")["rows/color"]
    assert isinstance(array, zarr.Array)
    assert array.nchunks == array.nchunks_initialized == 40
    rows = np.asarray(array[:]).reshape(40, 6832, 3)
    spread = rows.reshape(-1, 3).std(axis=0) / np.sqrt(6832)
    off = (rows.mean(axis=1) - rows.mean(axis=(0, 1))) / spread
    assert np.abs(off).max() < 4.5


def test_the_flower_is_another_population(photographs: Path) -> None:
    rows, flower = (opened(photographs, name)["color"].values for name in ("rows", "flower"))
    assert flower.shape == (273280, 3)
    assert np.abs(rows.mean(axis=0) - flower.mean(axis=0)).max() > 0.1


def test_a_stride_makes_small_photographs(tmp_path: Path) -> None:
    path = write_photographs(tmp_path / "a.zarr", chunk_rows=100, stride=20, seed=3)
    again = write_photographs(tmp_path / "b.zarr", chunk_rows=100, stride=20, seed=3)
    grid, rows = opened(path, "photograph")["color"], opened(path, "rows")["color"]
    assert grid.shape == (22, 32, 3)
    assert rows.shape == (704, 3)
    assert np.array_equal(rows.values, opened(again, "rows")["color"].values)


def test_channels_are_not_swapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    red = np.zeros((4, 5, 3), dtype=np.uint8)
    red[..., 0] = 200
    monkeypatch.setattr(populations, "load_sample_image", lambda name: red)
    path = write_photographs(tmp_path / "a.zarr", chunk_rows=7)
    means = opened(path, "photograph")["color"].mean(("y", "x"))
    assert means.sel(channel="red").item() == pytest.approx(200 / 255, abs=0.002)
    assert means.sel(channel="blue").item() == pytest.approx(0.0, abs=0.002)
