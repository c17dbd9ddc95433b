"""One pass over the rows for E and M together, in tiles that stay in cache.

A tile of rows is converted to float64, its responsibilities

    r_ik = w_k f(x_i; theta_k) / f_G(x_i)

are computed, and the family sums up what its M-step needs. Nothing of size n x K is ever held;
the sums of the tiles are pooled pairwise about their own means, so that an offset of the data
costs no digits.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Family, Params, Rows, Statistics
from dfmr_dask.mixture import log_sum_exp, tiles

TILES_HELD = 32  # statistics of so many tiles wait to be added up


def expected_sums(
    family: Family, weights: NDArray[np.float64], params: Params, x: Rows
) -> tuple[Statistics, float]:
    """Return the statistics of the E-step (K groups) and the log likelihood of the rows.

    Parameters
    ----------
    family : Family
    weights : ndarray of shape (K,)
    params : stacked parameters of K components
    x : array of shape (n, d), any real dtype, finite

    Returns
    -------
    statistics : Statistics
    log_likelihood : float
        Sum over rows, in nats.

    References
    ----------
    Chen & Tan (2009), section 2.
    """
    log_weights = np.log(weights)
    parts: list[Statistics] = []
    total = 0.0
    for tile in tiles(x, len(weights)):
        parts = [pooled(family, parts)] if len(parts) == TILES_HELD else parts
        rows = x[tile].astype(np.float64, copy=False)
        log_weighted = family.log_density(params, rows) + log_weights
        log_density = log_sum_exp(log_weighted)
        total += float(log_density.sum())
        responsibilities = np.exp(log_weighted - log_density[:, None])
        parts.append(family.statistics(rows, responsibilities))
    return pooled(family, parts), total


def overall_statistics(family: Family, x: Rows) -> Statistics:
    """Return the statistics of all rows as one group."""
    parts: list[Statistics] = []
    for tile in tiles(x, 1):
        parts = [pooled(family, parts)] if len(parts) == TILES_HELD else parts
        rows = x[tile].astype(np.float64, copy=False)
        parts.append(family.statistics(rows, np.ones((len(rows), 1))))
    return pooled(family, parts)


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
