"""Starts of a reduction: groups drawn as k-means++ does, then merged greedily."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.pairs import Components, divergences, prepared
from dfmr_dask.families.base import Family, Statistics, take

GROUPS = 64  # at least so many are drawn before they are merged, and at least two for each center
Array = NDArray[np.float64]


def coarse(
    components: Components, mass: Array, order: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Send components (A,) to the nearest of several that are drawn far apart from each other.

    Parameters
    ----------
    components : Components
    mass : ndarray of shape (A,)
        Components of mass 0 are never drawn.
    order : int
        Number of components that will be wanted in the end, at most those with mass.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (A,)
        Number of the group of each component.

    References
    ----------
    Arthur & Vassilvitskii (2007), with KL in place of the squared distance.
    """
    wanted = min(int((mass > 0.0).sum()), max(GROUPS, 2 * order))
    if wanted == len(mass):
        return np.arange(wanted)
    chosen = [int(rng.choice(len(mass), p=mass / mass.sum()))]
    nearest, cost = np.zeros(len(mass), dtype=np.intp), np.full(len(mass), np.inf)
    while True:
        last = prepared(components.family, take(components.params, [chosen[-1]]))
        new = divergences(components, last)[:, 0]
        nearest = np.where(new < cost, len(chosen) - 1, nearest)
        cost = np.minimum(cost, new)
        nearest[chosen], cost[chosen] = np.arange(len(chosen)), 0.0
        if len(chosen) == wanted:
            return nearest
        left = mass * np.minimum(cost, 1e100)
        if not left.sum() > 0.0:  # the rest are copies of what has been drawn
            left = np.where(np.isin(np.arange(len(mass)), chosen), 0.0, mass)
        chosen.append(int(rng.choice(len(mass), p=left / left.sum())))


def merged(family: Family, statistics: Statistics, order: int) -> Statistics:
    """Merge groups greedily, always the pair whose moment match costs least, down to an order.

    The cost w_i KL(i || ij) + w_j KL(j || ij) is w_i F*(i) + w_j F*(j) - (w_i + w_j) F*(ij), with
    F* the conjugate of the log partition function; for Gaussians that is
    ½{(w_i + w_j) log|S_ij| - w_i log|S_i| - w_j log|S_j|}.

    References
    ----------
    Runnalls (2007); METHOD 11, step 2.
    """
    left = statistics
    i, j = np.triu_indices(len(left.count), 1)
    costs = np.full((len(left.count), len(left.count)), np.inf)
    costs[i, j] = _costs(family, left, i, j)
    while len(left.count) > order:
        one, other = (int(index) for index in np.unravel_index(costs.argmin(), costs.shape))
        groups = np.delete(np.eye(len(left.count)), other, axis=0)
        groups[one, other] = 1.0  # one < other, so that its place is still its own
        left = family.pool(left, groups)
        costs = np.delete(np.delete(costs, other, axis=0), other, axis=1)
        rest = np.delete(np.arange(len(left.count)), one)
        low, high = np.minimum(rest, one), np.maximum(rest, one)
        costs[low, high] = _costs(family, left, low, high)
    return left


def _costs(
    family: Family, statistics: Statistics, i: NDArray[np.intp], j: NDArray[np.intp]
) -> Array:
    groups = np.zeros((len(i), len(statistics.count)))
    groups[np.arange(len(i)), i] = groups[np.arange(len(i)), j] = 1.0
    pairs = family.pool(statistics, groups)
    own = statistics.count * family.conjugate(statistics.moments)
    return np.asarray(own[i] + own[j] - pairs.count * family.conjugate(pairs.moments))
