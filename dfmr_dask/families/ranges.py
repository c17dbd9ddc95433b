"""What parameters and rows of Gaussians we can compute with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import DegenerateRows, InvalidMixture
from dfmr_dask.families.base import Rows

LARGEST = 1e100  # variances beyond, or below 1 / LARGEST, cannot be computed with
LARGEST_MEAN = 1e50  # so that its square, a variance of pooled components, is one we can
WORST_CORRELATION = 1e-12  # smallest eigenvalue of a correlation matrix that we compute with


def finite_rows(x: Rows) -> NDArray[np.bool_]:
    """Tell which rows (n, d) hold neither NaN nor infinity, shape (n,)."""
    if not np.issubdtype(x.dtype, np.floating):
        return np.ones(len(x), dtype=np.bool_)
    return np.asarray(np.isfinite(x).all(axis=1))


def known_rows(x: Rows) -> NDArray[np.bool_]:
    """Tell which rows (n, d) hold no infinity, and an entry that is not NaN, shape (n,)."""
    if not np.issubdtype(x.dtype, np.floating):
        return np.ones(len(x), dtype=np.bool_)
    whole = np.asarray(np.isfinite(x).all(axis=1))
    if not whole.all():
        rest = x[~whole]
        whole[~whole] = ~np.isinf(rest).any(axis=1) & ~np.isnan(rest).all(axis=1)
    return whole


def check_means(means: NDArray[np.float64]) -> None:
    """Raise unless means are a (K, d) table of finite numbers that can be squared."""
    if means.ndim != 2 or not means.size:
        raise InvalidMixture(f"means have shape {means.shape}; wanted (n_components, n_features)")
    if not np.all(np.abs(means) <= LARGEST_MEAN):
        raise InvalidMixture(f"means hold NaN, infinity or numbers above {LARGEST_MEAN:g}")


def check_definite(covariances: NDArray[np.float64]) -> None:
    """Raise unless covariances are finite, symmetric, positive definite and well conditioned."""
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    check_variances(variances)
    if not np.all(np.abs(covariances) <= LARGEST):
        raise InvalidMixture("covariances hold NaN, infinity or numbers that cannot be squared")
    scale = np.sqrt(variances)
    correlations = covariances / (scale[:, :, None] * scale[:, None, :])
    if not np.allclose(correlations, correlations.transpose(0, 2, 1), rtol=0.0, atol=1e-8):
        raise InvalidMixture("covariances are not symmetric")
    if (
        np.linalg.eigvalsh(0.5 * (correlations + correlations.transpose(0, 2, 1))).min()
        < WORST_CORRELATION
    ):
        raise InvalidMixture("covariances are not positive definite, or too badly conditioned")


def check_variances(variances: NDArray[np.float64]) -> None:
    """Raise unless all variances are positive numbers in the range we can compute with."""
    if not np.all((variances >= 1.0 / LARGEST) & (variances <= LARGEST)):
        raise InvalidMixture("variances are not positive, not finite, or out of range")


def check_observed(observed: NDArray[np.float64]) -> None:
    """Raise when a column has no entry, by the shares of rows (d,) that have one."""
    if len(none := np.flatnonzero(observed <= 0.0)):
        raise DegenerateRows(f"no entry in columns {none[:8].tolist()}, {len(none)} in all")


def check_spread(variances: NDArray[np.float64], means: NDArray[np.float64]) -> None:
    """Raise when a column is constant, up to what float64 can tell beside its mean."""
    flat = np.flatnonzero(~(variances > 1e-26 * means**2) | (variances < 1.0 / LARGEST))
    if len(flat):
        raise DegenerateRows(f"constant columns: {flat.tolist()}")
