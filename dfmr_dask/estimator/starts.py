"""A start that the user gives, in scikit-learn's shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.data.source import Source
from dfmr_dask.estimator.inputs import rows_in_memory
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.families.covariance_types import alike, inverse, params_of, shape_of
from dfmr_dask.mixture import Mixture


def user_start(parameters: Any, source: Source) -> Mixture | None:
    """Return the mixture that ``means_init`` and its companions describe; None without them.

    Parameters
    ----------
    parameters : GaussianMixture
    source : Source
        Missing precisions are those of the covariance of all its rows, if it lies in memory.

    Raises
    ------
    ValueError
        When shapes are wrong, companions come without ``means_init``, or precisions are missing
        for a store; when the values are no mixture (InvalidMixture).
    """
    means, weights = parameters.means_init, parameters.weights_init
    if means is None:
        if weights is not None or parameters.precisions_init is not None:
            raise ValueError("weights_init and precisions_init need means_init beside them")
        return None
    kind, order = parameters.covariance_type, parameters.n_components
    means = _shaped("means_init", means, (order, source.n_features))
    weights = np.full(order, 1.0 / order) if weights is None else weights
    weights = _shaped("weights_init", weights, (order,))
    covariances = _covariances(parameters, source)
    return Mixture(COVARIANCE_TYPES[kind], weights, params_of(kind, means, covariances))


def _covariances(parameters: Any, source: Source) -> NDArray[np.float64]:
    kind, order = parameters.covariance_type, parameters.n_components
    precisions = parameters.precisions_init
    if precisions is not None:
        shape = shape_of(kind, order, source.n_features)
        return inverse(kind, _shaped("precisions_init", precisions, shape))
    if not source.in_memory:
        raise ValueError(
            "means_init came without precisions_init; the covariance of a store is not known "
            "before it is read: give precisions_init"
        )
    covariance = np.atleast_2d(np.cov(rows_in_memory(source).T, bias=True))
    return alike(kind, covariance, order)


def _shaped(name: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; wanted {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return array
