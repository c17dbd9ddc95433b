"""Answers are lazy, keep the grid, and are those of the mixture, row by row."""

from __future__ import annotations

from collections import Counter
from typing import Any

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from dask.utils import key_split
from hypothesis import given, settings
from hypothesis import strategies as st

from dfmr_dask.errors import InvalidSource
from dfmr_dask.families import Gaussian
from dfmr_dask.mixture import Mixture
from dfmr_dask.run import tally
from dfmr_dask.run.labelling import KEY, labels, log_density, posterior

MIXTURE = Mixture(
    Gaussian(),
    [0.5, 0.3, 0.2],
    {
        "means": [[0.0, 0.0], [4.0, 4.0], [-4.0, 4.0]],
        "covariances": [np.eye(2), [[1.0, 0.5], [0.5, 2.0]], np.eye(2) * 0.5],
    },
)
SHAPE = (6, 10, 8)
CHUNKS = {"time": 2, "lat": 5, "lon": 8}


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("something was computed")


@pytest.fixture
def values() -> np.ndarray[Any, Any]:
    x, _ = MIXTURE.sample(int(np.prod(SHAPE)), np.random.default_rng(0))
    x = x.reshape(*SHAPE, 2)
    x[0, 0, 0, 0], x[3, 2, 1, 1], x[5, 9, 7, 0] = np.nan, np.inf, -np.inf
    return x


@pytest.fixture
def grid(values: np.ndarray[Any, Any]) -> xr.Dataset:
    dims = tuple(CHUNKS)
    return xr.Dataset(
        {"temp": (dims, values[..., 0], {"units": "degC"}), "salt": (dims, values[..., 1])},
        coords={
            "time": pd.date_range("2020-01-01", periods=SHAPE[0]),
            "lat": np.linspace(-1, 1, SHAPE[1]),
            "lon": np.arange(SHAPE[2]),
            "depth": (("lat", "lon"), np.ones(SHAPE[1:])),
            "station": 7,
        },
        attrs={"title": "ocean"},
    )


@pytest.fixture
def expected(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    flat = values.reshape(-1, 2)
    good = np.isfinite(flat).all(axis=1)
    out = np.full(len(flat), -1)
    out[good] = MIXTURE.labels(flat[good])
    return out.reshape(SHAPE)


@given(
    rows=st.integers(0, 40), bad=st.sets(st.integers(0, 39), max_size=5), tile=st.integers(1, 50)
)
@settings(max_examples=30, deadline=None)
def test_tiles_change_nothing_and_bad_rows_get_no_answer(
    rows: int, bad: set[int], tile: int
) -> None:
    x, _ = MIXTURE.sample(rows, np.random.default_rng(rows))
    spoiled = sorted(i for i in bad if i < rows)
    x[spoiled, 1] = np.nan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "TILE", tile)
        asked = [labels(MIXTURE, x), posterior(MIXTURE, x), log_density(MIXTURE, x)]
    good = np.isfinite(x).all(axis=1)
    assert asked[0].dtype == np.int16
    assert np.array_equal(asked[0][good], MIXTURE.labels(x[good]))
    np.testing.assert_allclose(asked[1][good], MIXTURE.responsibilities(x[good]), atol=1e-12)
    np.testing.assert_allclose(asked[2][good], MIXTURE.log_density(x[good]), rtol=1e-12)
    assert np.all(asked[0][spoiled] == -1)
    assert np.isnan(asked[1][spoiled]).all()
    assert np.isnan(asked[2][spoiled]).all()


def test_dask_array_stays_lazy_and_keeps_its_row_chunks(
    values: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]
) -> None:
    x = da.from_array(values.reshape(-1, 2), chunks=(100, 1))
    with dask.config.set(scheduler=refuse):
        asked = [labels(MIXTURE, x), posterior(MIXTURE, x), log_density(MIXTURE, x)]
    assert [one.chunks[0] for one in asked] == [x.chunks[0]] * 3
    assert asked[1].shape == (len(x), 3)
    assert np.array_equal(asked[0].compute(), expected.ravel())
    np.testing.assert_array_equal(asked[1].compute(), posterior(MIXTURE, values.reshape(-1, 2)))
    np.testing.assert_array_equal(asked[2].compute(), log_density(MIXTURE, values.reshape(-1, 2)))


def test_unknown_numbers_of_rows_are_no_obstacle(values: np.ndarray[Any, Any]) -> None:
    frame = dd.from_pandas(pd.DataFrame(values.reshape(-1, 2)), npartitions=3)
    asked = labels(MIXTURE, frame.to_dask_array())
    assert np.isnan(asked.shape[0])
    assert np.array_equal(asked.compute(), labels(MIXTURE, values.reshape(-1, 2)))


def test_tasks_carry_the_name_of_the_stage(grid: xr.Dataset) -> None:
    asked = labels(MIXTURE, grid.chunk(CHUNKS))
    assert {key_split(key) for key in asked.data.__dask_keys__()[0][0]} == {KEY}
    assert key_split(asked.data.name) == KEY == "dfmr-label"
    names = {key_split(key) for key in asked.data.__dask_graph__()}
    assert not [name for name in names if "stack" in name or "reshape" in name]
    frame = dd.from_pandas(pd.DataFrame({"temp": [0.0], "salt": [1.0]}), npartitions=1)
    assert key_split(labels(MIXTURE, frame).__dask_keys__()[0]) == KEY


@pytest.mark.parametrize("bundled", [False, True])
def test_grids_keep_dimensions_chunks_coordinates_and_attributes(
    grid: xr.Dataset, expected: np.ndarray[Any, Any], bundled: bool
) -> None:
    data: Any = grid.chunk(CHUNKS)
    if bundled:
        data = data.to_dataarray("variable").assign_attrs(title="ocean", units="mixed")
    asked_of = "variable" if bundled else ["temp", "salt"]
    with dask.config.set(scheduler=refuse):
        asked = labels(MIXTURE, data, features=asked_of)
        share = posterior(MIXTURE, data, features=asked_of)
    assert asked.dims == ("time", "lat", "lon")
    assert asked.chunks == grid.chunk(CHUNKS)["temp"].chunks
    assert set(asked.coords) == {"time", "lat", "lon", "depth", "station"}
    xr.testing.assert_identical(asked.coords["depth"].compute(), grid.coords["depth"])
    assert asked.attrs["title"] == "ocean"
    assert "units" not in asked.attrs
    assert asked.attrs["flag_values"].dtype == asked.dtype == np.int16
    assert asked.attrs["flag_meanings"] == "component_0 component_1 component_2"
    assert np.array_equal(asked.values, expected)
    assert share.dims == ("time", "lat", "lon", "component")
    np.testing.assert_array_equal(share.isel(component=0).isnull().values, expected == -1)


def test_variables_with_other_chunks_and_other_order_of_dimensions(
    grid: xr.Dataset, expected: np.ndarray[Any, Any]
) -> None:
    data = grid.chunk(CHUNKS)
    data["salt"] = grid["salt"].chunk(time=3, lat=10, lon=4).transpose("lon", "time", "lat")
    asked = labels(MIXTURE, data, features=["temp", "salt"])
    assert asked.dims == ("time", "lat", "lon")
    assert np.array_equal(asked.values, expected)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_written_labels_open_again(
    grid: xr.Dataset, expected: np.ndarray[Any, Any], tmp_path: Any, zarr_format: Any
) -> None:
    grid.chunk(CHUNKS).to_zarr(tmp_path / "grid.zarr", zarr_format=zarr_format, consolidated=False)
    source = xr.open_zarr(tmp_path / "grid.zarr", chunks=None, consolidated=False)
    before = dict(source["depth"].encoding)
    with dask.config.set(scheduler=refuse):
        asked = labels(MIXTURE, source, features=["temp", "salt"])
    assert asked.chunks == ((2, 2, 2), (5, 5), (8,))
    assert source["depth"].encoding == before
    asked.to_zarr(tmp_path / "labels.zarr", consolidated=False)
    masked = xr.open_zarr(tmp_path / "labels.zarr", consolidated=False)["label"]
    plain = xr.open_zarr(tmp_path / "labels.zarr", consolidated=False, mask_and_scale=False)
    assert np.array_equal(plain["label"].values, expected)
    assert plain["label"].dtype == np.int16
    np.testing.assert_array_equal(masked.values, np.where(expected < 0, np.nan, expected))
    assert list(masked.attrs["flag_values"]) == [0, 1, 2]
    xr.testing.assert_equal(masked.coords["time"], grid.coords["time"])
    assert zarr.open_array(tmp_path / "labels.zarr" / "label", mode="r").chunks == (2, 5, 8)


def test_dataframes_keep_their_index_and_are_picked_by_name(
    values: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]
) -> None:
    frame = pd.DataFrame(values.reshape(-1, 2), columns=["temp", "salt"])
    frame = frame[["salt", "temp"]].assign(name="x").set_index(np.arange(len(frame)) * 10)
    names = ["temp", "salt"]
    eager = labels(MIXTURE, frame, features=names)
    lazy_frame = dd.from_pandas(frame, npartitions=4)
    with dask.config.set(scheduler=refuse):
        lazy = labels(MIXTURE, lazy_frame, features=names)
        share = posterior(MIXTURE, lazy_frame, features=names)
    pd.testing.assert_series_equal(lazy.compute(), eager)
    assert np.array_equal(eager.to_numpy(), expected.ravel())
    assert eager.index.equals(frame.index)
    pd.testing.assert_frame_equal(share.compute(), posterior(MIXTURE, frame, features=names))
    assert list(share.columns) == ["component_0", "component_1", "component_2"]


def test_loaded_grids_without_chunks_are_cut_where_they_are_large() -> None:
    grid = xr.Dataset({name: (("y", "x"), np.zeros((400, 500))) for name in ("a", "b")})
    with dask.config.set({"array.chunk-size": "400 kiB"}):
        assert labels(MIXTURE, grid).data.npartitions > 1
    assert labels(MIXTURE, grid).data.npartitions == 1
    assert labels(MIXTURE, grid.isel(x=slice(0))).shape == (400, 0)


def test_a_block_of_variables_is_one_task_with_its_answer(grid: xr.Dataset) -> None:
    asked = labels(MIXTURE, grid.chunk(CHUNKS))
    (optimized,) = dask.optimize(asked.data)
    names = Counter(key_split(key) for key in optimized.__dask_graph__())
    assert names[KEY] == 6 + 1  # and the mixture
    assert "dfmr-features" not in names


def test_one_feature_may_be_a_grid_of_its_own(values: np.ndarray[Any, Any]) -> None:
    one = Mixture(
        Gaussian(), [0.5, 0.5], {"means": [[0.0], [4.0]], "covariances": [[[1.0]], [[2.0]]]}
    )
    field = xr.DataArray(values[..., 0], dims=tuple(CHUNKS))
    expected = labels(one, values[..., :1].reshape(-1, 1)).reshape(SHAPE)
    assert np.array_equal(labels(one, field).values, expected)
    assert np.array_equal(labels(one, field.to_dataset(name="temp")).values, expected)


@pytest.mark.parametrize(
    ("spoil", "features", "text"),
    [
        (lambda grid: grid, ["temp", "sal"], "not found; there are: temp, salt"),
        (lambda grid: grid, ["temp"], "temp came, with 1 features; the mixture has 2"),
        (
            lambda grid: grid.assign(salt=grid["salt"].isel(lat=0)),
            None,
            r"salt on \(lon, time\); temp on",
        ),
        (lambda grid: grid["temp"], None, "say what the features are"),
        (lambda grid: grid["temp"], "depth", "there are: temp. Or one dimension holds"),
        (lambda grid: grid["temp"].values.astype(str), None, "rows of numbers"),
        (lambda grid: grid["temp"].values, None, "8 features; the mixture has 2"),
        (lambda grid: grid.to_dataframe(), ["temp", "salty"], "no numeric columns.*salty"),
    ],
)
def test_other_features_are_refused(grid: xr.Dataset, spoil: Any, features: Any, text: str) -> None:
    with pytest.raises(InvalidSource, match=text):
        labels(MIXTURE, spoil(grid), features=features)
