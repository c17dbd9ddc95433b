"""Laws of streams: the rows of the partition, anew each time, in blocks that do not matter."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.data import readers, streaming
from dfmr_dask.data.source import open_source
from dfmr_dask.data.streaming import Stream, regrouped


@given(st.lists(st.integers(0, 30), max_size=12), st.integers(1, 12), st.booleans())
def test_regrouped_rows_are_the_same_in_blocks_of_whole_multiples(lengths, rows, weighted):
    ends = np.cumsum(lengths)
    whole = np.arange(2.0 * sum(lengths)).reshape(-1, 2)
    blocks = [
        (whole[end - n : end], np.arange(end - n, end, dtype=float) if weighted else None)
        for n, end in zip(lengths, ends, strict=True)
    ]
    got = list(regrouped(blocks, rows))
    assert all(len(x) % rows == 0 for x, _ in got[:-1])
    assert all(len(x) for x, _ in got)
    np.testing.assert_array_equal(np.concatenate([np.empty((0, 2)), *(x for x, _ in got)]), whole)
    if weighted:
        weights = np.concatenate([np.empty(0), *(w for _, w in got)])
        np.testing.assert_array_equal(weights, np.arange(len(whole)))


@pytest.fixture
def small_blocks(monkeypatch):
    """Let a block be 4 KiB, so that few rows are many of them."""
    monkeypatch.setattr(streaming, "READ_BYTES", 4096)


def test_a_stream_reads_the_store_anew_and_travels_light(tmp_path, small_blocks):
    values = np.random.default_rng(0).standard_normal((5000, 3))
    array = zarr.create_array(tmp_path / "a.zarr", shape=(5000, 3), chunks=(50, 3), dtype="f8")
    array[...] = values
    source = open_source(tmp_path / "a.zarr", plan="rows", n_partitions=2)
    stream = pickle.loads(pickle.dumps(Stream(source.rows(1), held=False)))
    assert len(pickle.dumps(stream)) < 10_000
    blocks = [x for x, _ in stream]
    assert len(blocks) > 10
    assert max(x.nbytes for x in blocks) <= 4096
    np.testing.assert_array_equal(np.concatenate(blocks), values[2500:])
    array[2500:] = -values[2500:]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in stream]), -values[2500:])
    assert (stream.rows, stream.n_features, stream.weighted) == (2500, 3, False)


def test_the_plan_says_which_partitions_are_streamed(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(16_000_000, 10), chunks=(100_000, 10), shards=(8_000_000, 10),
        dtype="f8",
    )  # fmt: skip
    sizes = {"plan": "chunks", "memory_per_worker": "2GiB"}
    huge = open_source(array, **sizes)
    assert huge.plan.streamed == ()  # 640 MB are held
    sizes["memory_per_worker"] = "1GiB"
    source = open_source(array, **sizes)
    assert source.plan.streamed == (0, 1)
    assert isinstance(source.rows(0), Stream)
    assert source.plan.fits
    by_default = open_source(array, memory_per_worker="1GiB")
    assert by_default.plan.streamed == ()
    assert len(by_default.plan) > 2
    assert "whole inner chunks" in by_default.plan.notes[0]
    assert isinstance(by_default.rows(0), readers.BoxReader)


def test_data_in_memory_never_stream():
    source = open_source(np.zeros((10**6, 10)), memory_per_worker="1MiB")
    assert source.plan.streamed == ()
    assert not source.plan.fits


def test_samples_of_huge_chunks_take_parts_of_them(tmp_path):
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=(12_000_000, 1), chunks=(2_000_000, 1), dtype="f8"
    )
    source = open_source(array, plan="rows", n_partitions=1, missing_chunks="fill")
    got = source.sample_rows(0, 1000, np.random.default_rng(0))()
    assert got.nbytes <= 32 << 20
    assert len(got) >= 1000


@pytest.mark.parametrize("value", ["plenty", 0, -1, True, 1.5e400])
def test_memory_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match="memory_per_worker"):
        open_source(np.zeros((10, 1)), memory_per_worker=value)
