"""The ways to cut a source into partitions: integers only, neither data nor stores."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from itertools import pairwise

from dfmr_dask.data.cost import Cost
from dfmr_dask.data.grid import (
    Box,
    Grid,
    boxes_of,
    cut,
    largest,
    merged,
    n_boxes,
    rows_of,
    runs,
)
from dfmr_dask.data.plan import Kind, Partition, Plan
from dfmr_dask.errors import InvalidSource
from dfmr_dask.randomness import Stage, generator

BLOCKS = 8  # random blocks that a partition needs at least, to resemble the whole


def chunks(grid: Grid, cost: Cost, notes: Sequence[str] = ()) -> Plan:
    """Make each chunk a partition (each shard, where chunks are sharded)."""
    return finished("chunks", [(box,) for box in boxes_of(grid)], cost, notes)


def rows(grid: Grid, cost: Cost, rows_per_partition: int, notes: Sequence[str] = ()) -> Plan:
    """Make partitions of about so many consecutive rows, of whole chunks where they fit.

    A last one of less than half that size is joined to the one before.

    Raises
    ------
    InvalidSource
        When ``rows_per_partition`` is below 1 or above the rows that there are.
    """
    total = math.prod(axis.size for axis in grid)
    check_range("rows_per_partition", rows_per_partition, total)
    if len(grid) == 1 and rows_per_partition < largest(grid):
        edges = [*range(0, total, rows_per_partition), total]
        groups: list[list[Box]] = [[((a, b),)] for a, b in pairwise(edges)]
    else:
        groups = _grouped(grid, rows_per_partition)
    if len(groups) > 1 and 2 * _count(groups[-1]) < rows_per_partition:
        groups[-2:] = [groups[-2] + groups[-1]]
    return finished("rows", groups, cost, (*notes, *_snapped(grid, groups, rows_per_partition)))


def _grouped(grid: Grid, limit: int) -> list[list[Box]]:
    """Fill partitions with whole chunks up to a limit; cut the chunks that are beyond it."""
    groups: list[list[Box]] = []
    filled = limit
    for box in boxes_of(grid):
        size = rows_of(box)
        if size > limit:
            groups.extend([piece] for piece in cut(box, math.ceil(size / limit), first=True))
            filled = limit
        elif filled + size > limit:
            groups.append([box])
            filled = size
        else:
            groups[-1].append(box)
            filled += size
    return groups


def _snapped(grid: Grid, groups: Sequence[Sequence[Box]], wanted: int) -> tuple[str, ...]:
    got = max(map(_count, groups[:-1]), default=wanted)
    if got == wanted or wanted < largest(grid):
        return ()
    return (f"{wanted} rows were asked for, {got} are whole chunks, so each is decoded once",)


def equal_rows(grid: Grid, cost: Cost, n_partitions: int, notes: Sequence[str] = ()) -> Plan:
    """Make so many partitions of consecutive rows, about equal.

    They are whole chunks where there are four or more for each partition; else chunks are cut.

    Raises
    ------
    InvalidSource
        When ``n_partitions`` is below 1 or above the number of rows.
    """
    total = math.prod(axis.size for axis in grid)
    check_range("n_partitions", n_partitions, total)
    if len(grid) == 1 and grid[0].count < 4 * n_partitions:
        boxes: list[list[Box]] = [[(span,)] for span in runs(total, n_partitions)]
    else:
        boxes = _dealt_in_order(_enough(grid, 4 * n_partitions), n_partitions, total)
    return finished("rows", boxes, cost, notes)


def _dealt_in_order(pieces: list[Box], n: int, total: int) -> list[list[Box]]:
    """Cut a list into n runs of about the same number of rows, none of them empty."""
    groups: list[list[Box]] = [[]]
    passed = 0
    for i, piece in enumerate(pieces):
        middle = passed + rows_of(piece) / 2
        wanted = len(groups) * total / n
        must = len(pieces) - i <= n - len(groups)  # each of the others needs one piece
        if groups[-1] and len(groups) < n and (middle > wanted or must):
            groups.append([])
        groups[-1].append(piece)
        passed += rows_of(piece)
    return groups


def interleaved(
    grid: Grid, cost: Cost, n_partitions: int, seed: int = 0, notes: Sequence[str] = ()
) -> Plan:
    """Make so many partitions of random blocks from all over the source, about equal.

    No block is smaller than what decodes alone: reading parts of a chunk costs all of it.

    Parameters
    ----------
    grid : tuple of Axis
        The smallest units that decode alone: chunks, or inner chunks of shards; single rows
        where rows are in memory.
    cost : Cost
    n_partitions : int
    seed : int
    notes : sequence of str

    Raises
    ------
    InvalidSource
        When ``n_partitions`` is below 1, or above the number of units.
    """
    total, there = math.prod(axis.size for axis in grid), n_boxes(grid)
    check_range("n_partitions", n_partitions, total)
    if there < n_partitions:
        raise InvalidSource(
            f"n_partitions={n_partitions}; interleaved partitions are made of whole chunks, since "
            f"a chunk is decoded whole, and the source has {there}: wanted at most "
            f"n_partitions={there}, or deal its rows into a new store first with `dfmr shuffle`"
        )
    few = there // n_partitions
    said = (
        f"a partition has {few} blocks at least; fewer than {BLOCKS} may not resemble the whole: "
        f"make fewer partitions, or deal the rows into a new store first with `dfmr shuffle`"
    )
    blocks = list(boxes_of(grid))
    order = generator(seed, Stage.PLAN).permutation(len(blocks))
    shuffled = [blocks[i] for i in order]
    told = (*notes, said) if few < BLOCKS and n_partitions > 1 else notes
    return finished("interleaved", _dealt(shuffled, n_partitions), cost, told)


def _enough(grid: Grid, wanted: int) -> list[Box]:
    """Return all chunks, cut in proportion to their size where there are too few of them."""
    if n_boxes(grid) >= wanted:
        return list(boxes_of(grid))
    total = math.prod(axis.size for axis in grid)
    return [
        piece
        for box in boxes_of(grid)
        for piece in cut(box, math.ceil(wanted * rows_of(box) / total), first=True)
    ]


def _dealt(blocks: Sequence[Box], n: int) -> list[list[Box]]:
    """Deal blocks, largest first, each to the partition with the fewest rows so far."""
    groups: list[list[Box]] = [[] for _ in range(n)]
    heap = [(0, index) for index in range(n)]
    for block in sorted(blocks, key=rows_of, reverse=True):
        filled, index = heap[0]
        groups[index].append(block)
        heapq.heapreplace(heap, (filled + rows_of(block), index))
    return [sorted(group) for group in groups]


def _count(boxes: Sequence[Box]) -> int:
    return sum(map(rows_of, boxes))


def finished(kind: Kind, groups: Sequence[Sequence[Box]], cost: Cost, notes: Sequence[str]) -> Plan:
    """Number the partitions and count what reading them costs."""
    partitions = tuple(Partition(index, merged(boxes)) for index, boxes in enumerate(groups))
    times = cost.amplification([box for one in partitions for box in one.boxes])
    said = (f"chunks are decoded {times:.1f} times",) if times > 1.05 else ()
    total = sum(partition.rows for partition in partitions) * cost.row_bytes
    return Plan(
        kind,
        partitions,
        rows=total // cost.row_bytes,
        bytes=total,
        decoded_bytes=round(total * times),
        memory=cost.memory(max(partition.rows for partition in partitions), len(partitions)),
        notes=(*notes, *said),
    )


def unknown(n_partitions: int, notes: Sequence[str] = ()) -> Plan:
    """Return the plan of a source whose rows only reading would count."""
    parts = tuple(Partition(index, ()) for index in range(n_partitions))
    return Plan("chunks", parts, None, None, None, None, tuple(notes))


def check_range(name: str, value: int, total: int) -> None:
    """Refuse a number of rows or partitions that the source cannot give."""
    if not 1 <= value <= total:
        raise InvalidSource(f"{name}={value}; the source has {total} rows: wanted 1 to {total}")
