"""Laws of sums over rows: pooling, barycenters, the cost of a merge."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from dfmr_dask.families import DiagonalGaussian, Family, Params
from dfmr_dask.families.base import flatten, stack, take
from tests.tables import (
    FAMILIES,
    covariances_of,
    each_family,
    generators,
    joined,
    perturbed,
    random_params,
)


def second_moments(family: Family, covariance: np.ndarray) -> np.ndarray:
    """What the family keeps of a covariance matrix."""
    return np.diag(covariance) if isinstance(family, DiagonalGaussian) else covariance


def second_name(family: Family) -> str:
    return "variances" if isinstance(family, DiagonalGaussian) else "covariances"


@pytest.mark.parametrize("name", FAMILIES)
@given(rng=generators(), n_features=st.integers(1, 5))
def test_statistics_are_weighted_moments(
    name: str, rng: np.random.Generator, n_features: int
) -> None:
    family = FAMILIES[name]
    rows, weights = rng.standard_normal((60, n_features)) + 3.0, rng.uniform(size=(60, 3))
    found = family.statistics(rows, weights)
    np.testing.assert_allclose(found.count, weights.sum(axis=0))
    for k in range(3):
        mean = np.average(rows, axis=0, weights=weights[:, k])
        covariance = np.cov(rows.T, aweights=weights[:, k], ddof=0).reshape(n_features, -1)
        np.testing.assert_allclose(found.moments["means"][k], mean)
        np.testing.assert_allclose(
            found.moments[second_name(family)][k], second_moments(family, covariance), atol=1e-12
        )


@pytest.mark.parametrize("name", FAMILIES)
@given(rng=generators(), n_pieces=st.integers(1, 7), offset=st.sampled_from([0.0, 1e3, -1e6]))
def test_statistics_of_pieces_pool_to_those_of_all_rows(
    name: str, rng: np.random.Generator, n_pieces: int, offset: float
) -> None:
    """Any split, far from zero as well: errors stay small beside the spread of the rows."""
    family = FAMILIES[name]
    rows = rng.standard_normal((200, 3)) * [1.0, 0.5, 2.0] + offset
    weights = rng.dirichlet(np.ones(4), size=200)
    piece = rng.integers(n_pieces, size=200)
    parts = [family.statistics(rows[piece == i], weights[piece == i]) for i in range(n_pieces)]
    pooled = family.pool(joined(parts), np.tile(np.eye(4), n_pieces))
    whole = family.statistics(rows, weights)
    np.testing.assert_allclose(pooled.count, whole.count, rtol=1e-12)
    for moment, values in whole.moments.items():
        np.testing.assert_allclose(pooled.moments[moment], values, rtol=1e-15, atol=1e-6)
    centered = family.statistics(rows - offset, weights).moments
    np.testing.assert_allclose(whole.moments["means"] - offset, centered["means"], atol=1e-6)
    name = second_name(family)
    np.testing.assert_allclose(pooled.moments[name], centered[name], atol=1e-6)


@each_family
def test_pooling_counts_members_as_often_as_told_and_leaves_empty_groups_finite(
    family: Family,
) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((50, 2))
    once = family.statistics(rows, np.ones((50, 1)))
    both = family.pool(joined([once, once]), np.array([[2.0, 1.0], [0.0, 0.0]]))
    np.testing.assert_allclose(both.count, [150.0, 0.0])
    for name, values in both.moments.items():
        np.testing.assert_allclose(values[0], once.moments[name][0])
        assert np.isfinite(values).all()


@each_family
def test_a_group_without_rows_is_finite_and_changes_no_pool(family: Family) -> None:
    rows = np.random.default_rng(1).standard_normal((40, 2)) + 5.0
    none = family.statistics(rows, np.zeros((40, 1)))
    some = family.statistics(rows, np.ones((40, 1)))
    pooled = family.pool(joined([none, some]), np.ones((1, 2)))
    for name, values in pooled.moments.items():
        assert np.isfinite(none.moments[name]).all()
        np.testing.assert_allclose(values, some.moments[name], rtol=1e-12)


@each_family
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int32", "bool"])
def test_rows_of_any_dtype_count_like_float64(family: Family, dtype: str) -> None:
    rng = np.random.default_rng(2)
    rows = rng.integers(0, 2 if dtype == "bool" else 200, (80, 3)).astype(dtype)
    weights = rng.dirichlet(np.ones(2), size=80)
    found = family.statistics(rows, weights)
    wanted = family.statistics(rows.astype(np.float64), weights)
    for name, values in wanted.moments.items():
        assert found.moments[name].dtype == np.float64
        np.testing.assert_allclose(found.moments[name], values, rtol=1e-12)


@each_family
def test_expected_statistics_are_those_of_many_rows(family: Family) -> None:
    rng = np.random.default_rng(3)
    params = random_params(family, 2, 3, rng)
    n = 40_000
    labels = np.repeat([0, 1], n)
    found = family.statistics(family.sample(params, labels, rng), np.eye(2)[labels])
    wanted = family.expected_statistics(params, np.array([n, n]))
    np.testing.assert_array_equal(found.count, wanted.count)
    for name, values in wanted.moments.items():  # variances are at most 3, so errors 3 √(2/n)
        np.testing.assert_allclose(found.moments[name], values, atol=5 * 3 * np.sqrt(2 / n))


def transport_cost(family: Family, params: Params, mass: np.ndarray, centers: Params) -> float:
    """Sum over groups g and members a of mass[g, a] KL(a || center g)."""
    return float((mass.T * family.kl(params, centers)).sum())


@pytest.mark.parametrize("name", FAMILIES)
@given(rng=generators(), n_features=st.integers(1, 4))
def test_barycenter_minimizes_the_weighted_kl(
    name: str, rng: np.random.Generator, n_features: int
) -> None:
    family = FAMILIES[name]
    params = random_params(family, 6, n_features, rng)
    count, groups = rng.uniform(0.5, 5.0, 6), rng.uniform(0.0, 1.0, (2, 6))
    centers = family.from_statistics(family.pool(family.expected_statistics(params, count), groups))
    family.validated(centers)
    least = transport_cost(family, params, groups * count, centers)
    for size in (1e-3, 1e-2, 1e-1, 1.0):
        moved = perturbed(family, centers, size, rng)
        assert transport_cost(family, params, groups * count, moved) > least - 1e-9


@each_family
def test_barycenter_is_what_scipy_finds(family: Family) -> None:
    rng = np.random.default_rng(4)
    params, mass = random_params(family, 4, 1, rng), rng.dirichlet(np.ones(4))[None]
    center = family.from_statistics(
        family.pool(family.expected_statistics(params, mass[0]), np.ones((1, 4)))
    )
    second = second_name(family)

    def cost(theta: np.ndarray) -> float:
        spread = np.exp(theta[1]).reshape(params[second][:1].shape)
        return transport_cost(family, params, mass, {"means": theta[:1, None], second: spread})

    best = scipy.optimize.minimize(cost, [0.0, 0.0], method="BFGS", options={"gtol": 1e-8})
    assert center["means"][0, 0] == pytest.approx(best.x[0], abs=1e-5)
    assert np.log(center[second].ravel()[0]) == pytest.approx(best.x[1], abs=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
@given(rng=generators(), n_features=st.integers(1, 5))
def test_conjugate_tells_the_cost_of_a_merge(
    name: str, rng: np.random.Generator, n_features: int
) -> None:
    """w_i F*(i) + w_j F*(j) - (w_i + w_j) F*(ij) = w_i KL(i || ij) + w_j KL(j || ij)."""
    family = FAMILIES[name]
    pair, weights = random_params(family, 2, n_features, rng), rng.uniform(0.1, 2.0, 2)
    pooled = family.pool(family.expected_statistics(pair, weights), np.ones((1, 2)))
    merged = family.from_statistics(pooled)
    saved = weights @ family.conjugate(pair) - weights.sum() * family.conjugate(merged)[0]
    assert saved == pytest.approx(weights @ family.kl(pair, merged)[:, 0], rel=1e-9, abs=1e-10)


@each_family
def test_conjugate_is_minus_the_entropy(family: Family) -> None:
    params = random_params(family, 3, 4, np.random.default_rng(5))
    entropies = [multivariate_normal(cov=c).entropy() for c in covariances_of(params)]
    np.testing.assert_allclose(family.conjugate(params), np.negative(entropies), rtol=1e-12)


@each_family
def test_stacks_are_taken_stacked_and_flattened_by_component(family: Family) -> None:
    rng = np.random.default_rng(6)
    first, second = random_params(family, 3, 2, rng), random_params(family, 3, 2, rng)
    both = flatten(stack([first, second]))
    for name, array in both.items():
        assert array.shape[0] == 6
        np.testing.assert_array_equal(take(both, slice(3, None))[name], second[name])
        np.testing.assert_array_equal(take(both, [2, 0])[name], first[name][[2, 0]])


@each_family
def test_nothing_writes_into_its_arguments(family: Family) -> None:
    """Dask may hand over buffers that are read-only, or run a task twice."""
    rng = np.random.default_rng(7)
    params = random_params(family, 2, 2, rng)
    rows, weights = rng.standard_normal((30, 2)), rng.dirichlet(np.ones(2), size=30)
    rows.flags.writeable = weights.flags.writeable = False
    statistics = family.statistics(rows, weights)
    for array in (statistics.count, *statistics.moments.values()):
        array.flags.writeable = False
    overall = family.pool(statistics, np.ones((1, 2)))
    pseudo = family.pseudo_rows(overall, 0.1, 1e-6)
    found = family.from_statistics(statistics, pseudo)
    again = family.from_statistics(statistics, pseudo)
    family.log_density(params, rows)
    family.blocks(params, params)
    for name, array in found.items():
        np.testing.assert_array_equal(array, again[name])
