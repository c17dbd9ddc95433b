"""The default filter: who agrees with whom, against those who know how it works."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.aggregate.aggregators import Aggregation, aggregate, rule_named
from dfmr_dask.aggregate.deviations import Coordinates, residuals
from dfmr_dask.aggregate.estimates import collect
from dfmr_dask.aggregate.filtering import copies, filtered
from dfmr_dask.aggregate.gates import Rule
from dfmr_dask.aggregate.groups import split_off
from dfmr_dask.aggregate.majority import majority
from dfmr_dask.corruption import Corruption, lies
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from tests.aggregate.test_filtering import honest_messages
from tests.tables import each_family

FULL = COVARIANCE_TYPES["full"]
ROWS = np.full(40, 1000.0)
EVERYBODY = np.ones(40, dtype=bool)


def block(values: np.ndarray, name: str = "means") -> Coordinates:
    """Coordinates that are in standard errors, with the partitions nearest 0 trusted at first."""
    trusted = np.zeros(len(values), dtype=bool)
    trusted[np.argsort((values**2).sum(axis=1))[: len(values) // 2 + 1]] = True
    return Coordinates(name, values / np.sqrt(1000.0), np.full(values.shape, 1000.0), trusted)


def answered(attack: Corruption, m: int = 40, seed: int = 5) -> tuple[Aggregation, float]:
    """The answer to an attack of the first partitions, and its error over the oracle's."""
    truth, messages = honest_messages(FULL, m=m, seed=seed)
    liars = range(int(attack.fraction * m))
    told = lies(messages, attack, liars, known=truth, seed=seed)
    found = aggregate(told)
    oracle = aggregate(told, aggregator="oracle", byzantine=liars)
    return found, error(found.mixture, truth) / error(oracle.mixture, truth)


@given(seed=st.integers(0, 10_000), degrees=st.integers(2, 60))
def test_honest_partitions_stay(seed: int, degrees: int) -> None:
    noise = np.random.default_rng(seed).standard_normal((40, degrees))
    assert majority([block(noise)], ROWS, EVERYBODY).kept.sum() >= 36


@given(seed=st.integers(0, 10_000), order=st.permutations(range(40)))
def test_the_order_of_the_partitions_changes_nothing(seed: int, order: list[int]) -> None:
    noise = np.random.default_rng(seed).standard_normal((40, 12))
    noise[:9] += 3.0
    kept = majority([block(noise)], ROWS, EVERYBODY).kept
    assert np.array_equal(majority([block(noise[order])], ROWS, EVERYBODY).kept, kept[order])


def test_coordinates_that_spread_wide_hide_no_lie_in_the_others() -> None:
    """Components that overlap: two coordinates spread far wider than theory has it."""
    wide = np.where(np.arange(20) < 2, 25.0, 1.0)
    noise = np.random.default_rng(6).standard_normal((40, 20)) * wide
    noise[0] = 12.0 * np.eye(20)[7]
    found = majority([block(noise)], ROWS, EVERYBODY)
    assert not found.kept[0]
    assert found.kept[1:].sum() >= 37
    assert majority([block(noise)], ROWS, EVERYBODY, spread=False).kept[0]


@pytest.mark.parametrize("spread", [0.01, 0.1, 0.5, 1.0])
def test_colluders_are_a_group_whatever_their_spread(spread: float) -> None:
    """Eighteen of forty, each inside every cut that honest partitions pass."""
    rng = np.random.default_rng(7)
    values = rng.standard_normal((40, 50))
    values[:18] = spread * values[:18] + 7.0 * np.eye(50)[3]
    found = majority([block(values)], ROWS, EVERYBODY)
    assert not found.kept[:18].any()
    assert found.kept[18:].sum() >= 20
    assert majority([block(values)], ROWS, EVERYBODY, split=False).kept[:18].any()


def test_a_split_never_leaves_a_minority_to_judge() -> None:
    """Three groups of a third each: none of them is the honest one."""
    values = 0.1 * np.random.default_rng(8).standard_normal((40, 10))
    for third in range(3):
        values[third::3] += 40.0 * np.eye(10)[third]
    one = block(values)
    said, even = split_off([one], EVERYBODY, EVERYBODY)
    assert len(said) < 22
    assert even or not said


def test_residuals_have_unit_variance_for_who_is_in_the_mean_and_who_is_not() -> None:
    noise = np.random.default_rng(9).standard_normal((40, 4000))
    one = block(noise)
    squares = (residuals(one, one.trusted) ** 2).mean(axis=1)
    np.testing.assert_allclose(squares, 1.0, atol=0.12)


@pytest.mark.parametrize(
    ("attack", "size"), [("collude", 5.0), ("imitate", 5.0), ("huddle", 5.0), ("shift", 10.0)]
)
def test_colluders_and_shifts_cost_little(attack: str, size: float) -> None:
    assert answered(Corruption(attack, 0.45, size=size))[1] < 1.1
    assert answered(Corruption(attack, 0.3, size=2.0 * size))[1] < 1.1


@pytest.mark.parametrize("claimed", [5, 10**9])
@pytest.mark.parametrize("attack", ["weight", "wide", "needle", "sneak", "component", "mean"])
def test_lies_about_rows_help_nobody(attack: str, claimed: int) -> None:
    _, ratio = answered(Corruption(attack, 0.45, claimed_rows=claimed))
    assert ratio < 1.3


def test_who_repeats_another_estimate_counts_once() -> None:
    found, ratio = answered(Corruption("duplicate", 0.45))
    assert ratio < 1.02
    assert {found.verdict.dropped[i] for i in range(1, 18)} == {"a copy of partition 0"}
    assert not found.verdict.certified
    assert any("copies" in doubt for doubt in found.verdict.doubts)


@pytest.mark.parametrize(("m", "liars"), [(12, 7), (16, 9), (20, 12), (40, 36)])
@pytest.mark.parametrize("gate", ["blocks", "ctd", "center"])
def test_a_majority_of_copies_is_never_certified(m: int, liars: int, gate: str) -> None:
    truth, messages = honest_messages(FULL, m=m)
    told = lies(messages, Corruption("collude", 0.5), range(liars), known=truth, seed=1)
    verdict = aggregate(told, rule=rule_named(gates=(gate,))).verdict
    assert not verdict.certified
    assert any("copies" in doubt for doubt in verdict.doubts)
    assert set(range(1, liars)) <= set(verdict.dropped)


def test_the_center_is_one_of_the_kept() -> None:
    for seed in range(6):
        found, _ = answered(Corruption("weight", 0.45), seed=seed)
        assert found.verdict.center in found.verdict.kept


def test_doubts_name_components_as_the_model_has_them() -> None:
    truth, messages = honest_messages(FULL, m=12)
    del truth
    thin = []
    for message in messages:
        assert message.mixture is not None
        near = message.mixture.reordered(np.argsort(message.mixture.params["means"][:, 0]))
        thin.append(
            Message(
                message.partition,
                "fitted",
                1000,
                mixture=Mixture(FULL, [0.015, 0.485, 0.5], near.params),
            )
        )
    found = aggregate(thin)
    assert found.mixture.weights[2] < 0.02
    assert any("[2]" in doubt for doubt in found.verdict.doubts)


@each_family
def test_copies_are_found_whatever_their_labels(family: Family) -> None:
    _, messages = honest_messages(family, m=12)
    assert not copies(collect(messages)[0])
    one = messages[3].mixture
    assert one is not None
    messages[7] = Message(7, "fitted", 1000, mixture=one.reordered([2, 0, 1]))
    assert copies(collect(messages)[0]) == {7: 3}


def test_parts_can_be_left_out_and_unlike_sizes_are_fair() -> None:
    rng = np.random.default_rng(10)
    truth, _ = honest_messages(FULL)
    messages = []
    for i, rows in enumerate(np.geomspace(300, 6000, 40).astype(int)):
        x, labels = truth.sample(int(rows), rng)
        statistics = FULL.statistics(x, np.eye(3)[labels])
        local = Mixture(FULL, statistics.count / rows, FULL.from_statistics(statistics))
        messages.append(Message(i, "fitted", int(rows), mixture=local))
    estimates, _ = collect(messages)
    assert filtered(estimates, Rule()).kept().sum() >= 39
    for part in ("copies", "groups", "spread"):
        assert filtered(estimates, rule_named(without=(part,))).kept().sum() >= 37
