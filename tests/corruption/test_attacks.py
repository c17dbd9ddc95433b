"""Attacks by name: what they change, what they leave alone, and that a seed tells all of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dfmr_dask.aggregate.aggregators import aggregate
from dfmr_dask.aggregate.distances import ctd
from dfmr_dask.aggregate.estimates import collect
from dfmr_dask.corruption import (
    ATTACKS,
    Corruption,
    byzantine_partitions,
    corrupted,
    corrupted_scores,
    lies,
)
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from tests.tables import covariances_of, each_family, perturbed, random_params

ROWS, M, K, D = 1000, 8, 4, 3
LIARS = (1, 4, 6)
FULL = COVARIANCE_TYPES["full"]
GENTLE = tuple(name for name, one in ATTACKS.items() if name != "malformed" and not one.rows)
HARMLESS = tuple(name for name, one in ATTACKS.items() if one.harmless)


def truth_of(family: Family) -> Mixture:
    params = random_params(family, K, D, np.random.default_rng(5))
    apart = {**params, "means": params["means"] + 8.0 * np.arange(K)[:, None]}
    return Mixture(family, [0.4, 0.3, 0.2, 0.1], apart)


def honest(truth: Mixture, m: int = M) -> list[Message]:
    rng = np.random.default_rng(6)
    near = [perturbed(truth.family, truth.params, 0.03, rng) for _ in range(m)]
    fits = [Mixture(truth.family, truth.weights, params) for params in near]
    return [Message(i, "fitted", ROWS, mixture=one) for i, one in enumerate(fits)]


def told(truth: Mixture, attack: str, seed: int = 3, **options: Any) -> list[Mixture]:
    """What the liars say; everybody else is checked to say what he said before."""
    before = honest(truth)
    after = lies(before, Corruption(attack, 0.3, **options), LIARS, known=truth, seed=seed)
    assert all(after[i] is before[i] for i in range(M) if i not in LIARS)
    return [mixture_of(after[i]) for i in LIARS]


def mixture_of(message: Message) -> Mixture:
    assert message.mixture is not None
    return message.mixture


def found(truth: Mixture) -> list[Mixture]:
    return [mixture_of(message) for i, message in enumerate(honest(truth)) if i in LIARS]


def steps(moved: Mixture, before: Mixture) -> NDArray[np.float64]:
    """How far every mean moved, in deviations of its component, (K, d)."""
    lower = np.linalg.cholesky(covariances_of(before.params))
    offset = moved.params["means"] - before.params["means"]
    return np.asarray(np.linalg.solve(lower, offset[..., None])[..., 0])


def same(one: Mixture, other: Mixture) -> bool:
    arrays = zip(one.params.values(), other.params.values(), strict=True)
    equal = np.array_equal(one.weights, other.weights)
    return equal and all(np.array_equal(a, b) for a, b in arrays)


def same_but_for(one: Mixture, other: Mixture, *names: str) -> bool:
    kept = [k for k in one.params if k not in names]
    arrays = all(np.array_equal(one.params[k], other.params[k]) for k in kept)
    return arrays and ("weights" in names or np.array_equal(one.weights, other.weights))


@each_family
@pytest.mark.parametrize("attack", GENTLE)
def test_a_lie_is_a_mixture_of_its_kind_and_follows_from_the_seed(
    family: Family, attack: str
) -> None:
    truth = truth_of(family)
    first, again, other = (told(truth, attack, seed) for seed in (3, 3, 4))
    assert all(map(same, first, again))
    assert all((one.family, one.n_components, one.n_features) == (family, K, D) for one in first)
    drawn = attack not in ("none", "data", "sign_flip", "shrink", "needle", "duplicate")
    assert drawn != all(map(same, first, other))


@each_family
def test_means_are_flipped_drawn_and_moved_by_their_length(family: Family) -> None:
    truth = truth_of(family)
    for lie, before in zip(told(truth, "sign_flip"), found(truth), strict=True):
        assert np.array_equal(lie.params["means"], -before.params["means"])
        assert same_but_for(lie, before, "means")
    drawn = np.stack([lie.params["means"] for lie in told(truth, "mean", size=1e6)])
    assert 3e5 < np.sqrt(np.mean(drawn**2)) < 3e6
    shifted = told(truth, "shift", size=7.0)
    ways = [steps(lie, before) for lie, before in zip(shifted, found(truth), strict=True)]
    lengths = np.linalg.norm(ways, axis=-1)
    np.testing.assert_allclose(lengths, 7.0 * (D / ROWS) ** 0.5, rtol=1e-9)
    whole = np.reshape(ways, (len(LIARS) * K, D)) / lengths.reshape(-1, 1)
    assert np.abs(whole @ whole.T - np.eye(len(whole))).max() < 1.0 - 1e-6  # each its own way
    assert all(same_but_for(*pair, "means") for pair in zip(shifted, found(truth), strict=True))


@each_family
def test_colluders_all_say_the_same(family: Family) -> None:
    truth = truth_of(family)
    messages = [replace(one, rows=500 * (1 + one.partition)) for one in honest(truth)]
    after = lies(messages, Corruption("collude", 0.3, size=5.0), LIARS, known=truth, seed=1)
    first, *others = (mixture_of(after[i]) for i in LIARS)
    assert all(same(first, one) for one in others)
    length = 5.0 * (D / np.median([500 * (1 + i) for i in LIARS])) ** 0.5
    np.testing.assert_allclose(np.linalg.norm(steps(first, truth), axis=1), length, rtol=1e-9)
    assert same_but_for(first, truth, "means")


@each_family
@pytest.mark.parametrize(("attack", "spread"), [("imitate", 1.0), ("huddle", 0.1)])
def test_who_imitates_spread_takes_the_step_of_all_colluders(
    family: Family, attack: str, spread: float
) -> None:
    truth = truth_of(family)
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=0.01, size=truth.params["means"].shape)
    own = Mixture(family, truth.weights, {**truth.params, "means": truth.params["means"] + noise})
    turned = own.reordered(np.array([2, 0, 3, 1]))
    messages = [replace(one, mixture=turned) for one in honest(truth)]
    lie, exact = (
        mixture_of(lies(messages, Corruption(name, 0.3), LIARS, known=truth, seed=1)[LIARS[0]])
        for name in (attack, "collude")
    )
    left = lie.params["means"] - exact.params["means"]
    np.testing.assert_allclose(left, spread * noise, atol=1e-12)


@each_family
def test_single_components_are_moved_shrunk_and_sneaked_away(family: Family) -> None:
    truth = truth_of(family)
    variances = np.diagonal(covariances_of(truth.params), axis1=1, axis2=2)
    broad = int(np.argmax(variances.sum(axis=1) / truth.weights))
    for attack, length, struck in (("wide", 20.0, broad), ("sneak", 1000.0, 3)):
        pairs = list(zip(told(truth, attack), found(truth), strict=True))
        moved = np.array([np.linalg.norm(steps(*pair), axis=1) for pair in pairs])
        expected = np.where(np.arange(K) == struck, length, 0.0)
        np.testing.assert_allclose(moved, np.broadcast_to(expected, moved.shape), atol=1e-8)
    for lie, _ in pairs:  # of the sneak attack
        assert lie.weights[3] == pytest.approx(5.0 / ROWS)
        np.testing.assert_allclose(lie.weights[:3] / lie.weights[0], [1.0, 0.75, 0.5])
    for lie, before in zip(told(truth, "needle"), found(truth), strict=True):
        ratio = covariances_of(lie.params)[:, 0, 0] / covariances_of(before.params)[:, 0, 0]
        tied = bool(getattr(family, "tied", False))
        np.testing.assert_allclose(ratio, [1e-6 if tied else 1.0] * 3 + [1e-6])
    for lie, before in zip(told(truth, "shrink", size=0.5), found(truth), strict=True):
        np.testing.assert_allclose(covariances_of(lie.params), 0.5 * covariances_of(before.params))


@each_family
def test_all_liars_strike_one_component_in_one_direction(family: Family) -> None:
    truth = truth_of(family)
    ways = [steps(*pair) for pair in zip(told(truth, "component"), found(truth), strict=True)]
    assert all(np.count_nonzero(np.abs(way).max(axis=1) > 1e-9) == 1 for way in ways)
    np.testing.assert_allclose(np.linalg.norm(ways, axis=(1, 2)), 15.0)
    for way in ways[1:]:
        np.testing.assert_allclose(way, ways[0], atol=1e-9)


@each_family
@pytest.mark.parametrize("attack", [name for name in GENTLE if ATTACKS[name].components != "none"])
def test_only_the_named_component_is_struck_whatever_its_label(family: Family, attack: str) -> None:
    truth = truth_of(family)
    turned = np.array([2, 0, 3, 1])  # own components, in the order of the truth's: 1, 3, 0, 2
    own = honest(truth)[0]
    mine = mixture_of(own).reordered(turned)
    corruption = Corruption(attack, 0.1, component=2)
    (after,) = lies([replace(own, mixture=mine)], corruption, [0], known=truth, seed=2)
    lie, spoilt = mixture_of(after), 2 if attack.startswith("collude") else 0
    before = truth if attack.startswith("collude") else mine
    assert np.array_equal(
        np.flatnonzero(np.any(lie.params["means"] != before.params["means"], axis=1)),
        [] if attack in ("covariance", "shrink", "needle") else [spoilt],
    )
    if not getattr(family, "tied", False):
        change = covariances_of(lie.params)[:, 0, 0] != covariances_of(before.params)[:, 0, 0]
        spread = attack in ("covariance", "shrink", "needle")
        assert np.array_equal(np.flatnonzero(change), [spoilt] if spread else [])


def test_random_components_are_each_liars_own() -> None:
    truth = truth_of(FULL)
    everybody = honest(truth, 40)
    corruption = Corruption("mean", 0.9, component="random")
    after = lies(everybody, corruption, range(40), known=truth, seed=0)
    struck = [
        np.flatnonzero(np.any(mixture_of(a).params["means"] != mixture_of(b).params["means"], 1))
        for a, b in zip(after, everybody, strict=True)
    ]
    assert all(len(one) == 1 for one in struck)
    assert {int(one[0]) for one in struck} == set(range(K))


@each_family
@pytest.mark.parametrize("attack", HARMLESS)
def test_harmless_attacks_change_no_more_than_a_fit_does(family: Family, attack: str) -> None:
    truth = truth_of(family)
    before = honest(truth, 20)
    after = lies(before, Corruption(attack, 0.4), range(8), known=truth, seed=0)
    merged = [aggregate(messages).mixture for messages in (before, after)]
    pair = [Message(i, "fitted", 1, mixture=one) for i, one in enumerate(merged)]
    estimates, _ = collect(pair)
    assert ctd(estimates)[0, 1] < 0.03
    scores = np.arange(5.0)
    assert corrupted_scores(scores, np.random.default_rng(0), attack) is scores


@pytest.mark.parametrize("attack", ["none", "mean", "permute"])
@pytest.mark.parametrize("rows", [5, 10**9])
def test_row_counts_are_claimed_together_with_any_attack(attack: str, rows: int) -> None:
    truth = truth_of(FULL)
    corruption = Corruption(attack, 0.3, claimed_rows=rows)
    after = lies(honest(truth), corruption, LIARS, known=truth, seed=0)
    assert [m.rows for m in after] == [rows if i in LIARS else ROWS for i in range(M)]
    plain = lies(honest(truth), Corruption(attack, 0.3), LIARS, known=truth, seed=0)
    assert all(same(mixture_of(a), mixture_of(b)) for a, b in zip(after, plain, strict=True))


def test_failed_and_empty_partitions_have_nothing_to_lie_about() -> None:
    truth = truth_of(FULL)
    messages = [Message.failed(0, "unreadable"), Message(1, "empty"), honest(truth)[2]]
    after = lies(messages, Corruption("mean", 0.3), [0, 1, 2], known=truth, seed=0)
    assert after[0] is messages[0]
    assert after[1] is messages[1]
    assert after[2] is not messages[2]


def test_a_mixture_of_one_component_can_be_attacked_by_all() -> None:
    family = FULL
    one = Mixture(family, [1.0], random_params(family, 1, 2, np.random.default_rng(0)))
    for attack in GENTLE:
        lie = corrupted(one, attack, np.random.default_rng(1), rows=100)
        assert isinstance(lie, Mixture)
        assert lie.weights == 1.0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"attack": "melt"}, r"attack 'melt'; known are \['none', 'data', 'mean'"),
        ({"attack": "mean", "fraction": 1.0}, r"fraction 1\.0; wanted a share"),
        ({"attack": "data", "stages": ("messages",)}, "'data' strikes at"),
        ({"attack": "weight", "size": 2.0}, r"'weight' has none; those with a size: \['mean'"),
        ({"attack": "shift", "size": 0.0}, "size 0.0; wanted a number above 0"),
        ({"attack": "shift", "size": float("nan")}, "size nan; wanted"),
        ({"attack": "weight", "component": 1}, "'weight' takes none; those that do"),
        ({"attack": "wide", "component": (0, 1)}, "'wide' takes one component"),
        ({"attack": "mean", "component": (1, 1)}, "takes each component once"),
        ({"attack": "mean", "component": -1}, "component -1; wanted 'random', or numbers"),
        ({"attack": "mean", "component": "all"}, "component 'all'; wanted"),
        ({"attack": "mean", "component": ()}, "wanted"),
        ({"attack": "mean", "claimed_rows": 0}, "claimed_rows 0; wanted a whole number"),
        ({"attack": "mean", "claimed_rows": 2.5}, r"claimed_rows 2\.5; wanted"),
        ({"attack": "mean", "claimed_rows": 2**63}, "wanted a whole number from 1"),
    ],
)
def test_what_does_not_fit_together_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Corruption(**{"fraction": 0.2, **options})


def test_a_component_that_nobody_has_is_refused() -> None:
    truth = truth_of(FULL)
    Corruption("mean", 0.2, component=(0, K - 1)).check_order(K)
    with pytest.raises(ValueError, match="component 4 is to be struck; mixtures of 4 components"):
        lies(honest(truth), Corruption("mean", 0.2, component=K), LIARS, known=truth, seed=0)


def test_who_lies_does_not_depend_on_how() -> None:
    plain = byzantine_partitions(Corruption("mean", 0.3), 20, seed=9)
    other = Corruption("wide", 0.3, component=1, claimed_rows=5)
    assert byzantine_partitions(other, 20, seed=9) == plain
    assert byzantine_partitions(None, 20, seed=9) == ()
