"""The order that messages and scores alone speak for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.errors import TooFewMessages
from dfmr_dask.selection.curve import Selection
from dfmr_dask.selection.scores import from_scores

ORDERS = (1, 2, 3, 4, 5)
TRUE = [-4.0, -3.0, -2.5, -2.499, -2.4985]
M = 15
PARAMETERS = [5 * k for k in ORDERS]
ROWS = dict.fromkeys(range(M), 300.0)


def honest(seed: int) -> dict[int, dict[int, float]]:
    rng = np.random.default_rng(seed)
    level, noise = rng.normal(size=M) * 0.1, rng.normal(size=(5, M)) * 2e-4
    return {
        k: {i: s + level[i] + noise[k - 1, i] for i in range(M)}
        for k, s in zip(ORDERS, TRUE, strict=True)
    }


def chosen(scores: dict[int, dict[int, float]], **changes: object) -> Selection:
    kept = {k: set(range(M)) for k in ORDERS}
    return from_scores(ORDERS, kept, scores, ROWS, PARAMETERS, **changes)


@given(seed=st.integers(0, 200))
def test_the_true_order_is_found(seed: int) -> None:
    assert chosen(honest(seed)).n_components == 3


@given(seed=st.integers(0, 50), liars=st.integers(0, 7), lie=st.sampled_from([-9.0, 0.02, 3.0]))
def test_liars_about_gains_are_not_heard(seed: int, liars: int, lie: float) -> None:
    scores = honest(seed)
    for k in (4, 5):
        for i in range(liars):
            scores[k][i] += lie * (k - 3)
    found = chosen(scores)
    assert found.n_components == 3
    assert not set(range(liars)) & set(found.partitions)


@pytest.mark.parametrize("lie", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_no_score_is_not_heard(lie: float) -> None:
    scores = honest(0)
    for k in ORDERS:
        scores[k] = {i: lie if i < 7 else one for i, one in scores[k].items()}
    assert chosen(scores).n_components == 3


def test_who_is_dropped_at_most_orders_is_not_heard_at_any() -> None:
    kept = {k: set(range(M)) - ({0, 1} if k > 2 else set()) for k in ORDERS}
    found = from_scores(ORDERS, kept, honest(1), ROWS, PARAMETERS)
    assert found.n_components == 3
    assert found.left_out[0] == "kept at 2 of 5 orders only"


def test_who_is_dropped_at_one_order_is_heard_at_the_others() -> None:
    kept = {k: set(range(M)) - ({0} if k == 2 else set()) for k in ORDERS}
    found = from_scores(ORDERS, kept, honest(1), ROWS, PARAMETERS)
    assert 0 in found.partitions
    assert found.n_components == 3


def test_claimed_rows_do_not_rule_the_penalty() -> None:
    kept = {k: set(range(M)) for k in ORDERS}
    rows = {**ROWS, 0: 1e12}
    assert from_scores(ORDERS, kept, honest(2), rows, PARAMETERS).rows <= (M + 1) * 300


def test_the_curve_ends_before_an_order_that_few_are_heard_on() -> None:
    """Filters keep few of the honest where components are too many; that voids no other order."""
    kept = {k: set(range(7)) if k == 5 else set(range(M)) for k in ORDERS}
    found = from_scores(ORDERS, kept, honest(0), ROWS, PARAMETERS)
    assert (found.n_components, found.orders) == (3, (1, 2, 3, 4))
    assert "ends at 4 components" in found.notes[0]


def test_half_who_are_not_heard_on_the_first_orders_are_too_many() -> None:
    scores = honest(0)
    scores[2] = {i: one for i, one in scores[2].items() if i < 7}
    with pytest.raises(TooFewMessages, match=r"of 15 partitions .* heard on 2 components"):
        chosen(scores)


def test_a_component_must_bring_what_is_asked() -> None:
    assert chosen(honest(0), min_gain=0.7).n_components == 2
