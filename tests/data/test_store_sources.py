"""Zarr and xarray as sources: real stores on disk, read as tasks read them."""

from __future__ import annotations

import json
import pickle
import uuid
from collections import Counter
from functools import partial

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from zarr.storage import LocalStore, WrapperStore

from dfmr_dask.data.source import open_source

READS: Counter = Counter()


class CountingStore(WrapperStore):
    """Counts how often each chunk is asked for."""

    async def get(self, key, prototype, byte_range=None):
        READS[key] += 1
        return await super().get(key, prototype, byte_range)


def fetch(reader):
    return reader() if callable(reader) and not hasattr(reader, "dask") else dask.compute(reader)[0]


def all_rows(source):
    parts = [fetch(source.rows(i)) for i in range(len(source.plan))]
    for part, partition in zip(parts, source.plan.partitions, strict=True):
        assert part.shape == (partition.rows, source.n_features)
        assert part.dtype == source.dtype
        assert part.flags.c_contiguous
        assert part.dtype.isnative
    return np.concatenate(parts)


def ordered(rows):
    return rows[np.lexsort(rows.T[::-1])]


def table(n=100, d=3, dtype="f4"):
    return np.arange(n * d).reshape(n, d).astype(dtype)


def stored(path, values, **options):
    array = zarr.create_array(store=str(path), shape=values.shape, dtype=values.dtype, **options)
    array[...] = values
    return str(path)


PLANS = [
    {},
    {"plan": "rows", "rows_per_partition": 25},
    {"plan": "rows", "rows_per_partition": 7},
    {"plan": "rows", "n_partitions": 6},
    {"plan": "interleaved", "n_partitions": 3, "seed": 5},
]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (10, 3)},
        {"chunks": (10, 2), "zarr_format": 2},
        {"chunks": (5, 3), "shards": (20, 3)},
    ],
    ids=["v3", "v2", "sharded"],
)
def test_a_table_in_zarr_is_read_whole(tmp_path, options, plan):
    values = table()
    source = open_source(stored(tmp_path / "t.zarr", values, **options), **plan)
    assert source.features == ("x0", "x1", "x2")
    assert source.sample_dims == ("row",)
    assert (source.shape, source.n_rows, source.dtype) == ((100,), 100, np.dtype("f4"))
    assert not source.in_memory
    np.testing.assert_array_equal(ordered(all_rows(source)), values)


def test_shards_are_partitions_and_inner_chunks_are_blocks(tmp_path):
    path = stored(tmp_path / "t.zarr", table(), chunks=(5, 3), shards=(20, 3))
    assert len(open_source(path).plan) == 5
    mixed = open_source(path, n_partitions=2)
    assert mixed.plan.decoded_bytes == mixed.plan.bytes
    assert all(len(partition.boxes) > 2 for partition in mixed.plan.partitions)


@pytest.mark.parametrize("plan", [{}, {"rows_per_partition": 25}, {"n_partitions": 1}])
def test_each_chunk_is_decoded_once(tmp_path, plan):
    path = stored(tmp_path / "t.zarr", table(), chunks=(10, 2))
    array = zarr.open_array(CountingStore(LocalStore(path)), mode="r")
    source = open_source(array, **plan)
    READS.clear()
    np.testing.assert_array_equal(ordered(all_rows(source)), table())
    chunks = {key: n for key, n in READS.items() if key.startswith("c/")}
    assert len(chunks) == 20
    assert set(chunks.values()) == {1}


def test_blocks_of_a_large_partition_do_not_decode_a_chunk_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("dfmr_dask.data.readers.READ_BYTES", 4 * 3 * 25)
    path = stored(tmp_path / "t.zarr", table(), chunks=(10, 3))
    array = zarr.open_array(CountingStore(LocalStore(path)), mode="r")
    source = open_source(array, plan="rows", n_partitions=1)
    READS.clear()
    np.testing.assert_array_equal(all_rows(source), table())
    assert {n for key, n in READS.items() if key.startswith("c/")} == {1}


def test_cut_chunks_are_decoded_as_often_as_the_plan_says(tmp_path):
    path = stored(tmp_path / "t.zarr", table(), chunks=(50, 3))
    array = zarr.open_array(CountingStore(LocalStore(path)), mode="r")
    source = open_source(array, n_partitions=2)
    READS.clear()
    all_rows(source)
    reads = sum(n for key, n in READS.items() if key.startswith("c/"))
    assert source.plan.decoded_bytes == reads * 50 * 3 * 4


def test_readers_are_small_and_work_after_a_journey(tmp_path):
    path = stored(tmp_path / "t.zarr", table(2000), chunks=(2, 3))
    for plan in ({}, {"n_partitions": 4}):
        source = open_source(path, **plan)
        reader = source.rows(1)
        traveled = pickle.dumps(reader)
        assert len(traveled) < 20_000
        np.testing.assert_array_equal(pickle.loads(traveled)(), reader())


@pytest.mark.parametrize("form", ["str", "path", "file", "memory", "array", "group"])
def test_forms_of_a_store(tmp_path, form):
    values = table()
    path = tmp_path / "t.zarr"
    group = None
    if form == "memory":
        path = f"memory://{uuid.uuid4().hex}/t.zarr"
    if form == "group":
        stored(tmp_path / "g.zarr" / "inner", values, chunks=(10, 3))
        zarr.open_group(str(tmp_path / "g.zarr"), mode="a")
        data, group = tmp_path / "g.zarr", "inner"
    else:
        data = stored(path, values, chunks=(10, 3))
    if form == "path":
        data = path
    elif form == "file":
        data = path.as_uri()
    elif form == "array":
        data = zarr.open_array(str(path), mode="r")
    source = open_source(data, group=group)
    assert source.in_memory == (form == "memory")
    np.testing.assert_array_equal(all_rows(source), values)
    assert "t.zarr" in source.location or "inner" in source.location


@pytest.mark.parametrize("form", ["memory", "dict", "group"])
def test_a_store_in_memory_keeps_its_chunks(form):
    place = f"memory://{uuid.uuid4().hex}/t.zarr" if form == "memory" else {}
    whole = zarr.create_group(store=place) if form == "group" else place
    name = {"name": "t", "dimension_names": ("row", "band")} if form == "group" else {}
    make = whole.create_array if form == "group" else partial(zarr.create_array, store=place)
    array = make(shape=(90, 3), dtype="f4", chunks=(10, 3), **name)
    array[...] = table(90)
    source = open_source({"memory": place, "dict": array, "group": whole}[form])
    assert source.in_memory
    assert len(source.plan) == 9
    np.testing.assert_array_equal(all_rows(source), table(90))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source.rows(4)))(), table(90)[40:50])
    before = json.dumps(source.description)
    np.testing.assert_array_equal(source.as_dataarray().values, table(90))
    array[0, 0] = 7
    again = open_source({"memory": place, "dict": array, "group": whole}[form])
    assert json.dumps(again.description) != before


def test_a_store_in_memory_is_a_table_in_memory():
    array = zarr.create_array(store={}, shape=(20, 2), dtype="i2", chunks=(5, 2))
    array[...] = np.arange(40).reshape(20, 2)
    source = open_source(array, n_partitions=4)
    assert source.in_memory
    np.testing.assert_array_equal(ordered(all_rows(source)), array[...])
    cube = zarr.create_array(store={}, shape=(4, 3, 2), dtype="f8", chunks=(2, 3, 2))
    cube[...] = np.arange(24).reshape(4, 3, 2)
    gridded = open_source(cube, features=2)
    travelled = pickle.loads(pickle.dumps(gridded.rows(1)))
    np.testing.assert_array_equal(travelled(), cube[2:].reshape(-1, 2))


@pytest.mark.parametrize(
    ("dtype", "wanted"),
    [(">f4", "f4"), (">i2", "i2"), ("f2", "f2"), ("bool", "u1"), ("u1", "u1"), ("<f8", "f8")],
)
def test_dtypes_are_kept_in_native_order(tmp_path, dtype, wanted):
    values = (table(20, 2) % 2).astype(dtype)
    source = open_source(stored(tmp_path / "t.zarr", values, chunks=(7, 2)))
    assert source.dtype == np.dtype(wanted)
    np.testing.assert_array_equal(all_rows(source), values.astype(wanted))


def test_one_column_is_one_feature(tmp_path):
    source = open_source(stored(tmp_path / "t.zarr", np.arange(10.0), chunks=(4,)))
    assert (source.n_features, source.shape) == (1, (10,))
    np.testing.assert_array_equal(all_rows(source)[:, 0], np.arange(10.0))
    assert source.as_dataarray().dims == ("row", "feature")


@pytest.mark.parametrize("features", ["band", 0])
def test_more_dimensions_with_one_of_them_the_features(tmp_path, features):
    values = np.arange(2 * 6 * 5.0).reshape(2, 6, 5)
    path = stored(tmp_path / "t.zarr", values, chunks=(1, 3, 5), dimension_names=("band", "y", "x"))
    source = open_source(path, features=features)
    assert source.sample_dims == ("y", "x")
    assert source.box_text(1) == "y 3:6, x 0:5"
    np.testing.assert_array_equal(all_rows(source), values.reshape(2, -1).T)
    view = source.as_dataarray()
    assert view.dims == ("y", "x", "feature")
    assert view.chunks == ((3, 3), (5,), (2,))
    np.testing.assert_array_equal(view.values, np.moveaxis(values, 0, -1))


def test_names_for_columns_without_names(tmp_path):
    path = stored(tmp_path / "t.zarr", table(), chunks=(10, 3))
    source = open_source(path, features=["a", "b", "c"])
    assert source.features == ("a", "b", "c")
    assert list(source.as_dataarray().feature.values) == ["a", "b", "c"]


def test_attributes_of_cf_are_told_when_an_array_is_opened(tmp_path):
    path = stored(tmp_path / "t.zarr", table(), chunks=(10, 3), attributes={"scale_factor": 0.1})
    assert "scale_factor not applied" in open_source(path).plan.notes[0]


@pytest.fixture
def ocean(tmp_path):
    """A grid with missing values, packed integers, units and a variable that is no number."""
    rng = np.random.default_rng(0)
    temp = rng.normal(size=(6, 4, 5)).astype("f4")
    temp[0, 0] = np.nan
    salt = rng.integers(0, 100, size=(6, 4, 5)).astype("f8") * 0.5
    dims = ("time", "lat", "lon")
    data = xr.Dataset(
        {
            "temp": (dims, temp, {"units": "K"}),
            "salt": (dims, salt),
            "station": ("lon", list("abcde")),
        },
        coords={
            "time": pd.date_range("2020-01-01", periods=6),
            "lat": np.linspace(-1, 1, 4),
            "lon": np.arange(5),
        },
        attrs={"title": "ocean"},
    )
    encoding = {
        "temp": {"chunks": (2, 4, 3), "_FillValue": np.float32(-99)},
        "salt": {"chunks": (2, 4, 3), "dtype": "i2", "scale_factor": 0.5, "_FillValue": -1},
    }
    path = tmp_path / "ocean.zarr"
    data.to_zarr(path, encoding=encoding)
    return path, data


def stacked(data, names):
    return np.stack([data[name].values.ravel() for name in names], axis=1)


FORMS = {
    "path": lambda path: path,
    "lazy": lambda path: xr.open_zarr(path, chunks=None),
    "dask": lambda path: xr.open_zarr(path, chunks={}),
    "numpy": lambda path: xr.open_zarr(path, chunks=None).load(),
    "group": lambda path: zarr.open_group(path, mode="r"),
}


@pytest.mark.parametrize("plan", [{}, {"rows_per_partition": 30}, {"n_partitions": 3}])
@pytest.mark.parametrize("form", FORMS)
def test_a_grid_written_by_xarray(ocean, form, plan):
    path, data = ocean
    source = open_source(FORMS[form](path), features=["salt", "temp"], **plan)
    assert source.features == ("salt", "temp")
    assert source.sample_dims == ("time", "lat", "lon")
    assert source.units == {"temp": "K"}
    assert source.in_memory == (form == "numpy")
    assert source.named
    assert json.loads(json.dumps(source.description)) == source.description
    rows = all_rows(source)
    assert np.isnan(rows).sum() == 5
    np.testing.assert_allclose(ordered(rows), ordered(stacked(data, source.features)), atol=1e-6)
    if not plan:
        assert len(source.plan) == 6
        first = data.isel(time=slice(0, 2), lon=slice(0, 3))
        expected = stacked(first, source.features)
        np.testing.assert_allclose(fetch(source.rows(0)), expected, atol=1e-6)
        assert source.box_text(0) == "time 0:2, lat 0:4, lon 0:3"


@pytest.mark.parametrize("form", FORMS)
def test_the_view_of_a_grid_keeps_coordinates_and_loads_nothing(ocean, form):
    path, data = ocean
    source = open_source(FORMS[form](path), features=["salt", "temp"])
    view = source.as_dataarray()
    assert view.dims == ("time", "lat", "lon", "feature")
    assert view.chunks == ((2, 2, 2), (4,), (3, 2), (2,))
    assert view.attrs == {"title": "ocean"}
    np.testing.assert_array_equal(view.lat, data.lat)
    np.testing.assert_allclose(view.sel(feature="temp").values, data.temp.values)


def test_lazy_readers_are_small_and_what_was_opened_stays_unloaded(ocean):
    path, _ = ocean
    lazy = xr.open_zarr(path, chunks=None)
    source = open_source(lazy, features=["salt", "temp"])
    reader = source.rows(2)
    assert len(pickle.dumps(reader)) < 20_000
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader))(), reader())
    assert not lazy["temp"].variable._in_memory


def test_variables_that_are_no_numbers_are_left_out_and_named(ocean):
    source = open_source(ocean[0])
    assert source.features == ("salt", "temp")
    assert "station" in source.plan.notes[0]


def test_a_slice_keeps_the_chunks_of_its_store_and_is_another_source(ocean):
    path, data = ocean
    lazy = xr.open_zarr(path, chunks=None)
    source = open_source(lazy.isel(time=slice(1, 6)), features=["salt", "temp"])
    assert source.box_text(0) == "time 0:1, lat 0:4, lon 0:3"
    assert source.box_text(2) == "time 1:3, lat 0:4, lon 0:3"
    rest = stacked(data.isel(time=slice(1, 6)), source.features)
    np.testing.assert_allclose(ordered(all_rows(source)), ordered(rest), atol=1e-6)
    bare = lazy.drop_vars("time")
    early = open_source(bare.isel(time=slice(0, 2)), features=["temp"])
    late = open_source(bare.isel(time=slice(2, 4)), features=["temp"])
    assert early.description != late.description


def test_one_point_in_time_is_a_grid_of_its_own(ocean):
    path, data = ocean
    one = xr.open_zarr(path, chunks=None).isel(time=3)
    source = open_source(one, features=["temp", "salt"])
    assert len(source.plan) == 2
    expected = stacked(data.isel(time=3), ["temp", "salt"])
    np.testing.assert_allclose(ordered(all_rows(source)), ordered(expected), atol=1e-6)


def test_variables_in_other_orders_and_chunks(tmp_path):
    a = np.arange(24.0).reshape(4, 6)
    data = xr.Dataset({"a": (("y", "x"), a), "b": (("x", "y"), -a.T)})
    encoding = {"a": {"chunks": (2, 3)}, "b": {"chunks": (2, 4)}}
    data.to_zarr(tmp_path / "g.zarr", encoding=encoding)
    source = open_source(tmp_path / "g.zarr", features=["a", "b"])
    assert len(source.plan) == 2
    rows = all_rows(source)
    np.testing.assert_array_equal(rows[:, 0], -rows[:, 1])
    np.testing.assert_array_equal(np.sort(rows[:, 0]), np.arange(24.0))
    assert source.plan.decoded_bytes > source.plan.bytes
    np.testing.assert_array_equal(source.as_dataarray()[..., 1].values, -a)


@pytest.mark.parametrize("form", FORMS)
def test_coordinates_of_time_tell_sources_apart(ocean, form):
    path, data = ocean
    names = ["salt", "temp"]
    one = open_source(FORMS[form](path), features=names).description
    assert one == open_source(FORMS[form](path), features=names).description
    later = data.assign_coords(time=data.time + np.timedelta64(1, "D"))
    xr.Dataset(coords={"time": later.time}).to_zarr(path, mode="a")
    if form != "numpy":  # loaded values are told apart by themselves
        assert one != open_source(FORMS[form](path), features=names).description


@pytest.mark.parametrize("consolidated", [False, True])
def test_features_that_nobody_named_are_sorted(tmp_path, consolidated):
    names = ["nitrate", "salt", "depth", "temp", "oxygen", "chlorophyll"]
    data = xr.Dataset({name: ("row", np.arange(8.0)) for name in names})
    data["word"] = ("row", list("abcdefgh"))
    data["letter"] = data["word"]
    path = tmp_path / "g.zarr"
    data.to_zarr(path, consolidated=consolidated, zarr_format=2)
    forms = [path, zarr.open_group(path, mode="r"), xr.open_zarr(path, consolidated=consolidated)]
    for form in forms:
        source = open_source(form)
        assert source.features == tuple(sorted(names))
        assert "letter, word" in source.plan.notes[0]


def test_columns_without_names_are_known_as_such(tmp_path):
    path = stored(tmp_path / "t.zarr", table(), chunks=(10, 3))
    plain = xr.DataArray(table(), dims=("row", "band"))
    assert not open_source(path).named
    assert not open_source(plain).named
    assert open_source(plain).features == ("band_0", "band_1", "band_2")
    assert open_source(path, features=["a", "b", "c"]).named
    assert open_source(plain.assign_coords(band=list("abc"))).named


@pytest.mark.parametrize("form", ["dataset", "dataarray", "obvious"])
def test_a_dimension_as_features(tmp_path, form):
    values = np.arange(60.0).reshape(12, 5)
    band = ("band", list("vwxyz"))
    data = xr.Dataset({"pixels": (("row", "band"), values)}, coords={"band": band})
    data.to_zarr(tmp_path / "g.zarr", encoding={"pixels": {"chunks": (4, 2)}})
    opened = xr.open_zarr(tmp_path / "g.zarr", chunks=None)
    given = opened["pixels"] if form == "dataarray" else opened
    source = open_source(given, features=None if form == "obvious" else "band")
    assert source.features == tuple("vwxyz")
    assert len(source.plan) == 3
    np.testing.assert_array_equal(all_rows(source), values)
    view = source.as_dataarray()
    assert view.dims == ("row", "feature")
    assert list(view.feature.values) == list("vwxyz")


def test_a_sharded_grid(tmp_path):
    values = np.arange(400.0).reshape(20, 20)
    data = xr.Dataset({"a": (("y", "x"), values)})
    data.to_zarr(tmp_path / "g.zarr", encoding={"a": {"chunks": (5, 5), "shards": (10, 20)}})
    source = open_source(tmp_path / "g.zarr", features=["a"])
    assert [partition.boxes for partition in source.plan.partitions] == [
        (((0, 10), (0, 20)),),
        (((10, 20), (0, 20)),),
    ]
    mixed = open_source(tmp_path / "g.zarr", features=["a"], n_partitions=2)
    assert mixed.plan.decoded_bytes == mixed.plan.bytes
    np.testing.assert_array_equal(np.sort(all_rows(mixed)[:, 0]), values.ravel())


def test_samples_of_large_partitions_are_few_whole_blocks(tmp_path):
    rows = 2_000_000
    array = zarr.create_array(
        store=str(tmp_path / "t.zarr"), shape=(rows, 3), dtype="f8", chunks=(50_000, 3)
    )
    array[...] = np.repeat(np.arange(rows)[:, None], 3, axis=1)
    source = open_source(tmp_path / "t.zarr", plan="rows", n_partitions=1)
    got = source.sample_rows(0, 1000, np.random.default_rng(0))()
    assert len(got) == 200_000
    starts = got[::50_000, 0]
    assert len(set(starts // 50_000)) == 4
    again = source.sample_rows(0, 1000, np.random.default_rng(0))()
    np.testing.assert_array_equal(got, again)
    small = open_source(tmp_path / "t.zarr")
    assert len(small.sample_rows(3, 1000, np.random.default_rng(0))()) == 50_000


def test_samples_of_a_store_of_many_partitions_are_a_fraction_of_its_bytes(tmp_path):
    rows = 2_000_000
    array = zarr.create_array(
        store=str(tmp_path / "t.zarr"), shape=(rows, 3), dtype="f8", chunks=(10_000, 3)
    )
    array[...] = np.repeat(np.arange(rows)[:, None], 3, axis=1)

    def sampled(n_partitions: int) -> list[int]:
        source = open_source(tmp_path / "t.zarr", plan="rows", n_partitions=n_partitions)
        draws = np.random.default_rng(0)
        return [len(source.sample_rows(i, 6000, draws)()) for i in range(n_partitions)]

    assert sampled(5) == [40_000] * 5  # four chunks each, of 40
    assert sampled(100) == [20_000] * 100  # 0.5 MB each: not worth a choice


def test_descriptions_tell_plans_and_stores_apart_and_hide_secrets(tmp_path):
    path = stored(tmp_path / "t.zarr", table(), chunks=(10, 3))
    one = open_source(path, n_partitions=2, seed=0).description
    assert one == open_source(path, n_partitions=2, seed=0).description
    assert one != open_source(path, n_partitions=2, seed=1).description
    assert one != open_source(path).description
    other = stored(tmp_path / "u.zarr", table(), chunks=(10, 3))
    assert one != open_source(other, n_partitions=2, seed=0).description
    named = open_source(path, features=["a", "b", "c"], n_partitions=2, seed=0)
    assert named.description != one
