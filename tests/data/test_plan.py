"""Laws of plans: every row in one partition, the same seed the same plan, costs as counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.data import layouts as plans
from dfmr_dask.data.cost import PROCESS, USABLE, Cost, byte_text
from dfmr_dask.data.fitting import cut_to_fit, held_to
from dfmr_dask.data.grid import Axis, decoded_rows, irregular, largest, n_boxes, regular
from dfmr_dask.errors import InvalidSource, TooLittleMemory

axes = st.one_of(
    st.builds(Axis, st.integers(1, 24), st.integers(1, 9)),
    st.lists(st.integers(1, 9), min_size=1, max_size=6).map(lambda v: irregular([v])[0]),
)
SMALL = 256 << 20  # samples and scratch
grids = st.lists(axes, min_size=1, max_size=3).map(tuple)


def cost(grid):
    return Cost.of_one(grid, 8)


def total(grid):
    return math.prod(axis.size for axis in grid)


def check_partition_of_rows(plan, grid):
    seen = np.zeros([axis.size for axis in grid], int)
    for index, partition in enumerate(plan.partitions):
        assert partition.index == index
        assert partition.rows > 0
        for box in partition.boxes:
            seen[tuple(slice(*span) for span in box)] += 1
    assert (seen == 1).all()
    assert plan.rows == total(grid)
    assert plan.bytes == 8 * total(grid)


@given(grids)
def test_chunks(grid):
    plan = plans.chunks(grid, cost(grid))
    check_partition_of_rows(plan, grid)
    assert len(plan) == n_boxes(grid)
    assert plan.decoded_bytes == plan.bytes


@given(grids, st.data())
def test_rows(grid, data):
    wanted = data.draw(st.integers(1, total(grid)))
    plan = plans.rows(grid, cost(grid), wanted)
    check_partition_of_rows(plan, grid)
    assert max(partition.rows for partition in plan.partitions) <= 1.5 * wanted
    if wanted >= largest(grid):
        assert plan.decoded_bytes == plan.bytes


@given(grids, st.data())
def test_equal_rows(grid, data):
    n = data.draw(st.integers(1, total(grid)))
    plan = plans.equal_rows(grid, cost(grid), n)
    check_partition_of_rows(plan, grid)
    assert len(plan) == n


@given(grids, st.data(), st.integers(0, 3))
def test_interleaved(grid, data, seed):
    n = data.draw(st.integers(1, min(12, n_boxes(grid))))
    plan = plans.interleaved(grid, cost(grid), n, seed)
    check_partition_of_rows(plan, grid)
    assert len(plan) == n
    assert plan.decoded_bytes == plan.bytes  # whole chunks: nothing is decoded twice
    assert plans.interleaved(grid, cost(grid), n, seed) == plan


def test_interleaved_is_near_equal_and_spread_over_the_source():
    grid = regular((4000,), (10,))
    plan = plans.interleaved(grid, cost(grid), 7, seed=1)
    sizes = [partition.rows for partition in plan.partitions]
    assert max(sizes) - min(sizes) <= 10
    assert plan.decoded_bytes == plan.bytes
    for partition in plan.partitions:
        middles = [np.mean(span) for (span,) in partition.boxes]
        assert min(middles) < 800
        assert max(middles) > 3200
    assert plans.interleaved(grid, cost(grid), 7, seed=2) != plan


def test_interleaved_takes_whole_chunks_and_says_where_they_are_few():
    grid = regular((4000,), (1000,))
    plan = plans.interleaved(grid, cost(grid), 2, seed=0)
    assert [partition.rows for partition in plan.partitions] == [2000] * 2
    assert plan.decoded_bytes == plan.bytes
    (note,) = plan.notes
    assert "2 blocks at least" in note
    assert "dfmr shuffle" in note
    many = regular((4000,), (100,))
    assert plans.interleaved(many, cost(many), 5).notes == ()
    with pytest.raises(InvalidSource, match=r"wanted at most n_partitions=4.*dfmr shuffle"):
        plans.interleaved(grid, cost(grid), 5)


def test_rows_are_snapped_to_whole_chunks_and_a_runt_joins_its_neighbor():
    grid = regular((1000,), (100,))
    plan = plans.rows(grid, cost(grid), 350)
    assert [partition.rows for partition in plan.partitions] == [300, 300, 400]
    assert plan.decoded_bytes == plan.bytes
    assert "350 rows were asked for" in plan.notes[0]
    assert all(len(partition.boxes) == 1 for partition in plan.partitions)


def test_rows_below_a_chunk_are_contiguous_runs():
    grid = regular((1000,), (400,))
    plan = plans.rows(grid, cost(grid), 300)
    assert [p.boxes[0][0] for p in plan.partitions] == [(0, 300), (300, 600), (600, 1000)]
    assert plan.notes == ("chunks are decoded 1.8 times",)


def test_rows_on_a_grid_split_chunks_along_their_first_dimension():
    grid = regular((8, 6), (4, 3))
    plan = plans.rows(grid, cost(grid), 6)
    assert plan.partitions[0].boxes == (((0, 2), (0, 3)),)
    assert plan.partitions[1].boxes == (((2, 4), (0, 3)),)
    assert len(plan) == 8


def test_cut_chunks_cost_what_they_decode():
    grid = regular((1000,), (400,))
    plan = plans.equal_rows(grid, cost(grid), 4)
    decoded = sum(decoded_rows(p.boxes[0], grid) for p in plan.partitions)
    assert plan.decoded_bytes == 8 * decoded > plan.bytes
    assert f"{decoded / 1000:.1f} bytes a byte used" in str(plan)


@pytest.mark.parametrize("wanted", [0, -1, 11])
def test_sizes_out_of_range_are_refused(wanted):
    grid = regular((10,), (5,))
    for make in (plans.rows, plans.equal_rows, plans.interleaved):
        with pytest.raises(InvalidSource, match="the source has 10 rows: wanted 1 to 10"):
            make(grid, cost(grid), wanted)


@given(st.integers(1, 10**7), st.integers(1, 10**7), st.integers(1, 500), st.integers(1, 400))
def test_memory_grows_with_the_rows_and_streaming_bounds_it(rows, chunk, partitions, width):
    one = Cost(width, ((regular((10**7,), (chunk,)), width),), streams=True)
    held, streamed = (one.memory(rows, partitions, streamed=s) for s in (False, True))
    assert held >= PROCESS + rows * width + one.piece(rows)
    assert one.memory(rows + 1, partitions) >= held
    twice = Cost(width, one.arrays, copies=2)
    assert twice.memory(rows, partitions) >= held
    most = one.most_rows(held, 10**7, partitions)
    assert most >= rows
    assert one.memory(most, partitions) <= held
    assert streamed <= max(held, PROCESS + 6 * one.piece(rows) + 2 * SMALL)


def test_what_a_worker_cannot_hold_is_streamed():
    grid = regular((10**8,), (10**6,))
    one = Cost.of_one(grid, 40, streams=True)
    plan = plans.rows(grid, one, 2 * 10**7)
    small = held_to(plan, one, 1 << 30)
    assert small.streamed == (0, 1, 2, 3, 4)
    assert small.fits
    assert small.memory < plan.memory
    assert "streamed    5 of 5 partitions" in str(small)
    assert held_to(plan, one, 8 << 30).streamed == ()
    assert held_to(plan, one, None) == plan
    table = Cost.of_one(grid, 40)  # neither in memory nor of Dask
    assert held_to(plan, table, 1 << 30).streamed == ()
    with pytest.raises(TooLittleMemory, match=r"memory_per_worker: came 1.0 GiB.*wanted at least"):
        held_to(plan, table, 1 << 30).check_memory()


def test_a_chunk_that_decodes_only_as_a_whole_is_refused():
    grid = regular((10**8,), (10**7,))
    one = Cost.of_one(grid, 40, streams=True)
    plan = held_to(cut_to_fit(grid, grid, one, 1 << 30), one, 1 << 30)
    assert len(plan) == 10
    assert not plan.fits
    with pytest.raises(TooLittleMemory, match="chunk-rows"):
        plan.check_memory()


@given(st.integers(1, 40), st.integers(1, 40))
def test_shards_that_are_too_large_are_cut_at_inner_chunks(inner, shards):
    chunk = 10**5
    units, grid = regular((10**7,), (chunk,)), regular((10**7,), (inner * chunk,))
    one = Cost.of_one(units, 400, streams=True)
    memory = int(one.memory(shards * chunk, 400) / USABLE) + 1
    plan = cut_to_fit(grid, units, one, memory, ("said before",))
    assert plan.rows == 10**7
    assert plan.decoded_bytes == plan.bytes
    assert plan.notes[0] == "said before"
    assert held_to(plan, one, memory).fits
    if inner <= shards:
        assert len(plan) == n_boxes(grid)


def test_a_plan_reads_as_a_table():
    grid = regular((250,), (100,))
    text = str(plans.chunks(grid, cost(grid), ("mind the gap",)))
    assert "partitions  3" in text
    assert "rows        250, 50 to 100 in each" in text
    assert text.endswith("note        mind the gap")
    assert "rows        unknown" in str(plans.unknown(3))


@pytest.mark.parametrize(
    ("count", "text"), [(None, "unknown"), (5, "5 B"), (1536, "1.5 KiB"), (3 << 40, "3.0 TiB")]
)
def test_bytes_as_people_read_them(count, text):
    assert byte_text(count) == text
