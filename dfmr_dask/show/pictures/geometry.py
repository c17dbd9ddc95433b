"""Where components lie along two features, and the shapes that say so."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse
from numpy.typing import NDArray
from scipy import stats

from dfmr_dask.aggregate.jackknife import LEVEL
from dfmr_dask.mixture import Mixture

SIDE = 120  # points along each side of a density of two features
HELD = (0.95, 0.8, 0.5)  # mass of the mixture within each shade
FAR = 0.5  # percent of the rows on each side that may lie outside the picture
Array = NDArray[np.float64]


def shades(
    axis: Axes, weights: Array, means: Array, covariances: Array, window: tuple[Any, Any]
) -> None:
    """Shade where most of the mixture's mass along two features is."""
    x, y = (np.linspace(low, high, SIDE) for low, high in window)
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    density = np.zeros(grid.shape[:2])
    for weight, mean, spread in zip(weights, means, covariances, strict=True):
        density += weight * stats.multivariate_normal.pdf(grid, mean, spread, allow_singular=True)
    falling = np.sort(density, axis=None)[::-1]
    held = np.cumsum(falling) / max(falling.sum(), np.finfo(float).tiny)
    levels = np.unique([falling[min(np.searchsorted(held, mass), held.size - 1)] for mass in HELD])
    if len(levels) == len(HELD) and levels[-1] < falling[0]:
        shades = [(0.5, 0.5, 0.5, alpha) for alpha in (0.08, 0.16, 0.26)]
        axis.contourf(x, y, density, [*levels, falling[0]], colors=shades)


def window_of(means: Array, covariances: Array, rows: Array | None) -> tuple[Any, Any]:
    """Return where components end and most rows of a sample lie, and some room, by feature."""
    deviations = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    low, high = (means - 2.0 * deviations).min(axis=0), (means + 2.0 * deviations).max(axis=0)
    if rows is not None and len(rows):
        low = np.minimum(low, np.percentile(rows, FAR, axis=0))
        high = np.maximum(high, np.percentile(rows, 100.0 - FAR, axis=0))
    room = 0.03 * np.maximum(high - low, 1e-12)
    return tuple(zip((low - room).tolist(), (high + room).tolist(), strict=True))  # type: ignore[return-value]


def ellipse(middle: Array, spread: Array, radius: float, **style: Any) -> Ellipse:
    """Return the points within a radius of the middle, in the metric of a covariance (2, 2)."""
    values, vectors = np.linalg.eigh(spread)
    width, height = 2.0 * radius * np.sqrt(np.maximum(values, 0.0))
    angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    return Ellipse((middle[0], middle[1]), width, height, angle=angle, **style)


def hotelling(m: int) -> float:
    """Return the radius of the ellipse that covers a mean of two coordinates from m partitions."""
    return float(np.sqrt(2.0 * (m - 1) / (m - 2) * stats.f.ppf(LEVEL, 2, m - 2)))


def along(mixture: Mixture, k: int, pair: tuple[int, int]) -> Array:
    """Return the covariance (2, 2) of a component along two features."""
    if "variances" in mixture.params:
        return np.diag(mixture.params["variances"][k, list(pair)])
    return np.asarray(mixture.params["covariances"][k][np.ix_(pair, pair)])


def variances(mixture: Mixture) -> Array:
    """Return variances (K, d)."""
    params = mixture.params
    if "variances" in params:
        return params["variances"]
    return np.diagonal(params["covariances"], axis1=1, axis2=2)
