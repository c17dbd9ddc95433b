"""E- and M-step over rows of many small integers, genotypes above all: one byte an entry.

A block of rows is laid out once in single precision, in memory that is used again for the next one;
both steps are matrix products of it. Whole numbers are exact there. Log densities are summed up in
float64 over blocks of columns, and what the parameters lose by rounding is put right in the end: it
is another amount at each step of EM, whose objective must not seem to fall.

What is missing counts as 0 in the products, and is listed: log partition functions and shares of
each listed entry are then taken off one by one, which costs little as long as most entries are
there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Params, Rows, Statistics
from dfmr_dask.families.entrywise import Entrywise
from dfmr_dask.jit import COMPILED, compiled
from dfmr_dask.kernels.reference import Blocks, log_sum_exp

MANY_COLUMNS = 128  # fewer are computed in float64
COLUMNS = 512  # whose products are summed up in single precision
BLOCK_NUMBERS = 1 << 19  # of a block that is laid out
FEWEST_ROWS, MOST_ROWS = 16, 512  # of a block
Array = NDArray[np.float64]
Single = NDArray[np.float32]


def handles(family: Any, x: Rows) -> bool:
    """Tell whether rows are laid out here."""
    return (
        COMPILED
        and family.plain_values
        and x.dtype.kind in "iu"
        and x.dtype.itemsize <= 2
        and x.shape[1] >= MANY_COLUMNS
    )


def block_rows(n_features: int) -> int:
    """Return how many rows are a block."""
    rows = BLOCK_NUMBERS // max(n_features, 1)
    return min(MOST_ROWS, max(FEWEST_ROWS, rows - rows % 8))


class Steps:
    """E- and M-step at given parameters, and what they have summed up."""

    __slots__ = (
        *("added", "base", "constants", "count", "family", "gone", "lost", "natural", "partition"),
        *("quick", "rows", "rounded", "scratch", "total", "values", "weights"),
    )

    def __init__(  # noqa: D107
        self, family: Entrywise, weights: Array, params: Params
    ) -> None:
        eta = params[family.parameter]
        (k, d), self.family = eta.shape, family
        self.rows = block_rows(d)
        self.natural, self.partition = family.natural(eta), family.log_partition(eta)
        self.rounded = np.ascontiguousarray(self.natural.T.astype(np.float32))
        self.constants = np.log(weights) - self.partition.sum(axis=1)
        self.quick = family.base_of_squares()
        self.scratch: Single = np.empty((self.rows, d), np.float32)
        self.added: Single = np.empty((k, d), np.float32)
        self.base = np.empty((self.rows, 2))
        self.gone = np.empty(0, np.int64)
        self.values, self.lost, self.count = np.zeros((k, d)), np.zeros((k, d)), np.zeros(k)
        self.total = 0.0

    def add(self, x: Rows, counts: Array | None) -> None:
        """Go through rows (n, d) with their weights."""
        for first in range(0, len(x), self.rows):
            place = slice(first, first + self.rows)
            self._add(x[place], None if counts is None else counts[place])

    def _add(self, x: Rows, counts: Array | None) -> None:
        n = len(x)
        values, gone = self.scratch[:n], self._laid_out(x)
        log_weighted = self._products(values)
        if len(gone):
            give_back(gone, self.partition, log_weighted)
        log_density = log_sum_exp(log_weighted)
        log_weighted -= log_density[:, None]
        r = np.exp(log_weighted, out=log_weighted)
        log_density += self._base(x)
        if counts is not None:
            r *= counts[:, None]
            log_density *= counts
        self.total += float(log_density.sum())
        self.count += r.sum(axis=0)
        self.values += np.matmul(r.T.astype(np.float32), values, out=self.added)
        if len(gone):
            take_off(gone, r, self.lost)

    def _laid_out(self, x: Rows) -> NDArray[np.int64]:
        """Write rows into the scratch memory, and list what is missing, by row and column."""
        values, base = self.scratch[: len(x)], self.base[: len(x)]
        rows = np.ascontiguousarray(x)
        holes = count_and_lay_out(rows, values, base)
        if holes >= len(self.gone):
            self.gone = np.empty(2 * holes + 1, np.int64)
        if holes:
            list_holes(rows.reshape(-1), self.gone)
        return self.gone[:holes]

    def _products(self, values: Single) -> Array:
        """log w_k f(x_i; theta_k) less what all components share, as if nothing were missing."""
        out = np.empty((len(values), len(self.constants)))
        out[:] = self.constants
        for first in range(0, values.shape[1], COLUMNS):
            part = slice(first, first + COLUMNS)
            out += values[:, part] @ self.rounded[part]
        return out

    def _base(self, x: Rows) -> Array:
        if self.quick is None:
            return self.family.base(x)
        return np.asarray(self.base[: len(x)] @ np.array(self.quick))

    def ended(self) -> tuple[Statistics, float]:
        """Return the statistics and the log likelihood."""
        there = self.count[:, None] - self.lost if self.lost.any() else None
        rounding = float((self.values * (self.natural - self.rounded.T)).sum())
        return self.family.summed(self.count, self.values, there), self.total + rounding


def expected_sums(
    family: Any, weights: Array, params: Params, blocks: Blocks
) -> tuple[Statistics, float]:
    """Return the statistics of the E-step and the log likelihood; see ``dfmr_dask.kernels``."""
    steps = Steps(family, weights, params)
    for x, counts in blocks:
        steps.add(x, counts)
    return steps.ended()


@compiled()
def count_and_lay_out(x: Rows, values: Single, base: Array) -> int:
    """Convert rows, 0 where an entry is missing; sum up entries and squares; count what is not."""
    holes = 0
    for i in range(len(x)):
        missing, total, squares = 0, 0, 0
        for j in range(x.shape[1]):
            given = x[i, j]
            v = max(given, 0)
            missing += given < 0
            total += v
            squares += v * v
            values[i, j] = v
        holes += missing
        base[i, 0], base[i, 1] = total, squares
    return holes


@compiled()
def list_holes(flat: Rows, gone: NDArray[np.int64]) -> None:
    """List missing entries of flattened rows, in order, without a branch; one place is spare."""
    place = 0
    for e in range(len(flat)):
        gone[place] = e
        place += flat[e] < 0


@compiled()
def give_back(gone: NDArray[np.int64], partition: Array, log_weighted: Array) -> None:
    """Add the log partition functions of missing entries, which were taken off for all."""
    d = partition.shape[1]
    for e in gone:
        i, j = e // d, e % d
        for k in range(len(partition)):
            log_weighted[i, k] += partition[k, j]


@compiled()
def take_off(gone: NDArray[np.int64], r: Array, lost: Array) -> None:
    """Sum up the responsibilities of rows where an entry is missing."""
    d = lost.shape[1]
    for e in gone:
        i, j = e // d, e % d
        for k in range(len(lost)):
            lost[k, j] += r[i, k]
