"""Gaussian parameters in the shapes that scikit-learn gives them, by ``covariance_type``.

``full`` (K, d, d), ``tied`` (d, d), ``diag`` (K, d), ``spherical`` (K,).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Params

Array = NDArray[np.float64]


def shape_of(covariance_type: str, n_components: int, n_features: int) -> tuple[int, ...]:
    """Return the shape of covariances and precisions."""
    return {
        "full": (n_components, n_features, n_features),
        "tied": (n_features, n_features),
        "diag": (n_components, n_features),
        "spherical": (n_components,),
    }[covariance_type]


def covariances_of(covariance_type: str, params: Params) -> Array:
    """Return a family's stacked parameters as scikit-learn's ``covariances_``.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families.covariance_types import covariances_of
    >>> covariances_of("spherical", {"means": np.zeros((3, 2)), "variances": np.ones((3, 2))})
    array([1., 1., 1.])
    """
    if covariance_type in ("full", "tied"):
        covariances = params["covariances"]
        return np.array(covariances[0] if covariance_type == "tied" else covariances)
    variances = params["variances"]
    return np.array(variances[:, 0] if covariance_type == "spherical" else variances)


def params_of(covariance_type: str, means: Any, covariances: Any) -> dict[str, Array]:
    """Return a family's stacked parameters from scikit-learn's ``covariances_``."""
    means, covariances = np.asarray(means, dtype=np.float64), np.asarray(covariances)
    n_components, n_features = means.shape
    if covariance_type in ("full", "tied"):
        shape = shape_of("full", n_components, n_features)
        return {"means": means, "covariances": np.broadcast_to(covariances, shape)}
    columns = covariances[:, None] if covariance_type == "spherical" else covariances
    return {"means": means, "variances": np.broadcast_to(columns, means.shape)}


def alike(covariance_type: str, covariance: Array, n_components: int) -> Array:
    """Return the covariances (d, d) of one group of rows as those of every component."""
    if covariance_type in ("full", "tied"):
        return (
            np.repeat(covariance[None], n_components, 0)
            if covariance_type == "full"
            else covariance
        )
    variances = np.repeat(np.diag(covariance)[None], n_components, axis=0)
    return variances.mean(axis=1) if covariance_type == "spherical" else variances


def inverse(covariance_type: str, matrices: Any) -> Array:
    """Invert covariances into precisions, or precisions into covariances."""
    if covariance_type in ("full", "tied"):
        inverted = np.linalg.inv(np.asarray(matrices, dtype=np.float64))
        return np.asarray(0.5 * (inverted + inverted.swapaxes(-1, -2)))
    return np.asarray(1.0 / np.asarray(matrices, dtype=np.float64))


def precisions_cholesky_of(covariance_type: str, covariances: Array) -> Array:
    """Return the factors U with U Uᵀ = precision, upper triangular as in scikit-learn."""
    if covariance_type in ("full", "tied"):
        lower = np.linalg.cholesky(covariances)
        return np.triu(np.linalg.inv(lower).swapaxes(-1, -2))
    return np.asarray(1.0 / np.sqrt(covariances))
