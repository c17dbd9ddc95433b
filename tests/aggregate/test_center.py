"""The search for the center of attention without all distances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from dfmr_dask.aggregate.aggregators import aggregate, rule_named
from dfmr_dask.aggregate.center import attention, ball_around, coat, inside, wilson_hilferty_cut
from dfmr_dask.corruption import corrupted
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.message import Message
from tests.aggregate.test_filtering import honest_messages
from tests.tables import generators


@given(rng=generators(), m=st.integers(1, 60))
def test_few_estimates_have_the_center_of_all_distances(rng: np.random.Generator, m: int) -> None:
    x = rng.standard_normal((m, 2))
    matrix = cdist(x, x)
    ball, distances = attention(lambda to: matrix if to is None else matrix[:, to], m)
    assert ball == coat(matrix)
    np.testing.assert_array_equal(distances, matrix[ball.center])
    assert ball_around(distances, ball.center) == ball


@pytest.mark.parametrize("seed", range(5))
def test_references_find_a_ball_that_is_nearly_the_smallest(seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((3000, 8))
    ball, distances = attention(lambda to: cdist(x, x if to is None else x[to]), 3000, seed=seed)
    assert ball.radius <= 1.04 * coat(cdist(x, x)).radius
    assert ball == ball_around(cdist(x, x[[ball.center]])[:, 0], ball.center)
    np.testing.assert_allclose(distances, cdist(x, x[[ball.center]])[:, 0])


def test_colluders_among_the_references_are_not_elected() -> None:
    """45 of 100 in one spot: they are most of the references one time in seven."""
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((2500, 5))
        x[:1125] = 3.0 + 1e-3 * rng.standard_normal((1125, 5))
        ball, _ = attention(lambda to, x=x: cdist(x, x[to]), 2500, seed=seed, all_pairs=0)
        assert ball.center >= 1125


def test_only_candidates_become_the_center() -> None:
    x = np.random.default_rng(1).standard_normal((500, 2))
    able = np.zeros(500, dtype=bool)
    able[[7, 400]] = True
    for all_pairs in (0, 500):
        ball, _ = attention(
            lambda to: cdist(x, x if to is None else x[to]),
            500,
            candidates=able,
            all_pairs=all_pairs,
        )
        assert ball.center in {7, 400}


def test_estimates_that_cannot_be_compared_have_no_ball() -> None:
    matrix = np.full((300, 300), np.inf)
    np.fill_diagonal(matrix, 0.0)
    ball, distances = attention(lambda to: matrix[:, to], 300, all_pairs=0)
    assert ball.radius == np.inf
    assert not np.isnan(distances).any()


@pytest.mark.parametrize("gate", ["blocks", "ctd", "fisher", "l2"])
def test_the_verdict_is_that_of_all_distances(gate: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, messages = honest_messages(COVARIANCE_TYPES["full"], m=600, rows=400)
    rng = np.random.default_rng(2)
    lies = [
        Message(i, "fitted", one.rows, mixture=corrupted(one.mixture, "mean", rng))
        if i < 180 and one.mixture is not None
        else one
        for i, one in enumerate(messages)
    ]
    rule = rule_named(gates=(gate,))
    exact = set(aggregate(lies, rule=rule).verdict.kept)
    monkeypatch.setattr("dfmr_dask.aggregate.center.ALL_PAIRS", 0)
    searched = set(aggregate(lies, rule=rule).verdict.kept)
    assert len(exact & searched) >= 0.99 * len(exact | searched)
    assert min(exact) >= 180


@pytest.mark.parametrize("m", [5, 7, 9, 15, 21])
def test_just_less_than_half_of_an_odd_number_are_liars(m: int) -> None:
    """Without the center half of those who are left lie: they must not be able to set the cut."""
    liars = (m - 1) // 2
    points = np.random.default_rng(m).normal(size=(m, 10))
    points[:liars] += 1e3
    distances = np.sqrt(((points[:, None] - points) ** 2).sum(axis=2))
    ball = coat(distances)
    kept = inside(
        distances[ball.center], wilson_hilferty_cut(distances[ball.center], ball, 0.05 / m)
    )
    assert ball.center >= liars
    assert not kept[:liars].any()
    assert 2 * kept.sum() > m
