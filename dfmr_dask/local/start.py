"""Where a fit starts: samples, pilots, scores (METHOD 11, steps 1 to 3 and 7).

Partitions fitted from starts of their own end in different optima, whose average is no optimum.
So each partition proposes a pilot from a small sample, all score all pilots, and the vote in
``dfmr_dask.aggregate.vote`` names the one where everybody starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, kmeans_plusplus

from dfmr_dask.families.base import Family, Params, Rows, Statistics
from dfmr_dask.local.em import Fit, fit
from dfmr_dask.local.kernels import overall_statistics, pooled
from dfmr_dask.mixture import Mixture

ROWS_TO_FIT = 2000  # sample A at least, where the partition has them
ROWS_A_PARAMETER = 17  # 17 rows a parameter were safe against colluders, 8 were not
ROWS_TO_SCORE = 1000  # sample B at most
SHARE_TO_FIT = 0.67
OVERFIT_ITERATIONS, MERGED_ITERATIONS, PILOT_ITERATIONS = 15, 8, 30
PILOT_TOL = 1e-5  # nats a row
GUARD = 0.05  # nats a row by which a partition's own pilot must beat the common start


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Two disjoint random samples of a partition: A to fit on, B to score on."""

    fit: NDArray[Any]
    score: NDArray[Any]


def sample_sizes(
    n_parameters: int, rows: int, *, least: int = 0, alone: bool = False
) -> tuple[int, int]:
    """Return the sizes of A and B.

    A has at least the rows that a fit needs at the very least; a partition that is alone has
    nobody to score for.
    """
    wanted = max(ROWS_TO_FIT, ROWS_A_PARAMETER * n_parameters)
    if alone:
        return min(wanted, rows), min(ROWS_TO_SCORE, rows)
    to_fit = min(wanted, max(int(SHARE_TO_FIT * rows), min(least, rows)))
    return to_fit, min(ROWS_TO_SCORE, rows - to_fit)


def draw_sample(
    x: Rows, n_parameters: int, rng: np.random.Generator, *, least: int = 0, alone: bool = False
) -> Sample:
    """Draw A and B from valid rows (n, d); see :func:`sample_sizes`."""
    to_fit, to_score = sample_sizes(n_parameters, len(x), least=least, alone=alone)
    order = rng.permutation(len(x))
    score = order[:to_score] if alone else order[to_fit : to_fit + to_score]
    return Sample(x[order[:to_fit]], x[score])


def propose(
    sample: Sample,
    family: Family,
    n_components: int,
    rng: np.random.Generator,
    *,
    init_params: str = "overfit",
    n_init: int = 2,
    floor: float = 1e-6,
) -> Mixture:
    """Return a pilot: the best of ``n_init`` starts on A, improved by EM.

    Parameters
    ----------
    sample : Sample
    family : Family
    n_components : int
    rng : Generator
    init_params : {"overfit", "k-means++", "kmeans", "random"}
        How a start is found, see :data:`STARTS`.
    n_init : int
        Starts that are tried; the one with the best penalised likelihood goes on.
    floor : float

    Raises
    ------
    DegenerateRows
        When the sample cannot carry a fit of that order.

    References
    ----------
    METHOD 11, step 2.
    """
    strength = len(sample.fit) ** -0.5

    def climb(first: Mixture, max_iter: int) -> Fit:
        return fit(
            sample.fit, first, strength=strength, floor=floor, tol=PILOT_TOL, max_iter=max_iter
        )

    tries = [
        first_guess(
            sample.fit,
            family,
            n_components,
            rng,
            init_params=init_params,
            strength=strength,
            floor=floor,
        )
        for _ in range(n_init)
    ]
    fits = [climb(one, MERGED_ITERATIONS) for one in tries]
    best = max(fits, key=lambda one: one.trace[-1])
    return climb(best.mixture, PILOT_ITERATIONS).mixture


def score(sample: Sample, pilots: Sequence[Mixture]) -> NDArray[np.float64]:
    """Return the mean log density of B under each pilot, in nats a row."""
    return np.array([pilot.score(sample.score) for pilot in pilots])


def guarded_start(sample: Sample, common: Mixture, own: Mixture | None) -> tuple[Mixture, str]:
    """Return the common start, or the partition's own pilot where that is better by far.

    The guard stops disasters only; keeping own optima would bring different basins back.
    """
    if own is None:
        return common, "common"
    common_score, own_score = score(sample, [common, own])
    return (own, "own") if own_score - common_score > GUARD else (common, "common")


def first_guess(
    x: Rows,
    family: Family,
    n_components: int,
    rng: np.random.Generator,
    *,
    init_params: str,
    strength: float,
    floor: float,
) -> Mixture:
    """Return a mixture to start EM from, by the name of how it is found (one of STARTS)."""
    if init_params == "overfit":
        return _overfit(x, family, n_components, rng, strength=strength, floor=floor)
    labels = LABELS[init_params](_standardized(x), n_components, rng)
    return _from_labels(x, labels, family, n_components, strength=strength, floor=floor)


def _overfit(
    x: Rows,
    family: Family,
    n_components: int,
    rng: np.random.Generator,
    *,
    strength: float,
    floor: float,
) -> Mixture:
    """Fit twice as many components for a few iterations, and merge them down."""
    order = 2 * n_components if n_components > 1 else 1
    if len(x) < family.min_rows(order, x.shape[1]):
        order = n_components
    first = first_guess(
        x, family, order, rng, init_params="k-means++", strength=strength, floor=floor
    )
    fitted = fit(x, first, max_iter=OVERFIT_ITERATIONS, strength=strength, floor=floor, tol=0.0)
    return merged(fitted.mixture, n_components)


def _kmeans_plusplus(
    x: NDArray[np.float64], n_components: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Give each row to the nearest of well-spread rows (Arthur & Vassilvitskii, 2007)."""
    centers, _ = kmeans_plusplus(x, n_components, random_state=int(rng.integers(2**31)))
    return _nearest(x, centers)


def _kmeans(
    x: NDArray[np.float64], n_components: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Give each row to its k-means cluster."""
    means = KMeans(n_components, n_init=1, random_state=int(rng.integers(2**31)))
    return np.asarray(means.fit_predict(x), dtype=np.intp)


def _random(
    x: NDArray[np.float64], n_components: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Give each row to the nearest of random rows."""
    return _nearest(x, x[rng.choice(len(x), n_components, replace=False)])


Labels = Callable[[NDArray[np.float64], int, np.random.Generator], NDArray[np.intp]]
LABELS: Mapping[str, Labels] = {
    "k-means++": _kmeans_plusplus,
    "kmeans": _kmeans,
    "random": _random,
}
STARTS = ("overfit", *LABELS)


def merged(mixture: Mixture, n_components: int) -> Mixture:
    """Merge components greedily, always the pair whose moment match costs least.

    The cost w_i KL(i || ij) + w_j KL(j || ij) equals
    w_i F*(i) + w_j F*(j) - (w_i + w_j) F*(ij); for Gaussians that is
    ½{(w_i + w_j) log|S_ij| - w_i log|S_i| - w_j log|S_j|} (METHOD 11, step 2).
    """
    family, weights, params = mixture.family, mixture.weights, mixture.params
    while len(weights) > n_components:
        i, j = np.triu_indices(len(weights), 1)
        groups = np.zeros((len(i), len(weights)))
        groups[np.arange(len(i)), i] = groups[np.arange(len(i)), j] = 1.0
        statistics = family.expected_statistics(params, weights)
        pairs = family.pool(statistics, groups)
        own = weights * family.conjugate(params)
        together = pairs.count * family.conjugate(
            pairs.moments
        )  # not tied: it would hide what a merge costs
        best = int(np.argmin(own[i] + own[j] - together))
        weights, params = _merge_pair(family, statistics, int(i[best]), int(j[best]))
    return Mixture(family, weights / weights.sum(), params)


def _merge_pair(
    family: Family, statistics: Statistics, i: int, j: int
) -> tuple[NDArray[np.float64], Params]:
    n = len(statistics.count)
    groups = np.delete(np.eye(n), j, axis=0)
    groups[i, j] = 1.0
    fewer = family.pool(statistics, groups)
    return fewer.count, family.from_statistics(fewer)


def _from_labels(
    x: Rows,
    labels: NDArray[np.intp],
    family: Family,
    n_components: int,
    *,
    strength: float,
    floor: float,
) -> Mixture:
    """M-step from hard labels, with one row's worth of everybody's statistics in each group."""
    overall = overall_statistics(family, x)
    rows = x.astype(np.float64, copy=False)
    groups = family.statistics(rows, np.eye(n_components)[labels])
    shared = pooled(
        family,
        [
            groups,
            Statistics(
                np.ones(n_components),
                {
                    name: np.repeat(array, n_components, axis=0)
                    for name, array in overall.moments.items()
                },
            ),
        ],
    )
    params = family.from_statistics(shared, family.pseudo_rows(overall, strength, floor))
    return Mixture(family, shared.count / shared.count.sum(), params)


def _standardized(x: Rows) -> NDArray[np.float64]:
    rows = x.astype(np.float64)
    spread = rows.std(axis=0)
    return np.asarray((rows - rows.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0))


def _nearest(x: NDArray[np.float64], centers: NDArray[np.float64]) -> NDArray[np.intp]:
    squared = (centers * centers).sum(axis=1) - 2.0 * x @ centers.T
    return np.asarray(squared.argmin(axis=1))
