"""E- and M-step over rows of many small integers, genotypes above all: one byte an entry.

Rows are read as they lie, a block at a time, and turned into single precision in registers: a few
columns of one row serve three components in the E-step, those of four rows in the M-step. Whole
numbers are exact there. Log densities are summed up in float64 over tiles of columns, sums over
rows over blocks of them, and what the parameters lose by rounding is put right in the end: it is
another amount at each step of EM, whose objective must not seem to fall.

What is missing counts as 0 in the products. Where a block holds such entries, log partition
functions are added for each, and their responsibilities summed up, in products of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Params, Rows, Statistics
from dfmr_dask.families.entrywise import Entrywise
from dfmr_dask.jit import COMPILED, compiled, to_be_read
from dfmr_dask.kernels.reference import Blocks, log_sum_exp

MANY_COLUMNS = 128  # fewer are computed in float64
COLUMNS = 512  # of a tile, whose products are summed up in single precision
BLOCK_NUMBERS = 1 << 20  # of a block of rows
FEWEST_ROWS, MOST_ROWS = 16, 512  # of a block
TOGETHER, ROWS_TOGETHER = 3, 4  # components, and rows: as many as registers hold
SUMS = frozenset({"contract", "reassoc", "nsz"})  # sums over columns in vector registers
Array = NDArray[np.float64]
Single = NDArray[np.float32]
ZERO: Any = np.float32(0)


def handles(family: Any, x: Rows) -> bool:
    """Tell whether rows are read here as they lie."""
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
        *("base", "constants", "count", "family", "lost", "natural", "partition", "quick"),
        *("rounded", "rows", "shares", "sums", "total", "values"),
    )

    def __init__(  # noqa: D107
        self, family: Entrywise, weights: Array, params: Params
    ) -> None:
        eta = params[family.parameter]
        (k, d), self.family = eta.shape, family
        self.rows, wide = block_rows(d), -(-k // TOGETHER) * TOGETHER
        self.natural, self.partition = family.natural(eta), family.log_partition(eta)
        self.rounded = tuple(_padded(one, wide) for one in (self.natural, self.partition))
        self.constants = np.log(weights) - self.partition.sum(axis=1)
        self.quick = family.base_of_squares()
        self.base = np.empty((self.rows, 2))
        self.shares: Single = np.zeros((self.rows + ROWS_TOGETHER, wide), np.float32)
        self.sums: Single = np.empty((2, wide, d), np.float32)
        self.values, self.lost, self.count = np.zeros((k, d)), np.zeros((k, d)), np.zeros(k)
        self.total = 0.0

    def add(self, x: Rows, counts: Array | None) -> None:
        """Go through rows (n, d) with their weights."""
        for first in range(0, len(x), self.rows):
            place = slice(first, first + self.rows)
            rows = to_be_read(np.ascontiguousarray(x[place]))
            self._add(rows, None if counts is None else counts[place])

    def _add(self, x: Rows, counts: Array | None) -> None:
        holes = counted(x, self.base) > 0
        log_weighted = self._products(x, holes)
        log_density = log_sum_exp(log_weighted)
        log_weighted -= log_density[:, None]
        r = np.exp(log_weighted, out=log_weighted)
        log_density += self._base(x)
        if counts is not None:
            r *= counts[:, None]
            log_density *= counts
        self.total += float(log_density.sum())
        self.count += r.sum(axis=0)
        self._sum_up(x, r, holes)

    def _products(self, x: Rows, holes: bool) -> Array:
        """log w_k f(x_i; theta_k) less what all components share."""
        natural, partition = self.rounded
        out = np.zeros((len(x), len(natural)))
        add_products(x, natural, partition, holes, out)
        return np.asarray(out[:, : len(self.constants)] + self.constants)

    def _sum_up(self, x: Rows, r: Array, holes: bool) -> None:
        """Add responsibilities times values, and responsibilities where an entry is missing."""
        n, k = r.shape
        self.shares[:n, :k] = r
        self.shares[n : n + ROWS_TOGETHER] = 0.0
        values, lost = self.sums
        self.sums[...] = 0.0
        sum_up(x, self.shares, holes, values, lost)
        self.values += values[:k]
        if holes:
            self.lost += lost[:k]

    def _base(self, x: Rows) -> Array:
        if self.quick is None:
            return self.family.base(x)
        return np.asarray(self.base[: len(x)] @ np.array(self.quick))

    def ended(self) -> tuple[Statistics, float]:
        """Return the statistics and the log likelihood."""
        there = self.count[:, None] - self.lost if self.lost.any() else None
        natural, partition = (one[: len(self.count)] for one in self.rounded)
        rounding = (self.values * (self.natural - natural)).sum()
        rounding += (self.lost * (self.partition - partition)).sum()
        return self.family.summed(self.count, self.values, there), self.total + float(rounding)


def expected_sums(
    family: Any, weights: Array, params: Params, blocks: Blocks
) -> tuple[Statistics, float]:
    """Return the statistics of the E-step and the log likelihood; see ``dfmr_dask.kernels``."""
    steps = Steps(family, weights, params)
    for x, counts in blocks:
        steps.add(x, counts)
    return steps.ended()


def _padded(parameters: Array, wide: int) -> Single:
    """Return parameters (K, d) in single precision, with zeros up to so many components."""
    out = np.zeros((wide, parameters.shape[1]), np.float32)
    out[: len(parameters)] = parameters
    return out


@compiled(part=True)
def value(given: Any) -> Any:
    """Return an entry as a single precision number, 0 where it is missing."""
    v = np.float32(np.int32(given))
    return v if v > np.float32(0) else np.float32(0)


@compiled(part=True)
def hole(given: Any) -> Any:
    """Return 1 where an entry is missing, else 0, in single precision."""
    return np.float32(1) if np.float32(np.int32(given)) < np.float32(0) else np.float32(0)


@compiled(fastmath=SUMS)
def counted(x: Rows, base: Array) -> float:
    """Sum up entries and squares of each row; return how many entries are missing."""
    holes = 0.0
    for i in range(len(x)):
        base[i] = 0.0
        for first in range(0, x.shape[1], COLUMNS):
            row, a, b, c = x[i, first : first + COLUMNS], ZERO, ZERO, ZERO
            for j in range(len(row)):
                v = value(row[j])
                a += v
                b += v * v
                c += hole(row[j])
            base[i, 0] += a
            base[i, 1] += b
            holes += c
    return holes


@compiled(fastmath=SUMS, part=True)
def dots(row: Rows, one: Single, two: Single, three: Single, missing: bool) -> Any:
    """Return three products of the values of a row, or of 1 where an entry is missing."""
    a, b, c = ZERO, ZERO, ZERO
    for j in range(len(row)):
        v = hole(row[j]) if missing else value(row[j])
        a += v * one[j]
        b += v * two[j]
        c += v * three[j]
    return a, b, c


@compiled(fastmath=SUMS)
def add_products(x: Rows, natural: Single, partition: Single, holes: bool, out: Array) -> None:
    """Add the products of rows and parameters to log densities, three components at a time."""
    for first in range(0, x.shape[1], COLUMNS):
        place = slice(first, first + COLUMNS)
        for k in range(0, len(natural), TOGETHER):
            for missing in range(2 if holes else 1):
                table = partition if missing else natural
                one, two, three = table[k, place], table[k + 1, place], table[k + 2, place]
                for i in range(len(x)):
                    a, b, c = dots(x[i, place], one, two, three, missing == 1)
                    out[i, k] += a
                    out[i, k + 1] += b
                    out[i, k + 2] += c


@compiled(fastmath=SUMS)
def sum_up(x: Rows, shares: Single, holes: bool, values: Single, lost: Single) -> None:
    """Sum up responsibilities times values, and those of missing entries, four rows at a time.

    There are responsibilities of 0 for three rows more than there are.
    """
    last = len(x) - 1
    for first in range(0, x.shape[1], COLUMNS):
        place = slice(first, first + COLUMNS)
        for k in range(0, len(values), TOGETHER):
            a, b, c = values[k, place], values[k + 1, place], values[k + 2, place]
            d, e, f = lost[k, place], lost[k + 1, place], lost[k + 2, place]
            for i in range(0, len(x), ROWS_TOGETHER):
                r0, r1, r2 = shares[i, k], shares[i, k + 1], shares[i, k + 2]
                s0, s1, s2 = shares[i + 1, k], shares[i + 1, k + 1], shares[i + 1, k + 2]
                t0, t1, t2 = shares[i + 2, k], shares[i + 2, k + 1], shares[i + 2, k + 2]
                u0, u1, u2 = shares[i + 3, k], shares[i + 3, k + 1], shares[i + 3, k + 2]
                one, two = x[i, place], x[min(i + 1, last), place]
                three, four = x[min(i + 2, last), place], x[min(i + 3, last), place]
                for j in range(len(one)):
                    v, w, y, z = value(one[j]), value(two[j]), value(three[j]), value(four[j])
                    a[j] += (r0 * v + s0 * w) + (t0 * y + u0 * z)
                    b[j] += (r1 * v + s1 * w) + (t1 * y + u1 * z)
                    c[j] += (r2 * v + s2 * w) + (t2 * y + u2 * z)
                for j in range(len(one) if holes else 0):
                    v, w, y, z = hole(one[j]), hole(two[j]), hole(three[j]), hole(four[j])
                    d[j] += (r0 * v + s0 * w) + (t0 * y + u0 * z)
                    e[j] += (r1 * v + s1 * w) + (t1 * y + u1 * z)
                    f[j] += (r2 * v + s2 * w) + (t2 * y + u2 * z)
