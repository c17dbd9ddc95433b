"""A rotten chunk is found, named by its key, and costs its own partition only."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr

from dfmr_dask.data.source import open_source
from dfmr_dask.errors import DfmrError, InvalidSource, UnreadableChunk
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.run.pipeline import fit
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import InProcess
from tests.data.rotten import BAD, FAULTS, KINDS, PARTS, ROWS, chunk_file, clusters, written

SETTINGS = Settings(family=COVARIANCE_TYPES["full"], n_components=2, seed=0)


def complaint(source, partition) -> str:
    """What reading a partition in another process would raise."""
    reader = pickle.loads(pickle.dumps(source.rows(partition)))
    with pytest.raises(DfmrError) as caught:
        reader()
    return str(caught.value)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_is_told_with_the_key_of_its_chunk(tmp_path: Path, kind: str, fault) -> None:
    values = clusters(ROWS * PARTS)
    path = written(tmp_path / "a.zarr", kind, values)
    features = ["temp", "salt"] if kind.startswith("group") else None
    source = open_source(path, features=features)
    file, key = chunk_file(path, kind)
    fault(file)
    said = complaint(source, BAD)
    place = "variable salt" if kind.startswith("group") else "the array"
    name = f"shard {key}" if "inner chunk" in said else f"chunk {key}"
    assert f"{name} of {place}" in said
    for other in {*range(PARTS)} - {BAD}:
        rows = values[other * ROWS : (other + 1) * ROWS]
        assert np.array_equal(source.rows(other)(), rows)


class Bomb:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (MARK,)


MARK = "unpickled-here"


def test_codecs_of_python_objects_are_never_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "a.zarr", "group v2", clusters(ROWS * PARTS))
    for name in ("salt", "row"):  # a feature, and a coordinate that is read at once
        shutil.copytree(path / "temp", path / name, dirs_exist_ok=True)
        meta = json.loads((path / "temp" / ".zarray").read_text())
        (path / name / ".zarray").write_text(json.dumps({**meta, "compressor": {"id": "pickle"}}))
        for number in range(PARTS):
            (path / name / str(number)).write_bytes(pickle.dumps(Bomb()))
        for group in (None, name):
            with pytest.raises(InvalidSource):
                open_source(path, group=group)
    assert not Path(MARK).exists()


def test_codecs_that_are_not_known_to_be_harmless_are_refused_by_name(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zarr", "group v2", clusters(ROWS * PARTS))
    meta = json.loads((path / "temp" / ".zarray").read_text())
    (path / "temp" / ".zarray").write_text(json.dumps({**meta, "compressor": {"id": "base64"}}))
    source = open_source(path)
    assert source.features == ("salt",)
    assert "left out, neither numbers nor plain text: temp" in source.plan.notes
    with pytest.raises(InvalidSource, match="is stored with base64, which is not among the codecs"):
        open_source(path, group="temp")


def test_common_codecs_are_read(tmp_path: Path) -> None:
    values = clusters(ROWS * PARTS)
    for number, options in enumerate(
        (
            {"zarr_format": 2, "filters": [numcodecs.Delta("f8")], "compressors": numcodecs.LZ4()},
            {"zarr_format": 2, "filters": [numcodecs.Shuffle(8)], "compressors": numcodecs.Zlib()},
            {"zarr_format": 3, "compressors": zarr.codecs.BloscCodec(cname="lz4")},
            {"zarr_format": 3, "filters": zarr.codecs.TransposeCodec(order=(1, 0))},
            {"zarr_format": 3, "shards": (ROWS * 2, 2), "compressors": None},
            {"zarr_format": 3, "compressors": zarr.codecs.GzipCodec()},
        )
    ):
        array = zarr.create_array(
            store=str(tmp_path / f"{number}.zarr"),
            shape=values.shape,
            chunks=(ROWS, 2),
            dtype="f8",
            **options,
        )
        array[...] = values
        source = open_source(tmp_path / f"{number}.zarr")
        rows = np.concatenate([source.rows(i)() for i in range(len(source.plan))])
        np.testing.assert_allclose(rows, values)


@pytest.mark.parametrize("kind", ["array sharded", "group sharded"])
def test_inner_chunks_that_are_missing_fail_only_those_who_read_them(
    tmp_path: Path, kind: str
) -> None:
    values = clusters(ROWS * PARTS)
    inner = ROWS // 3
    hole = slice(BAD * ROWS + inner, BAD * ROWS + 2 * inner)
    values[hole] = 0.0  # the fill value, which is left out
    path = written(tmp_path / "a.zarr", kind, values, empty=False)
    _, key = chunk_file(path, kind)
    source = open_source(path)
    assert f"inner chunk {'1/0' if kind.startswith('array') else '1'} of shard {key}" in complaint(
        source, BAD
    )
    assert np.array_equal(np.sort(source.rows(BAD + 1)()), np.sort(values[-2 * ROWS : -ROWS]))
    filling = open_source(path, missing_chunks="fill")
    assert np.count_nonzero((filling.rows(BAD)() == 0.0).all(axis=1)) == inner
    finer = open_source(path, plan="rows", rows_per_partition=inner)
    bad = [i for i, p in enumerate(finer.plan.partitions) if p.boxes[0][0][0] == hole.start]
    for number in range(len(finer.plan)):
        if number in bad:
            assert "is missing from the store" in complaint(finer, number)
        else:
            assert len(finer.rows(number)()) == inner


@pytest.mark.parametrize("kind", KINDS)
def test_absence_can_be_allowed(tmp_path: Path, kind: str) -> None:
    values = clusters(ROWS * PARTS)
    values[BAD * ROWS : (BAD + 1) * ROWS] = 0.0
    path = written(tmp_path / "a.zarr", kind, values, empty=False)
    file, _ = chunk_file(path, kind)
    assert not file.exists()
    assert 'say missing_chunks="fill"' in complaint(open_source(path), BAD)
    source = open_source(path, missing_chunks="fill")
    missing = np.nan if kind == "group v2" else 0.0  # there xarray takes the fill value for NaN
    assert np.array_equal(source.rows(BAD)(), np.full((ROWS, 2), missing), equal_nan=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")
    assert "is empty, zero bytes long" in complaint(source, BAD)
    with pytest.raises(InvalidSource, match="missing_chunks='ignore'; wanted one of"):
        open_source(path, missing_chunks="ignore")


def test_chunks_below_sliced_and_decoded_variables_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    values = np.arange(4 * 6 * 8.0).reshape(4, 6, 8)
    written_to = xr.Dataset({"temp": (("time", "lat", "lon"), values), "area": ("lat", np.ones(6))})
    packed = {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -9}
    written_to.to_zarr(path, encoding={"temp": {"chunks": (2, 3, 4), **packed}}, zarr_format=3)
    opened = xr.open_zarr(path, chunks=None)
    views = (
        opened,
        opened.isel(lat=slice(3, None)),
        opened.isel(lat=slice(None, None, 2), time=slice(1, 4)),
        opened.isel(lon=[0, 5, 7]),
        opened.transpose("lon", "lat", "time"),
        opened.isel(time=3),
    )
    (path / "temp" / "c" / "1" / "1" / "0").unlink()
    for view in views:
        source = open_source(view, features=["temp"], sample_weight="area", plan="chunks")
        failed = []
        for number in range(len(source.plan)):
            try:
                source.rows(number)()
            except UnreadableChunk as error:
                failed.append(str(error))
        assert failed
        assert len(failed) < len(source.plan) or len(source.plan) < 5
        assert all("chunk c/1/1/0 of variable temp is missing" in text for text in failed)
    (path / "area" / "c" / "0").write_bytes(b"rotten")
    source = open_source(opened.isel(time=slice(2)), features=["temp"], sample_weight="area")
    assert "chunk c/0 of variable area cannot be decoded" in complaint(source, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_an_array_that_is_another_one_now_is_not_read(tmp_path: Path, kind: str) -> None:
    values = clusters(ROWS * PARTS)
    path = written(tmp_path / "a.zarr", kind, values)
    source = open_source(path)
    before = source.rows(0)()
    shutil.rmtree(path)
    written(path, kind, values.astype("f4")[: -ROWS // 2])
    said = complaint(source, 0)
    assert "is not the array that was planned" in said
    assert "float64" in said or "<f8" in said
    assert f"shape was [{ROWS * PARTS}" in said
    shutil.rmtree(path)
    assert "cannot be read any more" in complaint(source, 0)
    written(path, kind, values)
    group = zarr.open(path, mode="r+")
    group.attrs["history"] = "looked at"
    assert np.array_equal(source.rows(0)(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_scales_that_changed_are_noticed(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / "a.zarr", kind, clusters(ROWS * PARTS))
    source = open_source(path)
    array = zarr.open(path if kind.startswith("array") else path / "salt", mode="r+")
    array.attrs["scale_factor"] = 10.0
    assert "attributes was None, is {'scale_factor': 10.0}" in complaint(source, 1)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_rotten_chunk_costs_its_partition_and_nothing_else(tmp_path: Path, fault) -> None:
    kind = KINDS[FAULTS.index(fault) % len(KINDS)]
    values = clusters(ROWS * PARTS)
    path = written(tmp_path / "a.zarr", kind, values)
    source = open_source(path)
    fault(chunk_file(path, kind)[0])
    result = fit(source, SETTINGS, InProcess())
    assert list(result.verdict.failed) == [BAD]
    assert f" {chunk_file(path, kind)[1]} of " in result.verdict.failed[BAD]
    values[BAD * ROWS : (BAD + 1) * ROWS] = np.nan
    without = fit(open_source(written(tmp_path / "b.zarr", kind, values)), SETTINGS, InProcess())
    assert list(without.verdict.empty) == [BAD]
    assert np.array_equal(result.mixture.weights, without.mixture.weights)
    for name, ours in result.mixture.params.items():
        assert np.array_equal(ours, without.mixture.params[name])
