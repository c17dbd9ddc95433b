"""The table of families that every law runs over, and generators of valid mixtures for each row.

A new family is one more row in :data:`EVERY`, and one line in :data:`DRAWN` and in :data:`AXES`.
Those of :data:`FAMILIES` are Gaussian, with closed forms that only these have, which go through
:func:`covariances_of`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from numpy.typing import NDArray

from dfmr_dask.families import (
    COVARIANCE_TYPES,
    Bernoulli,
    Binomial,
    Categorical,
    DiagonalGaussian,
    Family,
    Params,
    Poisson,
    Product,
)
from dfmr_dask.families.base import Statistics
from dfmr_dask.mixture import Mixture

FAMILIES: dict[str, Family] = dict(COVARIANCE_TYPES)
DISCRETE: dict[str, Family] = {
    "binomial": Binomial(2),
    "binomial of 5": Binomial(5),
    "bernoulli": Bernoulli(),
    "poisson": Poisson(),
    "categorical": Categorical((3, 2)),
    "product": Product(((DiagonalGaussian(), 1), (Poisson(), 1), (Categorical((3,)), 1))),
}
EVERY: dict[str, Family] = FAMILIES | DISCRETE
MAX_COMPONENTS, MAX_FEATURES = 6, 5

each = pytest.mark.parametrize("family", EVERY.values(), ids=EVERY.keys())
each_discrete = pytest.mark.parametrize("family", DISCRETE.values(), ids=DISCRETE.keys())
each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())


def random_params(
    family: Family, n_components: int, n_features: int, rng: np.random.Generator
) -> Params:
    """Parameters with means of about 2 and variances (eigenvalues) between 0.3 and 3.

    Of families with a number of columns of their own, ``n_features`` says nothing.
    """
    if family.name in DRAWN:
        return family.validated(DRAWN[family.name](family, n_components, n_features, rng))
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


def columns_of(family: Family) -> int:
    """How many columns rows of a family have in the laws."""
    if isinstance(family, Categorical):
        return len(family.levels)
    return sum(n for _, n in family.parts) if isinstance(family, Product) else 2


def _product(family: Any, k: int, d: int, rng: np.random.Generator) -> Params:
    parts = (
        {f"{one.name}_{i}_{key}": value for key, value in random_params(one, k, n, rng).items()}
        for i, (one, n) in enumerate(family.parts)
    )
    return {key: value for part in parts for key, value in part.items()}


def _categorical(family: Any, k: int, d: int, rng: np.random.Generator) -> Params:
    drawn = [0.05 + rng.dirichlet(np.ones(n), size=k) for n in family.levels]
    return {"probabilities": np.hstack([one / one.sum(1, keepdims=True) for one in drawn])}


DRAWN: dict[str, Any] = {
    "binomial": lambda f, k, d, rng: {"frequencies": rng.uniform(0.05, 0.95, (k, d))},
    "poisson": lambda f, k, d, rng: {"rates": rng.uniform(0.2, 9.0, (k, d))},
    "categorical": _categorical,
    "product": _product,
}
REAL = np.arange(-20.0, 20.0, 0.25)
AXES: dict[str, Any] = {  # values that a column of level counts n takes, but for 1e-12 of the mass
    "binomial": lambda f, n: np.arange(f.n_trials + 1.0),
    "poisson": lambda f, n: np.arange(60.0),
    "categorical": lambda f, n: np.arange(float(n)),
}


def support(family: Family) -> tuple[Any, float]:
    """Points (n, d) and the volume of a cell: sums over them are integrals over all rows."""
    if not isinstance(family, Product):
        if family.name not in AXES:
            return lattice(columns_of(family))
        levels = getattr(family, "levels", (0, 0))
        axes, cell = [AXES[family.name](family, n) for n in levels], 1.0
    else:
        axes, cell = [], 1.0
        for one, _ in family.parts:
            known = one.name in AXES
            axes.append(AXES[one.name](one, *getattr(one, "levels", (0,))) if known else REAL)
            cell *= 1.0 if known else float(REAL[1] - REAL[0])
    grid = np.meshgrid(*axes, indexing="ij")
    return np.stack([values.ravel() for values in grid], axis=1), cell


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
    if family.name in DRAWN:
        chart = family.chart(params)
        vectors = chart.vectors(params)
        return chart.params(vectors + size * rng.standard_normal(vectors.shape))
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
