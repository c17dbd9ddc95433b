"""Laws of plans: every row in one partition, the same seed the same plan, costs as counted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.data import plan as plans
from dfmr_dask.data.cost import SCRATCH, Cost, byte_text
from dfmr_dask.data.grid import Axis, decoded_rows, irregular, largest, n_boxes, regular, rows_of
from dfmr_dask.errors import InvalidSource

axes = st.one_of(
    st.builds(Axis, st.integers(1, 24), st.integers(1, 9)),
    st.lists(st.integers(1, 9), min_size=1, max_size=6).map(lambda v: irregular([v])[0]),
)
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
    n = data.draw(st.integers(1, min(12, total(grid))))
    plan = plans.interleaved(grid, cost(grid), n, seed)
    check_partition_of_rows(plan, grid)
    assert len(plan) == n
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


def test_interleaved_cuts_large_chunks_and_says_what_it_costs():
    grid = regular((4000,), (1000,))
    plan = plans.interleaved(grid, cost(grid), 4, seed=0)
    assert [partition.rows for partition in plan.partitions] == [1000] * 4
    boxes = [box for partition in plan.partitions for box in partition.boxes]
    assert max(map(rows_of, boxes)) < 1000
    decoded = sum(decoded_rows(box, grid) for box in boxes)
    assert plan.decoded_bytes == 8 * decoded
    assert plan.notes == (f"chunks are decoded {decoded / 4000:.1f} times",)


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


@pytest.mark.parametrize("wanted", [0, -1, 11])
def test_sizes_out_of_range_are_refused(wanted):
    grid = regular((10,), (5,))
    for make in (plans.rows, plans.equal_rows, plans.interleaved):
        with pytest.raises(InvalidSource, match="the source has 10 rows: wanted 1 to 10"):
            make(grid, cost(grid), wanted)


def test_memory_counts_the_largest_partition_a_chunk_and_scratch():
    grid = regular((100_000,), (30_000,))
    plan = plans.chunks(grid, cost(grid))
    assert plan.memory == 8 * (30_000 + 20_000 + 30_000) + SCRATCH
    twice = plans.chunks(grid, Cost(8, ((grid, 8),), copies=2))
    assert twice.memory == plan.memory + 8 * 30_000


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
