"""Mixture reduction by an MM algorithm: k-means on distributions (METHOD 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.aggregate.greedy import coarse, merged
from dfmr_dask.aggregate.pairs import divergences, prepared
from dfmr_dask.families.base import Family, Params, Statistics, flatten, take
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator

MAX_ITER = 1000
N_INIT = 4  # starts of a reduction that nobody has given one


@dataclass(frozen=True, slots=True, eq=False)
class Reduction:
    """A mixture of order K that stands for one with many components.

    Attributes
    ----------
    mixture : Mixture
    objective : tuple of float
        Cost of transport in nats before each step, and at the end; it never rises.
    nearest : ndarray of shape (A,)
        Which component each of the many became part of; -1 where it was left out.
    """

    mixture: Mixture
    objective: tuple[float, ...]
    nearest: NDArray[np.intp]


def reduce_mixture(
    mixture: Mixture,
    n_components: int,
    *,
    seed: int = 0,
    n_init: int = N_INIT,
    share: float = 1.0,
) -> Reduction:
    """Reduce a mixture to fewer components, with its overall mean and covariance as they were.

    Each start draws groups of components as k-means++ does, merges these greedily down to the order
    that is wanted, and runs the MM algorithm from there on all components; the reduction with the
    lowest objective is returned.

    Parameters
    ----------
    mixture : Mixture
        Of K components.
    n_components : int
        From 1 to K. A reduction to K gives the mixture back.
    seed : int
        Draws the starts.
    n_init : int
        Number of starts.
    share : float
        Below 1, each step leaves out the components that are dearest to transport, so that this
        share of the mass remains: components that belong nowhere are dropped.

    Returns
    -------
    Reduction

    Raises
    ------
    ValueError
        When there are fewer than ``n_components`` components, or a setting is out of range.

    References
    ----------
    Zhang & Chen (JMLR 2022), section 4; Runnalls (2007) for the greedy merging; METHOD 6 and 7.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask import reduce_mixture
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.mixture import Mixture
    >>> means = np.array([[0.0], [0.2], [9.0], [9.4]])
    >>> four = Mixture(DiagonalGaussian(), np.full(4, 0.25),
    ...                {"means": means, "variances": np.ones((4, 1))})
    >>> two = reduce_mixture(four, 2).mixture.canonical()
    >>> two.weights, two.params["means"].round(3).tolist()
    (array([0.5, 0.5]), [[0.1], [9.2]])
    """
    _check(mixture.n_components, n_components, n_init, share)
    if n_components == mixture.n_components and share == 1.0:
        return Reduction(mixture, (0.0,), np.arange(n_components))
    one = mixture.canonical()  # so that starts do not depend on how components are numbered
    starts = _drawn(one.family, one.weights, one.params, n_components, seed, n_init)
    return _best_of(one.family, one.weights, one.params, starts, share)


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
    the KL barycenter of what was sent to it. A center that nothing is sent to takes the component
    that is dearest to transport, so that the order stays as it is; only where fewer components have
    mass than there are centers, some are dropped.

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
    mass = mass[heard] / mass.sum()
    params = params if heard.all() else take(params, heard)
    many = prepared(family, params, targets=False)
    centers, objective = start, [float("inf")]
    weights, became = np.empty(0), np.full(len(heard), -1)
    while len(objective) <= MAX_ITER:
        cost = divergences(many, prepared(family, centers))
        nearest = cost.argmin(axis=1)
        paid = cost[np.arange(len(mass)), nearest]
        moved = _cheapest(mass, paid, share)
        objective.append(float(moved @ paid))
        if objective[-1] >= objective[-2] * (1.0 - 1e-12):
            break
        nearest = _reseeded(nearest, moved, paid, cost.shape[1])
        pooled = _pooled(family, params, moved, nearest)
        weights, centers = pooled.count, family.from_statistics(pooled)
        some = np.unique(nearest[moved > 0.0])  # centers that nothing is sent to are no more
        became[heard] = np.where(moved > 0.0, np.searchsorted(some, nearest), -1)
    mixture = Mixture(family, weights / weights.sum(), centers)
    return Reduction(mixture, tuple(objective[1:]), became)


def barycenters(family: Family, mass: NDArray[np.float64], params: Params) -> Params:
    """KL barycenter of each component over aligned estimates; mass (m, K), params (m, K, ...)."""
    m, order = mass.shape
    nearest = np.tile(np.arange(order), m)
    return family.from_statistics(_pooled(family, flatten(params), mass.ravel(), nearest))


def reduce_aligned(
    estimates: Estimates,
    mass: NDArray[np.float64],
    *,
    start: Params | None = None,
    others: Sequence[int] = (),
    share: float = 1.0,
    n_components: int | None = None,
    seed: int = 0,
) -> Reduction:
    """Reduce estimates that are aligned, to their own order or to another one.

    Parameters
    ----------
    estimates : Estimates
        m of order K.
    mass : ndarray of shape (m, K)
        What each component brings.
    start : stacked parameters of K centers, optional
        Where the reduction to order K begins: the barycenters of the aligned components, or what is
        given here.
    others : positions of estimates
        More starts; the lowest objective is kept.
    share : float
        As in :func:`reduce`.
    n_components : int, optional
        Another order, up to m K; the starts are then those of :func:`reduce_mixture`.
    seed : int
        Draws these.

    Raises
    ------
    ValueError
        When ``n_components`` is more than there are components with mass.
    """
    family, order = estimates.family, mass.shape[1]
    flat, total = flatten(estimates.params), mass.ravel()
    if n_components not in (None, order):
        wanted = int(n_components or 0)
        _check(int((total > 0.0).sum()), wanted, N_INIT, share)
        drawn = _drawn(family, total, flat, wanted, seed, N_INIT)
        return _best_of(family, total, flat, drawn, share)
    first = barycenters(family, mass, estimates.params) if start is None else start
    starts = [first, *(take(estimates.params, i) for i in others)]
    return _best_of(family, total, flat, starts, share)


def _check(n_components: int, wanted: int, n_init: int, share: float) -> None:
    if not 1 <= wanted <= n_components:
        raise ValueError(
            f"{n_components} components cannot be reduced to {wanted}: ask for 1 to {n_components},"
            " or reduce the components of several mixtures together"
        )
    if n_init < 1 or not 0.0 < share <= 1.0:
        raise ValueError(f"n_init = {n_init}, share = {share}; wanted n_init >= 1, 0 < share <= 1")


def _drawn(
    family: Family, mass: NDArray[np.float64], params: Params, order: int, seed: int, n_init: int
) -> list[Params]:
    """Return random starts."""
    many, starts = prepared(family, params, targets=False), []
    for i in range(n_init):
        nearest = coarse(many, mass, order, generator(seed, Stage.REDUCE, i))
        groups = merged(family, _pooled(family, params, mass, nearest), order)
        starts.append(family.from_statistics(groups))
    return starts


def _best_of(
    family: Family,
    mass: NDArray[np.float64],
    params: Params,
    starts: Sequence[Params],
    share: float,
) -> Reduction:
    found = [reduce(family, mass, params, start, share=share) for start in starts]
    return min(found, key=lambda one: one.objective[-1])


def _pooled(
    family: Family, params: Params, mass: NDArray[np.float64], nearest: NDArray[np.intp]
) -> Statistics:
    """Statistics of the components with mass that are sent to each center; none where nothing is.

    Groups are pooled one after the other, so that each component is looked at once.
    """
    parts = []
    for k in range(int(nearest.max()) + 1):
        members = np.flatnonzero((nearest == k) & (mass > 0.0))
        if len(members):
            statistics = family.expected_statistics(take(params, members), mass[members])
            parts.append(family.pool(statistics, np.ones((1, len(members)))))
    moments = {
        name: np.concatenate([part.moments[name] for part in parts]) for name in parts[0].moments
    }
    return Statistics(np.concatenate([part.count for part in parts]), moments)


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


def _reseeded(
    nearest: NDArray[np.intp],
    moved: NDArray[np.float64],
    paid: NDArray[np.float64],
    order: int,
) -> NDArray[np.intp]:
    """Give each empty center the dearest component that can leave its group."""
    out, dear = nearest.copy(), moved * paid
    for empty in np.setdiff1d(np.arange(order), nearest[moved > 0.0]):
        company = np.bincount(out[moved > 0.0], minlength=order)[out] > 1
        leaving = int(np.argmax(np.where(company & (moved > 0.0), dear, -1.0)))
        if company[leaving] and moved[leaving] > 0.0:
            out[leaving] = empty
            dear[leaving] = 0.0
    return out
