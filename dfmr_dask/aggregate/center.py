"""COAT, the center of attention, and where to cut around it without tuning (METHOD 4 and 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dfmr_dask.randomness import Stage, generator

ALL_PAIRS = 2000  # estimates up to which a center is looked for among all distances
REFERENCES = 100  # beyond: estimates drawn to measure every candidate
FINALISTS = (4, 3, 3)  # candidates measured exactly, round by round
LEVEL = 0.05  # chance that an honest partition is dropped, over all partitions together


@dataclass(frozen=True, slots=True)
class Ball:
    """The smallest ball around an estimate that holds more than half of all.

    Attributes
    ----------
    center : int
        Position of the estimate in the middle.
    radius : float
    """

    center: int
    radius: float


def coat(distances: NDArray[np.float64], candidates: NDArray[np.bool_] | None = None) -> Ball:
    """Find the center of attention of a distance matrix (Zhang, Tan & Chen, section 3).

    Parameters
    ----------
    distances : ndarray of shape (m, m)
        Symmetric, zero on the diagonal; infinite where two estimates cannot be compared.
    candidates : mask of shape (m,), optional
        Which estimates may be the center; all of them count as company.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.aggregate.center import coat
    >>> x = np.array([0.0, 1.0, 2.0, 50.0])
    >>> coat(abs(x[:, None] - x))
    Ball(center=1, radius=1.0)
    """
    m = len(distances)
    radii = np.partition(distances, m // 2, axis=1)[:, m // 2]
    if candidates is not None:
        radii = np.where(candidates, radii, np.inf)
        if not np.isfinite(radii).any():
            return Ball(int(np.flatnonzero(candidates)[0]), float("inf"))
    center = int(np.argmin(radii))
    return Ball(center, float(radii[center]))


def attention(
    columns: Callable[[NDArray[np.intp] | None], NDArray[np.float64]],
    m: int,
    *,
    seed: int = 0,
    candidates: NDArray[np.bool_] | None = None,
    all_pairs: int | None = None,
    references: int = REFERENCES,
) -> tuple[Ball, NDArray[np.float64]]:
    """Find the center of attention of m estimates without all of their distances.

    Up to ``all_pairs`` estimates the center is that of :func:`coat`. Beyond, random references tell
    the radius of every candidate approximately, as the quantile of the distances to them that holds
    the same share as more than half of all; the best candidates are then measured exactly, in
    rounds. No ball is smaller than that of a candidate already measured less the distance to it, so
    that a crowd of colluders who happen to be most of the references takes part in one round only.

    Parameters
    ----------
    columns : callable
        Takes positions (c,), or None for all; returns the distances (m, c) of all estimates to
        those there.
    m : int
    seed : int
        Draws the references.
    candidates : mask of shape (m,), optional
        Which estimates may be the center; all of them count as company.
    all_pairs : int, optional
        Estimates up to which all distances are computed: 2000.
    references : int
        Estimates that are drawn beyond.

    Returns
    -------
    ball : Ball
        Its radius is exact for its center.
    distances : ndarray of shape (m,)
        Of all estimates to the center.

    References
    ----------
    METHOD 4; with 100 references the radius is within .4 % of the smallest on average (EVIDENCE 4).

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.aggregate.center import attention
    >>> x = np.random.default_rng(0).standard_normal(5000)
    >>> ball, distances = attention(lambda to: abs(x[:, None] - x[to]), 5000)
    >>> bool(abs(x[ball.center]) < 0.2), distances.shape
    (True, (5000,))
    """
    if m <= (ALL_PAIRS if all_pairs is None else all_pairs):
        matrix = columns(None)
        ball = coat(matrix, candidates)
        return ball, matrix[:, ball.center]
    drawn = generator(seed, Stage.REFERENCES).choice(m, size=min(references, m), replace=False)
    promised = _approximate_radii(columns, m, np.sort(drawn))
    able = np.ones(m, dtype=bool) if candidates is None else candidates.copy()
    best, nearest = Ball(int(np.argmax(able)), float("inf")), np.full(m, np.inf)
    for count in FINALISTS:
        chosen = np.flatnonzero(able)
        chosen = np.sort(chosen[np.argsort(promised[chosen], kind="stable")[:count]])
        if not len(chosen):
            break
        exact = columns(chosen)
        radii = np.partition(exact, m // 2, axis=0)[m // 2]
        first = int(np.argmin(radii))
        if radii[first] < best.radius or not np.isfinite(nearest).any():
            best, nearest = Ball(int(chosen[first]), float(radii[first])), exact[:, first]
        promised = np.maximum(promised, _least_radii(radii, exact))
        able[chosen] = False
    return best, nearest


def _least_radii(radii: NDArray[np.float64], exact: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least radius of each estimate's ball, by the triangle inequality from measured ones."""
    known = np.isfinite(exact) & np.isfinite(radii)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, radii - exact, 0.0).max(axis=1))


def ball_around(distances: NDArray[np.float64], center: int) -> Ball:
    """Return the ball around a given center, from the distances (m,) to it."""
    half = len(distances) // 2
    return Ball(center, float(np.partition(distances, half)[half]))


def _approximate_radii(
    columns: Callable[[NDArray[np.intp] | None], NDArray[np.float64]],
    m: int,
    drawn: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Radius of the ball around each estimate (m,), as references at drawn positions see it."""
    half = round(len(drawn) * (m // 2 + 1) / m) - 1
    return np.asarray(np.partition(columns(drawn), half, axis=1)[:, half])


def wilson_hilferty_cut(
    distances: NDArray[np.float64],
    ball: Ball,
    level: float,
    spread: tuple[float, float] = (0.0, float("inf")),
) -> float:
    """Return the distance beyond which an estimate is not one of the crowd (METHOD 5).

    Squared distances of honest estimates are close to scaled chi-squares, whose cube roots are
    close to normal: y = D^(2/3). Only the closer half, which is honest, tells the spread.

    Parameters
    ----------
    distances : ndarray of shape (m,)
        To the center, itself included.
    ball : Ball
    level : float
        Chance to drop one honest partition.
    spread : pair of floats
        Bounds of the standard deviation of y, in units of its median.
    """
    y = np.delete(distances, ball.center) ** (2.0 / 3.0)
    y = y[np.isfinite(y)]
    if not len(y):
        return ball.radius
    # Without the center an even number may be left, half of them liars: the mean of the two in
    # the middle would be theirs to choose. The lower one is the edge of the honest majority.
    middle = float(np.quantile(y, 0.5, method="lower"))
    closer = y[y <= middle]
    deviation = float(np.sqrt(np.mean((closer - middle) ** 2)))
    deviation = min(max(deviation, spread[0] * middle), spread[1] * middle)
    quantile = float(stats.t.ppf(1.0 - level, max(len(closer) - 1, 1)))
    return float(max((middle + quantile * deviation) ** 1.5, ball.radius))


def inside(distances: NDArray[np.float64], cut: float) -> NDArray[np.bool_]:
    """Tell who lies within the cut; equal estimates do, whatever rounding makes of zero."""
    return distances <= cut * (1.0 + 1e-9)
