"""What is done to every row: the E-step with the sums for the M-step, and answers about rows.

Three implementations of one contract: ``reference.py`` in NumPy for every family, ``compiled.py``
(by way of ``gaussian.py``) for Gaussians where numba is installed, and ``entries.py`` for families
of independent columns.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dfmr_dask.families.base import Family, Params, Rows, Statistics
from dfmr_dask.jit import COMPILED
from dfmr_dask.kernels import entries, gaussian, reference
from dfmr_dask.kernels.reference import Blocks, pooled

__all__ = [
    "Blocks",
    "answers",
    "even_rows",
    "expected_sums",
    "labels",
    "log_density",
    "overall_statistics",
    "pooled",
    "responsibilities",
]

Weights = NDArray[np.float64]
NOTHING = np.empty(0)


def expected_sums(
    family: Family,
    weights: Weights,
    params: Params,
    x: Rows | Blocks,
    sample_weight: Weights | None = None,
    *,
    work: DTypeLike = np.float64,
) -> tuple[Statistics, float]:
    """Return the statistics of the E-step (K groups) and the log likelihood of the rows.

    Parameters
    ----------
    family : Family
    weights : ndarray of shape (K,)
    params : stacked parameters of K components
    x : array of shape (n, d), any real dtype, finite; or blocks
        Blocks are pairs of such an array and its sample weights (or None), one after the other:
        rows that do not fit in memory.
    sample_weight : array of shape (n,), optional
        How often each row counts.
    work : {float64, float32}
        Precision inside a tile of rows; sums over tiles are in float64 anyway.

    Returns
    -------
    statistics : Statistics
    log_likelihood : float
        Sum over rows, in nats.

    References
    ----------
    Chen & Tan (2009), section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.kernels import expected_sums
    >>> params = {"means": np.array([[0.0], [9.0]]), "variances": np.ones((2, 1))}
    >>> rows = np.array([[-1.0], [1.0], [9.0]])
    >>> statistics, _ = expected_sums(DiagonalGaussian(), np.array([0.5, 0.5]), params, rows)
    >>> statistics.count.round(3)
    array([2., 1.])
    """
    blocks = [(x, sample_weight)] if isinstance(x, np.ndarray) else x
    if COMPILED and gaussian.handles(family):
        return gaussian.expected_sums(family, weights, params, blocks, np.dtype(work))
    if entries.handles(family):
        return entries.expected_sums(family, weights, params, blocks)
    return reference.expected_sums(family, weights, params, blocks)


def overall_statistics(family: Family, x: Rows, sample_weight: Weights | None = None) -> Statistics:
    """Return the statistics of all rows (n, d), n > 0, as one group."""
    found: Statistics = _kernel(family).overall_statistics(family, x, sample_weight)
    return found


def log_density(family: Family, weights: Weights, params: Params, x: Rows) -> NDArray[np.float64]:
    """Return the log density of each row in nats, shape (n,)."""
    out = np.empty(len(x))
    _answer(family, weights, params, x, (out, NOTHING[:, None], NOTHING.astype(np.intp)))
    return out


def responsibilities(
    family: Family, weights: Weights, params: Params, x: Rows
) -> NDArray[np.float64]:
    """Return the posterior probability of each component given each row, shape (n, K)."""
    out = np.empty((len(x), len(weights)))
    _answer(family, weights, params, x, (NOTHING, out, NOTHING.astype(np.intp)))
    return out


def labels(family: Family, weights: Weights, params: Params, x: Rows) -> NDArray[np.intp]:
    """Return the most probable component of each row, shape (n,); the first of equals."""
    out = np.empty(len(x), dtype=np.intp)
    _answer(family, weights, params, x, (NOTHING, NOTHING[:, None], out))
    return out


def answers(
    family: Family, weights: Weights, params: Params, x: Rows, names: Collection[str]
) -> dict[str, NDArray[Any]]:
    """Return several answers about rows by name, from one E-step: each as its own function does."""
    density = np.empty(len(x) if "log_density" in names else 0)
    shares = np.empty((len(x) if "responsibilities" in names else 0, len(weights)))
    best = np.empty(len(x) if "labels" in names else 0, dtype=np.intp)
    _answer(family, weights, params, x, (density, shares, best))
    found = {"log_density": density, "responsibilities": shares, "labels": best}
    return {name: found[name] for name in names}


def _answer(
    family: Family, weights: Weights, params: Params, x: Rows, out: tuple[Any, Any, Any]
) -> None:
    _kernel(family).answers(family, weights, params, x, out)


def even_rows(n_features: int, dtype: np.dtype[Any], family: Family | None = None) -> int:
    """Return of what multiple of rows blocks give the same sums, bit by bit, as all at once."""
    if family is not None and entries.handles(family):
        return entries.even_rows(n_features, dtype.itemsize)
    return gaussian.even_rows(n_features, dtype)


def _kernel(family: Family) -> Any:
    """Return the implementation for a family."""
    if COMPILED and gaussian.handles(family):
        return gaussian
    return entries if entries.handles(family) else reference
