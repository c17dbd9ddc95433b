"""How sure a number is, from what it becomes when each group of rows is left out in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95  # of an interval, unless another one is asked for
ROUNDING = 64 * float(np.finfo(np.float64).eps)  # differences up to that mean nothing
Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers on another scale, and back."""

    there: Callable[[Array], Array]
    back: Callable[[Array], Array]


LOGARITHM = Scale(np.log, np.exp)
LOG_ODDS = Scale(lambda p: np.log(p / (1.0 - p)), lambda z: 1.0 / (1.0 + np.exp(-z)))


@dataclass(frozen=True, slots=True, eq=False)
class Jackknifed:
    """A number, or an array of them, and how sure it is.

    Attributes
    ----------
    value : ndarray
        As it is with all rows.
    standard_error : ndarray
        In the units of the value.
    lower, upper : ndarray
        Ends of the interval that covers the truth with probability ``level``: Student's t with as
        many degrees of freedom as there are groups that have a say, less one.
    level : float
    corrected : ndarray
        The value without the bias that curvature gives it, which what remains without groups
        shows. Bias within the groups stays.
    notes : tuple of str
        What the error does not cover.
    """

    value: Array
    standard_error: Array
    lower: Array
    upper: Array
    level: float
    corrected: Array
    notes: tuple[str, ...] = ()


def jackknifed(
    value: Array,
    without: Array,
    shares: Array,
    level: float = LEVEL,
    *,
    scale: Scale | None = None,
    where: Mask | None = None,
) -> Jackknifed:
    """Return how sure values are, from the same values without each group.

    Parameters
    ----------
    value : ndarray of shape (...)
    without : ndarray of shape (m, ...)
    shares : ndarray of shape (m,)
        Of all rows that each group has; they sum to 1.
    level : float
        Of the interval.
    scale : Scale, optional
        On which the interval is symmetric; by default that of the numbers themselves.
    where : mask of shape (...), optional
        Which of the values the scale is for.

    Raises
    ------
    ValueError
        When the level is no probability.

    References
    ----------
    Busing, Meijer & van der Leeden (1999), Delete-m jackknife for unequal m; EVIDENCE 10.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.aggregate.jackknife import jackknifed
    >>> x = np.array([1.0, 2.0, 3.0, 6.0])
    >>> found = jackknifed(x.mean(), (x.sum() - x) / 3, np.full(4, 0.25))
    >>> bool(np.isclose(found.standard_error, x.std(ddof=1) / 2))  # as everybody computes it
    True
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level = {level}; wanted a probability between 0 and 1")
    error, bias, heard = _spread(value, without, shares)
    quantile = stats.t.ppf(0.5 + 0.5 * level, np.maximum(heard - 1, 1))
    lower, upper = np.asarray(value - quantile * error), np.asarray(value + quantile * error)
    if scale is not None:
        there = np.ones(value.shape, dtype=bool) if where is None else where
        middle, many = scale.there(value[there]), scale.there(without[:, there])
        radius = quantile[there] * _spread(middle, many, shares)[0]
        lower[there], upper[there] = scale.back(middle - radius), scale.back(middle + radius)
    return Jackknifed(value, error, lower, upper, level, value - bias)


def covariance(value: Array, without: Array, shares: Array) -> Array:
    """Return the covariance (..., p, p) of sampling errors along the last axis of values.

    Parameters
    ----------
    value : ndarray of shape (..., p)
    without : ndarray of shape (m, ..., p)
    shares : ndarray of shape (m,)
    """
    off, times, bias = _deviations(value, without, shares)
    each = (times * off - bias) / np.sqrt(times)
    return np.asarray(np.einsum("m...i,m...j->...ij", each, each) / len(each))


def _deviations(value: Array, without: Array, shares: Array) -> tuple[Array, Array, Array]:
    """Return deviations beyond rounding, h - 1 of each group, and the bias by curvature."""
    off = without - value
    rounding = ROUNDING * np.maximum(np.abs(without).max(axis=0), np.abs(value))
    off = np.where(np.abs(off) <= rounding, 0.0, off)
    share = shares.reshape(-1, *(1,) * np.ndim(value))
    return off, 1.0 / share - 1.0, ((1.0 - share) * off).sum(axis=0)


def _spread(value: Array, without: Array, shares: Array) -> tuple[Array, Array, NDArray[np.intp]]:
    """Return standard errors, bias by curvature, and how many groups have a say."""
    off, times, bias = _deviations(value, without, shares)
    variance = ((times * off - bias) ** 2 / times).mean(axis=0)
    return np.sqrt(variance), bias, (off != 0.0).sum(axis=0)
