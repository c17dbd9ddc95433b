"""Samples, pilots and guards: where a fit starts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from dfmr_dask.families import COVARIANCE_TYPES, Binomial, Family
from dfmr_dask.local import start
from dfmr_dask.mixture import Mixture
from tests.tables import each_family, generators, random_mixture

FULL = COVARIANCE_TYPES["full"]


@given(rows=st.integers(10, 20_000), order=st.integers(1, 20))
def test_samples_are_disjoint_parts_of_the_rows(rows: int, order: int) -> None:
    x = np.arange(rows)[:, None]
    wanted = start.Order(COVARIANCE_TYPES["spherical"], order, 30)
    sample = start.draw_sample(x, wanted, np.random.default_rng(0))
    assert not set(sample.fit.ravel()) & set(sample.score.ravel())
    most = max(2000, 17 * (32 * order - 1), min(5000, 38 * (32 * order - 1)))
    assert len(sample.fit) == min(most, max(int(0.67 * rows), min(rows, order + 1)))
    assert len(sample.score) == min(1000, rows - len(sample.fit))


def test_a_small_partition_keeps_enough_rows_to_fit_on() -> None:
    assert start.Order(FULL, 2, 2).sample_sizes(8) == (6, 2)
    assert start.Order(FULL, 2, 2).sample_sizes(6) == (6, 0)
    assert start.Order(FULL, 2, 2, alone=True).sample_sizes(5000) == (5000, 1000)
    assert start.Order(FULL, 2, 2, alone=True).sample_sizes(50_000) == (10_000, 1000)
    assert start.Order(FULL, 10, 50, alone=True).sample_sizes(10**6) == (26_518, 1000)


@pytest.mark.parametrize("alone", [False, True])
def test_few_rows_of_very_many_columns_are_sampled(alone: bool) -> None:
    genotypes = start.Order(Binomial(2), 5, 20_000, alone)
    assert genotypes.sample_sizes(10_000) == (500, 250)
    assert start.Order(Binomial(2), 5, 5000, alone).sample_sizes(10_000) == (2000, 1000)
    assert start.Order(Binomial(2), 5, 5000).sample_sizes(500) == (335, 165)


def test_the_cheapest_spherical_merge_is_that_of_spherical_components() -> None:
    """The pair that lies apart along one axis looks cheap as an ellipse, and is not as a ball."""
    family = COVARIANCE_TYPES["spherical"]
    means = np.array([[0.0, 0.0], [2.4, 0.0], [20.0, 20.0], [21.4, 21.4]])
    mixture = Mixture(family, np.full(4, 0.25), {"means": means, "variances": np.ones((4, 2))})
    costs = {}
    for i, j in ((0, 1), (2, 3)):
        pair = {name: array[[i, j]] for name, array in mixture.params.items()}
        pooled = family.pool(family.expected_statistics(pair, np.full(2, 0.25)), np.ones((1, 2)))
        costs[i, j] = 0.25 * family.kl(pair, family.from_statistics(pooled)).sum()
    left = start.merged(mixture, 3).params["means"]
    cheapest = min(costs, key=lambda pair: costs[pair])
    assert means[list(cheapest)].mean(axis=0).round(9).tolist() in left.round(9).tolist()


@each_family
@given(rng=generators(), order=st.integers(2, 6), fewer=st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_merging_keeps_weight_and_mean(
    family: Family, rng: np.random.Generator, order: int, fewer: int
) -> None:
    mixture = random_mixture(family, order, 2, rng)
    merged = start.merged(mixture, min(order, fewer))
    assert merged.n_components == min(order, fewer)
    whole = mixture.weights @ mixture.params["means"]
    np.testing.assert_allclose(merged.weights @ merged.params["means"], whole, atol=1e-10)


@each_family
def test_merging_joins_the_pair_that_lies_closest(family: Family) -> None:
    rng = np.random.default_rng(7)
    two = random_mixture(family, 2, 2, rng)
    params = {name: np.concatenate([array, array]) for name, array in two.params.items()}
    offset = np.array([[0.0, 0.0], [40.0, 0.0], [0.1, 0.0], [40.0, 0.1]])
    params["means"] = params["means"] * 0.0 + offset
    merged = start.merged(Mixture(family, np.full(4, 0.25), params), 2)
    assert sorted(merged.params["means"][:, 0].round()) == [0.0, 40.0]


@pytest.mark.parametrize("init_params", start.STARTS)
@each_family
def test_every_start_finds_separated_components(family: Family, init_params: str) -> None:
    centers = np.array([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]])
    if family.name == "diagonal_gaussian":
        params = {"means": centers, "variances": np.ones((3, 2))}
    else:
        params = {"means": centers, "covariances": np.repeat(np.eye(2)[None], 3, axis=0)}
    x, _ = Mixture(family, np.full(3, 1 / 3), params).sample(3000, np.random.default_rng(8))
    sample = start.draw_sample(x, start.Order(family, 3, 2), np.random.default_rng(9))
    n_init = 2 if init_params == "overfit" else 10
    pilot = start.propose(
        sample, family, 3, np.random.default_rng(10), init_params=init_params, n_init=n_init
    )
    distance = np.linalg.norm(pilot.params["means"][:, None] - centers, axis=2)
    assert distance[linear_sum_assignment(distance)].max() < 0.3


def test_overfit_finds_the_best_optimum_more_often_than_kmeans() -> None:
    """Ten overlapping components, eight problems: over-fit and merge beats k-means overall."""
    family = COVARIANCE_TYPES["full"]
    scores: dict[str, list[float]] = {"overfit": [], "kmeans": []}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        means = rng.normal(scale=2.0, size=(8, 3))
        covariances = np.repeat(np.eye(3)[None], 8, axis=0) * rng.uniform(0.3, 1.5, (8, 1, 1))
        truth = Mixture(family, np.full(8, 1 / 8), {"means": means, "covariances": covariances})
        x, _ = truth.sample(4000, rng)
        sample = start.Sample(x, x)
        for name, found in scores.items():
            pilot = start.propose(sample, family, 8, np.random.default_rng(1), init_params=name)
            found.append(pilot.score(x))
    assert np.mean(scores["overfit"]) > np.mean(scores["kmeans"])


def test_the_guard_keeps_a_pilot_only_where_the_common_start_is_a_disaster() -> None:
    family = COVARIANCE_TYPES["full"]
    rng = np.random.default_rng(11)
    good = random_mixture(family, 2, 2, rng)
    x, _ = good.sample(1000, rng)
    sample = start.Sample(x, x)
    shifted = {**good.params, "means": good.params["means"] + 10.0}
    bad = Mixture(family, good.weights, shifted)
    near = Mixture(family, good.weights, {**good.params, "means": good.params["means"] + 0.05})
    assert start.guarded_start(sample, bad, good) == (good, "own")
    assert start.guarded_start(sample, near, good) == (near, "common")
    assert start.guarded_start(sample, near, None) == (near, "common")
