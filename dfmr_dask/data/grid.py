"""Boxes of rows and the chunks that they lie in: integers only, neither data nor stores."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

Span = tuple[int, int]
Box = tuple[Span, ...]
Axes = tuple[int | None, ...]  # which axis of an array is each sample dimension, if any
BLOCKS_READ = 4  # random blocks that a sample needs at least


@dataclass(frozen=True, slots=True)
class Axis:
    """One sample dimension and where its chunks begin.

    Parameters
    ----------
    size : int
        Length of the dimension.
    chunk : int
        Length of each chunk but the last one.
    edges : tuple of int
        Where chunks begin and end, 0 and ``size`` included, when they are not all alike.

    Examples
    --------
    >>> from dfmr_dask.data.grid import Axis
    >>> Axis(10, 4).spans
    [(0, 4), (4, 8), (8, 10)]
    >>> Axis(10, edges=(0, 7, 10)).around(8, 9)
    (7, 10)
    """

    size: int
    chunk: int = 0
    edges: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """The number of chunks."""
        return len(self.edges) - 1 if self.edges else math.ceil(self.size / self.chunk)

    @property
    def longest(self) -> int:
        """Length of the longest chunk."""
        if self.edges:
            return max(stop - start for start, stop in pairwise(self.edges))
        return min(self.chunk, self.size)

    @property
    def spans(self) -> list[Span]:
        """Start and stop of each chunk."""
        return list(pairwise(self.edges or (*range(0, self.size, self.chunk), self.size)))

    def inside(self, start: int, stop: int) -> Sequence[int]:
        """Return the edges that lie strictly between start and stop."""
        if self.edges:
            return self.edges[bisect_right(self.edges, start) : bisect_left(self.edges, stop)]
        return range((start // self.chunk + 1) * self.chunk, stop, self.chunk)

    def around(self, start: int, stop: int) -> Span:
        """Widen a span to whole chunks, which is what reading it decodes."""
        if self.edges:
            first = self.edges[bisect_right(self.edges, start) - 1]
            return first, self.edges[bisect_left(self.edges, stop)]
        last = math.ceil(stop / self.chunk) * self.chunk
        return start // self.chunk * self.chunk, min(last, self.size)


Grid = tuple[Axis, ...]


def regular(shape: Sequence[int], chunks: Sequence[int]) -> Grid:
    """Return the grid of a shape in chunks that are all alike."""
    return tuple(Axis(size, max(1, chunk)) for size, chunk in zip(shape, chunks, strict=True))


def irregular(lengths: Sequence[Sequence[int]]) -> Grid:
    """Return the grid of chunk lengths for each dimension, as Dask gives them."""
    return tuple(_axis(along) for along in lengths)


def _axis(lengths: Sequence[int]) -> Axis:
    longest, size = max(lengths, default=1), sum(lengths)
    if all(length == longest for length in lengths[:-1]):
        return Axis(size, max(1, longest))
    edges = [0]
    for length in lengths:
        if length:
            edges.append(edges[-1] + length)
    return Axis(size, edges=tuple(edges))


def coarsest(grids: Sequence[Grid]) -> Grid:
    """Return, for each dimension, the axis with the fewest chunks."""
    return tuple(min(axes, key=lambda axis: axis.count) for axes in zip(*grids, strict=True))


def boxes_of(grid: Grid) -> Iterator[Box]:
    """Yield the box of each chunk, the last dimension fastest."""
    return product(*(axis.spans for axis in grid))


def n_boxes(grid: Grid) -> int:
    """Return the number of chunks."""
    return math.prod(axis.count for axis in grid)


def largest(grid: Grid) -> int:
    """Return the number of rows in the largest chunk."""
    return math.prod(axis.longest for axis in grid)


def sizes(box: Box) -> tuple[int, ...]:
    """Return the length of a box in each dimension."""
    return tuple(stop - start for start, stop in box)


def rows_of(box: Box) -> int:
    """Return the number of rows in a box."""
    return math.prod(sizes(box))


def decoded_rows(box: Box, grid: Grid) -> int:
    """Return the number of rows that reading a box decodes."""
    return rows_of(tuple(axis.around(*span) for span, axis in zip(box, grid, strict=True)))


def cut(box: Box, pieces: int, first: bool = False) -> list[Box]:
    """Cut a box into at least ``pieces`` nearly equal ones (as far as it has rows).

    Along its longest dimension, or along its ``first`` one that can be cut, and on along others
    where one does not suffice.
    """
    length = sizes(box)
    if pieces <= 1 or rows_of(box) == 1:
        return [box]
    choices = [dim for dim in range(len(box)) if length[dim] > 1]
    dim = choices[0] if first else max(choices, key=lambda d: length[d])
    parts = min(pieces, length[dim])
    rest = math.ceil(pieces / parts)
    spans = runs(length[dim], parts, box[dim][0])
    return [p for s in spans for p in cut((*box[:dim], s, *box[dim + 1 :]), rest, first)]


def runs(size: int, n: int, start: int = 0) -> list[Span]:
    """Cut a length into n contiguous spans that differ by one at most."""
    edges = [start + size * i // n for i in range(n + 1)]
    return list(pairwise(edges))


def at_chunks(box: Box, grid: Grid, limit: int) -> list[Box]:
    """Cut a box at edges of chunks until its pieces have ``limit`` rows, or are one chunk."""
    todo, done = [box], []
    while todo:
        one = todo.pop()
        halves = _halves(one, grid) if rows_of(one) > limit else ()
        if halves:
            todo.extend(reversed(halves))
        else:
            done.append(one)
    return done


def _halves(box: Box, grid: Grid) -> tuple[Box, ...]:
    for dim, (span, axis) in enumerate(zip(box, grid, strict=True)):
        edges = axis.inside(*span)
        if edges:
            middle = edges[len(edges) // 2]
            low, high = (span[0], middle), (middle, span[1])
            return tuple((*box[:dim], half, *box[dim + 1 :]) for half in (low, high))
    return ()


def merged(boxes: Sequence[Box]) -> tuple[Box, ...]:
    """Join neighbors that together are a box again, so that fewer reads do the same."""
    out: list[Box] = []
    for box in boxes:
        one = box
        while out and (joined := _joined(out[-1], one)):
            out.pop()
            one = joined
        out.append(one)
    return tuple(out)


def _joined(a: Box, b: Box) -> Box | None:
    differing = [dim for dim in range(len(a)) if a[dim] != b[dim]]
    if len(differing) != 1 or a[differing[0]][1] != b[differing[0]][0]:
        return None
    dim = differing[0]
    return (*a[:dim], (a[dim][0], b[dim][1]), *a[dim + 1 :])


def random_units(
    boxes: Sequence[Box], grid: Grid, n: int, rng: np.random.Generator, most: int = 0
) -> tuple[Box, ...]:
    """Choose random chunks of some boxes (or the parts that lie in them), until they hold 2 n rows.

    At least four of them, so that no single place stands for the partition. Of a chunk with more
    rows than ``most``, and than a quarter of what is wanted, only a random part is taken: samples
    of huge chunks must fit in memory.
    """
    units = [unit for box in boxes for unit in at_chunks(box, grid, 0)]
    limit = max(most, math.ceil(2 * n / BLOCKS_READ)) if most else math.inf
    chosen: list[Box] = []
    found = 0
    for i in rng.permutation(len(units)):
        if found >= 2 * n and len(chosen) >= BLOCKS_READ:
            break
        unit = units[i]
        if len(units) > BLOCKS_READ and rows_of(unit) > limit:
            parts = cut(unit, math.ceil(rows_of(unit) / limit), first=True)
            unit = parts[rng.integers(len(parts))]
        chosen.append(unit)
        found += rows_of(unit)
    return tuple(sorted(chosen))
