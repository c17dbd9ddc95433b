"""Mixture reduction: the objective never rises, labels do not matter, nothing becomes NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfmr_dask.aggregate.reduction import barycenters, reduce
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.families.base import stack, take
from tests.tables import each_family, generators, random_mixture


@each_family
@given(
    rng=generators(),
    order=st.integers(1, 5),
    members=st.integers(5, 40),
    share=st.sampled_from([1.0, 0.5]),
)
@settings(max_examples=20, deadline=None)
def test_the_objective_never_rises(
    family: Family, rng: np.random.Generator, order: int, members: int, share: float
) -> None:
    many = random_mixture(family, members, 2, rng)
    start = random_mixture(family, order, 2, rng)
    result = reduce(family, many.weights, many.params, start.params, share=share)
    assert np.all(np.diff(result.objective) <= 1e-12 * result.objective[0])
    assert result.mixture.weights.sum() == pytest.approx(1.0)


@each_family
def test_reduction_of_copies_gives_them_back(family: Family) -> None:
    rng = np.random.default_rng(30)
    one = random_mixture(family, 3, 2, rng)
    mass = np.tile(one.weights, 5) / 5.0
    params = take(one.params, np.tile(np.arange(3), 5))
    result = reduce(family, mass, params, one.params)
    assert result.objective[-1] == pytest.approx(0.0, abs=1e-9)
    for name, array in result.mixture.params.items():
        np.testing.assert_allclose(array, one.params[name], atol=1e-9)


@each_family
def test_relabelling_changes_nothing(family: Family) -> None:
    rng = np.random.default_rng(31)
    many = random_mixture(family, 20, 2, rng)
    start = random_mixture(family, 4, 2, rng)
    order = rng.permutation(20)
    plain = reduce(family, many.weights, many.params, start.params).mixture.canonical()
    shuffled = reduce(family, many.weights[order], take(many.params, order), start.params)
    mixed = shuffled.mixture.canonical()
    np.testing.assert_allclose(plain.weights, mixed.weights, atol=1e-12)
    np.testing.assert_allclose(plain.params["means"], mixed.params["means"], atol=1e-10)


def test_an_empty_center_goes_where_the_dearest_component_lies() -> None:
    family = COVARIANCE_TYPES["full"]
    means = np.array([[0.0], [0.1], [50.0]])
    params = {"means": means, "covariances": np.ones((3, 1, 1))}
    start = {"means": np.array([[0.0], [-1e3]]), "covariances": np.ones((2, 1, 1))}
    result = reduce(family, np.full(3, 1 / 3), params, start)
    assert sorted(result.mixture.params["means"].ravel().round(2)) == [0.05, 50.0]


def test_more_centers_than_components_are_dropped() -> None:
    family = COVARIANCE_TYPES["diag"]
    params = {"means": np.zeros((1, 1)), "variances": np.ones((1, 1))}
    start = {"means": np.array([[0.0], [5.0]]), "variances": np.ones((2, 1))}
    mixture = reduce(family, np.ones(1), params, start).mixture
    assert mixture.n_components == 1
    assert np.isfinite(mixture.params["means"]).all()


@each_family
def test_barycenters_of_aligned_estimates_minimize(family: Family) -> None:
    """Moving the start cannot lower the cost of the matched components."""
    rng = np.random.default_rng(32)
    some = [random_mixture(family, 2, 2, rng) for _ in range(6)]
    mass = np.stack([one.weights for one in some]) / 6.0
    center = barycenters(family, mass, stack([one.params for one in some]))

    def cost(params: dict[str, np.ndarray]) -> float:
        pairs = zip(mass, some, strict=True)
        return float(sum((m * np.diag(family.kl(one.params, params))).sum() for m, one in pairs))

    for _ in range(20):
        step = {"means": center["means"] + 0.05 * rng.standard_normal((2, 2))}
        assert cost({**center, **step}) >= cost(dict(center)) - 1e-12
