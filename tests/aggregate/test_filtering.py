"""COAT, cuts, gates and verdicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dfmr_dask.aggregate.aggregators import AGGREGATORS, aggregate, rule_named
from dfmr_dask.aggregate.alignment import like
from dfmr_dask.aggregate.center import Ball, coat, inside, wilson_hilferty_cut
from dfmr_dask.aggregate.estimates import collect, trusted_rows
from dfmr_dask.aggregate.filtering import GATES, filtered
from dfmr_dask.corruption import Corruption, byzantine_partitions, corrupted
from dfmr_dask.errors import TooFewMessages
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from tests.tables import each_family, random_mixture


def honest_messages(
    family: Family, m: int = 24, rows: int = 1000, order: int = 3, seed: int = 40
) -> tuple[Mixture, list[Message]]:
    """Estimates from rows whose labels are known: the noise of honest partitions."""
    rng = np.random.default_rng(seed)
    truth = random_mixture(family, order, 2, rng)
    messages = []
    for i in range(m):
        x, labels = truth.sample(rows, rng)
        statistics = family.statistics(x, np.eye(order)[labels])
        local = Mixture(family, statistics.count / rows, family.from_statistics(statistics))
        shuffled = local.reordered(rng.permutation(order))
        messages.append(Message(i, "fitted", rows, mixture=shuffled))
    return truth, messages


def attacked(messages: list[Message], attack: str, liars: range) -> list[Message]:
    rng = np.random.default_rng(41)
    return [
        Message(i, "fitted", m.rows, mixture=corrupted(m.mixture, attack, rng))
        if i in liars and m.mixture is not None
        else m
        for i, m in enumerate(messages)
    ]


@given(arrays(np.float64, st.integers(1, 12), elements=st.floats(-1e3, 1e3)))
def test_coat_is_the_middle_of_the_smallest_ball(x: np.ndarray) -> None:
    distances = np.abs(x[:, None] - x)
    ball = coat(distances)
    more_than_half = len(x) // 2 + 1
    assert (distances[ball.center] <= ball.radius).sum() >= more_than_half
    for i in range(len(x)):
        assert np.sort(distances[i])[more_than_half - 1] >= ball.radius


def test_half_colluding_does_not_elect_a_colluder() -> None:
    """Half of the points coincide, one more than half do not: they hold the center."""
    x = np.array([0.0, 0.1, 0.2, 0.3, 0.15, 9.0, 9.0, 9.0, 9.0])
    assert coat(np.abs(x[:, None] - x)).center < 5


def test_the_cut_keeps_chi_square_distances() -> None:
    """95 of 100 crowds of honest distances lose nobody, give or take."""
    rng = np.random.default_rng(42)
    lost = 0
    for _ in range(300):
        distances = np.sqrt(rng.chisquare(20, size=40) / 20)
        distances[0] = 0.0
        ball = Ball(0, float(np.sort(distances)[20]))
        cut = wilson_hilferty_cut(distances, ball, 0.05 / 40)
        lost += not inside(distances, cut).all()
    assert lost < 45


@pytest.mark.parametrize("gate", GATES)
@each_family
def test_every_gate_keeps_the_honest_and_drops_wild_means(family: Family, gate: str) -> None:
    _, messages = honest_messages(family)
    liars = range(10)
    result = aggregate(attacked(messages, "mean", liars), rule=rule_named(gates=(gate,)))
    assert set(result.verdict.dropped) >= set(liars)
    assert len(result.verdict.kept) >= 12


@pytest.mark.parametrize("attack", ["mean", "covariance"])
@each_family
def test_blocks_equal_the_oracle_under_the_papers_attacks(family: Family, attack: str) -> None:
    _, messages = honest_messages(family, m=30)
    liars = range(13)
    lies = attacked(messages, attack, liars)
    result = aggregate(lies)
    oracle = aggregate(lies, aggregator="oracle", byzantine=liars)
    assert result.verdict.certified
    assert set(result.verdict.kept) <= set(range(13, 30))
    assert len(result.verdict.kept) >= 15
    np.testing.assert_allclose(
        result.mixture.params["means"], oracle.mixture.params["means"], atol=0.05
    )
    assert set(result.verdict.dropped) >= set(liars)
    assert all(">" in reason for reason in result.verdict.dropped.values())


def test_weight_liars_are_dropped_unless_weights_are_free() -> None:
    family = COVARIANCE_TYPES["full"]
    rng = np.random.default_rng(43)
    params = random_mixture(family, 3, 2, rng).params
    _, messages = honest_messages(family)
    first = messages[0].mixture
    assert first is not None
    liar = Mixture(family, [0.9, 0.05, 0.05], first.params)
    lies = [Message(0, "fitted", 1000, mixture=liar), *messages[1:]]
    assert "weights" in aggregate(lies).verdict.dropped[0]
    free = aggregate(lies, rule=rule_named(weights="free"))
    assert "weights" not in [gate.name for gate in free.verdict.gates]
    assert 0 in free.verdict.kept
    assert params is not None


def own_weights(family: Family, m: int, rows: int, seed: int) -> tuple[Mixture, list[Message]]:
    """Estimates of partitions that share components, and have next to none of some."""
    rng = np.random.default_rng(seed)
    truth, messages = random_mixture(family, 4, 6, rng), []
    for i in range(m):
        drawn = rng.choice(4, size=rows, p=rng.dirichlet(np.full(4, 0.3)))
        labels = np.concatenate([drawn, np.repeat(np.arange(4), 9)])  # so few make a covariance
        statistics = family.statistics(family.sample(truth.params, labels, rng), np.eye(4)[labels])
        local = Mixture(family, statistics.count / len(labels), family.from_statistics(statistics))
        messages.append(Message(i, "fitted", len(labels), mixture=local))
    return truth, messages


@pytest.mark.parametrize("seed", range(6))
def test_partitions_that_lack_components_are_kept_where_weights_are_free(seed: int) -> None:
    """No partition knows all components well, and every component is known well by some."""
    family = COVARIANCE_TYPES["full"]
    truth, messages = own_weights(family, 40, 1000, seed)
    lies = attacked(messages, "collude", range(12))
    found = aggregate(lies, rule=rule_named(weights="free"))
    kept = set(found.verdict.kept)
    assert not kept & set(range(12))
    assert len(kept) >= 24
    near = like(found.mixture, truth)
    assert np.diagonal(family.kl(truth.params, near.params)).max() < 0.01


@pytest.mark.parametrize("aggregator", AGGREGATORS)
@each_family
def test_relabelling_partitions_components_changes_nothing(family: Family, aggregator: str) -> None:
    _, messages = honest_messages(family)
    rng = np.random.default_rng(44)
    shuffled = [
        Message(m.partition, "fitted", m.rows, mixture=m.mixture.reordered(rng.permutation(3)))
        for m in messages
        if m.mixture is not None
    ]
    one, other = (aggregate(them, aggregator=aggregator) for them in (messages, shuffled))
    np.testing.assert_allclose(one.mixture.weights, other.mixture.weights, atol=1e-9)
    np.testing.assert_allclose(
        one.mixture.params["means"], other.mixture.params["means"], atol=1e-8
    )
    assert one.verdict.kept == other.verdict.kept


def test_paper_mode_cuts_at_rho_times_the_radius() -> None:
    _, messages = honest_messages(COVARIANCE_TYPES["full"])
    lies = attacked(messages, "mean", range(8))
    for rho in (1.0, 1.35, 2.0):
        verdict = aggregate(lies, rule=rule_named("paper", rho=rho)).verdict
        gate = verdict.gates[0]
        assert gate.name == "l2"
        assert gate.cutoff == pytest.approx(rho * gate.radius)
        assert set(verdict.kept) == set(np.flatnonzero(gate.distances <= gate.cutoff))
    assert len(aggregate(lies, rule=rule_named("paper", rho=1.0)).verdict.kept) == 13


def test_claimed_rows_do_not_buy_influence() -> None:
    assert trusted_rows([1000] * 9 + [10**9]).max() == 2000.0
    assert trusted_rows([1000] * 9 + [5]).min() == 250.0
    assert trusted_rows([1000] * 9 + [4000], [1000] * 9 + [1100]).max() == 1100.0


def test_weights_count_in_place_of_rows() -> None:
    _, messages = honest_messages(COVARIANCE_TYPES["full"], m=12)
    planned = dict.fromkeys(range(12), 800)
    assert (collect(messages, planned)[0].rows == 800.0).all()
    heavy = [replace(m, mass=3000.0) for m in messages]
    assert (collect(heavy, planned)[0].rows == 3000.0).all()
    one_lies = [replace(messages[0], mass=1e300), *messages[1:]]
    assert collect(one_lies, planned)[0].rows.tolist() == [1600.0] + [800.0] * 11


def test_failed_and_empty_partitions_count_as_they_should() -> None:
    _, messages = honest_messages(COVARIANCE_TYPES["full"], m=12)
    failed = [Message.failed(i, "chunk cannot be decoded") for i in range(3)]
    empty = [Message(3, "empty"), Message(4, "empty", dropped_rows=7)]
    verdict = aggregate([*failed, *empty, *messages[5:]]).verdict
    assert dict(verdict.failed) == dict.fromkeys(range(3), "chunk cannot be decoded")
    assert verdict.empty == (3, 4)
    assert np.isnan(verdict.gates[0].distances[:5]).all()
    assert not verdict.certified
    with pytest.raises(
        TooFewMessages, match=r"5 of 12 .* chunk cannot be decoded \(partitions 0, 1"
    ):
        aggregate([Message.failed(i, "chunk cannot be decoded") for i in range(7)] + messages[7:])
    with pytest.raises(TooFewMessages, match="every partition is empty"):
        aggregate([Message(i, "empty") for i in range(5)])


def test_estimates_of_another_kind_are_failed_messages() -> None:
    _, messages = honest_messages(COVARIANCE_TYPES["full"], m=12)
    odd = random_mixture(COVARIANCE_TYPES["full"], 2, 2, np.random.default_rng(45))
    messages[3] = Message(3, "fitted", 1000, mixture=odd)
    assert "another kind" in aggregate(messages).verdict.failed[3]


def test_few_partitions_are_never_certified() -> None:
    _, messages = honest_messages(COVARIANCE_TYPES["full"], m=9)
    for m in (1, 2):
        verdict = aggregate(messages[:m]).verdict
        assert verdict.kept == tuple(range(m))
        assert "no outlier can be told" in verdict.doubts[0]
    verdict = aggregate(messages).verdict
    assert not verdict.certified
    assert "too few" in verdict.doubts[0]


def test_equal_estimates_are_all_kept() -> None:
    _, messages = honest_messages(COVARIANCE_TYPES["full"], m=1)
    copies = [Message(i, "fitted", 1000, mixture=messages[0].mixture) for i in range(12)]
    assert aggregate(copies).verdict.kept == tuple(range(12))


def test_partitions_can_be_forced_in_and_out() -> None:
    _, messages = honest_messages(COVARIANCE_TYPES["full"])
    lies = attacked(messages, "mean", range(5))
    verdict = aggregate(lies, keep=[1], drop=[20]).verdict
    assert 1 in verdict.kept
    assert verdict.dropped[20] == "forced out"
    with pytest.raises(ValueError, match=r"partitions \[99\] have no usable estimate"):
        aggregate(lies, keep=[99])
    with pytest.raises(ValueError, match="forced both in and out"):
        aggregate(lies, keep=[3], drop=[3])


def test_a_component_too_small_to_test_comes_from_its_medoid() -> None:
    """A thin component is neither lost nor in the hands of a liar."""
    family = COVARIANCE_TYPES["full"]
    rng = np.random.default_rng(46)
    weights = np.array([0.495, 0.495, 0.01])
    means = np.array([[0.0, 0.0], [20.0, 0.0], [0.0, 20.0]])
    messages = []
    for i in range(21):
        moved = means + 0.1 * rng.standard_normal(means.shape)
        if i < 9:
            moved[2] += 1e3
        params = {"means": moved, "covariances": np.repeat(np.eye(2)[None], 3, axis=0)}
        messages.append(Message(i, "fitted", 1000, mixture=Mixture(family, weights, params)))
    result = aggregate(messages, rule=rule_named(weights="shared"))
    assert result.mixture.n_components == 3
    assert np.abs(result.mixture.params["means"][2] - means[2]).max() < 1.0
    assert "too few rows to be tested" in result.verdict.doubts[0]


def test_byzantine_partitions_follow_from_the_seed() -> None:
    corruption = Corruption("mean", 0.45)
    chosen = byzantine_partitions(corruption, 40, seed=3)
    assert len(chosen) == 18
    assert chosen == byzantine_partitions(corruption, 40, seed=3)
    assert chosen != byzantine_partitions(corruption, 40, seed=4)
    with pytest.raises(ValueError, match="attack 'melt'"):
        Corruption("melt", 0.1)
    with pytest.raises(ValueError, match=r"fraction 1\.5"):
        Corruption("mean", 1.5)
    with pytest.raises(ValueError, match="strikes at"):
        Corruption("data", 0.1, stages=("messages",))


def absurd(family: Family) -> Mixture:
    """A valid estimate so far away and so badly conditioned that divergences overflow."""
    means = np.array([[1e50, -1e50], [-1e50, 1e50], [1e50, 1e50]])
    if family.name == "diagonal_gaussian":
        return Mixture(family, [1 / 3] * 3, {"means": means, "variances": np.full((3, 2), 1e-100)})
    near_one = 1.0 - 2e-12
    covariance = 1e-100 * np.array([[1.0, near_one], [near_one, 1.0]])
    return Mixture(
        family, [1 / 3] * 3, {"means": means, "covariances": np.repeat(covariance[None], 3, 0)}
    )


@pytest.mark.parametrize("gate", GATES)
@each_family
def test_one_absurd_estimate_costs_nothing(family: Family, gate: str) -> None:
    _, messages = honest_messages(family)
    messages[5] = Message(5, "fitted", 1000, mixture=absurd(family))
    verdict = aggregate(messages, rule=rule_named(gates=(gate,))).verdict
    assert 5 in verdict.dropped
    assert len(verdict.kept) >= 20


def test_a_needle_does_not_blind_the_papers_filter() -> None:
    """One needle among the estimates, and L2 still tells the others apart."""
    family = COVARIANCE_TYPES["diag"]
    _, messages = honest_messages(family)
    lies = attacked(messages, "mean", range(6))
    first = messages[7].mixture
    assert first is not None
    needle = {**first.params, "variances": np.full((3, 2), 1e-99)}
    lies[7] = Message(7, "fitted", 1000, mixture=Mixture(family, first.weights, needle))
    verdict = aggregate(lies, rule=rule_named("paper")).verdict
    assert set(verdict.dropped) >= {0, 1, 2, 3, 4, 5, 7}
    assert len(verdict.kept) >= 12


def test_a_liar_who_inflates_a_thin_component_does_not_become_the_center() -> None:
    family = COVARIANCE_TYPES["full"]
    rng = np.random.default_rng(47)
    means = np.array([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
    unit = np.repeat(np.eye(2)[None], 3, axis=0)
    for share in (0.005, 0.012):
        messages = []
        for i in range(21):
            thin = 0.022 if i == 0 else share
            moved = means + rng.standard_normal(means.shape) / np.sqrt([[500], [500], [10]])
            moved = moved + 30.0 if i == 0 else moved
            params = {"means": moved, "covariances": unit}
            local = Mixture(family, [(1 - thin) / 2, (1 - thin) / 2, thin], params)
            messages.append(Message(i, "fitted", 1000, mixture=local))
        verdict = aggregate(messages).verdict
        assert 0 in verdict.dropped
        assert verdict.center != 0


def test_gates_agree_on_which_component_was_tested() -> None:
    """Each gate aligns to a center of its own; what was tested is told by the messages' order."""
    family = COVARIANCE_TYPES["full"]
    rng = np.random.default_rng(48)
    truth = random_mixture(family, 3, 2, rng)
    weights = np.array([0.6, 0.39, 0.01])
    messages = []
    for i in range(20):
        moved = truth.params["means"] + 0.02 * rng.standard_normal((3, 2))
        local = Mixture(family, weights, {**truth.params, "means": moved})
        messages.append(Message(i, "fitted", 1000, mixture=local.reordered(rng.permutation(3))))
    for gates in (("l2", "blocks"), ("ctd", "blocks"), ("blocks",)):
        result = filtered(collect(messages)[0], rule_named(gates=gates))
        large = result.estimates.weights > 0.02
        np.testing.assert_array_equal(result.tested, large)


def test_only_a_filter_certifies_and_only_without_doubts() -> None:
    _, messages = honest_messages(COVARIANCE_TYPES["full"])
    lies = attacked(messages, "mean", range(3))
    assert aggregate(lies).verdict.certified
    assert not aggregate(lies, aggregator="vanilla").verdict.certified
    forced = aggregate(lies, keep=[1]).verdict
    assert not forced.certified
    assert "forced in" in forced.doubts[0]
    lies[10] = Message(10, "fitted", 1000, mixture=messages[11].mixture)
    copied = aggregate(lies).verdict
    assert "10, 11" in copied.doubts[0]
    assert not copied.certified


def test_the_oracle_needs_an_honest_partition() -> None:
    _, messages = honest_messages(COVARIANCE_TYPES["full"], m=3)
    with pytest.raises(TooFewMessages, match="no honest partition"):
        aggregate(messages, aggregator="oracle", byzantine=range(3))


def test_partitions_that_are_not_alike_raise_a_doubt() -> None:
    """Bands of one field: each honest, none like another."""
    family = COVARIANCE_TYPES["full"]
    messages = []
    for i in range(20):
        params = {"means": np.array([[float(i)], [40.0 + i]]), "covariances": np.ones((2, 1, 1))}
        messages.append(Message(i, "fitted", 2000, mixture=Mixture(family, [0.5, 0.5], params)))
    verdict = aggregate(messages).verdict
    assert not verdict.certified
    assert "may be no samples of one population" in verdict.doubts[0]


def test_a_verdict_reads_as_text() -> None:
    _, messages = honest_messages(COVARIANCE_TYPES["full"])
    lies = attacked(messages, "mean", range(2))
    lies[5] = Message.failed(5, "chunk cannot be decoded")
    lines = str(aggregate(lies).verdict).splitlines()
    assert lines[0] == "21 kept, 2 dropped, 1 failed; certified"
    assert lines[1].startswith("dropped 0: means ")
    assert lines[-1] == "failed 5: chunk cannot be decoded"


def test_numbers_of_partitions_may_have_gaps_but_not_be_absurd() -> None:
    _, messages = honest_messages(COVARIANCE_TYPES["full"], m=14)
    gaps = [replace(one, partition=5 * one.partition) for one in messages]
    found = aggregate([*gaps[:-1], replace(messages[-1], partition=2**62)])
    assert found.verdict.kept == tuple(range(0, 65, 5))
    assert found.verdict.failed == {2**62: f"there is no partition {2**62}"}
    assert all(len(gate.distances) == 61 for gate in found.verdict.gates)
    with pytest.raises(ValueError, match="more than one message"):
        aggregate([*messages, messages[3]])


@each_family
def test_components_can_be_put_in_the_order_of_another_mixture(family: Family) -> None:
    mixture = random_mixture(family, 4, 3, np.random.default_rng(44))
    turned = mixture.reordered(np.array([2, 0, 3, 1]))
    back = like(turned, mixture)
    assert np.array_equal(back.weights, mixture.weights)
    assert all(np.array_equal(back.params[k], a) for k, a in mixture.params.items())
