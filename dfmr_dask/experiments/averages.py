"""Robust averages of vectors, as the literature has them.

Each is given vectors (m, p) and returns one vector (p,) and who took part in it (m,). None is told
how many lie: all are set up for 45 % of liars where they must assume a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.spatial.distance import cdist
from scipy.stats import trim_mean

LIARS = 0.45  # largest share of liars that is reckoned with
GROUP = 2  # partitions in a group of the median of means
PRUNED = 10.0  # median distances from the middle beyond which a vector is not looked at
NOISE_MARGIN = 1.5  # of the largest eigenvalue that honest noise has
ROUNDS = 100  # of reweighting
MOST_STEPS = 1000
TOLERANCE = 1e-12

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Averaged = tuple[Array, Mask]  # a vector (p,), and who took part in it (m,)


def median(z: Array) -> Averaged:
    """Coordinate-wise median.

    References
    ----------
    Yin, Chen, Ramchandran & Bartlett (ICML 2018).
    """
    return np.asarray(np.median(z, axis=0)), _all(z)


def trimmed_mean(z: Array) -> Averaged:
    """Coordinate-wise mean without the 45 % largest and smallest.

    References
    ----------
    Yin, Chen, Ramchandran & Bartlett (ICML 2018).
    """
    return np.asarray(trim_mean(z, LIARS, axis=0)), _all(z)


def geometric_median(z: Array) -> Averaged:
    """Point with the least sum of distances to all vectors.

    References
    ----------
    Vardi & Zhang (PNAS 2000) for the algorithm; Minsker (Bernoulli 2015) for its robustness.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.experiments.averages import geometric_median
    >>> point, _ = geometric_median(np.array([[0.0], [1.0], [50.0]]))
    >>> point.round(6)
    array([1.])
    """
    point = np.median(z, axis=0)
    for _ in range(MOST_STEPS):
        distances = np.linalg.norm(z - point, axis=1)
        here = distances <= TOLERANCE * np.median(distances)
        pull = np.where(here, 0.0, 1.0 / np.where(here, 1.0, distances))
        if not pull.any():
            break
        target = pull @ z / pull.sum()
        if here.any():  # where a vector lies, the others must pull harder than it holds
            force = np.linalg.norm(pull @ (z - point))
            target = point + max(0.0, 1.0 - here.sum() / max(force, 1e-300)) * (target - point)
        moved = np.linalg.norm(target - point)
        point = target
        if moved <= 1e-10 * np.median(distances):
            break
    return np.asarray(point), _all(z)


def median_of_means(z: Array) -> Averaged:
    """Geometric median of the means of pairs: safe up to a quarter of liars.

    References
    ----------
    Lugosi & Mendelson (Foundations of Computational Mathematics 2019); Minsker (Bernoulli 2015).
    """
    groups = max(1, len(z) // GROUP)
    means = np.stack([z[i::groups].mean(axis=0) for i in range(groups)])
    return geometric_median(means)[0], _all(z)


def spectral(z: Array) -> Averaged:
    """Mean after a filter: what sticks out along the direction of largest variance loses weight.

    It stops when no direction varies more than noise can, of the size that the half of the vectors
    next to their median shows.

    References
    ----------
    Diakonikolas, Kamath, Kane, Li, Moitra & Stewart (ICML 2017), the filter for unknown means.
    """
    kept = _pruned(z)
    near = z[kept]
    weights = np.full(len(near), 1.0 / len(z))
    bound = NOISE_MARGIN * _noise(near)
    for _ in range(MOST_STEPS):
        mean = weights @ near / weights.sum()
        largest, outlying = _outlying(near, mean, weights / weights.sum())
        if largest <= bound or weights.sum() <= 1.0 - LIARS:
            break
        most = outlying[weights > 0.0].max()
        weights = weights * np.maximum(1.0 - outlying / most, 0.0)
        if not weights.any():
            raise ValueError("the spectral filter left no estimate; they have nothing in common")
    return mean, _placed(kept, weights > 0.5 / len(z))


def no_regret(z: Array) -> Averaged:
    """Mean with multiplicative weights: in every round, what sticks out pays for it.

    No weight may exceed 1/((1 - .45) m). The round with the least largest variance counts, or the
    first in which no direction varies more than noise can.

    References
    ----------
    Hopkins, Li & Zhang (NeurIPS 2020), algorithm 2 with explicit projections.
    """
    kept = _pruned(z)
    near = z[kept]
    most = max(1.0 / ((1.0 - LIARS) * len(z)), 1.0 / len(near))
    bound = NOISE_MARGIN * _noise(near)
    weights = np.full(len(near), 1.0 / len(near))
    best, least, chosen = near.mean(axis=0), np.inf, weights
    for _ in range(ROUNDS):
        mean = weights @ near
        largest, outlying = _outlying(near, mean, weights)
        if largest < least:
            best, least, chosen = mean, largest, weights
        if largest <= bound:
            break
        weights = _capped(weights * (1.0 - 0.5 * outlying / outlying.max()), most)
    return best, _placed(kept, chosen > 0.5 / len(z))


def krum(z: Array) -> Averaged:
    """Return the vector whose closest neighbors are closest.

    References
    ----------
    Blanchard, El Mhamdi, Guerraoui & Stainer (NeurIPS 2017).
    """
    best = int(np.argmin(_krum_scores(z)))
    return z[best], np.arange(len(z)) == best


def multi_krum(z: Array) -> Averaged:
    """Mean of as many vectors as there must be honest ones, those with the best Krum scores.

    References
    ----------
    Blanchard, El Mhamdi, Guerraoui & Stainer (NeurIPS 2017), section 5.
    """
    ranks = np.argsort(np.argsort(_krum_scores(z), kind="stable"), kind="stable")
    kept = ranks < len(z) - _liars(len(z))
    return z[kept].mean(axis=0), kept


AVERAGES: Mapping[str, Callable[[Array], Averaged]] = {
    "median": median,
    "trimmed_mean": trimmed_mean,
    "geometric_median": geometric_median,
    "median_of_means": median_of_means,
    "spectral": spectral,
    "no_regret": no_regret,
    "krum": krum,
    "multi_krum": multi_krum,
}


def _all(z: Array) -> Mask:
    return np.ones(len(z), dtype=bool)


def _placed(kept: Mask, among: Mask) -> Mask:
    """Tell of all vectors what is known of those that were kept."""
    out = kept.copy()
    out[kept] = among
    return out


def _liars(m: int) -> int:
    """Return how many liars are reckoned with; Krum needs two more than half to be honest."""
    return max(0, min(int(LIARS * m), (m - 3) // 2))


def _krum_scores(z: Array) -> Array:
    """Sum of squared distances to the m - f - 2 nearest others, shape (m,)."""
    square = np.sort(cdist(z, z, "sqeuclidean"), axis=1)[:, 1:]
    return np.asarray(square[:, : max(1, len(z) - _liars(len(z)) - 2)].sum(axis=1))


def _pruned(z: Array) -> Mask:
    """Tell what is not absurdly far away: both filters want that gone before they begin."""
    distances = np.linalg.norm(z - np.median(z, axis=0), axis=1)
    return np.asarray(distances <= PRUNED * np.median(distances))


def _noise(z: Array) -> float:
    """Largest variance along any direction that honest noise shows, as far as half of m tells."""
    m = len(z)
    square = np.median(np.sum((z - np.median(z, axis=0)) ** 2, axis=1))
    varying = max(1, int(np.count_nonzero(np.ptp(z, axis=0))))
    return float(square / varying * (1.0 + np.sqrt(varying / m)) ** 2)


def _outlying(z: Array, mean: Array, weights: Array) -> tuple[float, Array]:
    """Largest variance over all directions, and the squared offset of every vector along it."""
    centered = z - mean
    weighted = np.sqrt(weights)[:, None] * centered
    last = len(z) - 1
    values, vectors = eigh(weighted @ weighted.T, subset_by_index=[last, last])
    direction = vectors[:, 0] @ weighted
    norm = np.linalg.norm(direction)
    if not norm > 0.0:
        return 0.0, np.zeros(len(z))
    return float(values[0]), np.asarray((centered @ direction / norm) ** 2)


def _capped(weights: Array, most: float) -> Array:
    """Bring weights to a sum of 1 with none above ``most``: the projection in relative entropy."""
    out = weights / weights.sum()
    full = np.zeros(len(out), dtype=bool)
    while (above := (out > most * (1.0 + TOLERANCE)) & ~full).any():
        full |= above
        rest = float(weights[~full].sum())
        if rest <= 0.0:
            return np.full(len(out), 1.0 / len(out))
        out = np.where(full, most, weights * ((1.0 - most * full.sum()) / rest))
    return np.asarray(out)
