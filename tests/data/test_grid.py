"""Laws of boxes and chunks, over shapes and chunks of any kind."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.data.grid import (
    Axis,
    Grid,
    at_chunks,
    boxes_of,
    coarsest,
    cut,
    decoded_rows,
    irregular,
    merged,
    n_boxes,
    random_units,
    regular,
    rows_of,
)

lengths = st.lists(st.integers(1, 9), min_size=1, max_size=6)
grids = st.lists(
    st.one_of(
        st.builds(Axis, st.integers(1, 20), st.integers(1, 8)),
        lengths.map(lambda v: irregular([v])[0]),
    ),
    min_size=1,
    max_size=3,
).map(tuple)


def counts(grid: Grid, boxes) -> np.ndarray:
    """How many of the boxes each row lies in."""
    out = np.zeros([axis.size for axis in grid], int)
    for box in boxes:
        out[tuple(slice(*span) for span in box)] += 1
    return out


@given(grids)
def test_chunks_cover_every_row_once(grid):
    boxes = list(boxes_of(grid))
    assert len(boxes) == n_boxes(grid)
    assert (counts(grid, boxes) == 1).all()
    assert all(decoded_rows(box, grid) == rows_of(box) for box in boxes)


@given(grids, st.integers(1, 200))
def test_pieces_cover_their_box_once_and_are_as_many_as_asked_for(grid, pieces):
    whole = tuple((0, axis.size) for axis in grid)
    for first in (False, True):
        parts = cut(whole, pieces, first)
        assert (counts(grid, parts) == 1).all()
        assert len(parts) >= min(pieces, rows_of(whole))


@given(grids, st.integers(0, 60))
def test_blocks_to_read_end_at_chunks(grid, limit):
    whole = tuple((0, axis.size) for axis in grid)
    blocks = at_chunks(whole, grid, limit)
    assert (counts(grid, blocks) == 1).all()
    assert all(decoded_rows(box, grid) == rows_of(box) for box in blocks)
    assert all(rows_of(box) <= max(limit, *map(rows_of, boxes_of(grid))) for box in blocks)


@given(grids)
def test_merging_changes_no_row(grid):
    boxes = merged(list(boxes_of(grid)))
    assert (counts(grid, boxes) == 1).all()
    assert len(boxes) <= n_boxes(grid)


def test_consecutive_chunks_of_a_table_merge_into_one():
    assert merged([((0, 5),), ((5, 10),), ((12, 15),)]) == (((0, 10),), ((12, 15),))


@given(grids, st.integers(1, 40), st.integers(0, 5))
def test_samples_are_distinct_units_and_enough(grid, n, seed):
    whole = tuple((0, axis.size) for axis in grid)
    chosen = random_units((whole,), grid, n, np.random.default_rng(seed))
    assert counts(grid, chosen).max() == 1
    found = sum(map(rows_of, chosen))
    assert found >= min(2 * n, rows_of(whole))
    assert len(chosen) >= min(4, n_boxes(grid))


@given(grids, st.data())
def test_widened_spans_are_whole_chunks(grid, data):
    axis = grid[0]
    start = data.draw(st.integers(0, axis.size - 1))
    stop = data.draw(st.integers(start + 1, axis.size))
    low, high = axis.around(start, stop)
    touched = [span for span in axis.spans if span[0] < stop and span[1] > start]
    assert (low, high) == (touched[0][0], touched[-1][1])
    edges = [edge for edge, _ in axis.spans if start < edge < stop]
    assert list(axis.inside(start, stop)) == edges


def test_the_coarsest_chunks_win():
    fine, coarse = regular((12, 12), (2, 6)), regular((12, 12), (4, 3))
    assert coarsest([fine, coarse]) == (Axis(12, 4), Axis(12, 6))


def test_even_dask_chunks_need_no_edges():
    assert irregular([(4, 4, 2)]) == (Axis(10, 4),)
    assert irregular([(4, 2, 4)])[0].edges == (0, 4, 6, 10)
