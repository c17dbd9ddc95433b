"""Rows so far away that they are errors of measurement or storage, told by robust spreads.

A partition's penalty and the floor of its covariances are in units of its own variances. A few rows
at a million times the usual spread inflate these, and each takes a component for itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Rows

MAD_TO_SPREAD = 1.4826  # of a normal distribution: 1 / its third quartile
IQR_TO_SPREAD = 1.0 / 1.349  # of a normal distribution: half of that, for the whole width
Floats = NDArray[np.float64]


def near(x: Rows, limit: float, weights: Floats | None = None) -> NDArray[np.bool_]:
    """Tell which rows lie within so many robust spreads of the median, in every feature.

    The spread of a feature is 1.4826 times the median distance to its median; where that is 0, as
    in a feature that has one value in most rows, the distance of its quartiles divided by 1.349.
    A feature where both are 0 leaves no row out.

    Parameters
    ----------
    x : array of shape (n, d), finite
    limit : float
        In spreads.
    weights : array of shape (n,), optional
        Positive; a row of weight 2 counts twice in medians and quartiles.

    Returns
    -------
    ndarray of bool, shape (n,)

    References
    ----------
    Hampel (1974), The influence curve and its role in robust estimation.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.local.outliers import near
    >>> near(np.array([[1.0], [2.0], [3.0], [4.0], [1e9]]), limit=1000.0)
    array([ True,  True,  True,  True, False])
    """
    return within(x, bounds(x, limit, weights))


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """How far from where a value may lie; both (d,), in float64, infinite where any may."""

    middle: Floats
    farthest: Floats


def bounds(x: Rows, limit: float, weights: Floats | None = None) -> Bounds:
    """Return the bounds that rows (n, d) set for themselves, or for others like them.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.local.outliers import bounds
    >>> bounds(np.array([[1.0], [2.0], [3.0]]), limit=10.0).farthest
    array([14.826])
    """
    middles, farthest = np.zeros(x.shape[1]), np.full(x.shape[1], np.inf)
    for number, column in enumerate(x.T if len(x) else ()):
        values, mass = column.astype(np.float64), weights
        if (gone := np.isnan(values)).any():
            values, mass = values[~gone], None if mass is None else mass[~gone]
        if not len(values):
            continue
        middle, low, high = quantiles(values, (0.5, 0.25, 0.75), mass)
        (typical,) = quantiles(np.abs(values - middle), (0.5,), mass)
        spread = MAD_TO_SPREAD * typical or IQR_TO_SPREAD * (high - low)
        if spread > 0.0:
            middles[number], farthest[number] = middle, limit * spread
    return Bounds(middles, farthest)


def within(x: Rows, limits: Bounds) -> NDArray[np.bool_]:
    """Tell which rows (n, d) lie within bounds in every feature, shape (n,); NaN is not outside."""
    kept = np.ones(len(x), dtype=np.bool_)
    for column, middle, farthest in zip(x.T, limits.middle, limits.farthest, strict=True):
        if farthest < np.inf:
            kept &= ~(np.abs(column.astype(np.float64) - middle) > farthest)
    return kept


def quantiles(values: Floats, levels: tuple[float, ...], weights: Floats | None) -> list[float]:
    """Return the smallest values that reach these shares of the weight; rows count once by default.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.local.outliers import quantiles
    >>> quantiles(np.array([3.0, 1.0, 2.0]), (0.5,), np.array([4.0, 1.0, 1.0]))
    [3.0]
    """
    if weights is None:
        places = [max(0, int(np.ceil(level * len(values))) - 1) for level in levels]
        ordered = np.partition(values, places)
        return [float(ordered[place]) for place in places]
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    found = np.searchsorted(reached, np.array(levels) * reached[-1])
    return [float(values[order[i]]) for i in np.minimum(found, len(values) - 1)]
