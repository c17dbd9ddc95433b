"""The first guess that EM starts from, by the name of how it is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, kmeans_plusplus

from dfmr_dask.families.base import Family, Rows
from dfmr_dask.local.merging import Trial, merged
from dfmr_dask.local.splitting import split
from dfmr_dask.mixture import Mixture

OVERFIT_ITERATIONS = 6
MANY = 30  # columns of discrete rows beyond which these are split, not over-fitted
MOST_SPLIT = 2000  # rows that are split; they lie in random order, and the others follow by EM
FEWEST_SPLIT, FEWEST_SPLIT_A_COMPONENT = 500, 50  # of them, where columns are very many
NUMBERS_SPLIT = 10_000_000  # entries of these rows
SPLIT_AT_ONCE = 256  # rows, or columns, that are looked at in float64
LEADING = 10  # principal components that rows of more features are looked at in

Weight = NDArray[np.float64] | None


def first_guess(
    x: Rows,
    family: Family,
    n_components: int,
    rng: np.random.Generator,
    *,
    init_params: str,
    strength: float,
    floor: float,
    weight: Weight = None,
) -> Mixture:
    """Return a mixture to start EM from.

    Parameters
    ----------
    x : array of shape (n, d), finite
    family : Family
    n_components : int
    rng : Generator
    init_params : {"overfit", "k-means++", "kmeans", "random"}
        One of :data:`STARTS`.
    strength : float
        The penalty's a.
    floor : float
        Smallest eigenvalue of a covariance in units of the rows' variances.
    weight : array of shape (n,), optional
        How often each row counts.
    """
    trial = Trial(family, x, strength, floor, weight)
    if init_params == "overfit":
        wide = is_wide(family, x.shape[1])
        return (_split if wide else _overfit)(trial, n_components, rng)
    labels = LABELS[init_params](standardized(family.floats(x), weight), n_components, rng, weight)
    return trial.grouped(labels, n_components)


def is_wide(family: Family, n_features: int) -> bool:
    """Tell whether rows are split along principal components, in place of an over-fit."""
    return not family.needs_spread and n_features > MANY


def most_split(n_components: int, n_features: int) -> int:
    """Return how many rows are split: where columns are many, few rows tell the groups apart.

    Examples
    --------
    >>> from dfmr_dask.local.guesses import most_split
    >>> [most_split(5, d) for d in (1000, 10_000, 100_000)]
    [2000, 1000, 500]
    """
    fewest = max(FEWEST_SPLIT, FEWEST_SPLIT_A_COMPONENT * n_components)
    return min(MOST_SPLIT, max(fewest, NUMBERS_SPLIT // n_features))


def _split(trial: Trial, n_components: int, rng: np.random.Generator) -> Mixture:
    """Cut rows of many columns in two, and again, along the leading principal components."""
    few = slice(most_split(n_components, trial.x.shape[1]))
    weight = None if trial.weight is None else trial.weight[few]
    some = Trial(trial.family, trial.x[few], trial.strength, trial.floor, weight)
    return some.grouped(split(_in_single(some), n_components, rng, weight), n_components)


def _in_single(trial: Trial) -> NDArray[np.float32]:
    """Return standardized rows of many columns in single precision, a few at a time in double."""
    n, d = trial.x.shape
    out = np.empty((n, d), np.float32)
    for first in range(0, n, SPLIT_AT_ONCE):
        rows = slice(first, first + SPLIT_AT_ONCE)
        out[rows] = trial.family.floats(trial.x[rows])
    for first in range(0, d, SPLIT_AT_ONCE):
        columns = slice(first, first + SPLIT_AT_ONCE)
        out[:, columns] = standardized(out[:, columns], trial.weight)
    return out


def _overfit(trial: Trial, n_components: int, rng: np.random.Generator) -> Mixture:
    """Fit twice as many components for a few iterations, and merge them down.

    Rows of many features are looked at in their leading principal components, where a component
    has few parameters; what is found there names the rows that each component starts from.
    """
    wide = trial.x.shape[1] > LEADING and trial.family.needs_spread
    seen = _leading(trial) if wide else trial
    order = 2 * n_components if n_components > 1 else 1
    if len(seen.x) < seen.family.min_rows(order, seen.x.shape[1]):
        order = n_components
    labels = _kmeans_plusplus(
        standardized(seen.family.floats(seen.x), seen.weight), order, rng, seen.weight
    )
    fitted = seen.climbed(seen.grouped(labels, order), OVERFIT_ITERATIONS)
    fewer = merged(fitted.mixture, n_components)
    return trial.grouped(fewer.labels(seen.x), n_components) if wide else fewer


def _leading(trial: Trial) -> Trial:
    """Return the same trial on the leading principal components of the standardized rows."""
    rows = standardized(trial.family.floats(trial.x), trial.weight)
    mass = rows if trial.weight is None else rows * trial.weight[:, None]
    axes = np.linalg.eigh(mass.T @ rows)[1][:, -LEADING:]
    return Trial(trial.family, rows @ axes, trial.strength, trial.floor, trial.weight)


def _kmeans_plusplus(
    x: NDArray[np.float64], n_components: int, rng: np.random.Generator, weight: Weight
) -> NDArray[np.intp]:
    """Give each row to the nearest of well-spread rows (Arthur & Vassilvitskii, 2007)."""
    seed = int(rng.integers(2**31))
    centers, _ = kmeans_plusplus(x, n_components, sample_weight=weight, random_state=seed)
    return _nearest(x, centers)


def _kmeans(
    x: NDArray[np.float64], n_components: int, rng: np.random.Generator, weight: Weight
) -> NDArray[np.intp]:
    """Give each row to its k-means cluster."""
    means = KMeans(n_components, n_init=1, random_state=int(rng.integers(2**31)))
    return np.asarray(means.fit_predict(x, sample_weight=weight), dtype=np.intp)


def _random(
    x: NDArray[np.float64], n_components: int, rng: np.random.Generator, weight: Weight
) -> NDArray[np.intp]:
    """Give each row to the nearest of random rows."""
    able = np.arange(len(x)) if weight is None else np.flatnonzero(weight > 0.0)
    return _nearest(x, x[rng.choice(able, n_components, replace=len(able) < n_components)])


Labels = Callable[[NDArray[np.float64], int, np.random.Generator, Weight], NDArray[np.intp]]
LABELS: Mapping[str, Labels] = {
    "k-means++": _kmeans_plusplus,
    "kmeans": _kmeans,
    "random": _random,
}
STARTS = ("overfit", *LABELS)


def standardized(x: Rows, weight: Weight = None) -> NDArray[np.float64]:
    """Return rows of any dtype less their mean, in units of their standard deviations.

    Where an entry is missing, NaN, there is 0: to look for groups only.
    """
    rows = x.astype(np.float64)
    if (gone := np.isnan(rows)).any():
        mass = ~gone * (1.0 if weight is None else weight[:, None])
        rows[gone] = 0.0
        rows -= (mass * rows).sum(axis=0) / np.maximum(mass.sum(axis=0), np.finfo(float).tiny)
        rows[gone] = 0.0
    else:
        rows -= np.average(rows, axis=0, weights=weight)
    spread = np.sqrt(np.average(rows * rows, axis=0, weights=weight))
    return np.asarray(rows / np.where(spread > 0.0, spread, 1.0))


def _nearest(x: NDArray[np.float64], centers: NDArray[np.float64]) -> NDArray[np.intp]:
    squared = (centers * centers).sum(axis=1) - 2.0 * x @ centers.T
    return np.asarray(squared.argmin(axis=1))
