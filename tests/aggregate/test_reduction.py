"""Mixture reduction: the objective never rises, labels do not matter, nothing becomes NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfmr_dask import reduce_mixture
from dfmr_dask.aggregate.estimates import collect
from dfmr_dask.aggregate.reduction import barycenters, reduce, reduce_aligned
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.families.base import stack, take
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from tests.tables import covariances_of, each_family, generators, random_mixture


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


def moments(mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
    """Overall mean and covariance."""
    mean = mixture.weights @ mixture.params["means"]
    offset = mixture.params["means"] - mean
    spread = covariances_of(mixture.params) + offset[:, :, None] * offset[:, None, :]
    return mean, np.tensordot(mixture.weights, spread, axes=1)


@each_family
@given(rng=generators(), members=st.integers(1, 90), order=st.integers(1, 6))
@settings(max_examples=12, deadline=None)
def test_a_reduction_has_the_order_and_the_moments_that_it_should(
    family: Family, rng: np.random.Generator, members: int, order: int
) -> None:
    many = random_mixture(family, max(members, order), 2, rng)
    result = reduce_mixture(many, order, n_init=2)
    assert result.mixture.n_components == order
    assert np.all(np.diff(result.objective) <= 1e-12 * result.objective[0])
    (mean, spread), (wanted, wanted_spread) = moments(result.mixture), moments(many)
    np.testing.assert_allclose(mean, wanted, atol=1e-9)
    if "variances" in many.params:  # these families keep no covariances, spherical ones the trace
        spread, wanted_spread = np.diag(spread), np.diag(wanted_spread)
        if family.options["spherical"]:
            spread, wanted_spread = spread.sum(), wanted_spread.sum()
    np.testing.assert_allclose(spread, wanted_spread, atol=1e-9)


@each_family
@given(rng=generators(), share=st.sampled_from([1.0, 0.7]))
@settings(max_examples=8, deadline=None)
def test_a_reduction_does_not_know_how_components_are_numbered(
    family: Family, rng: np.random.Generator, share: float
) -> None:
    many = random_mixture(family, 75, 2, rng)
    shuffled = many.reordered(rng.permutation(75))
    one, other = (reduce_mixture(some, 4, n_init=2, share=share) for some in (many, shuffled))
    assert one.objective[-1] == pytest.approx(other.objective[-1], rel=1e-9)
    np.testing.assert_allclose(
        one.mixture.canonical().weights, other.mixture.canonical().weights, atol=1e-9
    )


@each_family
def test_a_reduction_to_the_same_order_changes_nothing(family: Family) -> None:
    one = random_mixture(family, 5, 2, np.random.default_rng(33))
    result = reduce_mixture(one, 5)
    assert result.objective[-1] == 0.0
    np.testing.assert_array_equal(result.mixture.params["means"], one.params["means"])


def test_separated_groups_are_found_from_any_start() -> None:
    rng = np.random.default_rng(34)
    family = COVARIANCE_TYPES["full"]
    places = 30.0 * np.array([[0, 0], [1, 0], [0, 1], [1, 1], [2, 0], [2, 2]])
    means = np.repeat(places, 50, axis=0) + rng.standard_normal((300, 2))
    params = {"means": means, "covariances": np.repeat(np.eye(2)[None], 300, axis=0)}
    many = Mixture(family, np.full(300, 1 / 300), params)
    for seed in range(5):
        found = reduce_mixture(many, 6, seed=seed, n_init=1).mixture
        np.testing.assert_allclose(found.weights, 1 / 6, atol=1e-12)


def test_a_trimmed_reduction_leaves_out_what_belongs_nowhere() -> None:
    family = COVARIANCE_TYPES["diag"]
    means = np.concatenate([np.zeros((40, 1)), np.full((40, 1), 20.0), [[1e3], [-2e3], [4e3]]])
    params = {"means": means, "variances": np.ones((83, 1))}
    many = Mixture(family, np.full(83, 1 / 83), params)
    found = reduce(family, many.weights, params, take(params, [0, 40]), share=0.9).mixture
    assert sorted(found.params["means"].ravel().round(6)) == [0.0, 20.0]


def test_copies_stay_as_many_as_are_wanted() -> None:
    """Nothing is dear among copies, and an empty center still takes one of them."""
    family = COVARIANCE_TYPES["full"]
    params = {"means": np.zeros((80, 2)), "covariances": np.repeat(np.eye(2)[None], 80, axis=0)}
    found = reduce_mixture(Mixture(family, np.full(80, 1 / 80), params), 3)
    assert found.mixture.n_components == 3
    assert found.objective[-1] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("order", [0, 6])
def test_an_order_out_of_range_is_refused(order: int) -> None:
    one = random_mixture(COVARIANCE_TYPES["full"], 5, 2, np.random.default_rng(35))
    with pytest.raises(ValueError, match=f"5 components cannot be reduced to {order}: ask for 1 t"):
        reduce_mixture(one, order)
    with pytest.raises(ValueError, match=r"share = 0\.0"):
        reduce_mixture(one, 2, share=0.0)


@each_family
def test_estimates_reduce_to_their_own_order_or_another(family: Family) -> None:
    rng = np.random.default_rng(36)
    truth = random_mixture(family, 3, 2, rng)
    messages = [
        Message(i, "fitted", 100, mixture=Mixture(family, truth.weights, truth.params))
        for i in range(6)
    ]
    estimates = collect(messages)[0]
    mass = estimates.weights / 6.0
    assert reduce_aligned(estimates, mass).objective[-1] == pytest.approx(0.0, abs=1e-9)
    for order in (2, 5):
        assert reduce_aligned(estimates, mass, n_components=order).mixture.n_components == order
    poor = {k: v[:3] for k, v in random_mixture(family, 3, 2, rng).params.items()}
    alone = reduce_aligned(estimates, mass, start=poor).objective[-1]
    assert reduce_aligned(estimates, mass, start=poor, others=(0,)).objective[-1] <= alone
    with pytest.raises(ValueError, match="18 components cannot be reduced to 19"):
        reduce_aligned(estimates, mass, n_components=19)
