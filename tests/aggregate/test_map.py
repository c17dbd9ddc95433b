"""Laws of the map of local estimates."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from dfmr_dask.aggregate.distances import blocks_at, studentized_block
from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.aggregate.map import EstimateMap, estimate_map
from dfmr_dask.families import DiagonalGaussian, Gaussian


def points(found: EstimateMap) -> NDArray[np.float64]:
    return np.stack([found.x, found.y], axis=1)


def some(m: int = 30, order: int = 3, d: int = 4, seed: int = 0) -> Estimates:
    """Estimates about one mixture, and a third of them far away in another direction."""
    rng = np.random.default_rng(seed)
    means = 8.0 * np.arange(order)[:, None] + rng.normal(0, 0.05, (m, order, d))
    means[: m // 3] += 2.0
    wide = rng.normal(0, 0.05, (m, order, d, d))
    covariances = np.eye(d) + wide @ wide.swapaxes(-1, -2)
    weights = rng.dirichlet(np.full(order, 5000.0), m)
    params = {"means": means, "covariances": covariances}
    return Estimates(Gaussian(), np.arange(m) * 2, weights, params, np.full(m, 400.0))


def flat(m: int = 40, seed: int = 1) -> Estimates:
    """Estimates that differ in two coordinates only: one mean of two features."""
    rng = np.random.default_rng(seed)
    params = {"means": rng.normal(0, 3, (m, 1, 2)), "variances": np.full((m, 1, 2), 2.0)}
    return Estimates(DiagonalGaussian(), np.arange(m), np.ones((m, 1)), params, np.full(m, 100.0))


def test_what_differs_in_two_directions_is_drawn_as_far_apart_as_it_is() -> None:
    estimates = flat()
    blocks = blocks_at(estimates, estimates.mixture(7))
    squares = [studentized_block(block, estimates) ** 2 for block in blocks]
    wanted = np.sqrt(np.mean(squares, axis=0))[np.triu_indices(len(estimates), 1)]
    np.testing.assert_allclose(pdist(points(estimate_map(estimates, 7))), wanted, rtol=1e-9)


def test_nothing_is_drawn_further_apart_than_it_is() -> None:
    estimates = some(order=1)
    blocks = blocks_at(estimates, estimates.mixture(3))
    squares = [studentized_block(block, estimates) ** 2 for block in blocks]
    full = np.sqrt(np.mean(squares, axis=0))[np.triu_indices(len(estimates), 1)]
    assert np.all(pdist(points(estimate_map(estimates, 6))) <= full * (1 + 1e-9))


def test_labels_do_not_matter() -> None:
    estimates = some()
    rng = np.random.default_rng(5)
    shuffled = estimates.reordered(np.stack([rng.permutation(3) for _ in range(len(estimates))]))
    one, other = estimate_map(estimates, 24), estimate_map(shuffled, 24)
    np.testing.assert_allclose(points(one), points(other), rtol=1e-6, atol=1e-9)


def test_the_order_of_partitions_does_not_matter() -> None:
    estimates, rng = some(), np.random.default_rng(6)
    order = rng.permutation(len(estimates))
    one, other = estimate_map(estimates, 24), estimate_map(estimates.subset(order), 24)
    np.testing.assert_array_equal(other.partitions, estimates.ids[order])
    np.testing.assert_allclose(points(one)[order], points(other), rtol=1e-6, atol=1e-9)


def test_the_center_is_at_the_origin_and_more_than_half_within_the_radius() -> None:
    estimates = some(m=31)
    found = estimate_map(estimates)
    at = int(np.flatnonzero(found.partitions == found.center)[0])
    np.testing.assert_allclose(points(found)[at], 0.0, atol=1e-9)
    within = np.hypot(found.x, found.y) <= found.radius
    assert within.sum() == 16


def test_a_group_far_away_is_seen_apart() -> None:
    found = estimate_map(some())
    liars = found.partitions < 20
    assert np.hypot(found.x, found.y)[liars].min() > 5 * np.hypot(found.x, found.y)[~liars].max()


def test_one_estimate_far_away_does_not_turn_the_map() -> None:
    estimates = some()
    wild = {name: array.copy() for name, array in estimates.params.items()}
    wild["means"][29] *= -1e9
    other = Estimates(estimates.family, estimates.ids, estimates.weights, wild, estimates.rows)
    one, two = estimate_map(estimates, 24), estimate_map(other, 24)
    liars = one.partitions < 20  # the others' offsets are noise, which has no direction
    np.testing.assert_allclose(points(one)[liars], points(two)[liars], rtol=0.2)


def test_a_map_is_turned_to_look_like_the_one_before() -> None:
    found = estimate_map(flat(), 7)
    turned = points(found) @ np.array([[0.6, 0.8], [0.8, -0.6]])
    before = {int(i): (x, y) for i, (x, y) in zip(found.partitions, turned, strict=True)}
    again = estimate_map(flat(), 7, before=before)
    np.testing.assert_allclose(points(again), turned, rtol=1e-8)
    alone = estimate_map(flat(), 7, before={999: (1.0, 1.0)})
    np.testing.assert_allclose(points(alone), points(found))


@pytest.mark.parametrize("m", [1, 2, 3])
def test_few_estimates_have_a_map_too(m: int) -> None:
    found = estimate_map(some(m=6).subset(slice(3, 3 + m)))
    assert np.isfinite(points(found)).all() and len(found.x) == m


def test_equal_estimates_lie_in_one_point() -> None:
    one = some().subset([5] * 6)
    found = estimate_map(one)
    np.testing.assert_allclose(points(found), 0.0, atol=1e-9)
    assert found.radius == pytest.approx(0.0, abs=1e-9)


def test_absurd_estimates_are_drawn_at_the_edge() -> None:
    estimates = some()
    wild = {name: array.copy() for name, array in estimates.params.items()}
    wild["means"][0] = 1e300
    other = Estimates(estimates.family, estimates.ids, estimates.weights, wild, estimates.rows)
    with np.errstate(over="ignore"):
        found = estimate_map(other, 24)
    assert np.isfinite(points(found)).all()


def test_a_map_as_plain_values() -> None:
    told = estimate_map(flat(), 7).plain()
    assert set(told) == {"partition", "x", "y", "center", "radius"}
    assert type(told["partition"][0]) is int and type(told["x"][0]) is float
