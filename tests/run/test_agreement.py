"""Partitions agree on a start: cheaply where it is easy, and not on what colluders want."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from dfmr_dask.aggregate.agreement import FIRST_PROPOSERS
from dfmr_dask.aggregate.electing import gated_round
from dfmr_dask.aggregate.questions import Improve, conclude
from dfmr_dask.corruption import Corruption
from dfmr_dask.data.source import open_source
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.experiments.adversaries import (
    Attacked,
    Lie,
    Lies,
    collapsed,
    garbage,
    near,
    praising,
    proposing,
    pulled,
    pulling,
    silent,
)
from dfmr_dask.experiments.photograph import pixels
from dfmr_dask.experiments.populations import population, write_gaussians
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.local import em
from dfmr_dask.local.start import first_guess
from dfmr_dask.mixture import Mixture
from dfmr_dask.run import agreement, partition, rounds, stages
from dfmr_dask.run.agreement import agree_on_start, agreed_again
from dfmr_dask.run.asking import Asking, terms_of
from dfmr_dask.run.context import Context
from dfmr_dask.run.events import ignore
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import Failure, InProcess

FULL = COVARIANCE_TYPES["full"]
TRUTH = population(3, 2, separation=5.0, seed=7)
PARTITIONS, ROWS, ORDER = 16, 1500, 8
LIARS = frozenset({0, 2, 5, 7, 8, 11, 14})
ALLOWED = 0.005  # nats a row that liars may cost


def context(x: Any, tasks: InProcess, **changes: Any) -> Context:
    n_partitions = changes.pop("n_partitions", None)
    source = open_source(x, n_partitions=n_partitions) if n_partitions else open_source(x)
    asked = Settings(**{"family": FULL, "n_components": 3, "seed": 1, **changes})
    return Context(source, asked, tasks, ignore)


def drawn(rows: int, seed: int = 4) -> np.ndarray:
    return TRUTH.sample(rows, np.random.default_rng(seed))[0]


def test_where_fits_are_easy_few_propose_and_few_rounds_are_enough() -> None:
    tasks = Attacked()
    agreed = agree_on_start(context(drawn(12_000), tasks, n_partitions=20))
    assert tasks.done.count("propose") == FIRST_PROPOSERS
    assert tasks.done.count("improve") <= 2 * 20
    assert agreed.start is not None
    assert error(agreed.start, TRUTH) < 0.3


def test_where_proposals_fail_more_are_asked_and_all_rounds_are_made() -> None:
    def nothing(i: int, answer: Any, args: tuple[Any, ...]) -> Any:
        return Failure("no idea")

    liars = frozenset(range(9, 20))
    tasks = Attacked(liars=liars, lies=Lies(propose=nothing))
    agreed = agree_on_start(context(drawn(12_000), tasks, n_partitions=20))
    assert tasks.done.count("propose") == 20
    assert agreed.start is not None
    assert error(agreed.start, TRUTH) < 0.3


def test_unequal_and_tiny_partitions_take_part_as_far_as_they_can(tmp_path: Path) -> None:
    """Of 44 partitions one has no row, one too few for a sample, one none left to score on."""
    rows = write_gaussians(tmp_path / "rows.zarr", TRUTH, 44 * 300, chunk_rows=300, seed=7)
    array = zarr.open_array(rows, mode="r+")
    for i, left in {3: 0, 4: 5, 5: 9, 6: 40, 7: 150}.items():
        array[i * 300 + left : (i + 1) * 300] = np.nan
    tasks = Attacked()
    agreed = agree_on_start(context(rows, tasks))
    assert agreed.start is not None
    assert error(agreed.start, TRUTH) < 0.3
    assert tasks.done.count("improve") == 44
    assert agreed.sample_rows == pytest.approx(40 * 201, rel=0.02)


def test_partitions_vote_in_part_when_there_are_very_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "MOST_VOTERS", 15)
    tasks = Attacked()
    agreed = agree_on_start(context(drawn(12_000), tasks, n_partitions=40))
    assert tasks.done.count("improve") == 15
    assert len(agreed.samples) == 15


class Backwards(InProcess):
    """Results arrive in another order."""

    __slots__ = ()

    def results(self, handles: Mapping[int, Any], *how: Any) -> Iterator[tuple[int, Any]]:
        """Yield the last one first."""
        yield from reversed(list(handles.items()))


def test_the_order_of_arrival_changes_no_bit() -> None:
    x = photograph()
    starts = [
        agree_on_start(context(x, tasks, n_partitions=6, n_components=4)).start
        for tasks in (InProcess(), Backwards())
    ]
    assert starts[0] is not None
    assert starts[1] is not None
    assert np.array_equal(starts[0].params["means"], starts[1].params["means"])
    assert np.array_equal(starts[0].weights, starts[1].weights)


@pytest.mark.parametrize("method", ["blocks", "paper"])
def test_what_was_agreed_once_needs_no_second_vote(method: str) -> None:
    """The fits of a run that was interrupted go on from the start that it wrote."""
    tasks, x = Attacked(), drawn(6000)
    run, again = (
        context(x, t, n_partitions=14, method=method, rho=2.0) for t in (InProcess(), tasks)
    )
    agreed = agree_on_start(run)
    same = agreed_again(
        again, agreed.start, agreed.total_rows, agreed.sample_rows, agreed.proposers
    )
    assert set(tasks.done) == {"draw"} | ({"propose"} if agreed.proposers else set())
    assert list(same.pilots) == list(agreed.pilots) == list(agreed.proposers)
    for one, other in zip(
        stages.fit_partitions(run, agreed), stages.fit_partitions(again, same), strict=True
    ):
        assert one.mixture is not None
        assert other.mixture is not None
        assert np.array_equal(one.mixture.params["means"], other.mixture.params["means"])
        assert one.start == other.start


def test_simulated_liars_strike_at_rounds_too() -> None:
    run = context(drawn(12_000), InProcess(), n_partitions=20, corruption=Corruption("mean", 0.4))
    agreed = agree_on_start(run)
    assert agreed.start is not None
    assert error(agreed.start, TRUTH) < 0.3
    sample = agreed.samples[0]
    plain, lied, again = (
        rounds.improve(0, sample, [TRUTH], 10_000, 5, run.local, attack)
        for attack in (None, "mean", "mean")
    )
    assert isinstance(plain, rounds.Improved)
    assert isinstance(lied, rounds.Improved)
    assert isinstance(again, rounds.Improved)
    assert error(one(plain), TRUTH) < 0.5
    assert error(one(lied), TRUTH) > 10.0
    assert np.array_equal(one(lied).params["means"], one(again).params["means"])


def one(answer: rounds.Improved) -> Mixture:
    (made,) = answer.mixtures
    assert made is not None
    return made


@pytest.mark.parametrize(
    "answer", [None, "none", rounds.Improved((), 5), rounds.Improved((TRUTH,), -1)]
)
def test_answers_of_another_kind_are_not_counted(answer: Any) -> None:
    tasks = Attacked(liars=frozenset({1, 2}), lies=Lies(improve=lambda i, honest, args: answer))
    run = context(drawn(3000), tasks, n_partitions=10)
    samples = {
        i: run.tasks.submit("start", (i,), partition.draw, i, run.source.rows(i), run.local)
        for i in range(10)
    }
    question = Improve(range(10), [TRUTH], 2000, 5, "round")
    (made,) = conclude(gated_round(terms_of(run), question), Asking(run, samples))
    assert made is not None
    assert error(made, TRUTH) < 0.6


@pytest.mark.parametrize("rows", [1 << 62, 10**400, True, 3.5])
def test_scores_on_impossible_numbers_of_rows_are_not_counted(rows: Any) -> None:
    def lie(i: int, answer: Any, args: tuple[Any, ...]) -> Any:
        return replace(answer, rows_to_fit=rows)

    tasks = Attacked(liars=frozenset({1, 2}), lies=Lies(score=lie))
    agreed = agree_on_start(context(drawn(3000), tasks, n_partitions=10))
    assert agreed.sample_rows <= 3000


def test_an_aggregate_that_is_off_gives_way_to_the_polished_one() -> None:
    run = context(drawn(12_000), InProcess(), n_partitions=12)
    agreed = agree_on_start(run)
    aggregation = stages.aggregate_messages(run, stages.fit_partitions(run, agreed))[0]
    assert stages.check(run, aggregation, agreed) == ("aggregate", aggregation.mixture)
    off = pulled(aggregation.mixture, 0.3)
    name, chosen = stages.check(
        run, replace(aggregation, mixture=off, center=off), replace(agreed, start=off)
    )
    assert name == "polished"
    assert error(chosen, TRUTH) < 0.2 * error(off, TRUTH)


def photograph() -> np.ndarray:
    """A hard small problem: pilots from its samples end in many different optima."""
    x = pixels("china.jpg", 0, 0)
    return np.asarray(x[np.random.default_rng(0).permutation(len(x))[: PARTITIONS * ROWS]])


def climbed(x: np.ndarray, first: Mixture) -> em.Fit:
    return em.fit(x, first, strength=len(x) ** -0.5, max_iter=100)


def guess(x: np.ndarray, init_params: str, seed: int) -> Mixture:
    rng = np.random.default_rng(seed)
    strength = len(x) ** -0.5
    return first_guess(x, FULL, ORDER, rng, init_params=init_params, strength=strength, floor=1e-6)


@dataclass(frozen=True, slots=True, eq=False)
class Hard:
    """The photograph, its bad optima from the best to the worst, and what honesty reaches."""

    rows: np.ndarray
    bad: tuple[Mixture, ...]
    other: Mixture
    reached: float


@pytest.fixture(scope="module")
def hard() -> Hard:
    x = photograph()
    fits = sorted(
        (climbed(x, guess(x, "random", seed)) for seed in range(6)),
        key=lambda fit: -fit.log_likelihood,
    )
    flower = pixels("flower.jpg", 0, 1)[::15]
    agreed = agree_on_start(context(x, InProcess(), n_partitions=PARTITIONS, n_components=ORDER))
    assert agreed.start is not None
    reached = climbed(x, agreed.start).log_likelihood
    bad = tuple(fit.mixture for fit in fits if fit.log_likelihood < reached - 2 * ALLOWED)
    assert len(bad) >= 4
    return Hard(x, bad, climbed(flower, guess(flower, "k-means++", 0)).mixture, reached)


def several(mixtures: tuple[Mixture, ...]) -> Lie:
    """Each liar proposes one of several."""
    return lambda i, answer, args: mixtures[i % len(mixtures)]


def praised(mixture: Mixture, by: float) -> Lie:
    """Praise what came from a mixture."""
    return praising(near(mixture, ROWS), by)


ATTACKS: dict[str, Callable[[Hard], Lies]] = {
    "copies": lambda h: Lies(proposing(h.bad[0])),
    "copies, lies of .5": lambda h: Lies(proposing(h.bad[0]), praised(h.bad[0], 0.5)),
    "copies, lies of .02": lambda h: Lies(proposing(h.bad[1]), praised(h.bad[1], 0.02)),
    "jitter, lies of .02, pull": lambda h: Lies(
        proposing(h.bad[1], 0.1), praised(h.bad[1], 0.02), pulling(0.2)
    ),
    "several, pull": lambda h: Lies(several(h.bad), improve=pulling(0.2)),
    "other population": lambda h: Lies(proposing(h.other), praised(h.other, 0.5)),
    "collapsed": lambda h: Lies(proposing(collapsed(h.bad[0])), praised(collapsed(h.bad[0]), 1e6)),
    "silent": lambda h: Lies(silent, silent, silent),
    "garbage": lambda h: Lies(garbage, garbage, garbage),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_colluders_do_not_lead_to_a_worse_optimum(attack: str, hard: Hard) -> None:
    """Seven of sixteen lie; EM on all rows from what is elected ends as high as without them."""
    tasks = Attacked(liars=LIARS, lies=ATTACKS[attack](hard))
    agreed = agree_on_start(context(hard.rows, tasks, n_partitions=PARTITIONS, n_components=ORDER))
    assert agreed.start is not None
    assert climbed(hard.rows, agreed.start).log_likelihood > hard.reached - ALLOWED
    assert tasks.done.count("improve") <= 5 * PARTITIONS
