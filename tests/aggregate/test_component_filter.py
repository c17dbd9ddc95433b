"""Components judged one by one: failures that hit some components of almost every machine."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from dfmr_dask.aggregate.aggregators import Rule, aggregate
from dfmr_dask.aggregate.component_filter import filtered_components
from dfmr_dask.aggregate.estimates import collect
from dfmr_dask.aggregate.reduction import reduce_aligned
from dfmr_dask.corruption import Corruption, corrupted
from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.experiments.populations import population
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.local import em
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture

K, D, M, ROWS = 8, 5, 30, 800
FAILING = 0.3  # of all components: 95 % of the machines have one
TRUTH = population(K, D, separation=4.0, seed=3)
SINGLY = Rule(unit="component")


@cache
def estimates() -> tuple[Mixture, ...]:
    """Local fits, their components numbered like the truth's."""
    rng = np.random.default_rng(3)
    out = []
    for _ in range(M):
        x, _ = TRUTH.sample(ROWS, rng)
        out.append(em.fit(x, TRUTH, strength=(M * ROWS) ** -0.5, tol=1e-5).mixture)
    return tuple(out)


def failing(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((M, K)) < FAILING


def messages(attack: str, bad: np.ndarray, *, relabelled: bool = False) -> list[Message]:
    """What machines say whose bad components fail alone."""
    out = []
    for i, one in enumerate(estimates()):
        rng = np.random.default_rng(i)
        struck = tuple(int(k) for k in np.flatnonzero(bad[i]))
        known, said = Corruption(attack, 0.0, component=struck or None), one
        if struck:
            lie = corrupted(one, known, rng, known=TRUTH, rows=ROWS)
            assert isinstance(lie, Mixture)
            said = lie
        if relabelled:
            said = said.reordered(rng.permutation(K))
        out.append(Message(i, "fitted", ROWS, mixture=said))
    return out


def oracle(bad: np.ndarray) -> Mixture:
    """Reduction of the honest components alone, each with the weight that they agree on."""
    everybody, _ = collect(
        [Message(i, "fitted", ROWS, mixture=e) for i, e in enumerate(estimates())]
    )
    heard = np.where(bad, 0.0, everybody.weights)
    weights = heard.sum(axis=0) / (~bad).sum(axis=0)
    return reduce_aligned(everybody, heard / heard.sum(axis=0) * weights / weights.sum()).mixture


@pytest.mark.parametrize("attack", ["mean", "covariance", "sign_flip", "shrink"])
def test_components_that_fail_alone_cost_next_to_nothing(attack: str) -> None:
    bad = failing()
    assert bad.any(axis=1).mean() >= 0.9
    found = aggregate(messages(attack, bad, relabelled=True), rule=SINGLY)
    machines = aggregate(messages(attack, bad, relabelled=True))
    best = error(oracle(bad), TRUTH)
    assert error(found.mixture, TRUTH) < 1.05 * best
    assert error(machines.mixture, TRUTH) > 1.2 * best
    kept = found.verdict.components_kept
    assert kept is not None
    heaviest = np.argsort(-oracle(bad).weights)
    assert (kept & bad[:, heaviest]).sum() == 0
    assert (kept | bad[:, heaviest]).mean() > 0.98


def test_machine_filters_fail_by_far() -> None:
    bad = failing()
    best = error(oracle(bad), TRUTH)
    for name in ("dfmr", "vanilla"):
        found = aggregate(messages("mean", bad), aggregator=name)
        assert error(found.mixture, TRUTH) > 10.0 * best
    assert error(aggregate(messages("mean", bad), rule=SINGLY).mixture, TRUTH) < 1.05 * best


def test_where_nobody_fails_everybody_is_kept() -> None:
    none = np.zeros((M, K), dtype=bool)
    found = aggregate(messages("mean", none), rule=SINGLY)
    assert error(found.mixture, TRUTH) < 1.01 * error(
        aggregate(messages("mean", none)).mixture, TRUTH
    )
    assert found.verdict.components_kept is not None
    assert found.verdict.components_kept.mean() > 0.98


@pytest.mark.parametrize("attack", ["mean", "covariance"])
def test_relabelling_changes_nothing(attack: str) -> None:
    bad = failing(1)
    plain = aggregate(messages(attack, bad), rule=SINGLY)
    other = aggregate(messages(attack, bad, relabelled=True), rule=SINGLY)
    assert other.mixture.weights == pytest.approx(plain.mixture.weights, abs=1e-12)
    assert other.mixture.params["means"] == pytest.approx(plain.mixture.params["means"], abs=1e-9)
    assert other.verdict.kept == plain.verdict.kept
    assert plain.verdict.components_kept is not None
    assert other.verdict.components_kept is not None
    assert np.array_equal(other.verdict.components_kept, plain.verdict.components_kept)


def test_the_reference_is_made_of_good_components_only() -> None:
    bad = failing(2)
    usable, _ = collect(messages("covariance", bad))
    found = filtered_components(usable, SINGLY)
    sizes = [np.trace(one.params["covariances"], axis1=1, axis2=2).sum() for one in estimates()]
    size = np.trace(found.reference.params["covariances"], axis1=1, axis2=2).sum()
    assert min(sizes) * 0.9 < size < max(sizes) * 1.1


def test_the_verdict_says_who_was_used_and_certifies_nothing() -> None:
    bad = failing()
    bad[4] = True
    said = [*messages("mean", bad), Message.failed(M, "no rows"), Message(M + 1, "empty")]
    verdict = aggregate(said, rule=SINGLY, keep=[4]).verdict
    assert verdict.components_kept is not None
    assert verdict.components_kept.shape == (M + 2, K)
    assert verdict.components_kept[4].all()
    assert not verdict.components_kept[M:].any()
    verdict = aggregate(said, rule=SINGLY).verdict
    assert verdict.components_kept is not None
    assert list(verdict.dropped) == [4]
    assert "component_0" in verdict.dropped[4]
    assert verdict.kept == tuple(np.flatnonzero(verdict.components_kept.any(axis=1)))
    assert not verdict.certified
    assert any("act together" in doubt for doubt in verdict.doubts)
    assert aggregate(said[:M]).verdict.components_kept is None


def test_components_too_small_to_be_tested_come_from_their_medoid() -> None:
    few = [Message(i, "fitted", 60, mixture=one) for i, one in enumerate(estimates())]
    found = aggregate(few, rule=SINGLY)
    thin = found.verdict.components_kept
    assert thin is not None
    assert (thin.sum(axis=0) == 1).any()
    assert error(found.mixture, TRUTH) < 2.0 * max(error(one, TRUTH) for one in estimates())
    assert any("fewer than 20 rows" in doubt for doubt in found.verdict.doubts)


def test_who_fails_the_cut_is_not_merged() -> None:
    """Half of the machines have their third component elsewhere, each at a place of its own."""
    bad = np.zeros((M, K), dtype=bool)
    bad[: M // 2 + 1, 2] = True
    usable, _ = collect(messages("mean", bad))
    found = filtered_components(usable, SINGLY)
    assert (found.distances[found.kept] <= 1.0).all()
    assert (found.distances[~found.kept] > 1.0).all()
    (struck,) = np.flatnonzero(2 * found.kept.sum(axis=0) <= M)
    verdict = aggregate(messages("mean", bad), rule=SINGLY).verdict
    count = int(found.kept[:, struck].sum())
    assert any(f"of {M} usable partitions only {count} of" in d for d in verdict.doubts)


def test_who_is_forced_in_against_the_filter_is_named() -> None:
    bad = np.zeros((M, K), dtype=bool)
    bad[4] = True
    told = aggregate(messages("mean", bad), rule=SINGLY, keep=[4]).verdict.doubts
    assert any("partitions 4 have components that fail" in doubt for doubt in told)
    told = aggregate(messages("mean", bad), rule=SINGLY).verdict.doubts
    assert not any("forced in" in doubt for doubt in told)


def test_what_is_too_small_to_be_tested_and_copies_are_told_of() -> None:
    said = messages("mean", np.zeros((M, K), dtype=bool))
    shares = np.append(0.01, np.full(K - 1, 0.99 / (K - 1)))
    small = Mixture(estimates()[5].family, shares, estimates()[5].params)
    said[5] = Message(5, "fitted", ROWS, mixture=small)
    said.append(Message(M, "fitted", ROWS, mixture=estimates()[0]))
    verdict = aggregate(said, rule=SINGLY).verdict
    assert "components of fewer than 20 rows were left out: 1 of partitions 5" in verdict.doubts
    assert verdict.dropped[M] == "a copy of partition 0"


def test_what_is_for_whole_machines_is_refused() -> None:
    said = messages("mean", failing())
    with pytest.raises(InvalidConfiguration, match="whole machines"):
        aggregate(said, rule=Rule(gates=("l2",), unit="component"))
    with pytest.raises(InvalidConfiguration, match="whole machines"):
        aggregate(said, rule=Rule(rho=2.0, unit="component"))
    with pytest.raises(InvalidConfiguration, match="came with the method 'paper'"):
        aggregate(said, rule=Rule(gates=("l2",), rho=1.35, paper=True, unit="component"))
    tied = population(2, 2).params
    shared = {**tied, "covariances": np.repeat(tied["covariances"][:1], 2, axis=0)}
    one = Mixture(COVARIANCE_TYPES["tied"], np.array([0.5, 0.5]), shared)
    with pytest.raises(InvalidConfiguration, match="one covariance for all"):
        aggregate([Message(i, "fitted", 90, mixture=one) for i in range(12)], rule=SINGLY)
