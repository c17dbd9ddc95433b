"""The table of families that every law runs over, and generators of valid mixtures for each row.

A new family is one more row in :data:`FAMILIES`, one branch in :func:`random_params` and one in
:func:`perturbed`; closed forms that only Gaussians have go through :func:`covariances_of`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from dfmr_dask.families import COVARIANCE_TYPES, Family, Params
from dfmr_dask.families.base import Statistics
from dfmr_dask.mixture import Mixture

FAMILIES: dict[str, Family] = dict(COVARIANCE_TYPES)
MAX_COMPONENTS, MAX_FEATURES = 6, 5

each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())


def random_params(
    family: Family, n_components: int, n_features: int, rng: np.random.Generator
) -> Params:
    """Parameters with means of about 2 and variances (eigenvalues) between 0.3 and 3."""
    shape = (n_components, n_features)
    means = 2.0 * rng.standard_normal(shape)
    if family.name == "diagonal_gaussian":
        wanted = (n_components, 1) if family.options["spherical"] else shape
        variances = np.exp(rng.uniform(np.log(0.3), np.log(3.0), wanted))
        return family.validated({"means": means, "variances": np.broadcast_to(variances, shape)})
    axes = np.linalg.qr(rng.standard_normal((*shape, n_features)))[0]
    values = np.exp(rng.uniform(np.log(0.3), np.log(3.0), shape))
    covariances = (axes * values[:, None, :]) @ axes.transpose(0, 2, 1)
    if family.options["tied"]:
        covariances = np.repeat(covariances[:1], n_components, axis=0)
    return family.validated({"means": means, "covariances": covariances})


def random_weights(n_components: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Weights of which none is below 0.3/K."""
    return np.asarray(0.3 / n_components + 0.7 * rng.dirichlet(np.ones(n_components)))


def random_mixture(
    family: Family, n_components: int, n_features: int, rng: np.random.Generator
) -> Mixture:
    """A valid mixture of the family; the same generator state gives the same mixture."""
    weights = random_weights(n_components, rng)
    return Mixture(family, weights, random_params(family, n_components, n_features, rng))


def mixtures(
    family: Family, max_components: int = MAX_COMPONENTS, max_features: int = MAX_FEATURES
) -> st.SearchStrategy[Mixture]:
    """Hypothesis strategy of mixtures of one family."""
    return st.builds(
        random_mixture,
        st.just(family),
        st.integers(1, max_components),
        st.integers(1, max_features),
        generators(),
    )


def generators() -> st.SearchStrategy[np.random.Generator]:
    """Hypothesis strategy of seeded generators."""
    return st.integers(0, 2**32 - 1).map(np.random.default_rng)


def perturbed(family: Family, params: Params, size: float, rng: np.random.Generator) -> Params:
    """Parameters of the same family, nearby: every free parameter moves by about ``size``."""
    means = params["means"] + size * rng.standard_normal(params["means"].shape)
    if family.name == "diagonal_gaussian":
        columns = 1 if family.options["spherical"] else means.shape[1]
        logs = size * rng.standard_normal((len(means), columns))
        return {"means": means, "variances": params["variances"] * np.exp(logs)}
    directions = rng.standard_normal(params["covariances"].shape)
    if family.options["tied"]:
        directions = np.repeat(directions[:1], len(means), axis=0)
    values, axes = np.linalg.eigh(0.5 * size * (directions + directions.transpose(0, 2, 1)))
    growth = (axes * np.exp(values)[:, None, :]) @ axes.transpose(0, 2, 1)
    lower = np.linalg.cholesky(params["covariances"])
    return {"means": means, "covariances": lower @ growth @ lower.transpose(0, 2, 1)}


def covariances_of(params: Params) -> NDArray[np.float64]:
    """Covariance matrices (K, d, d) of any Gaussian parameters."""
    if "covariances" in params:
        return params["covariances"]
    return np.asarray(params["variances"][:, :, None] * np.eye(params["variances"].shape[1]))


def joined(parts: list[Statistics]) -> Statistics:
    """Put statistics of several pieces side by side: their groups become one long list."""
    moments = {
        name: np.concatenate([part.moments[name] for part in parts]) for name in parts[0].moments
    }
    return Statistics(np.concatenate([part.count for part in parts]), moments)


def lattice(n_features: int, reach: float = 26.0, step: float = 0.25) -> tuple[Any, float]:
    """Points (n, d) and the volume of a cell: the trapezoidal rule over a box around 0.

    For the parameters that :func:`random_params` makes it is exact to rounding, since the error
    for a Gaussian of standard deviation s falls like exp(-2 (pi s / step)^2).
    """
    axis = np.arange(-reach, reach + step, step)
    grid = np.meshgrid(*[axis] * n_features, indexing="ij")
    return np.stack([values.ravel() for values in grid], axis=1), step**n_features
