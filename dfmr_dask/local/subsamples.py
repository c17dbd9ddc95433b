"""A quarter of the rows, a sixteenth, and so on: short runs from everywhere, gathered in one pass.

Which rows those are follows from their numbers alone, not from how blocks cut them. Each four
neighboring runs of a subsample give one to the next smaller one, by turns that follow the golden
ratio: rows may be sorted, and may repeat with any period, as those of a grid do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Rows

RUN = 16  # consecutive rows that are taken or left together: cheap to copy
SHRINKAGE = 4  # times fewer rows in each next subsample
HELD_BYTES = 64 << 20  # that gathered rows have at most; every fourth run of more is kept
GOLDEN = 0.6180339887498949
Weights = NDArray[np.float64]
Numbers = NDArray[np.intp]


def is_taken(rows: Numbers, level: int) -> NDArray[np.bool_]:
    """Tell which rows, by their numbers, belong to the subsample of a level.

    Parameters
    ----------
    rows : array of int
    level : int
        0 takes all, 1 about a quarter, 2 about a sixteenth of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.local.subsamples import is_taken
    >>> float(is_taken(np.arange(6400), 2).mean())
    0.0625
    """
    taken, group = np.ones(len(rows), dtype=np.bool_), rows // RUN
    for depth in range(1, level + 1):
        turn = group % SHRINKAGE
        group = group // SHRINKAGE
        taken &= turn == (SHRINKAGE * ((group + depth) * GOLDEN % 1.0)).astype(np.intp)
    return taken


@dataclass(slots=True, eq=False)
class Gathering:
    """Rows of a subsample, collected while blocks of all rows go by.

    Attributes
    ----------
    level : int
        Of the subsample that is held: 1, or more where a quarter of the rows is too much.
    seen : int
        Rows that went by.
    """

    level: int = 1
    seen: int = 0
    _parts: list[tuple[Numbers, Rows, Weights | None]] = field(default_factory=list)

    def add(self, x: Rows, weights: Weights | None) -> None:
        """Let a block (n, d) with its weights go by."""
        first = self.seen - self.seen % RUN
        runs = np.arange(first, self.seen + len(x), RUN)
        starts = runs[is_taken(runs, self.level)]
        numbers = (starts[:, None] + np.arange(RUN)).ravel()
        inside = numbers[(numbers >= self.seen) & (numbers < self.seen + len(x))]
        self._parts.append(_picked(inside, x, weights, inside - self.seen))
        self.seen += len(x)
        while sum(part[1].nbytes for part in self._parts) > HELD_BYTES:
            self.level += 1
            self._parts = [self._thinned(part, self.level) for part in self._parts]

    def rows(self, level: int) -> tuple[Rows, Weights | None]:
        """Return rows and weights of a level that is not below the one held."""
        parts = [self._thinned(part, level) for part in self._parts]
        if len(parts) == 1:
            return parts[0][1:]
        weights = [part[2] for part in parts if part[2] is not None]
        together = np.concatenate(weights) if weights else None
        return np.concatenate([part[1] for part in parts]), together

    def _thinned(
        self, part: tuple[Numbers, Rows, Weights | None], level: int
    ) -> tuple[Numbers, Rows, Weights | None]:
        kept = is_taken(part[0], level)
        if kept.all():
            return part
        numbers, x, weights = part
        return _picked(numbers[kept], x, weights, np.flatnonzero(kept))


def _picked(
    numbers: Numbers, x: Rows, weights: Weights | None, places: Numbers
) -> tuple[Numbers, Rows, Weights | None]:
    return numbers, x[places], None if weights is None else weights[places]
