"""Mixtures with the wrong components put right: merged where two are one, cut where one is two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate import greedy
from dfmr_dask.families.base import Family, Rows, Statistics
from dfmr_dask.kernels import overall_statistics, pooled
from dfmr_dask.local.em import Fit, fit
from dfmr_dask.mixture import Mixture

CUT_ITERATIONS, REJOINED_ITERATIONS = 5, 3
LEAST_GAIN = 1e-5  # nats a row by which a repair must raise the penalised likelihood


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """The rows that mixtures of a family are tried on.

    Parameters
    ----------
    family : Family
    x : array of shape (n, d), finite
    strength : float
        The penalty's a.
    floor : float
        Smallest eigenvalue of a covariance in units of the rows' variances.
    weight : array of shape (n,), optional
        How often each row counts.
    """

    family: Family
    x: Rows
    strength: float
    floor: float
    weight: NDArray[np.float64] | None = None

    def climbed(self, first: Mixture, iterations: int, tol: float = 0.0) -> Fit:
        """Return where EM is after so many passes, or earlier when a pass gains less than tol."""
        return fit(
            self.x,
            first,
            strength=self.strength,
            floor=self.floor,
            tol=tol,
            max_iter=iterations,
            sample_weight=self.weight,
        )

    def grouped(self, labels: NDArray[np.intp], n_components: int) -> Mixture:
        """M-step from hard labels (n,), a row's worth of everybody's statistics in each group."""
        overall = overall_statistics(self.family, self.x, self.weight)
        shared = Statistics(
            np.ones(n_components),
            {name: np.repeat(a, n_components, axis=0) for name, a in overall.moments.items()},
        )
        order = np.argsort(labels, kind="stable")
        members = np.split(order, np.searchsorted(labels[order], np.arange(1, n_components)))
        together = pooled(self.family, [_joined([self._sums(rows) for rows in members]), shared])
        params = self.family.from_statistics(
            together, self.family.pseudo_rows(overall, self.strength, self.floor)
        )
        return Mixture(self.family, together.count / together.count.sum(), params)

    def standing(self, found: Fit) -> tuple[int, float]:
        """Rank a fit: few components with fewer rows than parameters, then high likelihood.

        A component that has taken a handful of rows has no bound on its likelihood but the
        penalty, so that a likelihood with more such components says nothing.
        """
        k, d = found.mixture.n_components, self.x.shape[1]
        own = self.family.n_parameters(k + 1, d) - self.family.n_parameters(k, d)
        return -int((found.mixture.weights * len(self.x) < own).sum()), found.trace[-1]

    def _sums(self, rows: NDArray[np.intp]) -> Statistics:
        mass = np.ones(len(rows)) if self.weight is None else self.weight[rows]
        if not mass.sum() > 0.0:  # nobody's: any row gives moments of the right shape
            rows, mass = np.zeros(1, dtype=np.intp), np.zeros(1)
        return self.family.statistics(self.family.floats(self.x[rows]), mass[:, None])


def repaired(trial: Trial, found: Fit, rounds: int) -> Fit:
    """Cut every component in two, climb, merge down again, climb; keep what has become better.

    Where one component covers two groups of rows, its halves part; where two share one group,
    they are the cheapest to merge: all wrong components are put right in one round.

    Parameters
    ----------
    trial : Trial
    found : Fit
        A fit on the trial's rows.
    rounds : int
        At most; the first round that makes nothing better is the last.

    References
    ----------
    Ueda, Nakano, Ghahramani & Hinton (2000), SMEM, tries one split and merge at a time; Fritzke
    (2020), breathing k-means, several.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.local.merging import Trial, repaired
    >>> from dfmr_dask.mixture import Mixture
    >>> rng = np.random.default_rng(0)
    >>> rows = np.repeat([0.0, 20.0, 90.0], 200)[:, None] + rng.standard_normal((600, 1))
    >>> trial = Trial(DiagonalGaussian(), rows, strength=0.04, floor=1e-6)
    >>> wrong = Mixture(DiagonalGaussian(), [0.66, 0.17, 0.17],
    ...                 {"means": [[10.0], [89.0], [91.0]], "variances": [[100.0], [1.0], [1.0]]})
    >>> right = repaired(trial, trial.climbed(wrong, 10), rounds=1).mixture
    >>> np.sort(right.params["means"].ravel()).round() + 0.0
    array([ 0., 20., 90.])
    """
    order = found.mixture.n_components
    if len(trial.x) < trial.family.min_rows(2 * order, trial.x.shape[1]):
        return found
    for _ in range(rounds):
        halves = trial.climbed(cut(trial, found.mixture), CUT_ITERATIONS)
        other = trial.climbed(merged(halves.mixture, order), REJOINED_ITERATIONS)
        scarce, likelihood = trial.standing(found)
        if trial.standing(other) <= (scarce, likelihood + LEAST_GAIN):
            break
        found = other
    return found


def cut(trial: Trial, mixture: Mixture) -> Mixture:
    """Return the 2K halves of all components, cut across their rows' direction of largest spread.

    Spread is measured in standard deviations of all rows. A component with too few rows for two
    keeps them, and its other half starts from everybody's statistics.
    """
    k, x = mixture.n_components, trial.x
    labels = mixture.labels(x)
    halves = labels.copy()
    floats, middles = trial.family.floats, trial.family.expectation(mixture.params)
    scale = spread_of(floats(x))
    for component in range(k):
        mine = np.flatnonzero(labels == component)
        if len(mine) >= trial.family.min_rows(2, x.shape[1]):
            rows = (floats(x[mine]) - middles[component]) / np.where(scale > 0, scale, 1.0)
            rows = np.where(np.isnan(rows), 0.0, rows)  # what is missing lies in the middle
            rows -= rows.mean(axis=0)
            direction = np.linalg.eigh(rows.T @ rows)[1][:, -1]
            halves[mine[rows @ direction > 0.0]] = component + k
    return trial.grouped(halves, 2 * k)


def spread_of(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation (d,) of each column's entries, rows (n, d) with NaN or without.

    A column without an entry has none.
    """
    if not np.isnan(x).any():
        return np.asarray(x.std(axis=0))
    there = ~np.isnan(x)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, x, 0.0).sum(axis=0) / count
    return np.asarray(np.sqrt(np.where(there, (x - mean) ** 2, 0.0).sum(axis=0) / count))


def merged(mixture: Mixture, n_components: int) -> Mixture:
    """Merge components greedily, always the pair whose moment match costs least.

    A tied covariance is put together at the end only: it would hide what a merge costs.

    References
    ----------
    METHOD 11, step 2; :func:`dfmr_dask.aggregate.greedy.merged`.
    """
    family = mixture.family
    groups = family.expected_statistics(mixture.params, mixture.weights)
    left = greedy.merged(family, groups, n_components)
    return Mixture(family, left.count / left.count.sum(), family.from_statistics(left))


def _joined(parts: list[Statistics]) -> Statistics:
    """Put the statistics of single groups side by side."""
    moments = {
        name: np.concatenate([part.moments[name] for part in parts]) for name in parts[0].moments
    }
    return Statistics(np.concatenate([part.count for part in parts]), moments)
