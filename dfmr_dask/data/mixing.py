"""Partitions that are alike although chunks are not: each has strips of chunks from everywhere."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dfmr_dask.data.cost import SAMPLES, USABLE, Cost
from dfmr_dask.data.fitting import held_to
from dfmr_dask.data.grid import Box, Grid, at_chunks, rows_of, runs, sizes
from dfmr_dask.data.layouts import finished
from dfmr_dask.data.plan import Partition, Plan
from dfmr_dask.errors import InvalidSource
from dfmr_dask.randomness import Stage, generator

HELD_BYTES = 256 << 20  # rows of a partition, unless chunks are larger or workers smaller
FEWEST = 8  # partitions, so that as many workers have something to do
ROWS_EACH = 2000  # in each of so few partitions at least; a fit wants more rows, not more of them
STRIPS = 64  # a partition should have of different chunks
MOST_DECODED = 8  # times that a chunk is decoded, at most
FEW_STRIPS = 16  # with fewer, partitions may be unlike each other


@dataclass(frozen=True, slots=True)
class Chunked:
    """What a source in chunks is made of, which is all that it takes to plan it anew.

    Parameters
    ----------
    units : tuple of Axis
        The smallest chunks that decode alone.
    cost : Cost
    seed : int
        Of what is drawn.
    memory : int or None
        Bytes of a worker.
    notes : tuple of str
        Of the source, whatever the plan.
    """

    units: Grid
    cost: Cost
    seed: int = 0
    memory: int | None = None
    notes: tuple[str, ...] = ()

    def mixed(self, pieces: Plan, without: Collection[int] = ()) -> Plan:
        """Deal the rows of a plan's partitions to new ones, each with strips from everywhere.

        Parameters
        ----------
        pieces : Plan
        without : collection of int
            Partitions of it that are left out.

        Raises
        ------
        InvalidSource
            When none is left.

        See Also
        --------
        mixed : How it is done.
        """
        left_out = frozenset(without)
        boxes = [box for one in pieces.partitions if one.index not in left_out for box in one.boxes]
        plan = mixed(boxes, self.units, self.cost, self.memory, self.seed, self.notes)
        return held_to(plan, self.cost, self.memory)


def mixed(
    boxes: Sequence[Box],
    units: Grid,
    cost: Cost,
    memory: int | None = None,
    seed: int = 0,
    notes: Sequence[str] = (),
) -> Plan:
    """Plan partitions of strips of chunks from all over some boxes, about equal and alike.

    Nobody is filtered there, so few large partitions are best: as many as it takes for one to fit
    in a worker's memory (and in some 256 MiB), and 8 to keep workers busy. Each takes strips of 64
    chunks; where there are too few chunks for that, each chunk is cut into up to 8 strips, and so
    decoded up to 8 times. Strips are dealt in the order of the grid, to all partitions in turn and
    each time in another order, so that each has its share of every region.

    Parameters
    ----------
    boxes : sequence of boxes
        Whose rows are dealt.
    units : tuple of Axis
        The smallest chunks that decode alone.
    cost : Cost
    memory : int or None
        Bytes of a worker.
    seed : int
    notes : sequence of str

    Raises
    ------
    InvalidSource
        When there are no boxes.

    Examples
    --------
    >>> from dfmr_dask.data.cost import Cost
    >>> from dfmr_dask.data.grid import boxes_of, regular
    >>> from dfmr_dask.data.mixing import mixed
    >>> grid = regular((16_000, 4), (1000, 4))  # sixteen chunks of a thousand times and four places
    >>> plan = mixed(list(boxes_of(grid)), grid, Cost.of_one(grid, 16))
    >>> len(plan), plan.decoded_per_byte, [box[0] for box in plan.partitions[0].boxes[:2]]
    (8, 8.0, [(875, 1000), (1625, 1750)])
    """
    chunks = [unit for box in boxes for unit in at_chunks(box, units, 0)]
    if not chunks:
        raise InvalidSource("no chunk is left to be dealt into interleaved partitions")
    total = sum(map(rows_of, chunks))
    n = _partitions(total, max(map(rows_of, chunks)), cost, memory)
    times = min(MOST_DECODED, n, math.ceil(STRIPS * n / len(chunks)))
    strips = [strip for chunk in chunks for strip in _strips(chunk, times)]
    n = min(n, len(strips))
    each = len(strips) // n
    said = (
        f"an interleaved partition has strips of {each} of {len(chunks)} chunks; fewer than "
        f"{FEW_STRIPS} may not resemble the whole: deal the rows into a new store first with "
        "`dfmr shuffle`"
    )
    told = (*notes, said) if each < min(FEW_STRIPS, len(chunks)) else notes
    return replace(finished("interleaved", _in_turns(strips, n, seed), cost, told), skips=True)


def some_strips(partition: Partition, n: int, rng: np.random.Generator) -> Partition:
    """Return random boxes of an interleaved partition, 16 of them and 2 n rows at least."""
    chosen: list[Box] = []
    rows = 0
    for i in rng.permutation(len(partition.boxes)):
        if rows >= 2 * n and len(chosen) >= FEW_STRIPS:
            break
        chosen.append(partition.boxes[int(i)])
        rows += rows_of(chosen[-1])
    return Partition(partition.index, tuple(sorted(chosen)))


def _partitions(total: int, largest: int, cost: Cost, memory: int | None) -> int:
    """Return how many partitions are few enough to be large, and enough to fit in memory."""
    held = max(HELD_BYTES // cost.row_bytes, FEWEST * largest)
    if memory is not None:
        held = min(held, cost.most_rows(USABLE * memory, total, SAMPLES))
    busy = min(FEWEST, total // ROWS_EACH)
    return max(1, busy, math.ceil(total / max(1, held)))


def _strips(chunk: Box, times: int) -> list[Box]:
    """Cut a chunk into so many strips, or as many as it is long where that is less."""
    lengths = sizes(chunk)
    enough = [dim for dim, length in enumerate(lengths) if length >= times]
    dim = enough[0] if enough else max(range(len(lengths)), key=lambda d: lengths[d])
    spans = runs(lengths[dim], min(times, lengths[dim]), chunk[dim][0])
    return [(*chunk[:dim], span, *chunk[dim + 1 :]) for span in spans]


def _in_turns(strips: Sequence[Box], n: int, seed: int) -> list[list[Box]]:
    """Deal strips, n after n of them in a random order, so that groups are equal and spread."""
    rng = generator(seed, Stage.PLAN, 1)
    groups: list[list[Box]] = [[] for _ in range(n)]
    for first in range(0, len(strips), n):
        some = strips[first : first + n]
        for strip, to in zip(some, rng.permutation(n), strict=False):
            groups[int(to)].append(strip)
    return [sorted(group) for group in groups]
