"""Robust averages against oracles, and what alignment makes of them as aggregators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from dfmr_dask.aggregate.aggregators import AGGREGATORS
from dfmr_dask.aggregate.estimates import Estimates, collect
from dfmr_dask.aggregate.gates import Rule
from dfmr_dask.aggregate.verdict import Merged
from dfmr_dask.corruption import Corruption, lies
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.experiments.averages import AVERAGES, geometric_median, krum, multi_krum, no_regret
from dfmr_dask.experiments.rivals import RIVALS, Coordinates
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.families.unconstrained import chart_at
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from tests.tables import each_family, generators, random_mixture, random_params

M, ROWS, K, D = 20, 1000, 3, 3
ALIGNED = [name for name in RIVALS if not name.endswith("_unaligned")]
Average = Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.bool_]]]
each_rival = pytest.mark.parametrize("name", ALIGNED)
each_average = pytest.mark.parametrize("average", AVERAGES.values(), ids=AVERAGES.keys())


def truth_of(family: Family) -> Mixture:
    params = random_params(family, K, D, np.random.default_rng(2))
    apart = {**params, "means": params["means"] + 6.0 * np.arange(K)[:, None]}
    return Mixture(family, [0.5, 0.3, 0.2], apart)


def honest(truth: Mixture, seed: int = 0) -> list[Message]:
    """Estimates from labeled rows, which are as good as an estimate can be."""
    rng = np.random.default_rng(seed)
    messages = []
    for i in range(M):
        x, labels = truth.sample(ROWS, rng)
        sums = truth.family.statistics(x, np.eye(K)[labels])
        one = Mixture(truth.family, sums.count / ROWS, truth.family.from_statistics(sums))
        messages.append(Message(i, "fitted", ROWS, mixture=one))
    return messages


def stacked(messages: list[Message]) -> Estimates:
    return collect(messages)[0]


def merged(name: str, estimates: Estimates, byzantine: int = 0) -> Merged:
    who = np.arange(len(estimates)) < byzantine
    table = {**AGGREGATORS, **RIVALS}
    return table[name](estimates, Rule(), who, np.zeros(len(estimates), dtype=bool))


@each_family
@each_rival
def test_without_liars_it_is_about_as_good_as_the_mean(family: Family, name: str) -> None:
    truth = truth_of(family)
    found = [merged(name, stacked(honest(truth, seed))).mixture for seed in range(3)]
    best = [merged("vanilla", stacked(honest(truth, seed))).mixture for seed in range(3)]
    alone = name == "krum"  # one estimate of twenty, by itself
    errors = [sum(error(one, truth) for one in many) for many in (found, best)]
    assert errors[0] < (8.0 if alone else 1.6) * errors[1]


@each_family
@each_rival
def test_a_fifth_of_liars_about_means_does_little(family: Family, name: str) -> None:
    truth = truth_of(family)
    said = lies(honest(truth), Corruption("mean", 0.2), range(4), known=truth, seed=0)
    estimates = stacked(said)
    best = error(merged("oracle", estimates, 4).mixture, truth)
    assert (
        error(merged(name, estimates, 4).mixture, truth) < (8.0 if name == "krum" else 3.0) * best
    )
    assert error(merged("vanilla", estimates, 4).mixture, truth) > 20.0 * best


@pytest.mark.parametrize("name", ["spectral", "no_regret", "multi_krum", "krum"])
def test_who_selects_leaves_the_liars_out(name: str) -> None:
    truth = truth_of(COVARIANCE_TYPES["full"])
    said = lies(honest(truth), Corruption("sign_flip", 0.2), range(4), known=truth, seed=0)
    kept = merged(name, stacked(said)).kept
    assert not kept[:4].any()
    assert kept.sum() == 1 if name == "krum" else kept.sum() >= 10


@each_family
@each_rival
def test_labels_mean_nothing_once_estimates_are_aligned(family: Family, name: str) -> None:
    truth = truth_of(family)
    plain = honest(truth)
    other = lies(plain, Corruption("permute", 0.5), range(M), known=truth, seed=4)
    one, same = (merged(name, stacked(said)).mixture.canonical() for said in (plain, other))
    np.testing.assert_allclose(one.weights, same.weights, rtol=1e-6)
    for key in one.params:
        np.testing.assert_allclose(one.params[key], same.params[key], atol=1e-5)


@each_rival
def test_without_alignment_labels_spoil_an_average(name: str) -> None:
    truth = truth_of(COVARIANCE_TYPES["full"])
    estimates = stacked(honest(truth))
    near, far = (
        error(merged(each, estimates).mixture, truth) for each in (name, f"{name}_unaligned")
    )
    if name == "krum":  # takes an estimate as it is, whatever its labels are
        assert far < 0.5
    else:
        assert far > 10.0 * near


@each_family
def test_one_absurd_estimate_costs_nothing(family: Family) -> None:
    truth = truth_of(family)
    said = honest(truth)
    spread = "covariances" if "covariances" in truth.params else "variances"
    absurd = {"means": np.full((K, D), 1e50), spread: 1e-90 * truth.params[spread]}
    said[0] = Message(0, "fitted", ROWS, mixture=Mixture(family, truth.weights, absurd))
    limit = error(merged("krum", stacked(honest(truth)[1:])).mixture, truth)
    for name in ALIGNED:
        assert error(merged(name, stacked(said)).mixture, truth) < 2.0 * limit


@each_family
@given(rng=generators())
def test_coordinates_go_there_and_back(family: Family, rng: np.random.Generator) -> None:
    center, other = (random_mixture(family, K, D, rng) for _ in range(2))
    space = Coordinates(center, chart_at(center.params))
    vector = space.vectors(stacked([Message(0, "fitted", ROWS, mixture=other)]))[0]
    back = space.mixture(vector)
    np.testing.assert_allclose(back.weights, other.weights, rtol=1e-9)
    for name, array in other.params.items():
        np.testing.assert_allclose(back.params[name], array, rtol=1e-8, atol=1e-9)


@given(st.integers(3, 15), st.integers(1, 4), generators())
def test_the_geometric_median_has_the_least_sum_of_distances(
    m: int, p: int, rng: np.random.Generator
) -> None:
    z = rng.standard_normal((m, p))
    z[: m // 3] *= 100.0

    def total(point: NDArray[np.float64]) -> float:
        return float(np.linalg.norm(z - point, axis=1).sum())

    found, _ = geometric_median(z)
    starts = [z.mean(axis=0), np.median(z, axis=0), *z]
    options = {"xatol": 1e-9, "fatol": 1e-9, "maxiter": 4000}
    best = min(minimize(total, at, method="Nelder-Mead", options=options).fun for at in starts[:2])
    assert total(found) <= min(best, *map(total, starts)) * (1.0 + 1e-6)


def test_the_geometric_median_may_lie_on_a_vector() -> None:
    z = np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.1], [0.0, 1.0], [0.1, -1.0], [0.0, 0.0]])
    np.testing.assert_allclose(geometric_median(z)[0], 0.0, atol=1e-6)
    np.testing.assert_allclose(geometric_median(np.ones((4, 2)))[0], 1.0)


def test_krum_is_what_it_says() -> None:
    """With m = 11 and 45 % of liars, f = 4: the sum over the 5 nearest others decides."""
    z = np.random.default_rng(0).standard_normal((11, 3))
    scores = [np.sort(((z - one) ** 2).sum(axis=1))[1:6].sum() for one in z]
    point, kept = krum(z)
    assert np.flatnonzero(kept).tolist() == [int(np.argmin(scores))]
    assert np.array_equal(point, z[kept][0])
    mean, several = multi_krum(z)
    assert set(np.flatnonzero(several)) == set(np.argsort(scores)[:7])
    np.testing.assert_allclose(mean, z[several].mean(axis=0))


@given(generators())
def test_no_weight_grows_beyond_what_an_honest_vector_may_have(rng: np.random.Generator) -> None:
    """With no regret, the mean stays one of at least 55 % of the vectors."""
    z = rng.standard_normal((20, 5))
    z[:8] += 50.0
    mean, kept = no_regret(z)
    assert kept.sum() >= 11
    assert np.linalg.norm(mean) < 3.0


@each_average
def test_averages_move_with_the_vectors_and_take_few_of_them(average: Average) -> None:
    z = np.random.default_rng(3).standard_normal((12, 4))
    point, kept = average(z)
    moved, still = average(2.0 * z + 7.0)
    np.testing.assert_allclose(moved, 2.0 * point + 7.0, rtol=1e-5)
    assert np.array_equal(kept, still)
    for m in (1, 2, 3, 4):
        few, who = average(z[:m])
        assert np.isfinite(few).all()
        assert who.any()
    equal, _ = average(np.ones((6, 2)))
    np.testing.assert_allclose(equal, 1.0)
