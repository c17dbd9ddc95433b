"""Weights of rows are read beside them, whatever holds them, and are never features."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from dfmr_dask.data.features import Expected
from dfmr_dask.data.readers import WeightedRows
from dfmr_dask.data.source import Source, open_source
from dfmr_dask.data.views import lazy_rows
from dfmr_dask.errors import InvalidSource

ROWS = np.arange(120.0, dtype=np.float32).reshape(60, 2)
AREA = np.linspace(0.0, 3.0, 60)


def gathered(source: Source) -> WeightedRows:
    readers = [source.rows(i) for i in range(len(source.plan))]
    parts = [r() if not hasattr(r, "dask") else dask.compute(r)[0] for r in readers]
    assert all(isinstance(part, WeightedRows) for part in parts)
    rows, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
    return WeightedRows(rows, weights)


def dataset() -> xr.Dataset:
    return xr.Dataset({"a": ("row", ROWS[:, 0]), "area": ("row", AREA), "b": ("row", ROWS[:, 1])})


def kinds(path: Path) -> dict[str, tuple[Any, Any]]:
    """Return data of each kind, and what weighs their rows."""
    frame = pd.DataFrame({"area": AREA, "a": ROWS[:, 0], "b": ROWS[:, 1]})
    dataset().chunk(row=20).to_zarr(path / "s.zarr", consolidated=False)
    dask_rows = da.from_array(ROWS, chunks=(20, 2))
    one = xr.DataArray(ROWS, dims=("row", "band"), coords={"area": ("row", AREA)})
    return {
        "numpy": (ROWS, AREA),
        "pandas": (frame, "area"),
        "pandas and numbers": (frame[["a", "b"]], list(AREA)),
        "dask array": (dask_rows, da.from_array(AREA, chunks=30)),
        "dask array and numbers": (dask_rows, AREA),
        "dask dataframe": (dd.from_pandas(frame, 3), "area"),
        "dataset": (dataset(), "area"),
        "dataset of dask": (dataset().chunk(row=20), "area"),
        "coordinate": (one, "area"),
        "path": (path / "s.zarr", "area"),
        "group": (zarr.open_group(path / "s.zarr", mode="r"), "area"),
    }


def test_every_kind_gives_the_same_rows_and_weights(tmp_path: Path) -> None:
    for kind, (data, weight) in kinds(tmp_path).items():
        source = open_source(data, sample_weight=weight)
        assert source.weighted, kind
        assert source.n_features == 2, kind
        rows, weights = gathered(source)
        assert rows.dtype == np.float32, kind  # weights of eight bytes do not widen rows
        assert weights.dtype == np.float64, kind
        assert np.array_equal(rows, ROWS), kind
        assert np.array_equal(weights, AREA), kind


def test_without_a_name_nothing_is_weighted() -> None:
    source = open_source(dataset())
    assert not source.weighted
    assert source.features == ("a", "area", "b")
    assert isinstance(source.rows(0)(), np.ndarray)


@pytest.mark.parametrize(
    "plan", [{"n_partitions": 4}, {"rows_per_partition": 20}, {"plan": "chunks"}]
)
@pytest.mark.parametrize("stored", [True, False])
def test_rows_keep_their_weights_in_any_plan(
    tmp_path: Path, plan: dict[str, Any], stored: bool
) -> None:
    data: Any = dataset().assign(area=("row", ROWS[:, 0] * 2.0))
    if stored:
        data.chunk(row=5).to_zarr(tmp_path / "s.zarr", consolidated=False)
        data = tmp_path / "s.zarr"
    source = open_source(data, sample_weight="area", **plan)
    rows, weights = gathered(source)
    assert np.array_equal(np.sort(rows[:, 0]), ROWS[:, 0])
    assert np.array_equal(weights, 2.0 * rows[:, 0])
    sample = source.sample_rows(0, 3, np.random.default_rng(0))()
    assert np.array_equal(sample.weights, 2.0 * sample.rows[:, 0])
    traveled = pickle.loads(pickle.dumps(source.rows(len(source.plan) - 1)))()
    assert np.array_equal(traveled.weights, 2.0 * traveled.rows[:, 0])


@pytest.mark.parametrize("chunked", [True, False])
def test_weights_count_along_the_dimensions_that_they_lack(tmp_path: Path, chunked: bool) -> None:
    grid = xr.Dataset(
        {
            "temp": (("time", "lat", "lon"), np.arange(24.0).reshape(2, 3, 4)),
            "area": (("lon", "lat"), np.arange(12.0).reshape(4, 3)),
        },
        coords={"lat": [1.0, 2.0, 3.0], "mask": (("lat",), np.array([True, False, True]))},
    )
    grid.chunk(time=1, lat=2).to_zarr(tmp_path / "g.zarr", consolidated=False)
    data: Any = grid.chunk(time=1, lat=2) if chunked else tmp_path / "g.zarr"
    expected, mask = xr.broadcast(grid["area"], grid["temp"])[0], [1.0, 0.0, 1.0]
    for weight, wanted in (
        ("area", expected),
        ("mask", grid["temp"] * 0.0 + xr.DataArray(mask, dims="lat", coords={"lat": grid["lat"]})),
    ):
        source = open_source(data, features=["temp"], sample_weight=weight)
        rows, weights = gathered(source)
        turned = wanted.transpose("time", "lat", "lon").values.ravel()
        assert np.array_equal(weights, turned[rows[:, 0].astype(int)])


def test_integers_stay_integers() -> None:
    source = open_source(np.arange(10, dtype=np.uint8)[:, None], sample_weight=np.full(10, 0.1))
    rows, weights = gathered(source)
    assert (rows.dtype, weights[0]) == (np.uint8, 0.1)


def test_labels_are_asked_of_features_alone(tmp_path: Path) -> None:
    for data, weight in kinds(tmp_path).values():
        if isinstance(data, dd.DataFrame):
            continue
        view = open_source(data, sample_weight=weight).as_dataarray()
        assert view.sizes["feature"] == 2
        assert np.array_equal(view.values, ROWS)
    named = Expected(2, ("a", "b"))
    assert np.array_equal(lazy_rows(tmp_path / "s.zarr", named).values, ROWS)
    numbered = dataset().rename(a="x0", b="x1")
    assert np.array_equal(lazy_rows(numbered, Expected(2)).values, ROWS)


def test_other_weights_are_another_source(tmp_path: Path) -> None:
    data = dataset().assign(other=("row", AREA + 1.0))
    data.to_zarr(tmp_path / "s.zarr", consolidated=False)
    features = ["a", "b"]
    told = [
        open_source(given, features=features, sample_weight=weight).description
        for given in (data, tmp_path / "s.zarr")
        for weight in ("area", "other", None)
    ]
    assert len({str(one) for one in told}) == len(told)
    tables = [open_source(ROWS, sample_weight=w).description for w in (AREA, AREA + 1.0, None)]
    assert len({str(one) for one in tables}) == 3


@pytest.mark.parametrize(
    ("data", "arguments", "text"),
    [
        (dataset(), {"sample_weight": "aera"}, "did you mean 'area'"),
        (dataset(), {"sample_weight": "area", "features": ["a", "area"]}, "take it out"),
        (dataset(), {"sample_weight": AREA}, "wanted the name"),
        (dataset().assign(area=("row", ["x"] * 60)), {"sample_weight": "area"}, "holds text"),
        (dataset().assign(area=1.0), {"sample_weight": "area"}, "has dimensions"),
        (dataset().assign(area=("z", [1.0])), {"sample_weight": "area"}, "has dimensions"),
        (ROWS, {"sample_weight": "area"}, "one number for each row"),
        (ROWS, {"sample_weight": AREA[:3]}, r"shape \(3,\); wanted \(60,\)"),
        (ROWS, {"sample_weight": -AREA}, "negative"),
        (ROWS, {"sample_weight": np.full(60, np.nan)}, "NaN"),
        (da.from_array(ROWS), {"sample_weight": da.ones(3)}, r"wanted a number for each row"),
        (zarr.array(ROWS), {"sample_weight": "area"}, "no variable beside the rows"),
        (pd.DataFrame(ROWS), {"sample_weight": "area"}, "not found"),
    ],
)
def test_what_weighs_no_rows_is_refused(data: Any, arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidSource, match=text):
        open_source(data, **arguments)


def test_lazy_weights_beside_loaded_rows_are_refused() -> None:
    lazy = dataset().assign(area=dataset()["area"].chunk(row=20))
    with pytest.raises(InvalidSource, match=r"is a Dask array, and the features are not"):
        open_source(lazy, sample_weight="area", features=["a"])
    assert gathered(open_source(lazy.compute(), sample_weight="area")).rows.shape == (60, 2)
