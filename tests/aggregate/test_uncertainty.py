"""Standard errors: the jackknife that really drops partitions, the laws of errors, bad input."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dfmr_dask.aggregate import parts as parts_module
from dfmr_dask.aggregate.aggregators import Aggregation, aggregate, rule_named
from dfmr_dask.aggregate.alignment import like
from dfmr_dask.aggregate.estimates import trusted_rows
from dfmr_dask.aggregate.jackknife import covariance, jackknifed
from dfmr_dask.aggregate.uncertainty import (
    StandardErrors,
    reported_errors,
    standard_errors,
)
from dfmr_dask.errors import NoStandardErrors
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.families.covariance_types import params_of
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture

KINDS = list(COVARIANCE_TYPES)
MIDDLES = np.array([[0.0, 0.0], [9.0, 1.0], [2.0, 12.0]])


def drawn(kind: str, rng: np.random.Generator, spread: float = 0.1) -> Mixture:
    """An estimate as a partition may have it: three components, numbered at random."""
    weights = rng.dirichlet([300.0, 200.0, 100.0])
    means = MIDDLES + spread * rng.normal(size=MIDDLES.shape)
    size = {"full": (3,), "tied": (1,), "diag": (3,), "spherical": (3,)}[kind]
    factors = np.eye(2) + spread * rng.normal(size=(*size, 2, 2))
    full = factors @ factors.swapaxes(-1, -2)
    values = {
        "full": full,
        "tied": full[0],
        "diag": np.diagonal(full, axis1=-2, axis2=-1),
        "spherical": full[:, 0, 0],
    }[kind]
    one = Mixture(COVARIANCE_TYPES[kind], weights, params_of(kind, means, values))
    return one.reordered(rng.permutation(3))


def messages(
    m: int, kind: str = "full", *, seed: int = 0, rows: Sequence[int] | int = 1000
) -> list[Message]:
    rng = np.random.default_rng(seed)
    sizes = [rows] * m if isinstance(rows, int) else rows
    return [Message(i, "fitted", sizes[i], mixture=drawn(kind, rng)) for i in range(m)]


def merged(said: Sequence[Message], **changes: Any) -> tuple[Aggregation, StandardErrors]:
    found = aggregate(said, **{"aggregator": "vanilla", **changes})
    return found, standard_errors(said, found.parts)


def assert_same(one: Mixture, other: Mixture, **within: float) -> None:
    within = {"rtol": 1e-9, "atol": 1e-11, **within}
    np.testing.assert_allclose(one.weights, other.weights, **within)
    for name, array in one.params.items():
        np.testing.assert_allclose(array, other.params[name], **within)


def sizes(rng: np.random.Generator, m: int) -> list[int]:
    """Sizes that nothing clips, whoever is left out: within a factor of two."""
    return [int(n) for n in rng.integers(800, 1500, size=m)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("aggregator", ["vanilla", "dfmr"])
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10**6), m=st.integers(4, 11))
def test_it_is_the_jackknife_that_really_drops_a_partition(
    kind: str, aggregator: str, seed: int, m: int
) -> None:
    said = messages(m, kind, seed=seed, rows=sizes(np.random.default_rng(seed), m))
    found, errors = merged(said, aggregator=aggregator, keep=range(m))
    assert_same(errors.mixture, found.mixture)
    assert len(errors) == m
    for i in range(m):
        rest = [one for one in said if one.partition != i]
        kept = [one.partition for one in rest]
        other = aggregate(rest, aggregator=aggregator, keep=kept).mixture
        assert_same(errors.without(i), like(other, found.mixture))


def test_what_was_left_out_of_the_merge_is_left_out_here_too() -> None:
    """A component of a few rows has no say but in the weights (METHOD 12, step 2)."""
    said = messages(13, rows=1000)
    small = said[4].mixture
    assert small is not None
    light = int(np.argmin(np.linalg.norm(small.params["means"] - MIDDLES[2], axis=1)))
    weights = np.where(np.arange(3) == light, 0.01, 0.99 / 2)
    means = small.params["means"] + np.where(np.arange(3) == light, 0.9, 0.0)[:, None]
    odd = Mixture(small.family, weights, {**small.params, "means": means})
    said[4] = replace(said[4], mixture=odd)
    found, errors = merged(said, aggregator="dfmr", keep=range(13))
    assert_same(errors.mixture, found.mixture)
    others = [aggregate([one for one in said if one.partition != i], keep=[j for j in range(13)
              if j != i]).mixture for i in range(13)]  # fmt: skip
    for i, other in enumerate(others):
        assert_same(errors.without(i), like(other, found.mixture))
    k = int(np.argmin(np.linalg.norm(found.mixture.params["means"] - MIDDLES[2], axis=1)))
    np.testing.assert_array_equal(errors.params["means"][4, k], errors.mixture.params["means"][k])


def test_of_equal_partitions_and_a_linear_function_it_is_the_classical_error_of_a_mean() -> None:
    said = messages(15)
    found, errors = merged(said)
    values = np.stack([like(one.mixture, found.mixture).weights for one in said if one.mixture])
    sure = errors.of(lambda mixture: mixture.weights)
    np.testing.assert_allclose(sure.value, values.mean(axis=0), rtol=1e-12)
    classical = values.std(axis=0, ddof=1) / np.sqrt(15)
    np.testing.assert_allclose(sure.standard_error, classical, rtol=1e-9)
    np.testing.assert_allclose(sure.corrected, sure.value, rtol=1e-12)
    for level in (0.5, 0.95):
        low, high = stats.t.interval(level, 14, loc=values.mean(axis=0), scale=classical)
        told = errors.of(lambda mixture: mixture.weights, level)
        np.testing.assert_allclose(told.lower, low, rtol=1e-9)
        np.testing.assert_allclose(told.upper, high, rtol=1e-9)


def test_of_unequal_groups_the_error_is_that_of_independent_rows() -> None:
    """Means of groups of a known variance: on average the error is the one that theory gives."""
    rng = np.random.default_rng(0)
    rows = np.array([1, 2, 3, 5, 8, 13, 20, 20, 20, 20])
    shares = rows / rows.sum()
    means = rng.normal(size=(20_000, 10)) / np.sqrt(rows)
    value = means @ shares
    without = (value[:, None] - shares * means) / (1.0 - shares)
    found = jackknifed(value, without.T, shares)
    assert np.mean(found.standard_error**2) * rows.sum() == pytest.approx(1.0, abs=0.02)
    inside = (found.lower < 0.0) & (found.upper > 0.0)
    assert inside.mean() == pytest.approx(0.95, abs=0.01)


def test_intervals_cover_where_sizes_differ_twentyfold_and_are_clipped() -> None:
    """Clipped shares are not the best weights; the error is a little too large for them."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(40):
        rows = np.exp(rng.uniform(np.log(300), np.log(6000), 20))
        shares = trusted_rows(rows) / trusted_rows(rows).sum()
        means = rng.normal(size=(400, 20)) / np.sqrt(rows)
        value = means @ shares
        found = jackknifed(value, ((value[:, None] - shares * means) / (1.0 - shares)).T, shares)
        covered.append(np.mean((found.lower < 0.0) & (found.upper > 0.0)))
    assert np.mean(covered) == pytest.approx(0.957, abs=0.012)


def test_the_correction_takes_the_bias_of_a_square_away() -> None:
    """The square of a mean is too large by its variance."""
    x = np.random.default_rng(1).normal(size=(12, 5000)) + 0.3
    value, without = x.mean(axis=0), (x.sum(axis=0) - x) / 11
    found = jackknifed(value**2, without**2, np.full(12, 1 / 12))
    assert (value**2).mean() - 0.09 == pytest.approx(1 / 12, rel=0.1)
    assert found.corrected.mean() - 0.09 == pytest.approx(0.0, abs=0.02)


def test_covariances_of_errors_have_the_squared_errors_on_their_diagonal() -> None:
    _, errors = merged(messages(9))
    means, without = errors.mixture.params["means"], errors.params["means"]
    found = covariance(means, without, errors.shares)
    expected = jackknifed(means, without, errors.shares).standard_error ** 2
    np.testing.assert_allclose(np.diagonal(found, axis1=1, axis2=2), expected, rtol=1e-10)
    turned = np.array([[0.6, -0.8], [0.8, 0.6]])
    again = covariance(means @ turned.T, without @ turned.T, errors.shares)
    np.testing.assert_allclose(again, turned @ found @ turned.T, atol=1e-12)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS))
def test_other_names_for_components_and_another_order_of_partitions_change_nothing(
    seed: int, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    said = messages(11, kind, seed=seed)
    other = [replace(one, mixture=one.mixture.reordered(rng.permutation(3))) for one in said
             if one.mixture is not None]  # fmt: skip
    order = rng.permutation(11)
    moved = [replace(other[old], partition=new) for new, old in enumerate(order)]
    _, errors = merged(said, aggregator="dfmr")
    for again in (merged(other, aggregator="dfmr")[1], merged(moved, aggregator="dfmr")[1]):
        for name, sure in errors.parameters().items():
            told = again.parameters()[name]
            np.testing.assert_allclose(told.standard_error, sure.standard_error, rtol=1e-7)
            np.testing.assert_allclose(told.lower, sure.lower, rtol=1e-7, atol=1e-10)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3))
def test_errors_have_the_units_of_the_rows(seed: int, scale: float) -> None:
    said = messages(10, seed=seed)
    large = [
        replace(one, mixture=Mixture(one.mixture.family, one.mixture.weights, {
            "means": scale * one.mixture.params["means"],
            "covariances": scale**2 * one.mixture.params["covariances"],
        })) for one in said if one.mixture is not None
    ]  # fmt: skip
    before, after = merged(said)[1].parameters(), merged(large)[1].parameters()
    for name, power in (("weights", 0), ("means", 1), ("covariances", 2)):
        np.testing.assert_allclose(
            after[name].standard_error, scale**power * before[name].standard_error, rtol=1e-6
        )
        np.testing.assert_allclose(
            after[name].upper, scale**power * before[name].upper, rtol=1e-6, atol=1e-9
        )


def test_intervals_stay_within_what_is_possible() -> None:
    rng = np.random.default_rng(0)
    wild = [Message(i, "fitted", 50, mixture=drawn("diag", rng, spread=0.8)) for i in range(4)]
    _, errors = merged(wild)
    found = errors.parameters(0.999)
    assert np.all(found["weights"].lower > 0.0)
    assert np.all(found["weights"].upper < 1.0)
    assert np.all(found["variances"].lower > 0.0)
    for one in found.values():
        assert np.all(one.lower <= one.value)
        assert np.all(one.value <= one.upper)


def test_a_single_component_has_a_weight_that_is_sure() -> None:
    rng = np.random.default_rng(0)
    one = COVARIANCE_TYPES["diag"]
    said = [
        Message(i, "fitted", 100, mixture=Mixture(one, [1.0], {
            "means": rng.normal(size=(1, 3)), "variances": np.ones((1, 3))}))
        for i in range(6)
    ]  # fmt: skip
    weights = merged(said)[1].parameters()["weights"]
    assert (weights.value, weights.standard_error, weights.lower, weights.upper) == (1, 0, 1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_estimates_that_are_alike_to_the_bit_have_no_error(kind: str) -> None:
    same = drawn(kind, np.random.default_rng(0))
    said = [Message(i, "fitted", 1000 + i, mixture=same) for i in range(12)]
    for aggregator in ("vanilla", "dfmr"):
        _, errors = merged(said, aggregator=aggregator)
        for sure in errors.parameters().values():
            assert np.all(sure.standard_error == 0.0)
            np.testing.assert_allclose(sure.lower, sure.value, rtol=1e-12)
            np.testing.assert_allclose(sure.upper, sure.value, rtol=1e-12)
        density = errors.of(lambda mixture: mixture.log_density(MIDDLES))
        np.testing.assert_allclose(density.standard_error, 0.0, atol=1e-12)


def test_sizes_that_differ_twentyfold() -> None:
    rng = np.random.default_rng(0)
    rows = [int(n) for n in np.exp(rng.uniform(np.log(300), np.log(6000), 30))]
    found, errors = merged(messages(30, rows=rows), aggregator="dfmr")
    assert errors.shares.max() / errors.shares.min() == pytest.approx(8.0, rel=0.2)  # clipped
    assert_same(errors.mixture, found.mixture)
    for sure in errors.parameters().values():
        assert np.isfinite(sure.standard_error).all()
        assert np.all(sure.standard_error[sure.standard_error != 0.0] > 1e-6)


def test_a_component_that_one_partition_alone_has_is_told_and_not_guessed() -> None:
    rng = np.random.default_rng(0)
    said = []
    for i, one in enumerate(messages(12, rows=400)):
        assert one.mixture is not None
        near = like(one.mixture, Mixture(one.mixture.family, [0.5, 0.3, 0.2], {
            "means": MIDDLES, "covariances": np.tile(np.eye(2), (3, 1, 1))}))  # fmt: skip
        light = 0.2 if i == 3 else 0.01
        weights = np.array([0.5 - light / 2, 0.5 - light / 2, light])
        said.append(replace(one, mixture=Mixture(near.family, weights, near.params).reordered(
            rng.permutation(3))))  # fmt: skip
    found, errors = merged(said, aggregator="dfmr", keep=range(12))
    (lone,) = errors.alone
    assert found.mixture.params["means"][lone] == pytest.approx(MIDDLES[2], abs=0.5)
    assert f"components {lone} come from one partition alone" in " ".join(errors.notes)
    sure = errors.parameters()
    assert np.isnan(sure["means"].standard_error).all(axis=1).tolist() == [
        k == lone for k in range(3)
    ]
    assert np.isnan(sure["covariances"].lower[lone]).all()
    assert np.isfinite(sure["weights"].standard_error).all()
    assert np.isfinite(errors.of(lambda mixture: mixture.log_density(MIDDLES)).standard_error).all()


def returns_nan(mixture: Mixture) -> float:
    return float("nan")


def raises(mixture: Mixture) -> float:
    raise ZeroDivisionError("no such quantile")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (returns_nan, "returned nan for the mixture; wanted finite numbers"),
        (raises, r"raised ZeroDivisionError\('no such quantile'\) for the mixture"),
        (lambda mixture: "much", "returned 'much' for the mixture; wanted a number"),
        (lambda mixture: None, "returned None for the mixture; wanted"),
        (lambda mixture: np.full(2, np.inf), "wanted finite numbers"),
    ],
)
def test_a_function_that_returns_no_numbers(function: Any, words: str) -> None:
    _, errors = merged(messages(5))
    with pytest.raises(NoStandardErrors, match=words):
        errors.of(function)


def test_a_function_that_fails_for_some_mixture_nearby() -> None:
    _, errors = merged(messages(5))
    middle = float(errors.mixture.weights[0])

    def larger(mixture: Mixture) -> Any:
        return np.sqrt(max(0.0, mixture.weights[0] - middle)) or (np.ones(2), np.ones(3))

    with pytest.raises(NoStandardErrors, match="for the mixture; wanted a number"):
        errors.of(larger)

    def other_shape(mixture: Mixture) -> Any:
        return np.ones(2 if mixture.weights[0] == middle else 3)

    with pytest.raises(NoStandardErrors, match=r"shape \(3,\) for the mixture without part 0"):
        errors.of(other_shape)

    def undefined(mixture: Mixture) -> float:
        return 1.0 if mixture.weights[0] >= middle else float("nan")

    with pytest.raises(NoStandardErrors, match="not defined for all mixtures near this one"):
        errors.of(undefined)
    with pytest.raises(ValueError, match="level = 95; wanted a probability"):
        errors.of(lambda mixture: 1.0, level=95)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"aggregator": "coat"}, "no average of what partitions say"),
        ({"aggregator": "trim"}, "dfmr, vanilla and oracle"),
        ({"drop": range(1, 6)}, "one partition alone was merged"),
    ],
)
def test_where_there_are_no_errors_it_says_why(changes: dict[str, Any], words: str) -> None:
    said = messages(6)
    found = aggregate(said, **changes)
    with pytest.raises(NoStandardErrors, match=words):
        standard_errors(said, found.parts)
    told = reported_errors(said, found.parts, found.mixture, "aggregate", 0)
    assert isinstance(told, NoStandardErrors)
    assert words in str(told)


@pytest.mark.parametrize("chosen", ["start", "center"])
def test_what_the_check_put_in_the_place_of_the_aggregate_has_no_errors(chosen: str) -> None:
    said = messages(12)
    found = aggregate(said)
    told = reported_errors(said, found.parts, found.mixture, chosen, 0)
    assert isinstance(told, NoStandardErrors)
    assert f"the check kept the {chosen}" in str(told)


def test_the_oracle_and_single_components_have_errors_too() -> None:
    said = messages(14)
    liars = [2, 5]
    single = replace(rule_named(), unit="component")
    oracle = {"aggregator": "oracle", "byzantine": liars}
    for changes in (oracle, {"aggregator": "dfmr", "rule": single}):
        found, errors = merged(said, **changes)
        assert_same(errors.mixture, found.mixture)
        assert np.all(errors.parameters()["means"].standard_error > 0.0)
    _, some = merged(said, aggregator="oracle", byzantine=liars)
    _, alone = merged([one for one in said if one.partition not in liars])
    np.testing.assert_allclose(
        some.parameters()["means"].standard_error, alone.parameters()["means"].standard_error
    )


def test_a_warning_where_bias_may_be_as_large_as_the_noise() -> None:
    few, many = merged(messages(20, rows=1000))[1], merged(messages(20, rows=999))[1]
    assert not any("bias" in note for note in few.notes)
    assert "999 rows are in the usual partition, and 20 were merged" in " ".join(many.notes)
    assert "polish=1" in " ".join(many.notes)
    said = messages(20, rows=999)
    found = aggregate(said)
    polished = reported_errors(said, found.parts, found.mixture, "aggregate", 1)
    assert isinstance(polished, StandardErrors)
    assert not any("bias" in note for note in polished.notes)
    for errors in (few, many, polished):
        assert "do not cover bad partitions that hide within the noise" in errors.notes[0]


@pytest.mark.parametrize("kind", KINDS)
def test_errors_laid_around_another_mixture(kind: str) -> None:
    said = messages(12, kind)
    found, errors = merged(said)
    same = errors.recentered(errors.mixture)
    for i in range(12):
        assert_same(same.without(i), errors.without(i))
    moved = like(drawn(kind, np.random.default_rng(9), spread=0.02), found.mixture)
    around = errors.recentered(moved)
    assert around.mixture is moved
    before, after = errors.parameters(), around.parameters()
    np.testing.assert_allclose(
        after["means"].standard_error, before["means"].standard_error, rtol=1e-9
    )
    for name, sure in after.items():  # a relative step of some percent, so are the errors
        np.testing.assert_allclose(sure.value, moved.weights if name == "weights"
                                   else moved.params[name])  # fmt: skip
    ratio = after["weights"].standard_error / before["weights"].standard_error
    np.testing.assert_allclose(ratio, 1.0, atol=0.3)


def test_more_than_a_thousand_partitions_are_left_out_in_groups(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = messages(60, rows=sizes(np.random.default_rng(0), 60))
    _, each = merged(said)
    monkeypatch.setattr(parts_module, "MOST_GROUPS", 20)
    _, grouped = merged(said)
    assert (len(each), len(grouped)) == (60, 20)
    assert grouped.shares.sum() == pytest.approx(1.0)
    assert_same(each.mixture, grouped.mixture)
    gone = [one for one in said if one.partition % 20 != 7]
    assert_same(grouped.without(7), like(aggregate(gone, aggregator="vanilla").mixture,
                                         grouped.mixture))  # fmt: skip
    ratio = grouped.parameters()["means"].standard_error / each.parameters()["means"].standard_error
    assert np.median(ratio) == pytest.approx(1.0, abs=0.25)


def test_errors_travel_whole() -> None:
    _, errors = merged(messages(5))
    again = pickle.loads(pickle.dumps(errors))
    assert_same(again.without(3), errors.without(3))
    assert again.notes == errors.notes
