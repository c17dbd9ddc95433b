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
    blocks_at,
    ctd,
    fisher,
    l2,
    l2_resolution,
    log_norms,
    log_products,
    require,
    studentized_block,
    studentized_weights,
)
from dfmr_dask.aggregate.estimates import Estimates, collect
from dfmr_dask.aggregate.hellinger import hellinger, yardstick
from dfmr_dask.aggregate.pairs import divergences, prepared
from dfmr_dask.aggregate.products import log_inner_products
from dfmr_dask.aggregate.transport import transport_costs, transport_table
from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.families import COVARIANCE_TYPES, Family, Gaussian
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
    "fisher": lambda e, to=None: fisher(e, e.mixture(0), to),
    "means": lambda e, to=None: studentized_block(_blocks(e)[0], e, to),
    "covariances": lambda e, to=None: studentized_block(_blocks(e)[1], e, to),
    "weights": studentized_weights,
    "hellinger": lambda e, to=None: hellinger(e, e.mixture(0), to=to),
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


@pytest.mark.parametrize("name", DISTANCES)
@each_family
def test_columns_are_those_of_the_whole_matrix(family: Family, name: str) -> None:
    """More estimates than one block of rows holds, and columns in any order."""
    rng = np.random.default_rng(28)
    center = random_mixture(family, 3, 2, rng)
    some = aligned(estimates_of([center] + [nearby(center, rng) for _ in range(39)]), center)
    whole = DISTANCES[name](some)
    columns = DISTANCES[name](some, to=[31, 4, 0])
    assert columns.shape == (40, 3)
    np.testing.assert_allclose(columns, whole[:, [31, 4, 0]], atol=1e-7)
    assert columns[31, 0] == columns[4, 1] == 0.0


@given(
    rng=generators(),
    n_features=st.integers(1, 12),
    count=st.integers(1, 70),
    offset=st.sampled_from([0.0, 1e4]),
)
@each_family
def test_divergences_keep_their_digits(
    family: Family, rng: np.random.Generator, n_features: int, count: int, offset: float
) -> None:
    """Near copies among components far from each other, all of them far from 0."""
    p = random_mixture(family, count, n_features, rng).params
    p = {**p, "means": offset + 1e4 * rng.integers(0, 2, (count, 1)) + 0.01 * p["means"]}
    ours = divergences(prepared(family, p), prepared(family, p))
    np.testing.assert_allclose(ours, family.kl(p, p), rtol=1e-9, atol=1e-12)
    sources = prepared(family, p, targets=False)
    np.testing.assert_allclose(divergences(sources, prepared(family, p)), ours, atol=1e-12)


def test_sources_cannot_be_targets() -> None:
    params = random_mixture(COVARIANCE_TYPES["full"], 2, 2, np.random.default_rng(0)).params
    sources = prepared(COVARIANCE_TYPES["full"], params, targets=False)
    with pytest.raises(ValueError, match="must be prepared as targets"):
        divergences(sources, sources)


@pytest.mark.parametrize("scale", [1e-60, 1.0, 1e45])
@pytest.mark.parametrize("n_features", [1, 3, 20, 70])
@each_family
def test_inner_products_equal_the_familys(family: Family, n_features: int, scale: float) -> None:
    rng = np.random.default_rng(29)
    p, q = (random_mixture(family, k, n_features, rng).params for k in (3, 67))
    p, q = (
        {k: v * (scale if k == "means" else scale**2) for k, v in one.items()} for one in (p, q)
    )
    ours = log_inner_products(family, p, q)
    np.testing.assert_allclose(ours, family.log_inner_product(p, q), rtol=1e-12, atol=1e-11)


@each_family
def test_norms_are_products_with_oneself(family: Family) -> None:
    rng = np.random.default_rng(30)
    some = estimates_of([random_mixture(family, 4, 3, rng) for _ in range(5)])
    np.testing.assert_allclose(log_norms(some), np.diag(log_products(some)), atol=1e-12)


@pytest.mark.parametrize("step", [0.3, 1e-2, 1e-9])
def test_l2_in_five_hundred_dimensions(step: float) -> None:
    """Against extended precision: right to the stated resolution, and above 0 beyond it."""
    rng = np.random.default_rng(31)
    family = COVARIANCE_TYPES["diag"]
    one = random_mixture(family, 2, 500, rng)
    moved = {**one.params, "means": one.params["means"] + step * rng.standard_normal((2, 500))}
    other = Mixture(family, one.weights, moved)
    far = random_mixture(family, 2, 500, rng)
    ours = l2(estimates_of([one, other, far]))
    exact = _l2_in_long_doubles(one, other)
    resolution = l2_resolution(500)
    assert ours[0, 1] == pytest.approx(exact, abs=resolution)
    assert ours[0, 1] > 0.0 or exact < resolution
    assert np.all(ours[:2, 2] > 0.5)


def _l2_in_long_doubles(one: Mixture, other: Mixture) -> float:
    """L2 distance of two mixtures of diagonal Gaussians, in units of the first one's norm."""

    def log_product(f: Mixture, g: Mixture) -> np.longdouble:
        mu, nu = (np.asarray(m.params["means"], dtype=np.longdouble) for m in (f, g))
        s, t = (np.asarray(m.params["variances"], dtype=np.longdouble) for m in (f, g))
        total = s[:, None] + t[None]
        square = (mu[:, None] - nu[None]) ** 2 / total
        logs = -0.5 * (square + np.log(2 * np.longdouble(np.pi) * total)).sum(axis=2)
        logs = logs + np.log(f.weights)[:, None] + np.log(g.weights)
        return logs.max() + np.log(np.exp(logs - logs.max()).sum())

    own = log_product(one, one)
    square = 1 + np.exp(log_product(other, other) - own) - 2 * np.exp(log_product(one, other) - own)
    return float(np.sqrt(max(square, np.longdouble(0))))


def test_a_missing_closed_form_names_the_alternatives() -> None:
    class Bare(Gaussian):
        log_inner_product = None  # type: ignore[assignment]

    with pytest.raises(InvalidConfiguration, match=r"'l2' .* choose among .*'blocks', 'ctd'"):
        require(Bare(), "l2")
    require(Bare(), "ctd")


def test_a_table_of_transports_is_made_of_single_ones() -> None:
    rng = np.random.default_rng(32)
    rows, columns = rng.dirichlet(np.ones(4), size=3), rng.dirichlet(np.ones(5), size=2)
    costs = rng.exponential(size=(3, 4, 2, 5))
    table = transport_table(rows, columns, costs)
    for i in range(3):
        single = transport_costs(
            np.repeat(rows[i : i + 1], 2, 0), columns, np.moveaxis(costs[i], 1, 0).copy()
        )
        np.testing.assert_allclose(table[i], single, atol=1e-12)


@each_family
def test_hellinger_equals_quadrature(family: Family) -> None:
    rng = np.random.default_rng(33)
    center = random_mixture(family, 2, 1, rng)
    some = [center, nearby(center, rng), nearby(center, rng)]
    points, cell = lattice(1)
    roots = np.array([np.exp(0.5 * one.log_density(points)) for one in some])
    exact = ((roots[:, None] - roots[None]) ** 2).sum(axis=2) * cell
    ours = hellinger(estimates_of(some), center, rows=20_000) ** 2
    np.testing.assert_allclose(ours, exact, rtol=0.1, atol=1e-12)


def test_hellinger_of_estimates_elsewhere_is_far_beyond_noise() -> None:
    family = COVARIANCE_TYPES["full"]
    center = random_mixture(family, 2, 2, np.random.default_rng(34))
    wild = Mixture(family, center.weights, {**center.params, "means": np.full((2, 2), 1e40)})
    estimates = estimates_of([center, wild])
    assert 0.9 < hellinger(estimates, center, to=[0])[1, 0] <= np.sqrt(2.0)
    assert yardstick(estimates, center, to=[0])[1, 0] > 100.0


@each_family
def test_the_yardstick_is_one_between_honest_partitions(family: Family) -> None:
    """Maximum likelihood estimates in closed form, from partitions of two sizes."""
    rng = np.random.default_rng(35)
    truth = random_mixture(family, 1, 3, rng)
    messages = []
    for i in range(60):
        rows = 1000 if i % 2 else 2000
        x = truth.sample(rows, rng)[0]
        params = family.from_statistics(family.statistics(x, np.ones((rows, 1))))
        messages.append(Message(i, "fitted", rows, mixture=Mixture(family, [1.0], params)))
    estimates = collect(messages)[0]
    found = yardstick(estimates, truth)[~np.eye(60, dtype=bool)]
    assert 0.85 < found.mean() < 1.15
    small = found.reshape(60, 59)
    assert small[::2].mean() == pytest.approx(small[1::2].mean(), rel=0.25)


def test_blocks_are_the_same_run_by_run(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(36)
    center = random_mixture(COVARIANCE_TYPES["full"], 3, 2, rng)
    estimates = estimates_of([center] + [nearby(center, rng) for _ in range(20)])
    whole = blocks_at(estimates, center)
    monkeypatch.setattr("dfmr_dask.aggregate.blockwise.ELEMENTS", 300)
    for one, other in zip(whole, blocks_at(estimates, center), strict=True):
        np.testing.assert_array_equal(one.coordinates, other.coordinates)
        assert one.name == other.name
    np.testing.assert_allclose(ctd(estimates), ctd(estimates, to=range(21)), atol=1e-9)


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
