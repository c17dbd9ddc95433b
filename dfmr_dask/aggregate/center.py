"""COAT, the center of attention, and where to cut around it without tuning (METHOD 4 and 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

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
    middle = float(np.median(y))
    closer = y[y <= middle]
    deviation = float(np.sqrt(np.mean((closer - middle) ** 2)))
    deviation = min(max(deviation, spread[0] * middle), spread[1] * middle)
    quantile = float(stats.t.ppf(1.0 - level, max(len(closer) - 1, 1)))
    return float(max((middle + quantile * deviation) ** 1.5, ball.radius))


def inside(distances: NDArray[np.float64], cut: float) -> NDArray[np.bool_]:
    """Tell who lies within the cut; equal estimates do, whatever rounding makes of zero."""
    return distances <= cut * (1.0 + 1e-9)
