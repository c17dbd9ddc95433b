"""From what a reader returns to the rows that are fitted, and how many were left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.data.cost import MOST_TESTED, TESTED_BYTES
from dfmr_dask.data.readers import BoxReader, WeightedRows
from dfmr_dask.data.streaming import Block, Lose, Stream, regrouped
from dfmr_dask.families import Gaussian
from dfmr_dask.families.base import Family, Rows
from dfmr_dask.kernels import even_rows
from dfmr_dask.local.climbing import RowBlocks
from dfmr_dask.local.outliers import Bounds, within
from dfmr_dask.run.tally import Tally, part_of, tiles

Floats = NDArray[np.float64]
GAUSSIAN = Gaussian()  # whose rows are numbers, all of them finite
Reader = Callable[[], Rows | WeightedRows] | Stream | Rows | WeightedRows


@dataclass(frozen=True, slots=True, eq=False)
class Valid:
    """The rows of a partition that are fitted.

    Attributes
    ----------
    x : array of shape (n, d); or a sequence of blocks
        Blocks, pairs of rows and weights, are read from the store whenever they are gone through.
    weights : array of shape (n,), or None
        Positive; None where each row counts once, and where blocks bring their own.
    rows : int
        How many they are.
    dropped : int
        Rows left out: NaN, infinity (or, of families whose entries may be missing, no entry at
        all), outliers. Rows of weight 0 are not among them.
    mass : float or None
        The sum of the weights; None where each row counts once.
    constant : array of int
        Numbers of the columns that hold one value in all rows.
    read : int
        All rows that were read.
    lost : int
        Rows of blocks that could not be read and were left out, where a plan allows that; they are
        among those dropped.
    why : str
        The reason that the first of them gave.
    """

    x: Rows | RowBlocks
    weights: Floats | None
    rows: int
    dropped: int
    mass: float | None
    constant: NDArray[np.intp]
    read: int
    lost: int = 0
    why: str = ""

    @property
    def blocks(self) -> RowBlocks:
        """The rows and their weights in blocks, be they held or not."""
        if not isinstance(self.x, np.ndarray):
            return self.x
        return [(self.x[tile], part_of(self.weights, tile)) for tile in tiles(self.x)]

    @property
    def table(self) -> Rows:
        """The rows (n, d) of a partition that is held."""
        assert isinstance(self.x, np.ndarray)
        return self.x


def read_valid(reader: Reader, outliers: float | None = None, family: Family = GAUSSIAN) -> Valid:
    """Read the rows of a partition and return those that count.

    Parameters
    ----------
    reader : callable, Stream, or rows
        Rows of a store are taken block by block, so that none of them lies in memory twice; those
        of a Stream that must not be held stay in the store. Blocks of Dask are here already.
    outliers : float, optional
        Rows further than so many robust spreads from the median are left out as well. Where there
        are more than a million rows or 16 MiB, every k-th one tells median and spread.

    Raises
    ------
    DegenerateRows
        When a weight is negative, or all together are more than a float holds.
    """
    if isinstance(reader, BoxReader):
        reader = Stream(reader, held=True)
    if isinstance(reader, Stream):
        read = _held if reader.held else _streamed
        return read(reader, outliers, family)
    came = reader() if callable(reader) else reader
    x, weights = came if isinstance(came, WeightedRows) else (came, None)
    return valid_rows(x, weights, outliers, family)


def valid_rows(
    x: Rows,
    weights: Floats | None = None,
    outliers: float | None = None,
    family: Family = GAUSSIAN,
) -> Valid:
    """Return the rows that count, of rows (n, d) and weights (n,) in memory; see `read_valid`."""
    tally = Tally(len(x), family, _stride(len(x), x.dtype.itemsize * x.shape[1], outliers))
    good = np.ones(len(x), dtype=np.bool_)
    for tile in tiles(x):
        good[tile] = tally.add(x[tile], None if weights is None else weights[tile])
    limits = tally.limits(outliers)
    if limits is not None:
        for tile in tiles(x):
            good[tile] &= within(x[tile], limits)
    if not good.all():
        x, weights = x[good], None if weights is None else weights[good]
    return _of_arrays(x, weights, tally)


def constant_columns(x: Rows) -> NDArray[np.intp]:
    """Return the numbers of the columns that hold one value in all rows (n, d), n > 0."""
    same = np.ones(x.shape[1], dtype=np.bool_)
    for tile in tiles(x):
        same &= (x[tile] == x[0]).all(axis=0)
        if not same.any():  # as a rule the first tile tells
            break
    return np.flatnonzero(same)


@dataclass(frozen=True, slots=True, eq=False)
class ValidBlocks(Sequence[Block]):
    """The valid rows of a partition that is not held, read anew whenever they are gone through.

    Blocks hold whole tiles of the kernel, so that sums over them are those over all rows at once.
    Looking up one of them reads those before it, too.
    """

    stream: Stream
    limits: Bounds | None
    n_blocks: int
    family: Family

    def __iter__(self) -> Iterator[Block]:
        """Read and filter block after block."""
        return _steady(self.stream, Tally(self.stream.rows, self.family, 0), self.limits)

    def __len__(self) -> int:
        """Return the number of blocks."""
        return self.n_blocks

    def __getitem__(self, index: Any) -> Any:
        """Read one block."""
        place = range(self.n_blocks)[index]
        return next(islice(self, place, None))


def _steady(
    stream: Stream, tally: Tally, limits: Bounds | None, lose: Lose | None = None
) -> Iterator[Block]:
    rows = even_rows(stream.n_features, stream.dtype, tally.family)
    return regrouped(tally.filtered(stream.blocks(lose), limits), rows)


def _streamed(stream: Stream, outliers: float | None, family: Family) -> Valid:
    """Go through the rows once, or twice for outliers, and keep nothing but what was counted."""
    row_bytes = stream.dtype.itemsize * stream.n_features
    tally = Tally(stream.rows, family, _stride(stream.rows, row_bytes, outliers))
    came = _steady(stream, tally, None, tally.lose)
    rows, mass, count, same = _counted(came, stream.n_features)
    limits = tally.limits(outliers)
    if limits is not None:
        again = _steady(stream, Tally(stream.rows, family, 0), limits)
        rows, mass, count, same = _counted(again, stream.n_features)
    blocks = ValidBlocks(stream, limits, count, family)
    total = mass if stream.weighted else None
    dropped = tally.came + tally.lost - rows
    constant, read = np.flatnonzero(same), stream.rows
    return Valid(blocks, None, rows, dropped, total, constant, read, tally.lost, tally.why)


def _counted(blocks: Iterable[Block], d: int) -> tuple[int, float, int, NDArray[np.bool_]]:
    """Return rows, their weight, blocks, and which columns hold one value."""
    rows, mass, count, first = 0, 0.0, 0, None
    same = np.ones(d, dtype=np.bool_)
    for x, weights in blocks:
        first = x[0].copy() if first is None else first
        if same.any():
            same &= (x == first).all(axis=0)
        rows, count = rows + len(x), count + 1
        mass += 0.0 if weights is None else float(weights.sum())
    return rows, mass, count, same


def _held(stream: Stream, outliers: float | None, family: Family) -> Valid:
    """Put the valid rows below each other, in one array that is made once."""
    row_bytes = stream.dtype.itemsize * stream.n_features
    tally = Tally(stream.rows, family, _stride(stream.rows, row_bytes, outliers))
    x = np.empty((stream.rows, stream.n_features), stream.dtype)
    weights = np.empty(stream.rows) if stream.weighted else None
    n = 0
    for rows, counts in tally.filtered(stream.blocks(tally.lose)):
        x[n : n + len(rows)] = rows
        if weights is not None:
            weights[n : n + len(rows)] = counts
        n += len(rows)
    x, weights = x[:n], None if weights is None else weights[:n]
    limits = tally.limits(outliers)
    if limits is not None:
        kept = 0
        for part in tiles(x):  # moved up within our own array: a copy would take as much again
            near = within(x[part], limits)
            stop = kept + int(np.count_nonzero(near))
            x[kept:stop] = x[part][near]
            if weights is not None:
                weights[kept:stop] = weights[part][near]
            kept = stop
        n = kept
    return _of_arrays(x[:n], None if weights is None else weights[:n], tally)


def _of_arrays(x: Rows, weights: Floats | None, tally: Tally) -> Valid:
    mass = None if weights is None else float(weights.sum())
    constant = constant_columns(x) if len(x) else np.arange(x.shape[1])
    dropped = tally.came + tally.lost - len(x)
    read, lost = tally.rows, tally.lost
    return Valid(x, weights, len(x), dropped, mass, constant, read, lost, tally.why)


def _stride(rows: int, row_bytes: int, outliers: float | None) -> int:
    """Return k such that every k-th row tells what an outlier is; 0 where nobody asks."""
    most = max(1, min(MOST_TESTED, TESTED_BYTES // row_bytes))
    return 0 if outliers is None else max(1, -(-rows // most))
