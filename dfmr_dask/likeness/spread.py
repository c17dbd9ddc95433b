"""How far pieces lie apart, in units of sampling noise: size and significance (EVIDENCE 11)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dfmr_dask.aggregate.center import coat
from dfmr_dask.likeness.pieces import Array, Pieces
from dfmr_dask.randomness import Stage, generator

Mask = NDArray[np.bool_]
SMALLEST_EIGENVALUE = 1e-7  # of correlations: what varies less does not vary
LEVEL = 0.05  # chance that an honest piece of alike ones is called off
MARGIN = 1.2  # of that cut-off, since center and covariance are estimated
MOST_VARIANCE = 10.0  # times the usual variance within a piece, or a tenth of it
ROUNDS = 5  # of finding who is off, and measuring without them
WORST_SHARE = 0.45  # of bad pieces that must not make alike ones look unlike
SIMULATIONS, SIMULATED_PIECES = 400, 100
QUANTILE = 0.995  # of sizes of alike pieces with that share of bad ones
ROUNDING = 1e-12  # squared standard errors
LEAST_LIMIT = 3.0  # times the usual size


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """How far m pieces lie apart in one block of what they said.

    Attributes
    ----------
    name : str
    coordinates : ndarray of shape (m, q)
        Means in units of the standard deviation of one row.
    distances : ndarray of shape (m,)
        From the majority's mean, in standard errors (root mean square over coordinates).
    sizes : ndarray of shape (columns,)
        Median squared deviation of each column, over sampling noise's.
    size : float
        Squared radius of the ball around the center of attention, over sampling noise's.
    limit : float
        Size that alike pieces do not reach, even with 45 % of bad ones.
    off : mask of shape (m,)
        Who lies further from the majority than sampling noise, or the majority's own spread, has
        it.
    statistic, degrees : float
        Of the chi-squared test over those who are not off.
    """

    name: str
    coordinates: Array
    distances: Array
    sizes: Array
    size: float
    limit: float
    off: Mask
    statistic: float
    degrees: float

    @property
    def p_value(self) -> float:
        """Chance of a statistic as large among alike pieces."""
        return float(stats.chi2.sf(self.statistic, self.degrees)) if self.degrees > 0 else 1.0


def spread(pieces: Pieces, name: str, columns: slice, tests: int) -> Spread:
    """Measure how far pieces lie apart in some columns of their means.

    Parameters
    ----------
    pieces : Pieces
    name : str
    columns : slice
    tests : int
        Blocks that are looked at together.
    """
    # About a middle, so that pieces that agree to the bit stay so in any matrix product.
    means = pieces.means[:, columns] - np.median(pieces.means[:, columns], axis=0)
    covariances = pieces.covariances[:, columns, columns]
    if name == "components":  # they sum to one: what is along that direction is rounding
        k = means.shape[1]
        along = np.eye(k) - 1.0 / k
        covariances = along @ covariances @ along
        means = means @ along
    m, rows = len(pieces), pieces.rows
    if m < 2:
        return _alone(name, means @ whitener(covariances[0]))
    first = whitener(np.median(covariances, axis=0))
    fair = plausible(covariances, first)
    y = means @ first
    center = coat(pair_distances(y, pieces.pair_rows)).center
    squares = np.where(fair, _squares(y, y[center], rows), np.inf)
    trusted = _closest_half(squares)
    for _ in range(ROUNDS):
        share = rows * trusted / (rows @ trusted)
        y = means @ whitener(np.tensordot(share, covariances, 1))
        q = max(1, y.shape[1])
        usual, worst = alike_radii(m, q)
        size = coat(pair_distances(y, pieces.pair_rows)).radius ** 2 / usual
        limit = max(LEAST_LIMIT, worst / usual)
        squares = _squares(y, share @ y, rows)
        cut = MARGIN * min(max(1.0, size), limit) * stats.chi2.ppf(1.0 - LEVEL / (m * tests), q)
        inside = (squares <= cut) & fair
        if 2 * inside.sum() <= m or np.array_equal(inside, trusted):
            break
        trusted = inside
    statistic, degrees = heterogeneity(means, covariances, rows, inside)
    distances = np.sqrt(squares / q)
    sizes = column_sizes(means - share @ means, np.tensordot(share, covariances, 1), rows)
    return Spread(name, y, distances, sizes, size, limit, ~inside, statistic, degrees)


def _alone(name: str, y: Array) -> Spread:
    """Return what is said of one piece, which can differ from nobody."""
    nothing = np.zeros(1)
    return Spread(name, y, nothing, np.zeros(y.shape[1]), 0.0, LEAST_LIMIT, nothing > 0.0, 0.0, 0.0)


def plausible(covariances: Array, typical: Array) -> Mask:
    """Tell whose rows vary about as much as usual ones do, after a usual whitener (q, r).

    Who claims a huge variance would make everybody alike. Where not even most vary alike, nobody
    is told apart by that.
    """
    whitened = np.einsum("ar,mab,br->m", typical, covariances, typical) / max(1, typical.shape[1])
    fair = (whitened * MOST_VARIANCE >= 1.0) & (whitened <= MOST_VARIANCE)
    return np.asarray(fair) if 2 * fair.sum() > len(fair) else np.ones(len(fair), dtype=bool)


def heterogeneity(
    means: Array, covariances: Array, rows: Array, among: Mask
) -> tuple[float, float]:
    """Return T = sum of n (v - mean)' V⁻¹ (v - mean) over some pieces, and its degrees of freedom.

    V is their pooled covariance within pieces, inverted where it has rank.
    """
    if among.sum() < 2:
        return 0.0, 0.0
    n = rows[among]
    y = means[among] @ whitener(np.average(covariances[among], axis=0, weights=n))
    away = y - np.average(y, axis=0, weights=n)
    return float(n @ (away**2).sum(axis=1)), float((among.sum() - 1) * y.shape[1])


def column_sizes(away: Array, covariance: Array, rows: Array) -> Array:
    """Return the median squared deviation of each column (q,) over what sampling noise has."""
    variance = np.diagonal(covariance)
    squares = np.median(away**2 * rows[:, None], axis=0) / float(stats.chi2.ppf(0.5, 1))
    return np.divide(squares, variance, out=np.zeros_like(squares), where=variance > 0.0)


def combined(p_values: list[float]) -> float:
    """Combine p-values of tests that may depend on each other (Liu & Xie 2020, Cauchy).

    Examples
    --------
    >>> from dfmr_dask.likeness.spread import combined
    >>> round(combined([0.02, 0.02]), 3), round(combined([1.0, 1.0]), 3)
    (0.02, 1.0)
    """
    p = np.clip(p_values, 1e-300, 1.0 - 1e-12)
    if np.min(p) < 1e-14:
        return float(min(1.0, len(p) * np.min(p)))
    if np.min(p) > 1.0 - 1e-9:
        return 1.0
    return float(stats.cauchy.sf(np.mean(np.tan((0.5 - p) * np.pi))))


def whitener(covariance: Array) -> Array:
    """Return W (q, r) with W' C W = 1, r the rank of the covariance; r = 0 where nothing varies."""
    scale = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0.0)
    values, vectors = np.linalg.eigh(inverse[:, None] * covariance * inverse)
    large = values > SMALLEST_EIGENVALUE * max(1.0, float(values[-1]))
    return np.asarray(inverse[:, None] * vectors[:, large] / np.sqrt(values[large]))


def pair_distances(y: Array, rows: Array) -> Array:
    """Return distances of all pairs (m, m) in standard errors, not divided by coordinates."""
    squares = (y**2).sum(axis=1)
    gaps = np.maximum(squares[:, None] + squares - 2.0 * y @ y.T, 0.0)
    np.fill_diagonal(gaps, 0.0)
    return np.asarray(np.sqrt(gaps / (1.0 / rows[:, None] + 1.0 / rows)))


@lru_cache(maxsize=256)
def alike_radii(m: int, q: int) -> tuple[float, float]:
    """Return the usual squared radius of alike pieces' ball, and one that they hardly ever reach.

    The latter with 45 % of them as bad as can be: far away, they widen the ball that must hold more
    than half of all. From simulated normal means in q coordinates, always the same ones.
    """
    m = min(m, SIMULATED_PIECES)
    good, half = m - int(WORST_SHARE * m), m // 2
    rng = generator(m, Stage.ALIKE_SPREAD, q)
    usual, worst = [], []
    for _ in range(SIMULATIONS):
        distances = pair_distances(rng.standard_normal((m, q)), np.ones(m)) ** 2
        usual.append(np.partition(distances, half, axis=1)[:, half].min())
        worst.append(np.partition(distances[:good, :good], half, axis=1)[:, half].min())
    return float(np.median(usual)), float(np.quantile(worst, QUANTILE))


def _squares(y: Array, center: Array, rows: Array) -> Array:
    squares = ((y - center) ** 2).sum(axis=1) * rows
    return np.asarray(np.where(squares < ROUNDING, 0.0, squares))


def _closest_half(squares: Array) -> Mask:
    out = np.zeros(len(squares), dtype=bool)
    out[np.argsort(squares, kind="stable")[: len(squares) // 2 + 1]] = True
    return out
