"""Laws that hold for every family, Gaussian or not, against sums over all rows there can be."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest

from dfmr_dask.aggregate import greedy
from dfmr_dask.aggregate.reduction import barycenters
from dfmr_dask.data.files import read_mixture, write_mixture
from dfmr_dask.families import Family, Params, family_named
from dfmr_dask.families.base import Statistics, stack, take
from dfmr_dask.local.em import fit
from tests.tables import (
    EVERY,
    columns_of,
    each,
    perturbed,
    random_mixture,
    random_params,
    support,
)

SEED = 20


def densities(family: Family, params: Params) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All rows that there can be, their log densities, and their shares of the mass (n, K)."""
    points, cell = support(family)
    logs = family.log_density(params, points)
    return points, logs, np.exp(logs) * cell


def drawn(family: Family, k: int, seed: int = SEED) -> Params:
    return random_params(family, k, columns_of(family), np.random.default_rng(seed))


@each
def test_densities_sum_to_one(family: Family) -> None:
    _, _, mass = densities(family, drawn(family, 4))
    np.testing.assert_allclose(mass.sum(axis=0), 1.0, atol=1e-10)


@each
def test_kl_equals_the_sum_over_all_rows(family: Family) -> None:
    p, q = drawn(family, 3), drawn(family, 2, seed=21)
    _, log_p, mass = densities(family, p)
    _, log_q, _ = densities(family, q)
    wanted = mass.T @ (-log_q) + (mass * log_p).sum(axis=0)[:, None]
    np.testing.assert_allclose(family.kl(p, q), wanted, rtol=1e-10, atol=1e-10)
    assert (family.kl(p, q) >= 0.0).all()
    np.testing.assert_allclose(np.diagonal(family.kl(p, p)), 0.0, atol=1e-10)


@each
def test_inner_products_equal_the_sum_over_all_rows(family: Family) -> None:
    p, q = drawn(family, 3), drawn(family, 2, seed=22)
    _, cell = support(family)
    (_, _, mass_p), (_, _, mass_q) = densities(family, p), densities(family, q)
    found = np.exp(family.log_inner_product(p, q))
    np.testing.assert_allclose(found, mass_p.T @ mass_q / cell, rtol=1e-10)


@each
def test_expected_statistics_are_those_of_all_rows_by_their_density(family: Family) -> None:
    params = drawn(family, 3)
    points, _, mass = densities(family, params)
    found = family.statistics(points, mass * np.array([2.0, 30.0, 0.5]))
    wanted = family.expected_statistics(params, np.array([2.0, 30.0, 0.5]))
    np.testing.assert_allclose(found.count, wanted.count, rtol=1e-9)
    for name, array in wanted.moments.items():
        np.testing.assert_allclose(found.moments[name], array, rtol=1e-8, atol=1e-9)
    again = family.from_statistics(wanted)
    for name, array in params.items():
        np.testing.assert_allclose(again[name], array, rtol=1e-12)


@each
def test_barycenters_have_the_least_divergence_from_their_members(family: Family) -> None:
    rng = np.random.default_rng(3)
    params = drawn(family, 4)
    if family.options.get("tied"):
        params = {**params, "covariances": np.repeat(params["covariances"][:1], 4, axis=0)}
    mass = np.array([0.1, 0.4, 0.2, 0.3])
    many = {name: array[:, None] for name, array in params.items()}
    best = barycenters(family, mass[:, None], many)
    cost = float(mass @ family.kl(params, best)[:, 0])
    for size in (1e-3, 1e-2, 1e-1):
        moved = perturbed(family, best, size, rng)
        assert float(mass @ family.kl(params, moved)[:, 0]) > cost


@each
def test_what_a_merge_costs_is_the_divergence_from_what_is_merged(family: Family) -> None:
    if family.options.get("tied"):
        pytest.skip("a tied covariance is put together at the end only")
    params, mass = drawn(family, 2), np.array([3.0, 5.0])
    groups = family.expected_statistics(params, mass)
    (found,) = greedy._costs(family, groups, np.array([0]), np.array([1]))
    both = family.from_statistics(family.pool(groups, np.ones((1, 2))))
    assert found == pytest.approx(float(mass @ family.kl(params, both)[:, 0]), rel=1e-9)


@each
def test_pooled_parts_are_the_whole(family: Family) -> None:
    mixture = random_mixture(family, 3, columns_of(family), np.random.default_rng(4))
    x, _ = mixture.sample(90, np.random.default_rng(5))
    r = np.random.default_rng(6).dirichlet(np.ones(3), size=90)
    whole = family.statistics(x, r)
    parts = [family.statistics(x[i::3], r[i::3]) for i in range(3)]
    moments = {n: np.concatenate([one.moments[n] for one in parts]) for n in whole.moments}
    together = Statistics(np.concatenate([one.count for one in parts]), moments)
    found = family.pool(together, np.tile(np.eye(3), 3))
    np.testing.assert_allclose(found.count, whole.count, rtol=1e-12)
    for name, array in whole.moments.items():
        np.testing.assert_allclose(found.moments[name], array, rtol=1e-9, atol=1e-9)


@each
def test_the_m_step_is_the_maximum_of_the_penalized_expected_likelihood(family: Family) -> None:
    rng = np.random.default_rng(7)
    mixture = random_mixture(family, 3, columns_of(family), rng)
    x, _ = mixture.sample(80, rng)
    r = rng.dirichlet(np.ones(3), size=80)
    pseudo = family.pseudo_rows(family.statistics(x, np.ones((80, 1))), 0.05, 1e-9)

    def objective(params: Params) -> float:
        return float((r * family.log_density(params, x)).sum()) - family.penalty(params, pseudo)

    best = family.from_statistics(family.statistics(x, r), pseudo)
    top = objective(best)
    for size in (1e-3, 1e-2, 1e-1):
        assert objective(perturbed(family, best, size, rng)) < top + 1e-9 * abs(top)


@each
def test_em_never_lowers_what_it_maximizes(family: Family) -> None:
    rng = np.random.default_rng(8)
    x, _ = random_mixture(family, 3, columns_of(family), rng).sample(200, rng)
    start = random_mixture(family, 3, columns_of(family), np.random.default_rng(9))
    for accelerate in (False, True):
        found = fit(x, start, strength=0.05, max_iter=40, accelerate=accelerate)
        trace = np.array(found.trace[1:])  # a start need not obey the floor
        assert (np.diff(trace) > -1e-9).all()
        assert np.isfinite(found.log_likelihood)


@each
def test_coordinates_of_estimates_have_the_variance_of_one_row_over_n(family: Family) -> None:
    rng = np.random.default_rng(10)
    center = drawn(family, 1)
    if family.options.get("tied"):
        pytest.skip("the same as untied for one component")
    n, repeats = 1500, 300
    labels = np.zeros(n, dtype=np.intp)
    estimates = []
    for _ in range(repeats):
        x = family.sample(center, labels, rng)
        estimates.append(family.from_statistics(family.statistics(x, np.ones((n, 1)))))
    for block in family.blocks(stack(estimates), center):
        z = block.coordinates.reshape(repeats, -1)
        assert abs(n * z.var(axis=0).mean() - 1.0) < 6.0 * np.sqrt(2.0 / z.size) + 0.02
        at_center = family.blocks(take(stack([center]), [0]), center)
        named = next(one for one in at_center if one.name == block.name)
        np.testing.assert_allclose(named.coordinates, 0.0, atol=1e-12)


@each
def test_linear_coordinates_measure_twice_the_divergence_nearby(family: Family) -> None:
    center = drawn(family, 3)
    near = perturbed(family, center, 1e-4, np.random.default_rng(11))
    z = family.fisher_coordinates(near, center) - family.fisher_coordinates(center, center)
    exact = np.diagonal(family.kl(near, center)) if family.name != "gaussian" else None
    if exact is not None and not family.options.get("spherical"):
        np.testing.assert_allclose((z * z).sum(axis=-1), 2.0 * exact, rtol=0.02, atol=1e-12)


@each
def test_features_are_told_of_one_by_one(family: Family) -> None:
    d = columns_of(family)
    center = drawn(family, 2)
    moved = perturbed(family, center, 0.2, np.random.default_rng(12))
    for block in family.feature_blocks(stack([moved, center]), center):
        assert block.coordinates.shape == (2, 2, d)
        np.testing.assert_allclose(block.coordinates[1], 0.0, atol=1e-12)
    assert family.expectation(center).shape == (2, d)
    names = family.columns([f"x{j}" for j in range(d)])
    for name, array in family.described(center).items():
        assert array.shape == (2, len(names[name]))


@each
def test_samples_have_the_expected_mean(family: Family) -> None:
    params = drawn(family, 2)
    labels = np.repeat([0, 1], 4000)
    x = family.sample(params, labels, np.random.default_rng(13))
    found = np.array([x[:4000].mean(axis=0), x[4000:].mean(axis=0)])
    error = np.array([x[:4000].std(axis=0), x[4000:].std(axis=0)]) / np.sqrt(4000)
    assert (abs(found - family.expectation(params)) < 5.0 * error + 1e-9).all()
    assert not family.complaint(x)
    assert family.usable(x).all()


@each
def test_files_and_copies_have_the_same_bits(family: Family, tmp_path: Path) -> None:
    assert family_named(family.name, family.options) == family
    assert pickle.loads(pickle.dumps(family)) == family
    assert copy.deepcopy(family) == family
    mixture = random_mixture(family, 3, columns_of(family), np.random.default_rng(14))
    write_mixture(tmp_path / "model.npz", mixture)
    again = read_mixture(tmp_path / "model.npz")
    assert again.family == family
    for name, array in mixture.params.items():
        np.testing.assert_array_equal(again.params[name], array)
    np.testing.assert_array_equal(again.weights, mixture.weights)


def test_every_named_family_is_in_the_table() -> None:
    from dfmr_dask.families import FAMILIES  # noqa: PLC0415

    assert {family.name for family in EVERY.values()} == set(FAMILIES)
