"""Single features of single partitions thrown out: each site counts wrong alleles of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dfmr_dask import BinomialMixture
from dfmr_dask.aggregate.aggregators import aggregate
from dfmr_dask.aggregate.entry_filter import MOST_BAD, filtered_entries
from dfmr_dask.aggregate.estimates import collect
from dfmr_dask.aggregate.gates import Rule
from dfmr_dask.aggregate.uncertainty import StandardErrors, reported_errors, standard_errors
from dfmr_dask.corruption import Corruption
from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.families import Binomial, Categorical, DiagonalGaussian, Poisson, Product
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture

M, K, D, ROWS = 14, 3, 400, 600
WEIGHTS = np.array([0.5, 0.3, 0.2])
ENTRY = Rule(unit="entry")


def truth(seed: int = 0) -> np.ndarray:
    """Frequencies of populations that drifted from common ones, none of them near one half."""
    rng = np.random.default_rng(seed)
    old = np.where(rng.random(D) < 0.5, rng.uniform(0.1, 0.3, D), rng.uniform(0.7, 0.9, D))
    return np.clip(old + rng.normal(scale=0.08, size=(K, D)), 0.03, 0.97)


def said(frequencies: np.ndarray, i: int, flips: np.ndarray | None = None) -> Message:
    """What a partition says that counts alleles in its own people, some of them the wrong ones."""
    rng = np.random.default_rng(100 + i)
    people = (2 * ROWS * WEIGHTS).astype(int)[:, None]
    found = (rng.binomial(people, frequencies) + 0.5) / (people + 1.0)
    if flips is not None:
        found[:, flips] = 1.0 - found[:, flips]
    params = {"frequencies": found}
    mixture = Mixture(Binomial(2), WEIGHTS, params).reordered(rng.permutation(K))
    return Message(i, "fitted", ROWS, mixture=mixture)


def own_flips(share: float, m: int = M) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.permutation(D)[: int(share * D)] for _ in range(m)]


def away(mixture: Mixture, frequencies: np.ndarray) -> float:
    found = mixture.params["frequencies"]
    order = [int(np.argmin(((found - one) ** 2).sum(axis=1))) for one in frequencies]
    assert sorted(order) == list(range(K))
    return float(np.sqrt(((found[order] - frequencies) ** 2).mean()))


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1])
def test_flips_of_ones_own_are_thrown_out_and_harm_nobody(share: float) -> None:
    frequencies, flips = truth(), own_flips(share)
    clean = aggregate([said(frequencies, i) for i in range(M)], aggregator="vanilla")
    bad = [said(frequencies, i, flips[i]) for i in range(M)]
    found = aggregate(bad, rule=ENTRY)
    assert found.verdict.kept == tuple(range(M))
    assert found.verdict.certified, found.verdict.doubts
    thrown = ~found.verdict.entries_kept
    flipped = np.array([np.isin(np.arange(D), some) for some in flips])
    assert thrown[flipped].mean() > 0.99
    assert thrown[~flipped].mean() < 0.002
    whole = aggregate(bad, aggregator="vanilla")
    assert away(found.mixture, frequencies) < 1.1 * away(clean.mixture, frequencies)
    assert away(whole.mixture, frequencies) > 2.0 * away(clean.mixture, frequencies)


def test_standard_errors_are_those_of_the_features_that_are_left() -> None:
    """One in ten is thrown out: errors are 1 / sqrt(.9) of what they would be, and cover."""
    frequencies, flips = truth(), own_flips(0.1)
    clean = [said(frequencies, i) for i in range(M)]
    bad = [said(frequencies, i, flips[i]) for i in range(M)]
    found, best = aggregate(bad, rule=ENTRY), aggregate(clean, aggregator="vanilla")
    errors = reported_errors(bad, found.parts, found.mixture, "aggregate", 0)
    assert isinstance(errors, StandardErrors)
    sure = errors.parameters(names=["frequencies"])["frequencies"]
    of_all = standard_errors(clean, best.parts).parameters(names=["frequencies"])["frequencies"]
    ratio = np.median(sure.standard_error / of_all.standard_error)
    assert ratio == pytest.approx(1.0 / np.sqrt(0.9), rel=0.03)
    assert np.array_equal(sure.value, found.mixture.params["frequencies"])
    order = [int(np.argmin(((sure.value - one) ** 2).sum(axis=1))) for one in frequencies]
    covered = (sure.lower[order] <= frequencies) & (frequencies <= sure.upper[order])
    assert 0.92 < covered.mean() < 0.98


def test_where_nothing_is_wrong_nearly_nothing_changes() -> None:
    frequencies = truth()
    messages = [said(frequencies, i) for i in range(M)]
    one, other = aggregate(messages), aggregate(messages, rule=ENTRY)
    assert one.verdict.entries_kept is None
    assert other.verdict.entries_kept.mean() > 0.998
    assert one.verdict.kept == other.verdict.kept == tuple(range(M))
    gap = abs(one.mixture.params["frequencies"] - other.mixture.params["frequencies"])
    assert np.median(gap) < 1e-12
    assert gap.max() < 0.02


def test_partitions_that_lie_as_a_whole_are_still_dropped() -> None:
    frequencies, flips = truth(), own_flips(0.05)
    messages = [said(frequencies, i, flips[i]) for i in range(M)]
    for i in (2, 9):
        messages[i] = said(truth(seed=50 + i), i)
    messages[5] = said(frequencies, 5, np.arange(D))
    found = aggregate(messages, rule=ENTRY)
    assert sorted(found.verdict.dropped) == [2, 5, 9]
    clean = [said(frequencies, i) for i in range(M) if i not in (2, 5, 9)]
    best = aggregate(clean, aggregator="vanilla").mixture
    assert away(found.mixture, frequencies) < 1.1 * away(best, frequencies)
    assert found.verdict.entries_kept[5].all()  # too many to mend: judged as it is
    assert MOST_BAD < 1.0


def test_a_small_bias_of_all_features_is_no_business_of_single_ones() -> None:
    frequencies = truth()
    messages = [said(frequencies, i) for i in range(M)]
    messages[3] = said(0.93 * frequencies, 3)  # of all genotypes 7 % read as reference
    verdict = aggregate(messages, rule=ENTRY).verdict
    assert list(verdict.dropped) == [3]


def test_labels_of_components_do_not_matter() -> None:
    frequencies, flips = truth(), own_flips(0.1)
    messages = [said(frequencies, i, flips[i]) for i in range(M)]
    rng = np.random.default_rng(1)
    other = [
        Message(m.partition, "fitted", m.rows, mixture=m.mixture.reordered(rng.permutation(K)))
        for m in messages
    ]
    one, two = (aggregate(some, rule=ENTRY) for some in (messages, other))
    assert np.array_equal(one.verdict.entries_kept, two.verdict.entries_kept)
    assert np.allclose(one.mixture.params["frequencies"], two.mixture.params["frequencies"])


def test_features_that_nobody_agrees_on_are_a_doubt() -> None:
    frequencies = truth()
    messages = [said(frequencies, i, np.arange(4) if i % 2 else None) for i in range(M)]
    verdict = aggregate(messages, rule=ENTRY).verdict
    assert not verdict.certified
    assert any("4 features are thrown out for 45% or more" in doubt for doubt in verdict.doubts)


def test_estimates_keep_their_own_order_and_what_is_right_of_them() -> None:
    frequencies, flips = truth(), own_flips(0.05)
    estimates, _ = collect([said(frequencies, i, flips[i]) for i in range(M)])
    found = filtered_entries(estimates)
    same = found.estimates.params["frequencies"] == estimates.params["frequencies"]
    assert same[np.broadcast_to(found.kept[:, None, :], same.shape)].all()
    assert np.array_equal(found.estimates.weights, estimates.weights)
    near = found.estimates.reordered(found.order).params["frequencies"]
    spread = near.std(axis=0)
    assert spread.max() < 0.08  # everybody's, flips mended: matched to the same components
    assert np.isfinite(found.distances).all()
    assert found.distances[~found.kept].min() > 0.9 * found.cutoff


@pytest.mark.parametrize(
    ("rule", "d", "told"),
    [
        (Rule(unit="entry"), 3, "3 features; a few bad ones"),
        (Rule(unit="entry", paper=True), 30, "the method 'paper'"),
    ],
)
def test_what_cannot_be_judged_by_features_is_refused(rule: Rule, d: int, told: str) -> None:
    one = Mixture(Binomial(2), [1.0], {"frequencies": np.full((1, d), 0.3)})
    with pytest.raises(InvalidConfiguration, match=told):
        aggregate([Message(i, "fitted", 100, mixture=one) for i in range(5)], rule=rule)


@pytest.mark.parametrize(
    ("family", "params"),
    [
        (DiagonalGaussian(), {"means": np.zeros((1, 12)), "variances": np.ones((1, 12))}),
        (Categorical((3,) * 12), {"probabilities": np.full((1, 36), 1.0 / 3.0)}),
        (Product(((Poisson(), 12),)), {"poisson_0_rates": np.ones((1, 12))}),
    ],
)
def test_families_of_more_than_one_parameter_a_column_are_refused(
    family: Any, params: dict[str, np.ndarray]
) -> None:
    one = Mixture(family, [1.0], params)
    with pytest.raises(InvalidConfiguration, match="unit='entry' came with the family"):
        aggregate([Message(i, "fitted", 100, mixture=one) for i in range(5)], rule=ENTRY)


@pytest.mark.parametrize("polish", [0, 2])
def test_a_run_throws_out_features_and_tells_which(polish: int) -> None:
    rng = np.random.default_rng(0)
    d = 60
    frequencies = np.where(rng.random((2, d)) < 0.5, 0.15, 0.85)
    labels = rng.random(2400) < 0.4
    x = rng.binomial(2, frequencies[labels.astype(int)]).astype(np.int8)
    attack = Corruption("own_flipped_alleles", 0.6, size=0.1)
    model = BinomialMixture(
        2, n_partitions=12, unit="entry", corruption=attack, random_state=0, weights="shared",
        polish=polish,
    ).fit(x)  # fmt: skip
    table = model.partitions_
    assert table["entry_kept"].dims == ("partition", "feature")
    thrown = (~table["entry_kept"].values).sum(axis=1)
    assert sorted(thrown)[-7:] == [6] * 7
    assert (np.sort(thrown)[:5] <= 1).all()
    found = np.sort(model.frequencies_, axis=0)
    assert abs(found - np.sort(frequencies, axis=0)).max() < 0.06
