"""From what a reader returns to the rows that are fitted, and how many were left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.data.readers import WeightedRows
from dfmr_dask.errors import DegenerateRows
from dfmr_dask.families.base import Rows
from dfmr_dask.local.outliers import near

TILE = 1 << 16  # rows
Reader = Callable[[], Rows | WeightedRows] | Rows | WeightedRows


@dataclass(frozen=True, slots=True, eq=False)
class Valid:
    """The rows of a partition that are fitted.

    Attributes
    ----------
    x : array of shape (n, d), finite
    weights : array of shape (n,), or None
        Positive; None where each row counts once.
    dropped : int
        Rows left out: NaN, infinity, outliers. Rows of weight 0 are not among them.
    """

    x: Rows
    weights: NDArray[np.float64] | None
    dropped: int

    @property
    def mass(self) -> float | None:
        """The sum of the weights."""
        return None if self.weights is None else float(self.weights.sum())


def load(reader: Reader) -> tuple[Rows, NDArray[np.float64] | None]:
    """Read rows and weights of a partition; blocks of Dask collections are here already."""
    came = reader() if callable(reader) else reader
    return came if isinstance(came, WeightedRows) else (came, None)


def valid_rows(
    x: Rows, weights: NDArray[np.float64] | None = None, outliers: float | None = None
) -> Valid:
    """Return the rows that count.

    Parameters
    ----------
    x : array of shape (n, d)
    weights : array of shape (n,), optional
        Rows of weight 0 are as if they were not there; a weight of NaN is a bad row.
    outliers : float, optional
        Rows further than so many robust spreads from the median are left out as well.

    Raises
    ------
    DegenerateRows
        When a weight is negative, or all together are more than a float holds.
    """
    if weights is not None:
        _check_weights(weights)
        there = weights != 0.0
        x, weights = (x, weights) if there.all() else (x[there], weights[there])
    came = len(x)
    x, weights = _only(_finite(x, weights), x, weights)
    if outliers is not None:
        x, weights = _only(near(x, outliers, weights), x, weights)
    return Valid(x, weights, came - len(x))


def constant_columns(x: Rows) -> NDArray[np.intp]:
    """Return the numbers of the columns that hold one value in all rows (n, d), n > 0."""
    same = np.ones(x.shape[1], dtype=np.bool_)
    for tile in tiles(len(x)):
        same &= (x[tile] == x[0]).all(axis=0)
        if not same.any():  # as a rule the first tile tells
            break
    return np.flatnonzero(same)


def tiles(n: int) -> Iterator[slice]:
    """Cut n rows into tiles, so that what is computed from them needs little memory."""
    return (slice(i, i + TILE) for i in range(0, n, TILE))


def _finite(x: Rows, weights: NDArray[np.float64] | None) -> NDArray[np.bool_]:
    good: NDArray[np.bool_] = np.ones(len(x), dtype=np.bool_)
    if np.issubdtype(x.dtype, np.floating):
        for tile in tiles(len(x)):
            good[tile] = np.isfinite(x[tile]).all(axis=1)
    return good if weights is None else good & np.isfinite(weights)


def _only(
    good: NDArray[np.bool_], x: Rows, weights: NDArray[np.float64] | None
) -> tuple[Rows, NDArray[np.float64] | None]:
    if good.all():
        return x, weights
    return x[good], None if weights is None else weights[good]


def _check_weights(weights: NDArray[np.float64]) -> None:
    """Raise when weights are no counts of rows."""
    negative = int(np.count_nonzero(weights < 0.0))
    if negative:
        raise DegenerateRows(
            f"negative weights in {negative} of {len(weights)} rows, the lowest is "
            f"{np.nanmin(weights):.6g}; wanted 0 or more"
        )
    with np.errstate(over="ignore"):
        total = weights[np.isfinite(weights)].sum()
    if not np.isfinite(total):
        raise DegenerateRows("the sum of the weights is infinite; scale them down")
