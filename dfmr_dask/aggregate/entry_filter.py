"""Each feature of each partition judged on its own: for partitions that have some bad columns each.

Where every site counts the wrong allele of a few SNPs of its own, every estimate is bad as a whole,
and no filter of whole partitions has anything to keep. Yet most of each estimate is right, and of
each single feature most estimates are. So components are matched by the median over features,
which a few bad ones do not move; an entry (partition, feature) is thrown out when it lies too far
from the median over partitions, and takes the value that the others agree on. What the partitions
then say is filtered as ever.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import linear_sum_assignment

from dfmr_dask.aggregate.distances import FEWEST_ROWS
from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.aggregate.gates import Rule
from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.families.base import Family, Params, take
from dfmr_dask.families.entrywise import Entrywise

LEVEL = 1e-4  # of an honest entry to be thrown out
MOST_BAD = 0.25  # share of its features that a partition has thrown out, and still is mended
DISPUTED = (
    0.45  # share of the partitions that a feature is thrown out for, from which on none agree
)
REFERENCES = 9  # estimates among which the one is sought that all are matched to first
MATCHINGS = 2
FEWEST_FEATURES = 10  # of which a median is not moved by one
Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Which features of which partitions are kept, and estimates without the others.

    Attributes
    ----------
    estimates : Estimates
        As they were sent, in their own order of components, but entries that are thrown out have
        the mean of those that are kept.
    kept : mask of shape (m, d)
        All of a partition that has too many bad ones: it is judged as it is.
    distances : ndarray of shape (m, d)
        Root mean squares over components in standard errors, 1 is usual; NaN where nothing could
        be compared.
    cutoff : float
    order : ndarray of shape (m, K)
        Which component of each is which.
    sent : Estimates
        As they were.
    """

    estimates: Estimates
    kept: Mask
    distances: Array
    cutoff: float
    order: NDArray[np.intp]
    sent: Estimates

    def without(self, partitions: Mask) -> Entries:
        """Let entries that were thrown out have the mean of some partitions' alone."""
        return replace(self, estimates=_filled(self.sent, self.order, self.kept, partitions))

    def doubts(self, partitions: Mask) -> tuple[str, ...]:
        """Say of which features no majority of some partitions agrees."""
        share = (~self.kept[partitions]).mean(axis=0)
        disputed = np.flatnonzero(share >= DISPUTED)
        if not len(disputed):
            return ()
        told = ", ".join(map(str, disputed[:8])) + (", ..." if len(disputed) > 8 else "")
        what = f"{len(disputed)} features are thrown out for {DISPUTED:.0%} or more of all"
        return (f"{what}, so that nobody knows which is right: {told}",)


def filtered_entries(estimates: Estimates) -> Entries:
    """Judge each feature of each estimate by all estimates of this feature.

    Parameters
    ----------
    estimates : Estimates
        Of a family of independent columns.

    References
    ----------
    EVIDENCE 8.
    """
    order = _matched(estimates)
    near = estimates.reordered(order)
    z, rows = _coordinates(near), _rows(near)
    middle = np.median(z, axis=0)
    away = ((z - middle) ** 2 * rows[:, :, None]).sum(axis=1)
    freedom = (rows > 0.0).sum(axis=1)
    usual = stats.chi2.median(np.maximum(freedom, 1))
    level = np.maximum(np.median(away, axis=1) / usual, 1.0)  # more where components overlap
    away /= level[:, None]
    limit = stats.chi2.isf(LEVEL, np.maximum(freedom, 1))
    bad = (away > limit[:, None]) & (freedom > 0)[:, None]
    kept = ~bad | (bad.mean(axis=1) > MOST_BAD)[:, None]
    told = np.where(freedom[:, None] > 0, away / np.maximum(freedom, 1)[:, None], np.nan)
    everybody = np.ones(len(estimates), dtype=bool)
    return Entries(
        _filled(estimates, order, kept, everybody),
        kept,
        np.sqrt(told),
        float(np.sqrt(stats.chi2.isf(LEVEL, freedom.max()) / max(freedom.max(), 1))),
        order,
        estimates,
    )


def check_entries(family: Family, rule: Rule, n_features: int | None = None) -> None:
    """Raise InvalidConfiguration where single features cannot be judged, or not by this rule."""
    # a family that spreads what it knows of columns has several parameters in each
    if not isinstance(family, Entrywise) or type(family).spread is not Entrywise.spread:
        raise InvalidConfiguration(
            f"unit='entry' came with the family {family.name!r}; it is for independent columns "
            "of one parameter each, such as genotypes: take unit='partition'"
        )
    if n_features is not None and n_features < FEWEST_FEATURES:
        raise InvalidConfiguration(
            f"unit='entry' came with {n_features} features; a few bad ones can be told among "
            f"{FEWEST_FEATURES} or more: take unit='partition'"
        )
    if rule.paper:
        raise InvalidConfiguration("unit='entry' came with the method 'paper'; take 'blocks'")


def _coordinates(estimates: Estimates) -> Array:
    """Return coordinates (m, K, d), each of one feature, in which n rows have a variance of 1/n."""
    center = take(estimates.params, (0, slice(0, 1)))  # one for all: components are compared too
    blocks = estimates.family.feature_blocks(estimates.params, center)
    return np.concatenate([block.coordinates for block in blocks], axis=-1)


def _rows(estimates: Estimates) -> Array:
    """Return the rows of components (m, K), 0 of those that have too few to be compared."""
    rows = estimates.rows[:, None] * estimates.weights
    return np.where(rows >= FEWEST_ROWS, rows, 0.0)


def _matched(estimates: Estimates) -> NDArray[np.intp]:
    """Match components to those of the estimate in the middle, then to medians, (m, K)."""
    z, rows = _coordinates(estimates), estimates.rows[:, None] * estimates.weights
    some = np.unique(np.linspace(0, len(z) - 1, REFERENCES).astype(np.intp))
    best, order = np.inf, np.empty((0, 0), dtype=np.intp)
    for reference in some:
        costs, found = _orders(z, rows, z[reference], rows[reference])
        radius = float(np.sort(costs)[len(costs) // 2])
        if radius < best:
            best, order = radius, found
    along = np.arange(len(z))[:, None]
    for _ in range(MATCHINGS):
        middle = np.median(z[along, order], axis=0)
        together = rows[along, order].sum(axis=0)
        _, order = _orders(z, rows, middle, together)
    return order


def _orders(
    z: Array, rows: Array, reference: Array, reference_rows: Array
) -> tuple[Array, NDArray[np.intp]]:
    """Return the mean cost (m,) of matching components to a reference's, and who matches (m, K)."""
    usual = float(stats.chi2.median(1))
    costs, order = np.empty(len(z)), np.empty(z.shape[:2], dtype=np.intp)
    for i, (one, n) in enumerate(zip(z, rows, strict=True)):
        away = np.median((one[:, None] - reference[None]) ** 2, axis=-1) / usual
        cost = away / (1.0 / n[:, None] + 1.0 / reference_rows[None])
        cost = cost / (cost + 1.0)  # one bad component must not spoil the whole matching
        order[i] = linear_sum_assignment(cost.T)[1]
        costs[i] = cost[order[i], np.arange(len(reference))].mean()
    return costs, order


def _filled(
    estimates: Estimates, order: NDArray[np.intp], kept: Mask, partitions: Mask
) -> Estimates:
    """Give entries that are thrown out the mean of those that some partitions have kept."""
    near = estimates.reordered(order)
    mass = near.rows[:, None] * near.weights * partitions[:, None]
    heard = mass[:, :, None] * kept[:, None, :]
    back = np.argsort(order, axis=1)
    along = np.arange(len(near))[:, None]
    out: dict[str, Array] = {}
    for name, values in near.params.items():
        total = heard.sum(axis=0)
        means = np.where(total > 0.0, (heard * values).sum(axis=0), np.median(values, axis=0))
        means /= np.where(total > 0.0, total, 1.0)
        filled = np.where(kept[:, None, :], values, means)
        out[name] = filled[along, back]
    params: Params = out
    return replace(estimates, params=params)
