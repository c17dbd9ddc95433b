"""A mixture whose components are each the one in the middle among all machines' estimates of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.alignment import orders
from dfmr_dask.aggregate.center import attention
from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.aggregate.pairs import divergences, prepared
from dfmr_dask.families.base import Family, Params, flatten, take
from dfmr_dask.mixture import Mixture

REALIGNMENTS = 5  # of all to the medoids; honest components settle after one or two
MOST_COMPARED = 300  # machines, where any of those in the middle will do
SEEDS, FEWEST_SEEDS = 2000, 20  # components, and machines, among which a first reference is sought
Array = NDArray[np.float64]


def medoids(estimates: Estimates) -> tuple[Estimates, Mixture, NDArray[np.intp]]:
    """Align estimates to a mixture each of whose components is a medoid.

    No machine can be what all are aligned to first: where it has a bad component, the others' bad
    ones would gather there, and their medoid would be bad as well. What most machines have
    something close to is found among all components instead. From there each is replaced by its
    center of attention over all machines, and all are aligned anew, until nothing changes.

    Returns
    -------
    estimates : Estimates
        Aligned.
    reference : Mixture
        With the median weights.
    order : ndarray of shape (m, K)
        Which component of each stands where now.
    """
    reference = _shared_by_most(estimates)
    chosen: list[int] = []
    for _ in range(REALIGNMENTS):
        order = orders(estimates, reference)
        near = estimates.reordered(order)
        found = [medoid(near, k) for k in range(near.weights.shape[1])]
        weights = np.median(near.weights, axis=0)
        params = take(near.params, (np.array(found), np.arange(len(found))))
        reference = Mixture(near.family, weights / weights.sum(), params)
        if found == chosen:
            break
        chosen = found
    return near, reference, order


def _shared_by_most(estimates: Estimates) -> Mixture:
    """Return the K components, one after the other, that most machines have something close to.

    Every machine counts by its closest component; those of the closer half are then taken.
    """
    m, order = estimates.weights.shape
    count = min(m, max(FEWEST_SEEDS, SEEDS // order))
    some = estimates.subset(np.linspace(0, m - 1, count).astype(np.intp))
    many = flatten(some.params)
    far, alive = _divergence(estimates.family, many, many), np.ones(count * order, dtype=bool)
    chosen = []
    for _ in range(order):
        left = np.where(alive, far, np.inf).reshape(-1, count, order)
        nearest = left.min(axis=2)
        radii = np.where(alive, np.partition(nearest, count // 2, axis=1)[:, count // 2], np.inf)
        first = int(np.argmin(radii)) if np.isfinite(radii).any() else int(np.argmax(alive))
        taken = np.argsort(nearest[first], kind="stable")[: count // 2 + 1]
        alive[taken * order + left[first, taken].argmin(axis=1)] = False
        alive[first] = False
        chosen.append(first)
    params = take(many, np.array(chosen))
    return Mixture(estimates.family, np.full(order, 1.0 / order), params)


def _divergence(family: Family, one: Params, other: Params) -> Array:
    """Symmetrised KL of all pairs; infinite where it overflows."""
    here, there = prepared(family, one), prepared(family, other)
    with np.errstate(over="ignore", invalid="ignore"):
        both = divergences(here, there) + divergences(there, here).T
    return np.nan_to_num(both, nan=np.inf, posinf=np.inf)


def medoid(estimates: Estimates, k: int) -> int:
    """Find the machine whose k-th component has more than half of the others' closest around it.

    Parameters
    ----------
    estimates : Estimates
        Aligned.
    k : int

    Returns
    -------
    int
        Its position.
    """
    many = take(estimates.params, (slice(None), k))

    def columns(to: NDArray[np.intp] | None) -> Array:
        return _divergence(estimates.family, many, many if to is None else take(many, to))

    return attention(columns, len(estimates))[0].center


def most_told(estimates: Estimates, large: NDArray[np.bool_]) -> Mixture:
    """Return components that lie in the middle, and are estimated from many rows.

    Machines with weights of their own have few rows of some components; none of them need have
    many of all. Of the quarter that is most central in a component, the one with most rows of it
    is taken.

    Parameters
    ----------
    estimates : Estimates
        Aligned.
    large : mask of shape (m, K)
        Who has rows enough of which component; nobody else is looked at, unless nobody has.

    Returns
    -------
    Mixture
        With the median weights.
    """
    rows = estimates.rows[:, None] * estimates.weights
    found = [_middle(estimates, k, rows[:, k], mask) for k, mask in enumerate(large.T)]
    weights = np.median(estimates.weights, axis=0)
    params = take(estimates.params, (np.array(found), np.arange(len(found))))
    return Mixture(estimates.family, weights / weights.sum(), params)


def _middle(estimates: Estimates, k: int, rows: Array, large: NDArray[np.bool_]) -> int:
    """Find the machine whose k-th component is central and well estimated."""
    able = np.flatnonzero(large) if large.any() else np.arange(len(rows))
    if len(able) > MOST_COMPARED:
        able = able[np.linspace(0, len(able) - 1, MOST_COMPARED).astype(np.intp)]
    many = take(estimates.params, (able, k))
    half = len(able) // 2
    radii = np.partition(_divergence(estimates.family, many, many), half, axis=1)[:, half]
    central = able[np.argsort(radii, kind="stable")[: max(1, len(able) // 4)]]
    return int(central[np.argmax(rows[central])])
