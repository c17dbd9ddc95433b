"""The fused E- and M-step of families of independent columns: matrix products over blocks of rows.

A block of rows is converted once, serves the E-step (values times natural parameters) and the
M-step (responsibilities times values) while it is in cache, and is forgotten. Sums over blocks are
in the order of the rows. Many columns of small integers have a faster way, ``small_integers.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Family, Params, Rows, Statistics
from dfmr_dask.families.entries import Design
from dfmr_dask.families.entrywise import Entrywise
from dfmr_dask.kernels import small_integers
from dfmr_dask.kernels.reference import Blocks, log_sum_exp

BLOCK_BYTES = 1 << 20  # of converted rows: they stay in the second-level cache
FEWEST_ROWS, MOST_ROWS = 32, 4096  # of a block
Array = NDArray[np.float64]


class Model:
    """Parameters as they enter the products."""

    __slots__ = ("constants", "natural", "partition", "weights")

    def __init__(self, family: Entrywise, weights: Array, params: Params) -> None:  # noqa: D107
        eta = params[family.parameter]
        self.natural = family.natural(eta)
        self.partition = family.log_partition(eta)
        self.weights = np.log(weights)
        self.constants = self.weights - self.partition.sum(axis=1)

    def log_weighted(self, design: Design) -> Array:
        """log w_k f(x_i; theta_k) less what all components share, (n, K)."""
        out = np.asarray(design.values @ self.natural.T)
        if design.there is None:
            out += self.constants
        else:
            out -= design.there @ self.partition.T
            out += self.weights
        return out


def handles(family: Family) -> bool:
    """Tell whether this kernel can do a family."""
    return isinstance(family, Entrywise)


def expected_sums(
    family: Any, weights: Array, params: Params, blocks: Blocks
) -> tuple[Statistics, float]:
    """Return the statistics of the E-step and the log likelihood; see ``dfmr_dask.kernels``."""
    blocks = list(blocks) if not isinstance(blocks, Sequence) else blocks
    if len(blocks) and small_integers.handles(family, blocks[0][0]):
        return small_integers.expected_sums(family, weights, params, blocks)
    model, sums, total = Model(family, weights, params), Sums(family, len(weights)), 0.0
    for rows, counts in _cut(blocks):
        design = family.design(rows)
        log_weighted = model.log_weighted(design)
        log_density = log_sum_exp(log_weighted)
        log_weighted -= log_density[:, None]
        responsibilities = np.exp(log_weighted, out=log_weighted)
        log_density += family.base(rows)
        if counts is not None:
            responsibilities *= counts[:, None]
            log_density *= counts
        total += float(log_density.sum())
        sums.add(design, responsibilities)
    return sums.statistics(), total


def overall_statistics(family: Any, x: Rows, sample_weight: Array | None) -> Statistics:
    """Return the statistics of all rows as one group."""
    sums = Sums(family, 1)
    for rows, counts in _cut([(x, sample_weight)]):
        one = np.ones((len(rows), 1)) if counts is None else counts[:, None]
        sums.add(family.design(rows), one)
    return sums.statistics()


def answers(
    family: Any,
    weights: Array,
    params: Params,
    x: Rows,
    out: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
) -> None:
    """Write log densities (n,), responsibilities (n, K) and labels (n,) that are asked for."""
    model, first = Model(family, weights, params), 0
    for rows, _ in _cut([(x, None)]):
        log_weighted = model.log_weighted(family.design(rows))
        log_density, place = log_sum_exp(log_weighted), slice(first, first + len(rows))
        if len(out[0]):
            out[0][place] = log_density + family.base(rows)
        if len(out[1]):
            out[1][place] = np.exp(log_weighted - log_density[:, None])
        if len(out[2]):
            out[2][place] = log_weighted.argmax(axis=1)
        first += len(rows)


class Sums:
    """Sums over rows, block by block, of K groups."""

    __slots__ = ("count", "family", "missed", "there", "values")

    def __init__(self, family: Entrywise, n_groups: int) -> None:  # noqa: D107
        self.family = family
        self.count: Array = np.zeros(n_groups)
        self.values: Array | float = 0.0
        self.there: Array | float = 0.0
        self.missed = False

    def add(self, design: Design, responsibilities: Array) -> None:
        """Add up a block (n, q) with responsibilities (n, K)."""
        count = responsibilities.sum(axis=0)
        r = responsibilities.T
        self.values = self.values + r @ design.values
        if design.there is not None and not self.missed:
            whole = np.broadcast_to(self.count[:, None], (len(count), design.there.shape[1]))
            self.there, self.missed = whole.astype(np.float64), True
        if self.missed:
            more = count[:, None] if design.there is None else r @ design.there
            self.there = self.there + more
        self.count = self.count + count

    def statistics(self) -> Statistics:
        """Return what was summed up."""
        there = np.asarray(self.there) if self.missed else None
        return self.family.summed(self.count, np.asarray(self.values), there)


def even_rows(n_features: int, itemsize: int) -> int:
    """Return of what multiple of rows blocks give the same sums, bit by bit, as all at once."""
    if n_features >= small_integers.MANY_COLUMNS and itemsize <= 2:
        return small_integers.block_rows(n_features)
    rows = BLOCK_BYTES // (8 * max(n_features, 1))
    return min(MOST_ROWS, max(FEWEST_ROWS, rows - rows % 8))


def _cut(blocks: Blocks) -> Iterator[tuple[Rows, Array | None]]:
    """Cut blocks into smaller ones."""
    for x, counts in blocks:
        step = even_rows(x.shape[1], x.dtype.itemsize)
        for first in range(0, len(x), step):
            place = slice(first, first + step)
            yield x[place], None if counts is None else counts[place]
