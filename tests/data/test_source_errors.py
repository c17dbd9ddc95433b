"""What is wrong with a source is said: what came, what was wanted, what to do."""

from __future__ import annotations

import pickle

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from dfmr_dask.data.remote import without_secrets
from dfmr_dask.data.source import open_source
from dfmr_dask.errors import InvalidSource


def refused(match, data, **options):
    with pytest.raises(InvalidSource, match=match):
        open_source(data, **options)


def test_a_store_that_is_not_there(tmp_path):
    (tmp_path / "ocean.zarr").mkdir()
    refused(r"there is no .*ocaen\.zarr; .* holds: ocean\.zarr", tmp_path / "ocaen.zarr")
    refused("holds: ocean.zarr", str(tmp_path / "a" / "b" / "c.zarr"))
    refused("there is no", (tmp_path / "x.zarr").as_uri())


def test_something_that_is_no_store(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    refused("is a file, no Zarr store; wanted the folder", tmp_path / "notes.txt")
    (tmp_path / "t.parquet").write_text("")
    refused("read_parquet", tmp_path / "t.parquet")
    refused("cannot be opened as a Zarr array or group.*holds: notes.txt", tmp_path)
    refused("cannot be opened", "memory://nothing/here.zarr")
    refused("cannot be opened", "nosuchprotocol://bucket/x.zarr")
    (tmp_path / "bad.zarr").mkdir()
    (tmp_path / "bad.zarr" / "zarr.json").write_text("{")
    refused("cannot be opened", tmp_path / "bad.zarr")


def test_groups_that_xarray_cannot_open(tmp_path):
    group = zarr.open_group(str(tmp_path / "g.zarr"), mode="w")
    group.create_array("pixels", shape=(4, 2), dtype="f4")
    refused("its arrays are: pixels. Open one of them with group=", tmp_path / "g.zarr")
    assert open_source(tmp_path / "g.zarr", group="pixels").n_rows == 4
    refused("group 'nothing'", tmp_path / "g.zarr", group="nothing")
    zarr.open_group(str(tmp_path / "empty.zarr"), mode="w")
    refused("no data variables", tmp_path / "empty.zarr")


def test_secrets_in_addresses_are_not_repeated():
    assert without_secrets("s3://key:secret@bucket/x.zarr") == "s3://bucket/x.zarr"
    assert without_secrets("s3://key:se@cret@bucket/x.zarr") == "s3://bucket/x.zarr"
    signed = without_secrets("no 'https://host/a/x.zarr?sig=abc' there")
    assert signed == "no 'https://host/a/x.zarr' there"


def test_dimensions_that_do_not_fit():
    refused("wanted \\(rows, features\\)", np.zeros((2, 2, 2)))
    refused("wanted \\(rows, features\\)", da.zeros((2, 2, 2)))
    cube = zarr.create_array(store={}, shape=(2, 2, 2), dtype="f4")
    refused("features=<axis from 0 to 2>", cube)
    refused("has axes 0 to 2", cube, features=3)
    named = xr.DataArray(np.zeros((2, 3, 4)), dims=("y", "x", "band"), name="pixels")
    refused(r"features=\['pixels'\] for one feature.*or the dimension .*features='band'", named)
    refused("features='band'", named.to_dataset())
    refused(r"there are: pixels. Or one dimension.*'band'\]", named, features=["a", "b"])
    refused("has axes 0 to 2", named, features=5)
    flat = xr.DataArray(np.zeros(3), dims="row", name="a")
    refused("no dimension is left for rows", flat, features="row")
    refused("is named 'feature'", xr.Dataset({"a": ("feature", np.zeros(3))}))


def test_values_that_are_no_numbers():
    refused(r"no numbers: name \(text of dtype str\)", pd.DataFrame({"name": ["a"], "x": [1.0]}))
    days = pd.DataFrame({"day": pd.to_datetime(["2020-01-01"]), "x": [1.0]})
    refused(r"day \(dates\)", days)
    refused(r"kind \(category\)", pd.DataFrame({"kind": pd.Categorical(["a"])}))
    refused(r"complex", np.zeros((2, 2), complex))
    refused("no numbers", np.array([["a", "b"]]))
    refused("no numbers", np.array([[None]], dtype=object))
    refused("masked", np.ma.masked_array(np.zeros((2, 2)), mask=True))
    words = xr.Dataset({"a": ("row", ["x", "y"]), "b": ("row", [1.0, 2.0])})
    refused(r"a \(text of dtype", words, features=["a", "b"])
    refused("no numbers", words[["a"]])
    refused("no variable has a dimension", xr.Dataset({"crs": 1}))
    letters = zarr.create_array(store={}, shape=(2, 2), dtype=str)
    refused("text of dtype StringDType", letters)


def test_features_that_do_not_exist():
    data = xr.Dataset({"temp": ("row", [1.0, 2.0]), "salt": ("row", [1.0, 2.0])})
    refused("'tmep' not found; there are: temp, salt. did you mean 'temp'", data, features=["tmep"])
    frame = pd.DataFrame({"temp": [1.0], "salt": [2.0]})
    refused("did you mean 'salt'", frame, features=["temp", "salts"])
    refused("more than once", frame, features=["temp", "temp"])
    refused("leaves nothing to fit", frame, features=[])
    refused("array with 2 columns", np.zeros((3, 2)), features=["a", "b", "c"])


def test_variables_on_different_dimensions():
    data = xr.Dataset({"a": ("x", [1.0, 2.0]), "b": (("x", "y"), [[1.0], [2.0]])})
    refused(r"must share their dimensions: a on \(x\); b on \(x, y\)", data)
    two = xr.Dataset({"a": (("x", "y"), [[1.0]]), "b": (("x", "y"), [[1.0]])})
    refused("dimension of several variables", two, features="y")


def test_nothing_to_fit():
    for empty in (np.zeros((0, 3)), np.zeros((3, 0)), da.zeros((0, 2)), pd.DataFrame({"a": []})):
        refused("is empty|no numbers", empty)
    refused("no columns", pd.DataFrame(index=[1, 2]))
    refused("is empty", xr.DataArray(np.zeros((0, 2)), dims=("row", "band")))
    refused("is empty", zarr.create_array(store={}, shape=(0, 2), dtype="f4", chunks=(1, 2)))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n_partitions": 11}, "n_partitions=11; the source has 10 rows: wanted 1 to 10"),
        ({"n_partitions": 0}, "wanted 1 to 10"),
        ({"rows_per_partition": 11}, "rows_per_partition=11"),
        ({"n_partitions": 2.5}, "n_partitions=2.5; wanted a whole number"),
        ({"n_partitions": 2, "rows_per_partition": 2}, "not both"),
        ({"plan": "row"}, "plan='row'; wanted one of auto, chunks, rows, interleaved"),
        ({"plan": "rows"}, "wants rows_per_partition= or n_partitions="),
        ({"plan": "interleaved", "rows_per_partition": 2}, "takes n_partitions="),
        ({"plan": "chunks", "n_partitions": 2}, "give no other size"),
    ],
)
def test_plans_that_cannot_be_made(options, match):
    refused(match, np.zeros((10, 2)), **options)
    refused(match, da.zeros((10, 2), chunks=(4, 2)), **options)


def test_tables_in_memory_do_not_say_how_many_interleaved_partitions_they_want():
    refused("wants n_partitions= for a table", np.zeros((10, 2)), plan="interleaved")


def test_options_that_mean_nothing_for_the_data(tmp_path):
    store = tmp_path / "t.zarr"
    array = zarr.create_array(store=str(store), shape=(4, 2), dtype="f4")
    frame, labelled = pd.DataFrame({"a": [1.0]}), xr.Dataset({"a": ("x", [1.0])})
    for data in (np.zeros((3, 2)), frame, labelled, da.zeros((3, 2))):
        refused("group='a' is for Zarr", data, group="a")
    for data in (np.zeros((3, 2)), labelled, array):
        refused("storage_options= are for URLs", data, storage_options={"anon": True})
    refused("came with the Zarr array", array, group="a")
    refused("storage_options= came with the path", store, storage_options={"anon": True})
    group = zarr.open_group(str(tmp_path), mode="a")
    refused("has no group 'u.zarr'; it holds: t.zarr", group, group="u.zarr")


def test_options_of_file_urls_go_to_fsspec(tmp_path):
    url = (tmp_path / "t.zarr").as_uri()
    array = zarr.create_array(store=str(tmp_path / "t.zarr"), shape=(4, 2), dtype="f4")
    array[...] = 1
    source = open_source(url, storage_options={"auto_mkdir": False})
    again = pickle.loads(pickle.dumps(source.rows(0)))
    assert again().tolist() == [[1, 1]] * 4
    refused("there is no", url + "x", storage_options={"auto_mkdir": False})


@pytest.mark.parametrize("folder", ["t.parquet", "plain", "years"])
def test_folders_of_parquet_are_recognized(tmp_path, folder):
    inner = tmp_path / folder / ("year=2020" if folder == "years" else "")
    inner.mkdir(parents=True)
    (inner / ("part.0.parquet" if folder != "t.parquet" else "part.0")).write_bytes(b"PAR1")
    refused("It looks like .parquet: open it with dask.dataframe.read_parq", tmp_path / folder)


def test_kinds_of_data_that_are_unknown():
    refused("cannot open a builtins.list", [[1.0]])
    blocks = da.zeros((10, 2), chunks=(5, 2))
    refused("compute_chunk_sizes", blocks[blocks[:, 0] > 0])
