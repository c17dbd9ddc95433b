"""What is seen of rows on their way from a reader to a fit, and which of them count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.data.streaming import Block
from dfmr_dask.errors import DegenerateRows, UnreadableChunk
from dfmr_dask.families.base import Family, Rows
from dfmr_dask.local.outliers import Bounds, bounds, within

TILE = 1 << 16  # rows at most
TILE_BYTES = 8 << 20  # of rows that are very wide
Floats = NDArray[np.float64]


@dataclass(slots=True, eq=False)
class Tally:
    """What is seen of rows on their way, whatever the blocks that they come in."""

    rows: int  # that will come
    family: Family
    step: int  # every so many-th row tells what an outlier is; 0 when nobody asks
    seen: int = 0
    came: int = 0  # those of weight 0 left out, as if they were not there
    negative: int = 0
    lowest: float = 0.0
    total: float = 0.0
    tested: list[Block] = field(default_factory=list)
    lost: int = 0
    why: str = ""

    def lose(self, rows: int, error: UnreadableChunk) -> None:
        """Count rows that cannot be read, and keep the first reason."""
        self.lost += rows
        self.why = self.why or " ".join(str(error).split())

    def add(self, x: Rows, weights: Floats | None) -> NDArray[np.bool_]:
        """Count a block, and tell which of its rows can be fitted."""
        good = np.ones(len(x), dtype=np.bool_)
        for tile in tiles(x):
            good[tile] = self.family.usable(x[tile])
            self._complain(x[tile], good[tile])
        self.came += len(x) if weights is None else int(np.count_nonzero(weights))
        if weights is not None:
            good &= np.isfinite(weights) & (weights != 0.0)
            self._weigh(weights)
        if self.step:
            every = slice(-self.seen % self.step, None, self.step)
            self.tested.append(only(good[every], x[every], part_of(weights, every)))
        self.seen += len(x)
        return good

    def _complain(self, x: Rows, good: NDArray[np.bool_]) -> None:
        """Raise where rows are no rows of the family: a count that is negative, or not whole."""
        if not good.all() and (why := self.family.complaint(x[~good])):
            raise DegenerateRows(why)

    def _weigh(self, weights: Floats) -> None:
        below = weights < 0.0
        if below.any():
            self.negative += int(np.count_nonzero(below))
            self.lowest = min(self.lowest, float(weights[below].min()))
        with np.errstate(over="ignore"):
            self.total += float(weights.sum(where=np.isfinite(weights)))

    def limits(self, outliers: float | None) -> Bounds | None:
        """Return the bounds of what is no outlier; raise when weights are no counts of rows."""
        if self.negative:
            raise DegenerateRows(
                f"negative weights in {self.negative} of {self.rows} rows, the lowest is "
                f"{self.lowest:.6g}; wanted 0 or more"
            )
        if not np.isfinite(self.total):
            raise DegenerateRows("the sum of the weights is infinite; scale them down")
        if outliers is None or not self.tested:
            return None
        weights = [weights for _, weights in self.tested if weights is not None]
        x = np.concatenate([x for x, _ in self.tested])
        return bounds(x, outliers, np.concatenate(weights) if weights else None)

    def filtered(self, blocks: Iterable[Block], limits: Bounds | None = None) -> Iterator[Block]:
        """Yield what is valid of blocks, and count them."""
        for x, weights in blocks:
            good = self.add(x, weights)
            if limits is not None:
                good &= within(x, limits)
            yield only(good, x, weights)


def tiles(x: Rows) -> Iterator[slice]:
    """Cut rows (n, d) into tiles, so that what is computed from them needs little memory."""
    step = max(1, min(TILE, TILE_BYTES // max(1, x.dtype.itemsize * x.shape[1])))
    return (slice(i, i + step) for i in range(0, len(x), step))


def part_of(weights: Floats | None, part: slice) -> Floats | None:
    """Return some of the weights, where rows have any."""
    return None if weights is None else weights[part]


def only(good: NDArray[np.bool_], x: Rows, weights: Floats | None) -> Block:
    """Return the good ones of rows and their weights."""
    if good.all():
        return x, weights
    return x[good], None if weights is None else weights[good]
