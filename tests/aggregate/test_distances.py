"""Distances: metrics, invariant to labels, equal to quadrature, POT and integration."""

from __future__ import annotations

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import integrate

from dfmr_dask.aggregate.alignment import aligned
from dfmr_dask.aggregate.distances import (
    FEWEST_ROWS,
    ctd,
    fisher,
    l2,
    log_products,
    studentized_block,
    studentized_weights,
)
from dfmr_dask.aggregate.estimates import Estimates, collect
from dfmr_dask.aggregate.transport import transport_costs
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from tests.tables import each_family, generators, lattice, random_mixture


def estimates_of(mixtures: list[Mixture], rows: int = 1000) -> Estimates:
    messages = [Message(i, "fitted", rows, mixture=one) for i, one in enumerate(mixtures)]
    return collect(messages)[0]


@pytest.mark.parametrize("n_features", [1, 2])
@each_family
def test_closed_l2_equals_quadrature(family: Family, n_features: int) -> None:
    rng = np.random.default_rng(20 + n_features)
    some = [random_mixture(family, 3, n_features, rng) for _ in range(3)]
    points, cell = lattice(n_features, reach=20.0)
    densities = np.array([np.exp(one.log_density(points)) for one in some])
    by_quadrature = np.sqrt(((densities[:, None] - densities[None]) ** 2).sum(axis=2) * cell)
    usual = np.median(np.sqrt((densities**2).sum(axis=1) * cell))
    np.testing.assert_allclose(l2(estimates_of(some)), by_quadrature / usual, atol=1e-8)


def test_l2_tells_mixtures_apart_in_many_dimensions() -> None:
    """At d = 300 every integral underflows; the logarithms do not."""
    rng = np.random.default_rng(21)
    family = COVARIANCE_TYPES["diag"]
    some = [random_mixture(family, 2, 300, rng) for _ in range(3)]
    assert np.exp(log_products(estimates_of(some))).max() < 1e-100
    distances = l2(estimates_of(some))
    assert np.all(distances[~np.eye(3, dtype=bool)] > 0.0)


@given(
    rng=generators(),
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    ties=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_transport_equals_pot(rng: np.random.Generator, shape: tuple[int, int], ties: bool) -> None:
    rows, columns = rng.dirichlet(np.ones(shape[0])), rng.dirichlet(np.ones(shape[1]))
    cost = rng.exponential(size=shape)
    cost = np.round(cost) if ties else cost
    ours = transport_costs(rows[None], columns[None], cost[None])[0]
    assert ours == pytest.approx(ot.emd2(rows, columns, cost), abs=1e-9)


@each_family
def test_ctd_against_pot(family: Family) -> None:
    rng = np.random.default_rng(22)
    p, q = (random_mixture(family, 4, 2, rng) for _ in range(2))
    there = ot.emd2(p.weights, q.weights, family.kl(p.params, q.params))
    back = ot.emd2(q.weights, p.weights, family.kl(q.params, p.params))
    expected = np.sqrt(0.5 * there + 0.5 * back)
    assert ctd(estimates_of([p, q]))[0, 1] == pytest.approx(expected, abs=1e-9)


def test_kl_equals_integration() -> None:
    rng = np.random.default_rng(23)
    p, q = (random_mixture(COVARIANCE_TYPES["full"], 1, 1, rng) for _ in range(2))

    def integrand(x: float) -> float:
        log_p, log_q = (one.log_density(np.array([[x]]))[0] for one in (p, q))
        return float(np.exp(log_p) * (log_p - log_q))

    expected = integrate.quad(integrand, -40.0, 40.0, limit=500)[0]
    assert p.family.kl(p.params, q.params)[0, 0] == pytest.approx(expected, abs=1e-7)


DISTANCES = {
    "l2": l2,
    "ctd": ctd,
    "fisher": lambda e: fisher(e, e.mixture(0)),
    "means": lambda e: studentized_block(_blocks(e)[0], e),
    "covariances": lambda e: studentized_block(_blocks(e)[1], e),
    "weights": studentized_weights,
}


def _blocks(estimates: Estimates) -> tuple:  # type: ignore[type-arg]
    return estimates.family.blocks(estimates.params, estimates.mixture(0).params)


@pytest.mark.parametrize("name", DISTANCES)
@each_family
def test_relabelling_changes_nothing(family: Family, name: str) -> None:
    """Estimates with shuffled components have the same distances, once they are aligned."""
    rng = np.random.default_rng(24)
    center = random_mixture(family, 4, 2, rng)
    some = [center] + [nearby(center, rng) for _ in range(4)]
    shuffled = [center] + [one.reordered(rng.permutation(4)) for one in some[1:]]
    plain, mixed = (aligned(estimates_of(them), center) for them in (some, shuffled))
    np.testing.assert_allclose(DISTANCES[name](plain), DISTANCES[name](mixed), atol=1e-7)


@pytest.mark.parametrize("name", DISTANCES)
@each_family
def test_distances_are_symmetric_and_zero_between_equals(family: Family, name: str) -> None:
    rng = np.random.default_rng(25)
    center = random_mixture(family, 3, 2, rng)
    some = [center, nearby(center, rng), nearby(center, rng), center]
    distances: NDArray[np.float64] = DISTANCES[name](aligned(estimates_of(some), center))
    np.testing.assert_allclose(distances, distances.T, atol=1e-12)
    assert np.all(np.diag(distances) == 0.0)
    assert distances[0, 3] < 1e-6
    assert distances[0, 1] > 1e-3


@each_family
def test_honest_estimates_lie_about_one_apart(family: Family) -> None:
    """Estimates from rows whose labels are known have studentised distances of about 1."""
    rng = np.random.default_rng(26)
    truth = random_mixture(family, 2, 3, rng)
    some = []
    for _ in range(60):
        x, labels = truth.sample(1500, rng)
        statistics = family.statistics(x, np.eye(2)[labels])
        params = family.from_statistics(statistics)
        some.append(Mixture(family, statistics.count / 1500, params))
    estimates = estimates_of(some, rows=1500)
    pairs = ~np.eye(60, dtype=bool)
    for block in family.blocks(estimates.params, truth.params):
        square = studentized_block(block, estimates)[pairs] ** 2
        assert 0.85 < square.mean() < 1.15, block.name
    assert 0.6 < (studentized_weights(estimates)[pairs] ** 2).mean() < 1.5  # one coordinate only


def test_components_of_few_rows_are_not_compared() -> None:
    rng = np.random.default_rng(27)
    family = COVARIANCE_TYPES["full"]
    truth = random_mixture(family, 2, 2, rng)
    weights = [1.0 - 10.0 / 1000.0, 10.0 / 1000.0]
    honest = Mixture(family, weights, truth.params)
    far = {**truth.params, "means": truth.params["means"] + np.array([[0.0], [1e3]])}
    sneak = Mixture(family, weights, far)
    estimates = estimates_of([honest, honest, sneak])
    block = family.blocks(estimates.params, honest.params)[0]
    assert studentized_block(block, estimates)[0, 2] == 0.0
    assert FEWEST_ROWS > 10
    alone = estimates_of([Mixture(family, [0.5, 0.5], truth.params)] * 2, rows=30)
    block = family.blocks(alone.params, truth.params)[0]
    assert studentized_block(block, alone)[0, 1] == np.inf


def nearby(mixture: Mixture, rng: np.random.Generator) -> Mixture:
    """A mixture whose components can still be matched to the given one's."""
    shift = 0.1 * rng.standard_normal(mixture.params["means"].shape)
    weights = mixture.weights * rng.uniform(0.8, 1.25, mixture.n_components)
    params = {**mixture.params, "means": mixture.params["means"] + shift}
    spread = "variances" if "variances" in params else "covariances"
    params[spread] = params[spread] * rng.uniform(0.8, 1.25)
    return Mixture(mixture.family, weights / weights.sum(), params)
