"""Mixture reduction by an MM algorithm: k-means on distributions (METHOD 6)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.families.base import Family, Params, flatten
from dfmr_dask.mixture import Mixture

MAX_ITER = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Reduction:
    """A mixture of order K that stands for one with many components.

    Attributes
    ----------
    mixture : Mixture
    objective : tuple of float
        Cost of transport before each step, and at the end; it never rises.
    """

    mixture: Mixture
    objective: tuple[float, ...]


def reduce(
    family: Family,
    mass: NDArray[np.float64],
    params: Params,
    start: Params,
    *,
    share: float = 1.0,
) -> Reduction:
    """Reduce components with masses to the order of ``start``.

    Majorise: send each component to the nearest center in KL. Minimise: replace each center by
    the KL barycenter of what was sent to it. A center that nothing is sent to is put where the
    dearest component lies.

    Parameters
    ----------
    family : Family
    mass : ndarray of shape (A,)
        Not negative; components of mass 0 have no say.
    params : stacked parameters of A components
    start : stacked parameters of K centers
    share : float
        Partial reduction: each step leaves out the components that are dearest to transport,
        so that this share of the mass remains (del Barrio et al., 2019).

    References
    ----------
    Zhang & Chen (JMLR 2022), section 4; METHOD 6 and, for ``share``, METHOD 7.
    """
    heard = mass > 0.0
    mass, params = mass[heard] / mass.sum(), {k: v[heard] for k, v in params.items()}
    centers, objective = start, [float("inf")]
    weights = np.empty(0)
    while len(objective) <= MAX_ITER:
        cost = family.kl(params, centers)
        nearest = cost.argmin(axis=1)
        paid = cost[np.arange(len(mass)), nearest]
        moved = _cheapest(mass, paid, share)
        objective.append(float(moved @ paid))
        if objective[-1] >= objective[-2] * (1.0 - 1e-12):
            break
        nearest = _reseeded(nearest, moved * paid, cost.shape[1])
        groups = (nearest == np.arange(cost.shape[1])[:, None]).astype(np.float64)
        pooled = family.pool(family.expected_statistics(params, moved), groups)
        weights, centers = pooled.count, family.from_statistics(pooled)
        if (weights <= 0.0).any():
            weights, centers = weights[weights > 0], {k: v[weights > 0] for k, v in centers.items()}
    return Reduction(Mixture(family, weights / weights.sum(), centers), tuple(objective[1:]))


def barycenters(family: Family, mass: NDArray[np.float64], params: Params) -> Params:
    """KL barycenter of each component over aligned estimates; mass (m, K), params (m, K, ...)."""
    m, order = mass.shape
    groups = np.tile(np.eye(order), m)
    statistics = family.expected_statistics(flatten(params), mass.ravel())
    return family.from_statistics(family.pool(statistics, groups))


def reduce_aligned(
    estimates: Estimates,
    mass: NDArray[np.float64],
    *,
    start: Params | None = None,
    share: float = 1.0,
) -> Reduction:
    """Reduce estimates that are aligned, from their barycenter unless a start is given."""
    if start is None:
        start = barycenters(estimates.family, mass, estimates.params)
    return reduce(estimates.family, mass.ravel(), flatten(estimates.params), start, share=share)


def _cheapest(
    mass: NDArray[np.float64], paid: NDArray[np.float64], share: float
) -> NDArray[np.float64]:
    """Return what remains of each mass when the dearest transports are left out."""
    if share >= 1.0:
        return mass
    order = np.argsort(paid, kind="stable")
    before = np.cumsum(mass[order]) - mass[order]
    moved = np.empty_like(mass)
    moved[order] = np.clip(share - before, 0.0, mass[order])
    return moved


def _reseeded(nearest: NDArray[np.intp], paid: NDArray[np.float64], order: int) -> NDArray[np.intp]:
    """Give each empty center the dearest component that can leave its group."""
    out, paid = nearest.copy(), paid.copy()
    for empty in np.setdiff1d(np.arange(order), nearest):
        company = np.bincount(out, minlength=order)[out] > 1
        candidate = int(np.argmax(np.where(company, paid, 0.0)))
        if company[candidate] and paid[candidate] > 0.0:
            out[candidate] = empty
            paid[candidate] = 0.0
    return out
