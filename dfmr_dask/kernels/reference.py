"""E- and M-step in plain NumPy: for every family, and what the compiled kernel is tested against.

A tile of rows is converted to float64 (NaN is what is missing), its responsibilities

    r_ik = w_k f(x_i; theta_k) / f_G(x_i)

are computed, and the family sums up what its M-step needs. Nothing of size n x K is ever held;
the sums of the tiles are pooled about their own means, so that an offset of the data costs no
digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Family, Params, Rows, Statistics

TILE_BYTES = 1 << 18  # rows are converted and scored in tiles that stay in the second-level cache
TILES_HELD = 32  # statistics of so many tiles wait to be added up
Blocks = Iterable[tuple[Rows, NDArray[np.float64] | None]]


def expected_sums(
    family: Family, weights: NDArray[np.float64], params: Params, blocks: Blocks
) -> tuple[Statistics, float]:
    """Return the statistics of the E-step and the log likelihood; see ``dfmr_dask.kernels``."""
    parts: list[Statistics] = []
    total = 0.0
    for rows, counts in _tiles_of(family, blocks, len(weights)):
        parts = [pooled(family, parts)] if len(parts) == TILES_HELD else parts
        log_weighted = family.log_density(params, rows) + np.log(weights)
        log_density = log_sum_exp(log_weighted)
        responsibilities = np.exp(log_weighted - log_density[:, None])
        if counts is not None:
            responsibilities *= counts[:, None]
            log_density = counts * log_density
        total += float(log_density.sum())
        parts.append(family.statistics(rows, responsibilities))
    return pooled(family, parts), total


def overall_statistics(
    family: Family, x: Rows, sample_weight: NDArray[np.float64] | None
) -> Statistics:
    """Return the statistics of all rows as one group."""
    parts: list[Statistics] = []
    for rows, counts in _tiles_of(family, [(x, sample_weight)], 1):
        parts = [pooled(family, parts)] if len(parts) == TILES_HELD else parts
        one = np.ones(len(rows)) if counts is None else counts
        parts.append(family.statistics(rows, one[:, None]))
    return pooled(family, parts)


def answers(
    family: Family,
    weights: NDArray[np.float64],
    params: Params,
    x: Rows,
    out: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
) -> None:
    """Write log densities (n,), responsibilities (n, K) and labels (n,) that are asked for."""
    for tile in tiles(x, len(weights)):
        rows = family.floats(x[tile])
        log_weighted = family.log_density(params, rows) + np.log(weights)
        log_density = log_sum_exp(log_weighted)
        if len(out[0]):
            out[0][tile] = log_density
        if len(out[1]):
            out[1][tile] = np.exp(log_weighted - log_density[:, None])
        if len(out[2]):
            out[2][tile] = log_weighted.argmax(axis=1)


def pooled(family: Family, parts: list[Statistics]) -> Statistics:
    """Add up statistics of the same K groups from several tiles."""
    if len(parts) == 1:
        return parts[0]
    n_groups = len(parts[0].count)
    together = Statistics(
        np.concatenate([part.count for part in parts]),
        {name: np.concatenate([part.moments[name] for part in parts]) for name in parts[0].moments},
    )
    return family.pool(together, np.tile(np.eye(n_groups), len(parts)))


def log_sum_exp(log_weighted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log of the sum over components, shape (n,); rows that are impossible give -inf."""
    top = log_weighted.max(axis=1)
    base = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(base + np.log(np.exp(log_weighted - base[:, None]).sum(axis=1)))


def tiles(x: Rows, n_components: int) -> Iterator[slice]:
    """Cut rows into tiles that stay in cache together with what is computed from them."""
    step = max(64, TILE_BYTES // (8 * (x.shape[1] * 2 + n_components * 2)))
    return (slice(i, i + step) for i in range(0, len(x), step))


def _tiles_of(
    family: Family, blocks: Blocks, n_components: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64] | None]]:
    for x, counts in blocks:
        for tile in tiles(x, n_components):
            rows = family.floats(x[tile])
            yield rows, None if counts is None else counts[tile]
