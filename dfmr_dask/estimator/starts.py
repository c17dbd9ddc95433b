"""A start that the user gives in whole or in part, in scikit-learn's shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.data.source import Source
from dfmr_dask.estimator.inputs import rows_in_memory
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.families.base import Family
from dfmr_dask.families.covariance_types import alike, covariances_of, inverse, params_of, shape_of
from dfmr_dask.local.start import first_guess
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.settings import AUTO

MOST_ROWS = 100_000  # that k-means looks at
PARTS = ("weights_init", "means_init", "precisions_init")


def user_start(parameters: Any, source: Source, seed: int = 0) -> Mixture | None:
    """Return the mixture that ``means_init`` and its companions describe; None without them.

    Parameters
    ----------
    parameters : GaussianMixture
    source : Source
        What is missing is told from its rows, if it lies in memory: without means by the clusters
        that k-means finds, as in scikit-learn; beside means, weights are equal, and precisions
        those of the covariance of all rows.
    seed : int
        Of k-means.

    Raises
    ------
    ValueError
        When shapes are wrong, or means or precisions are missing for a store; when the values are
        no mixture (InvalidMixture).
    """
    given = {name: value for name in PARTS if (value := getattr(parameters, name)) is not None}
    if not given:
        return None
    if parameters.n_components == AUTO:
        names = ", ".join(given)
        raise ValueError(f"{names} came with n_components={AUTO!r}; a start has an order")
    kind, order, d = parameters.covariance_type, parameters.n_components, source.n_features
    shapes = {
        "weights_init": (order,),
        "means_init": (order, d),
        "precisions_init": shape_of(kind, order, d),
    }
    parts = {name: _shaped(name, value, shapes[name]) for name, value in given.items()}
    _check_told(parts, source)
    if "means_init" not in parts:
        parts = _clusters(parameters, source, seed) | parts
    weights = parts.get("weights_init", np.full(order, 1.0 / order))
    if "precisions_init" in parts:
        covariances = _inverse(kind, parts["precisions_init"])
    elif "covariances" in parts:
        covariances = parts["covariances"]
    else:
        covariances = alike(kind, _covariance(source, parameters.outliers), order)
    params = params_of(kind, parts["means_init"], covariances)
    return Mixture(COVARIANCE_TYPES[kind], weights, params)


def _inverse(kind: str, precisions: NDArray[np.float64]) -> NDArray[np.float64]:
    try:
        return inverse(kind, precisions)
    except np.linalg.LinAlgError as error:
        raise ValueError("precisions_init has no inverse; wanted positive definite") from error


def _check_told(parts: dict[str, NDArray[np.float64]], source: Source) -> None:
    """Refuse parts of a start where rows would have to be read to tell the others."""
    missing = [name for name in ("means_init", "precisions_init") if name not in parts]
    if missing and not source.in_memory:
        raise ValueError(
            f"{' and '.join(parts)} came without {' and '.join(missing)}, and the rows of a "
            f"store, which would tell them, are not read before the fit: "
            f"give {' and '.join(missing)}"
        )


def _clusters(parameters: Any, source: Source, seed: int) -> dict[str, NDArray[np.float64]]:
    """Return weights, means and covariances of the clusters that k-means finds."""
    rows, weights = rows_in_memory(source, parameters.outliers)
    rng = generator(seed, Stage.PROPOSE)
    if len(rows) > MOST_ROWS:
        few = np.sort(rng.choice(len(rows), MOST_ROWS, replace=False))
        rows, weights = rows[few], None if weights is None else weights[few]
    family = COVARIANCE_TYPES[parameters.covariance_type]
    found = first_guess(
        rows,
        family,
        parameters.n_components,
        rng,
        init_params="kmeans",
        strength=(len(rows) if weights is None else weights.sum()) ** -0.5,
        floor=parameters.reg_covar,
        weight=weights,
    )
    return {
        "weights_init": found.weights,
        "means_init": found.params["means"],
        "covariances": covariances_of(parameters.covariance_type, found.params),
    }


def _covariance(source: Source, outliers: float | None) -> NDArray[np.float64]:
    rows, weights = rows_in_memory(source, outliers)
    return np.atleast_2d(np.cov(rows.T, bias=True, aweights=weights))


def _shaped(name: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; wanted {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return array


def continued(
    last: Mixture | None, names: Any, parameters: Any, source: Source, family: Family
) -> Mixture | None:
    """Return the mixture of the last fit, for a warm start with the same model and features.

    Raises
    ------
    ValueError
        When the last fit was of another order, kind or number of features, or of features of
        other names or in another order.
    """
    if last is None:
        return None
    order = parameters.n_components
    if order == AUTO:
        raise ValueError(f"warm_start with n_components={AUTO!r}: the last fit has an order")
    there = last.n_components, last.n_features, last.family
    if there != (order, source.n_features, family):
        raise ValueError(
            f"warm_start: the last fit has {last.n_components} components of {last.n_features} "
            f"features ({last.family}); wanted {order} of {source.n_features} ({family}). Set "
            "warm_start=False to start anew"
        )
    if names is not None and source.named and list(names) != list(source.features):
        raise ValueError(
            f"warm_start: the features of the last fit were {list(names)}, now they are "
            f"{list(source.features)}; give the same ones in the same order, or set "
            "warm_start=False"
        )
    return last
