"""Interleaved partitions: every row once, about equal, alike, and at a bounded price."""

from __future__ import annotations

import math
import shutil

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from dfmr_dask.data import open_source
from dfmr_dask.data.cost import USABLE, Cost
from dfmr_dask.data.grid import boxes_of, regular, rows_of
from dfmr_dask.data.mixing import MOST_DECODED, mixed
from dfmr_dask.errors import InvalidSource, UnreadableChunk
from dfmr_dask.run.valid import read_valid

SHAPES = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 25)), min_size=1, max_size=3).map(
    lambda pairs: ([n for n, _ in pairs], [chunk for _, chunk in pairs])
)


@settings(max_examples=30, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 3))
def test_every_row_lies_in_one_partition_and_chunks_are_decoded_a_few_times(shape, seed):
    grid = regular(*shape)
    plan = mixed(list(boxes_of(grid)), grid, Cost.of_one(grid, 8), seed=seed)
    seen = np.zeros([axis.size for axis in grid], dtype=int)
    for one in plan.partitions:
        for box in one.boxes:
            seen[tuple(slice(*span) for span in box)] += 1
    assert (seen == 1).all()
    assert plan.rows == seen.size
    assert plan.decoded_per_byte <= MOST_DECODED + 1e-9
    assert plan.skips
    assert not plan.auto
    assert mixed(list(boxes_of(grid)), grid, Cost.of_one(grid, 8), seed=seed) == plan


def test_partitions_are_equal_and_each_has_its_share_of_every_place():
    grid = regular((4000, 40), (500, 10))  # 32 chunks
    plan = mixed(list(boxes_of(grid)), grid, Cost.of_one(grid, 8))
    assert np.allclose([one.rows for one in plan.partitions], plan.rows / len(plan), rtol=0.01)
    for one in plan.partitions:
        ours = np.zeros((4000, 40))
        for box in one.boxes:
            ours[tuple(slice(*span) for span in box)] = 1.0
        shares = ours.reshape(8, 500, 4, 10).sum(axis=(1, 3))
        assert np.allclose(shares, plan.rows / len(plan) / 32, rtol=0.02)


def test_many_chunks_are_decoded_once_and_few_say_so():
    many = regular((80_000,), (100,))
    assert mixed(list(boxes_of(many)), many, Cost.of_one(many, 8)).decoded_per_byte == 1.0
    few = regular((10**9,), (10**8,))
    plan = mixed(list(boxes_of(few)), few, Cost.of_one(few, 80), memory=4 << 30)
    assert any("dfmr shuffle" in note for note in plan.notes)


def test_partitions_fit_in_a_worker_s_memory():
    grid, memory = regular((50_000_000,), (100_000,)), 2 << 30
    cost = Cost.of_one(grid, 80, streams=True)
    plan = mixed(list(boxes_of(grid)), grid, cost, memory)
    assert plan.memory <= USABLE * memory
    assert max(one.rows for one in plan.partitions) < 50_000_000 / 12


def test_a_source_is_planned_anew_without_some_of_its_pieces(tmp_path):
    zarr.create_array(tmp_path / "a", data=np.arange(8000.0).reshape(-1, 2), chunks=(400, 2))
    source = open_source(tmp_path / "a")
    assert source.plan.auto
    assert source.plan.kind == "chunks"
    assert "auto" in str(source.plan)
    anew = source.interleaved(without=[0, 9])
    rows = np.concatenate([anew.rows(i)() for i in range(len(anew.plan))])
    assert sorted(rows[:, 0] // 800) == sorted(
        np.repeat([i for i in range(10) if i not in (0, 9)], 400)
    )
    assert anew.fingerprint()["plan"]["kind"] == "interleaved"
    with pytest.raises(InvalidSource, match="no chunk is left"):
        source.interleaved(without=range(10))
    with pytest.raises(InvalidSource, match="do not lie in chunks"):
        open_source(np.zeros((10, 2))).interleaved()


def test_what_is_auto():
    chunked = da.zeros((4000, 2), chunks=(400, 2))
    assert open_source(chunked).plan.auto
    assert open_source(chunked, plan="auto").plan.auto
    assert open_source(chunked, plan="auto", rows_per_partition=800).plan.auto
    grid = xr.Dataset({"a": (("t", "x"), np.zeros((6, 5)))}).chunk(t=2)
    assert open_source(grid).plan.auto
    forced: list[dict[str, object]] = [{"plan": "chunks"}, {"rows_per_partition": 800}]
    forced += [{"n_partitions": 4}, {"plan": "interleaved"}]
    for options in forced:
        assert not open_source(chunked, **options).plan.auto
    assert open_source(chunked, plan="interleaved").plan.kind == "interleaved"
    assert not open_source(np.zeros((40, 2)), plan="auto", n_partitions=4).plan.auto


def test_unreadable_chunks_cost_interleaved_partitions_their_rows_and_others_everything(tmp_path):
    values = np.random.default_rng(0).normal(size=(6000, 2))
    array = zarr.create_array(tmp_path / "a", data=values, chunks=(500, 2))
    (tmp_path / "a" / "c" / "3" / "0").unlink()
    source = open_source(array)
    with pytest.raises(UnreadableChunk, match="chunk c/3/0"):
        read_valid(source.rows(3))
    anew = source.interleaved()
    found = [read_valid(anew.rows(i)) for i in range(len(anew.plan))]
    assert sum(one.lost for one in found) == sum(one.dropped for one in found) == 500
    assert {"chunk c/3/0" in one.why for one in found if one.lost} == {True}
    kept = np.sort(np.concatenate([one.table[:, 0] for one in found]))
    assert np.array_equal(kept, np.sort(np.delete(values, np.s_[1500:2000], axis=0)[:, 0]))
    shutil.rmtree(tmp_path / "a" / "c")
    assert read_valid(anew.rows(0)).rows == 0


def test_a_streamed_partition_leaves_out_the_same_rows(tmp_path):
    values = np.random.default_rng(0).normal(size=(6000, 2))
    array = zarr.create_array(tmp_path / "a", data=values, chunks=(500, 2))
    (tmp_path / "a" / "c" / "3" / "0").unlink()
    anew = open_source(array).interleaved()
    held = read_valid(anew.rows(0))
    streamed = read_valid(type(anew).rows(_streaming(anew), 0))
    assert (streamed.rows, streamed.dropped, streamed.lost) == (held.rows, held.dropped, held.lost)
    assert np.array_equal(np.concatenate([x for x, _ in streamed.blocks]), held.table)


def _streaming(source):
    from dataclasses import replace  # noqa: PLC0415

    return replace(source, plan=replace(source.plan, streamed=(0,)))


def test_samples_come_from_many_places_and_leave_out_what_cannot_be_read(tmp_path):
    values = np.random.default_rng(0).normal(size=(64_000, 2))
    array = zarr.create_array(tmp_path / "a", data=values, chunks=(1000, 2))
    (tmp_path / "a" / "c" / "3" / "0").unlink()
    source = open_source(array, plan="interleaved")
    assert source.plan.kind == "interleaved"
    for i in range(len(source.plan)):
        reader = source.sample_rows(i, 100, np.random.default_rng(i))
        found = read_valid(reader)
        assert len(reader.boxes) >= 8
        assert found.rows >= 200
        assert np.isin(found.table[:, 0], values[:, 0]).all()


def test_the_number_of_rows_is_never_lost_in_cutting():
    grid = regular((7, 3), (5, 2))
    plan = mixed(list(boxes_of(grid)), grid, Cost.of_one(grid, 8))
    assert sum(rows_of(box) for one in plan.partitions for box in one.boxes) == math.prod((7, 3))
