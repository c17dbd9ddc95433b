"""NumPy, pandas and Dask as sources."""

from __future__ import annotations

import json
import pickle

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dfmr_dask.data.backends import content_hash
from dfmr_dask.data.source import open_source
from dfmr_dask.errors import InvalidSource


def table(n=100, d=3, dtype="f4"):
    return np.arange(n * d).reshape(n, d).astype(dtype)


def fetch(reader):
    return reader() if callable(reader) and not hasattr(reader, "dask") else dask.compute(reader)[0]


def all_rows(source):
    return np.concatenate([fetch(source.rows(i)) for i in range(len(source.plan))])


def ordered(rows):
    return rows[np.lexsort(rows.T[::-1])]


def test_numpy_is_one_partition_by_default():
    source = open_source(table())
    assert source.in_memory
    assert (len(source.plan), source.n_rows, source.location) == (1, 100, "in memory")
    assert source.plan.decoded_bytes == source.plan.bytes == 1200
    np.testing.assert_array_equal(all_rows(source), table())


def test_numpy_in_partitions_is_permuted_by_its_seed():
    one, same, other = (open_source(table(), n_partitions=7, seed=s) for s in (3, 3, 4))
    assert [partition.rows for partition in one.plan.partitions] == [14, 14, 14, 15, 14, 14, 15]
    np.testing.assert_array_equal(all_rows(one), all_rows(same))
    np.testing.assert_array_equal(ordered(all_rows(one)), table())
    assert not np.array_equal(all_rows(one), all_rows(other))
    assert one.description == same.description != other.description
    assert one.box_text(0) == "random rows"


@pytest.mark.parametrize("sizes", [{"n_partitions": 3}, {"rows_per_partition": 30}])
def test_numpy_rows_stay_in_order(sizes):
    source = open_source(table(), plan="rows", **sizes)
    assert len(source.plan) == 3
    np.testing.assert_array_equal(all_rows(source), table())
    assert source.box_text(0).startswith("row 0:3")


def test_only_the_rows_of_a_partition_travel():
    reader = open_source(table(100_000), n_partitions=1000).rows(5)
    traveled = pickle.dumps(reader)
    assert len(traveled) < 20_000
    np.testing.assert_array_equal(pickle.loads(traveled)(), reader())


def test_large_tables_are_sampled_from_all_over():
    n = 3_000_000
    source = open_source(np.arange(n, dtype="f8")[:, None] + np.zeros((1, 2)))
    got = source.sample_rows(0, 1000, np.random.default_rng(0))()
    assert got.shape == (2000, 2)
    assert len(np.unique(got[:, 0])) == 2000
    assert abs(got[:, 0].mean() - n / 2) < 0.05 * n


def test_readers_neither_write_nor_lend_out_big_endian():
    values = table(dtype=">f4")
    values.flags.writeable = False
    source = open_source(values, n_partitions=2)
    assert fetch(source.rows(0)).dtype == np.dtype("f4")
    assert fetch(open_source(np.array([[True], [False]])).rows(0)).tolist() == [[1], [0]]


def test_one_dimension_is_one_feature():
    source = open_source(np.arange(5.0), features=["depth"])
    assert source.features == ("depth",)
    assert all_rows(source).shape == (5, 1)
    view = source.as_dataarray()
    assert view.dims == ("row", "feature")
    assert view.chunks is not None


def test_descriptions_are_json_and_follow_the_values():
    one, other = table(), table()
    other[50, 1] += 1
    assert open_source(one).description != open_source(other).description
    assert json.loads(json.dumps(open_source(one).description)) == open_source(one).description


@pytest.mark.parametrize("kind", ["M8[ns]", "m8[s]", "bool", "U3", "object", "T"])
def test_values_of_any_kind_are_told_apart(kind):
    values = np.array([0, 1, 2, 1]).astype(kind if kind != "T" else np.dtypes.StringDType())
    other = values[[0, 0, 1, 1]]
    assert content_hash([values]) == content_hash([values.copy()]) != content_hash([other])
    assert content_hash([values]) != content_hash([values.reshape(2, 2)])
    assert content_hash([values[::2]]) == content_hash([values[::2].copy()])


def test_pandas_columns_are_features():
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 1.5, 2.5], "c": [True, False, True]})
    source = open_source(frame, features=["b", "a"])
    assert source.features == ("b", "a")
    assert source.in_memory
    np.testing.assert_array_equal(all_rows(source), [[0.5, 1], [1.5, 2], [2.5, 3]])
    assert open_source(frame).features == ("a", "b", "c")
    assert open_source(frame).dtype == np.dtype("f8")


def test_nullable_columns_of_pandas_have_nan():
    frame = pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64"), "b": [1.0, 2.0, 3.0]})
    got = all_rows(open_source(frame))
    np.testing.assert_array_equal(got, [[1, 1], [np.nan, 2], [3, 3]])


def test_dask_arrays_bring_their_own_blocks():
    values = table()
    array = da.from_array(values, chunks=((30, 50, 20), (2, 1)))
    source = open_source(array, features=["a", "b", "c"])
    assert [partition.rows for partition in source.plan.partitions] == [30, 50, 20]
    assert "no integrity check" in source.plan.notes[0]
    assert not source.in_memory
    reader = source.rows(1)
    assert dask.is_dask_collection(reader)
    np.testing.assert_array_equal(reader.compute(), values[30:80])
    for plan in ({"rows_per_partition": 60}, {"n_partitions": 3}):
        np.testing.assert_array_equal(ordered(all_rows(open_source(array, **plan))), values)
    assert source.as_dataarray().chunks == ((30, 50, 20), (3,))
    assert source.description == open_source(array, features=["a", "b", "c"]).description


def test_dask_samples_are_delayed():
    array = da.zeros((5_000_000, 1), chunks=(250_000, 1))
    source = open_source(array, plan="rows", n_partitions=1)
    got = source.sample_rows(0, 100, np.random.default_rng(0)).compute()
    assert got.shape == (1_000_000, 1)


def test_dask_dataframes_from_parquet(tmp_path):
    frame = pd.DataFrame({"a": np.arange(30.0), "b": np.arange(30)})
    dd.from_pandas(frame, npartitions=3).to_parquet(tmp_path / "t.parquet")
    source = open_source(dd.read_parquet(tmp_path / "t.parquet"), features=["b", "a"])
    assert source.features == ("b", "a")
    assert (len(source.plan), source.n_rows, source.shape) == (3, None, ())
    assert source.box_text(2) == "dask partition 2"
    np.testing.assert_array_equal(all_rows(source), np.repeat(np.arange(30.0)[:, None], 2, 1))
    sample = source.sample_rows(0, 3, np.random.default_rng(0)).compute()
    assert len(sample) >= 3
    assert "rows        unknown" in str(source.plan)
    with pytest.raises(InvalidSource, match="no array"):
        source.as_dataarray()
    with pytest.raises(InvalidSource, match="repartition"):
        open_source(dd.read_parquet(tmp_path / "t.parquet")[["a", "b"]], n_partitions=2)


def test_columns_that_are_not_asked_for_may_be_anything(tmp_path):
    frame = pd.DataFrame({"a": np.arange(30.0), "name": ["x"] * 30, "b": np.arange(30)})
    dd.from_pandas(frame, npartitions=3).to_parquet(tmp_path / "t.parquet")
    opened = dd.read_parquet(tmp_path / "t.parquet")
    got = ordered(all_rows(open_source(opened, features=["b", "a"])))
    np.testing.assert_array_equal(got, np.repeat(np.arange(30.0)[:, None], 2, 1))
    with pytest.raises(InvalidSource, match=r"name \(text of dtype string"):
        open_source(opened)


def test_xarray_in_memory_sends_only_its_rows():
    values = np.arange(20_000.0).reshape(100, 200)
    data = xr.Dataset({"a": (("y", "x"), values)})
    source = open_source(data, features=["a"], rows_per_partition=400)
    assert source.in_memory
    traveled = pickle.dumps(source.rows(0))
    assert len(traveled) < 20_000
    np.testing.assert_array_equal(pickle.loads(traveled)()[:, 0], values[:2].ravel())
