"""Fingerprints change with the data that they stand for, with nothing else, and say what did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.data.fingerprints import differences, sha256
from dfmr_dask.data.source import open_source
from tests.data.rotten import BAD, KINDS, PARTS, ROWS, chunk_file, clusters, written


def changed(before: dict, now: dict) -> list:
    return [number for number in before if before[number] != now[number]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_chunk_that_was_written_again_changes_its_partition_only(
    tmp_path: Path, kind: str
) -> None:
    path = written(tmp_path / "a.zarr", kind, clusters(ROWS * PARTS))
    source = open_source(path)
    before = source.partition_fingerprints()
    assert list(before) == list(range(PARTS))
    assert len(set(before.values())) == PARTS
    assert open_source(path).partition_fingerprints() == before
    file, _ = chunk_file(path, kind)
    file.write_bytes(file.read_bytes() + b"more")
    longer = source.partition_fingerprints()
    os.utime(file, ns=(1, 1))
    older = source.partition_fingerprints([BAD, 0])
    file.unlink()
    gone = source.partition_fingerprints()
    assert changed(before, longer) == changed(before, gone) == [BAD]
    assert len({before[BAD], longer[BAD], older[BAD], gone[BAD]}) == 4
    assert list(older) == [BAD, 0]
    assert older[0] == before[0]
    assert changed(gone, open_source(path, missing_chunks="fill").partition_fingerprints()) == [BAD]


def test_another_process_finds_the_same(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zarr", "group v3", clusters(ROWS * PARTS))
    source = open_source(path)
    script = (
        "import sys; from dfmr_dask import open_source; s = open_source(sys.argv[1]);"
        "print(s.fingerprint()['sha256'], *s.partition_fingerprints().values())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    ours = [source.fingerprint()["sha256"], *source.partition_fingerprints().values()]
    assert done.stdout.split() == ours


def test_a_store_that_grew_keeps_the_fingerprints_of_its_partitions(tmp_path: Path) -> None:
    values = clusters(ROWS * PARTS)
    path = written(tmp_path / "a.zarr", "array v3", values)
    source = open_source(path)
    before, partitions = source.fingerprint(), source.partition_fingerprints()
    zarr.open_array(path, mode="r+").append(values[:ROWS])
    grown = open_source(path)
    now = grown.partition_fingerprints()
    assert len(now) == PARTS + 1
    assert {number: now[number] for number in partitions} == partitions
    said = differences(before, grown.fingerprint())
    assert f"shape was [{ROWS * PARTS}], is [{ROWS * (PARTS + 1)}]" in said
    assert f"plan.partitions was {PARTS}, is {PARTS + 1}" in said
    assert not any(text.startswith("data") for text in said)


def test_metadata_that_differ_are_named(tmp_path: Path) -> None:
    values = clusters(ROWS * PARTS)
    one = open_source(written(tmp_path / "a.zarr", "array v3", values)).fingerprint()
    other = open_source(written(tmp_path / "b.zarr", "array v2", values)).fingerprint()
    single = open_source(written(tmp_path / "c.zarr", "array v3", values.astype("f4")))
    assert any("zarr_format was 3, is 2" in text for text in differences(one, other))
    said = differences(one, single.fingerprint())
    assert 'dtype was "<f8", is "<f4"' in said
    assert 'data.arrays./.data_type was "float64", is "float32"' in said
    assert differences(one, one) == []


def test_slices_of_one_store_are_told_apart_by_the_chunks_they_touch(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zarr", "group v3", clusters(ROWS * PARTS))
    whole = xr.open_zarr(path, consolidated=False, chunks=None)
    late, shifted = whole.isel(row=slice(ROWS * BAD, None)), whole.isel(row=slice(1, None))
    some = whole.isel(row=np.array([3, 5, ROWS * BAD + 1]))
    turned = whole.transpose("row")
    prints = [open_source(d).fingerprint()["sha256"] for d in (whole, late, shifted, some)]
    assert len(set(prints)) == 4
    assert open_source(turned).fingerprint()["data"] == open_source(whole).fingerprint()["data"]
    sources = {name: open_source(d) for name, d in [("late", late), ("some", some)]}
    before = {name: source.partition_fingerprints() for name, source in sources.items()}
    file, _ = chunk_file(path, "group v3")
    file.write_bytes(b"other")
    now = {name: source.partition_fingerprints() for name, source in sources.items()}
    assert changed(before["late"], now["late"]) == [0]
    assert changed(before["some"], now["some"]) == [0]
    other, _ = chunk_file(path, "group v3", BAD - 1)
    other.write_bytes(b"other")
    for name, source in sources.items():
        assert source.partition_fingerprints() == now[name]


def test_weights_count_too(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zarr", "group v3", np.abs(clusters(ROWS * PARTS)))
    source = open_source(path, features=["temp"], sample_weight="salt")
    before = source.partition_fingerprints()
    file, _ = chunk_file(path, "group v3")
    file.unlink()
    assert changed(before, source.partition_fingerprints()) == [BAD]


def test_data_without_chunks_in_a_store_share_one_fingerprint_and_say_so() -> None:
    values = clusters(ROWS)
    for data in (values, da.from_array(values, chunks=(40, 2)), xr.Dataset({"a": ("x", [1, 2])})):
        source = open_source(data)
        told = source.fingerprint()
        assert told["data"]["stamps"] == "none: all partitions share one fingerprint"
        assert len(set(source.partition_fingerprints().values())) == 1
    other = open_source(values + 1.0).partition_fingerprints()
    assert changed(open_source(values).partition_fingerprints(), other) == list(other)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
NAMED = st.dictionaries(st.text(max_size=3), PLAIN, max_size=4)


@given(NAMED, NAMED)
def test_values_differ_in_words_exactly_when_their_digests_do(before: dict, now: dict) -> None:
    assert differences(before, before) == []
    assert bool(differences(before, now)) == (sha256(before) != sha256(now))
    assert len(differences(before, now)) == len(differences(now, before))
