"""What cannot be known is said, and what deviates is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfmr_dask.aggregate.aggregators import aggregate, rule_named
from dfmr_dask.aggregate.estimates import collect
from dfmr_dask.aggregate.explanations import deviations, largest
from dfmr_dask.corruption import Corruption, lies
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.families.base import take
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from tests.aggregate.test_filtering import honest_messages
from tests.tables import each_family

FULL = COVARIANCE_TYPES["full"]


def test_honest_partitions_are_certified() -> None:
    _, messages = honest_messages(FULL, m=40)
    verdict = aggregate(messages).verdict
    assert verdict.certified
    assert not verdict.doubts
    assert all(0.5 < gate.level < 2.0 for gate in verdict.gates)


@pytest.mark.parametrize("attack", [("mean", None), ("shift", 40.0), ("covariance", None)])
def test_a_scattered_majority_of_liars_is_noticed(attack: tuple[str, float | None]) -> None:
    truth, messages = honest_messages(FULL, m=40)
    name, size = attack
    told = lies(messages, Corruption(name, 0.6, size=size), range(24), known=truth, seed=1)
    verdict = aggregate(told).verdict
    assert not verdict.certified
    assert verdict.doubts


def test_a_narrow_majority_is_not_certified() -> None:
    truth, messages = honest_messages(FULL, m=40)
    for liars, certified in ((12, True), (18, False)):
        told = lies(messages, Corruption("mean", 0.5), range(liars), known=truth, seed=1)
        verdict = aggregate(told).verdict
        assert not set(verdict.kept) & set(range(liars))
        assert verdict.certified == certified
    assert any("majority so narrow" in doubt for doubt in verdict.doubts)


def test_components_that_few_partitions_support_are_named() -> None:
    """Two thirds of the partitions have ten rows of the third component, the others a hundred."""
    _, messages = honest_messages(FULL, m=30)
    thin = []
    for message in messages:
        assert message.mixture is not None
        near = message.mixture.reordered(np.argsort(message.mixture.params["means"][:, 0]))
        share = 0.1 if message.partition % 3 == 0 else 0.01
        weights = np.array([*near.weights[:2] * (1 - share) / near.weights[:2].sum(), share])
        thin.append(replace(message, mixture=Mixture(FULL, weights, near.params)))
    verdict = aggregate(thin, rule=rule_named(weights="free")).verdict
    assert any("components" in doubt for doubt in verdict.doubts)
    assert not verdict.certified


@each_family
def test_the_parameter_that_was_moved_is_named(family: Family) -> None:
    truth, messages = honest_messages(family, m=20)
    liar = messages[4].mixture
    assert liar is not None
    spread = np.sqrt(truth.log_density(truth.params["means"]).size)  # any scale of order one
    means = liar.params["means"].copy()
    means[1, 0] += 3.0 * spread
    messages[4] = replace(
        messages[4], mixture=Mixture(family, liar.weights, {**liar.params, "means": means})
    )
    found = aggregate(messages)
    assert 4 in found.verdict.dropped
    table = found.verdict.deviations["mean"]
    k, j = np.unravel_index(int(np.argmax(np.abs(table[4]))), table[4].shape)
    assert j == 0
    assert np.argmin(np.abs(found.mixture.params["means"] - means[1]).sum(axis=1)) == k or (
        np.abs(table[4]).max() > 10.0
    )
    assert f"mean of component {k} along feature 0" in found.verdict.dropped[4]


@each_family
def test_honest_deviations_are_standard_normal_and_labels_do_not_matter(family: Family) -> None:
    _, messages = honest_messages(family, m=60, rows=4000)
    estimates, _ = collect(messages)
    mixture = aggregate(messages).mixture
    found = deviations(estimates, mixture)
    for name in ("mean", "variance"):
        assert 0.7 < np.sqrt(np.mean(found[name] ** 2)) < 1.3
    turned = mixture.reordered([2, 0, 1])
    for name, values in deviations(estimates, turned).items():
        np.testing.assert_allclose(values, found[name][:, [2, 0, 1]], atol=1e-9)


def test_deviations_have_a_sign_and_the_largest_comes_first() -> None:
    _, messages = honest_messages(FULL, m=12)
    estimates, _ = collect(messages)
    mixture = estimates.mixture(0)
    params = take(mixture.params, slice(None))
    params["means"] = params["means"] - 50.0 * np.eye(3, 2)
    found = deviations(collect([Message(0, "fitted", 1000, mixture=mixture)])[0], mixture)
    assert not list(largest(found, 0))
    moved = Mixture(FULL, mixture.weights, params)
    told = list(largest(deviations(collect(messages)[0], moved), 0))
    assert told[0].parameter == "mean"
    assert told[0].standard_errors > 3.0
    assert "along feature" in str(told[0])
