"""One round: what partitions make of a candidate is filtered and matched in its moments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfmr_dask.aggregate.distances import ctd
from dfmr_dask.aggregate.estimates import collect
from dfmr_dask.aggregate.rounds import distinct, gated_match, pilot_error
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from tests.tables import each_family, random_mixture

FULL = COVARIANCE_TYPES["full"]
ROWS = 1000


def answers(count: int, center: Mixture, noise: float = 0.03, seed: int = 0) -> list[Mixture]:
    """Estimates around a mixture, component by component."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        means = center.params["means"]
        moved = {**center.params, "means": means + noise * rng.standard_normal(means.shape)}
        weights = center.weights * np.exp(noise * rng.standard_normal(len(center.weights)))
        out.append(Mixture(center.family, weights / weights.sum(), moved))
    return out


def moved(mixture: Mixture, by: float) -> Mixture:
    params = {**mixture.params, "means": mixture.params["means"] + by}
    return Mixture(mixture.family, mixture.weights, params)


def distance(one: Mixture, other: Mixture) -> float:
    messages = [Message(i, "fitted", 1, 0, each) for i, each in enumerate((one, other))]
    return float(ctd(collect(messages)[0])[0, 1])


@each_family
def test_a_round_matches_moments_component_by_component(family: Family) -> None:
    center = random_mixture(family, 3, 2, np.random.default_rng(1))
    near = answers(8, center, noise=0.001)
    made = gated_match(center, near, [ROWS] * 8)
    assert made is not None
    weights = np.stack([one.weights for one in near])
    means = np.stack([one.params["means"] for one in near])
    assert made.weights == pytest.approx(weights.mean(axis=0), rel=1e-2)
    expected = (weights[..., None] * means).sum(axis=0) / weights.sum(axis=0)[:, None]
    assert made.params["means"] == pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize("by", [0.5, 100.0, 1e40])
def test_liars_do_not_move_the_match(by: float) -> None:
    center = random_mixture(FULL, 3, 2, np.random.default_rng(2))
    near = answers(20, center)
    lies = [moved(one, by) for one in near[:9]]
    mixed = gated_match(center, [*lies, *near[9:]], [ROWS] * 20)
    alone = gated_match(center, near[9:], [ROWS] * 11)
    assert mixed is not None
    assert alone is not None
    assert mixed.params["means"] == pytest.approx(alone.params["means"], abs=0.02)


def test_rows_that_are_claimed_cannot_outweigh_the_others() -> None:
    center = random_mixture(FULL, 3, 2, np.random.default_rng(3))
    near = answers(10, center)
    plain = gated_match(center, near, [ROWS] * 10)
    huge = gated_match(center, near, [ROWS] * 9 + [10**12])
    twice = gated_match(center, near, [ROWS] * 9 + [2 * ROWS])
    assert plain is not None
    assert huge is not None
    assert twice is not None
    assert np.array_equal(huge.params["means"], twice.params["means"])
    assert not np.array_equal(huge.params["means"], plain.params["means"])


def test_a_candidate_from_which_half_got_nowhere_is_out() -> None:
    center = random_mixture(FULL, 3, 2, np.random.default_rng(4))
    near = answers(10, center)
    assert gated_match(center, [*near[:5], *[None] * 5], [ROWS] * 10) is None
    assert gated_match(center, [*near[:6], *[None] * 4], [ROWS] * 10) is not None
    assert gated_match(center, [], []) is None


def test_a_collapsed_candidate_is_no_reason_to_stop() -> None:
    center = random_mixture(FULL, 3, 2, np.random.default_rng(5))
    tiny = {**center.params, "covariances": center.params["covariances"] * 1e-40}
    collapsed = Mixture(FULL, center.weights, tiny)
    near = answers(10, center)
    made = gated_match(collapsed, near, [ROWS] * 10)
    assert made is None or np.isfinite(made.params["means"]).all()
    assert distinct([center, collapsed], ROWS) == (0, 1)


@given(seed=st.integers(0, 1000), jitter=st.floats(0.0, 0.2))
@settings(max_examples=25, deadline=None)
def test_what_is_left_is_apart_and_what_is_dropped_is_near(seed: int, jitter: float) -> None:
    rng = np.random.default_rng(seed)
    centers = [random_mixture(FULL, 2, 2, rng) for _ in range(2)]
    candidates = [one for center in centers for one in answers(4, center, jitter, seed)]
    left = distinct(candidates, ROWS)
    radius = 0.3 * np.sqrt(pilot_error(candidates[0], ROWS))
    assert left[0] == 0
    for n, i in enumerate(left):
        assert all(distance(candidates[i], candidates[j]) >= radius for j in left[:n])
    for i in set(range(len(candidates))) - set(left):
        assert min(distance(candidates[i], candidates[j]) for j in left if j < i) < radius


def test_another_numbering_of_components_makes_a_duplicate() -> None:
    center = random_mixture(FULL, 4, 3, np.random.default_rng(6))
    renamed = center.reordered(np.array([2, 0, 3, 1]))
    assert distinct([center, renamed], ROWS) == (0,)
