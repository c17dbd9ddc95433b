"""Polishing passes: as good as EM on all rows together, gated, judged, and the same bits again."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from distributed import Client

from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.corruption import Corruption
from dfmr_dask.data.readers import WeightedRows
from dfmr_dask.data.source import open_source
from dfmr_dask.estimator import GaussianMixture
from dfmr_dask.experiments.populations import population, write_gaussians
from dfmr_dask.families import COVARIANCE_TYPES, Binomial
from dfmr_dask.local.iterations import iterated, stepped
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.context import Context
from dfmr_dask.run.events import Event, ignore
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.pipeline import Settings, fit
from dfmr_dask.run.polish import Polished, Step, objection, polish, step
from dfmr_dask.run.results import Result
from dfmr_dask.run.tasks import InProcess, OnCluster, Tasks

FULL = COVARIANCE_TYPES["full"]
OVERLAPPING = population(3, 2, separation=1.5, seed=1)
PARTITIONS, ROWS = 20, 500


def drawn(truth: Mixture = OVERLAPPING) -> np.ndarray:
    return truth.sample(PARTITIONS * ROWS, np.random.default_rng(1))[0]


def settings(**changes: Any) -> Settings:
    return Settings(**{"family": FULL, "n_components": 3, "seed": 1, **changes})


def fitted(x: np.ndarray, **changes: Any) -> Result:
    return fit(open_source(x, n_partitions=PARTITIONS), settings(**changes), InProcess())


def context(x: Any, tasks: Tasks, **changes: Any) -> Context:
    return Context(open_source(x, n_partitions=PARTITIONS), settings(**changes), tasks, ignore)


def polished_from(start: Mixture, x: Any, tasks: Tasks, **changes: Any) -> Polished:
    """What passes over all partitions make of a start."""
    messages = [Message(i, "fitted", ROWS, mixture=start) for i in range(PARTITIONS)]
    everybody = Verdict(tuple(range(PARTITIONS)), {})
    return polish(context(x, tasks, **changes), messages, everybody, start)


def same_bits(one: Mixture, other: Mixture) -> bool:
    arrays = zip(one.params.values(), other.params.values(), strict=True)
    return np.array_equal(one.weights, other.weights) and all(
        np.array_equal(a, b) for a, b in arrays
    )


class Lying(InProcess):
    """Tasks in which some partitions answer something else in the passes."""

    def __init__(self, lie: Any, liars: range) -> None:
        object.__setattr__(self, "lie", lie)
        object.__setattr__(self, "liars", liars)
        super().__init__()

    def submit(self, stage: str, key: Any, function: Any, *args: Any) -> Any:
        answer = super().submit(stage, key, function, *args)
        return self.lie(answer) if function is step and args[0] in self.liars else answer


def test_overlapping_components_are_fitted_better_to_all_rows() -> None:
    x = drawn()
    plain, better = fitted(x), fitted(x, polish=4)
    assert better.passes == 4
    assert better.mixture.score(x) > plain.mixture.score(x) + 0.001
    assert better.score > plain.score


def test_passes_over_honest_partitions_are_iterations_of_em_on_all_rows() -> None:
    x = drawn()
    found = polished_from(OVERLAPPING, x, InProcess(), polish=3)
    (expected,) = iterated(x, [OVERLAPPING], 3, strength=len(x) ** -0.5)
    assert found.passes == 3
    assert expected is not None
    assert found.mixture.score(x) == pytest.approx(expected.score(x), abs=2e-4)
    assert expected.score(x) > OVERLAPPING.score(x) + 5e-4


@pytest.mark.parametrize("attack", ["mean", "covariance", "weight", "sign_flip", "malformed"])
def test_liars_in_the_passes_make_nothing_worse(attack: str) -> None:
    x = drawn()
    lies = Corruption(attack, 0.45, stages=("proposals",))
    found = polished_from(OVERLAPPING, x, InProcess(), polish=3, corruption=lies)
    assert found.mixture.score(x) >= OVERLAPPING.score(x)
    assert found.passes or found.note


def test_a_pass_that_is_worse_is_not_taken_however_it_is_praised() -> None:
    x = drawn()
    start, loudness = fitted(x, polish=4).mixture, count(50.0, 10.0)

    def pulled(answer: Step) -> Step:
        assert answer.mixture is not None
        params = {**start.params, "means": start.params["means"] + 0.15}
        praise = next(loudness)
        return replace(answer, mixture=Mixture(FULL, start.weights, params), score=praise)

    found = polished_from(start, x, Lying(pulled, range(9)), polish=4)
    assert found.mixture.score(x) >= start.score(x) - 1e-4
    everybody = polished_from(start, x, Lying(pulled, range(PARTITIONS)), polish=4)
    assert everybody.passes == 4  # the pull is one that nothing but the judges could stop


@pytest.mark.parametrize(
    ("said", "passes"),
    [
        (lambda answer: replace(answer, mixture=None), 0),
        (lambda answer: replace(answer, rows=1e9), 2),
        (lambda answer: replace(answer, rows=float("nan")), 0),
        (lambda answer: replace(answer, mixture=population(2, 2)), 0),
        (lambda answer: "nothing", 0),
    ],
)
def test_half_of_the_partitions_can_stop_the_passes_and_no_more(said: Any, passes: int) -> None:
    x = drawn()
    found = polished_from(OVERLAPPING, x, Lying(said, range(PARTITIONS // 2)), polish=2)
    assert found.passes == passes
    assert bool(found.note) == (passes == 0)
    assert found.mixture is OVERLAPPING or passes
    fewer = polished_from(OVERLAPPING, x, Lying(said, range(PARTITIONS // 2 - 1)), polish=2)
    assert fewer.passes == 2


def test_a_row_of_weight_two_is_the_row_twice() -> None:
    x = drawn()[:ROWS]
    counts = np.random.default_rng(0).integers(0, 3, ROWS)
    local = context(drawn(), InProcess()).local
    weighted = step(0, WeightedRows(x, counts.astype(float)), None, OVERLAPPING, 1e4, 0, local)
    repeated = step(0, np.repeat(x, counts, axis=0), None, OVERLAPPING, 1e4, 0, local)
    assert isinstance(weighted, Step)
    assert isinstance(repeated, Step)
    assert weighted.rows == repeated.rows == counts.sum()
    assert weighted.score == pytest.approx(repeated.score, abs=1e-12)
    assert weighted.mixture is not None
    assert repeated.mixture is not None
    assert weighted.mixture.params["means"] == pytest.approx(repeated.mixture.params["means"])


def test_same_bits_in_one_process_and_with_two_workers(tmp_path: Path, client: Client) -> None:
    path = tmp_path / "rows.zarr"
    write_gaussians(path, OVERLAPPING, PARTITIONS * ROWS, chunk_rows=ROWS, seed=1)
    x = zarr.open_array(path, mode="r")
    params = {**OVERLAPPING.params, "means": OVERLAPPING.params["means"] + 0.2}
    start, lies = Mixture(FULL, OVERLAPPING.weights, params), Corruption("mean", 0.3)
    two = polished_from(start, x, OnCluster(client), polish=2, corruption=lies)
    one = polished_from(start, x, InProcess(), polish=2, corruption=lies)
    assert two.passes == one.passes == 2
    assert same_bits(two.mixture, one.mixture)


def test_no_passes_change_nothing() -> None:
    x, events = drawn(), list[Event]()
    source = open_source(x, n_partitions=PARTITIONS)
    plain = fit(source, settings(), InProcess(), emit=events.append)
    asked = fit(source, settings(polish=1), InProcess(), emit=events.append)
    assert plain.passes == 0
    assert "polish" not in plain.seconds
    assert "polish" in asked.seconds
    assert [e.done for e in events if e.stage == "polish"] == [*range(PARTITIONS + 1)] * 2
    assert [m.mixture is not None for m in plain.messages]
    assert all(
        a.mixture is not None and b.mixture is not None and same_bits(a.mixture, b.mixture)
        for a, b in zip(plain.messages, asked.messages, strict=True)
    )
    assert plain.verdict.kept == asked.verdict.kept
    assert not same_bits(plain.mixture, asked.mixture)


@pytest.mark.filterwarnings("ignore::dfmr_dask.errors.UncertifiedWarning")  # of the overlap
def test_the_estimator_polishes_and_its_folder_says_so(tmp_path: Path) -> None:
    model = GaussianMixture(3, n_partitions=PARTITIONS, random_state=1, polish=1)
    model.fit(drawn(), run=tmp_path / "run")
    ledger = Ledger.open(tmp_path / "run")
    assert ledger.description()["settings"]["aggregate"]["polish"] == 1
    assert ledger.summary()["polishing_passes"] == 1
    with pytest.raises(ValueError, match="polish"):
        GaussianMixture(3, polish=-1).fit(drawn())
    assert model.n_passes_ == 1
    model.save(tmp_path / "model.npz")
    assert GaussianMixture.load(tmp_path / "model.npz").n_passes_ == 1
    with pytest.raises(ValueError, match="polish=True"):
        GaussianMixture(3, polish=True).fit(drawn())
    with pytest.raises(ValueError, match="polish=-1"):
        settings(polish=-1)


@pytest.mark.filterwarnings("error")
def test_infinite_praise_is_no_score_and_minus_infinity_is_one() -> None:
    here = [Step(None, 0.0, 90.0)] * 7
    for answers, said in (
        ([np.inf] * 3 + [-0.1] * 4, "worse in the median"),
        ([np.inf] * 3 + [0.1] * 4, ""),
        ([np.inf] * 4 + [0.1] * 3, "gave no score"),
        ([-np.inf] * 4 + [0.1] * 3, "worse in the median"),
    ):
        there = [Step(None, score, 90.0) for score in answers]
        told = objection(here, there, np.ones(7, dtype=bool))
        assert said in told
        assert bool(told) == bool(said)


def genotypes(path: Path, lacking: float) -> tuple[Any, np.ndarray, Mixture]:
    """A store every other chunk of which lacks a share of its entries, its rows, and a start."""
    rng = np.random.default_rng(0)
    frequencies = rng.uniform(0.1, 0.9, (2, 40))
    labels = rng.integers(0, 2, PARTITIONS * ROWS)
    x = rng.binomial(2, frequencies[labels]).astype(np.int8)
    every_other = np.arange(len(x)) // ROWS % 2 == 0
    x[(rng.random(x.shape) < lacking) & every_other[:, None]] = -1
    zarr.create_array(path, data=x, chunks=(ROWS, 40))
    near = np.clip(frequencies + rng.normal(scale=0.05, size=frequencies.shape), 0.05, 0.95)
    return open_source(path), x, Mixture(Binomial(2), [0.5, 0.5], {"frequencies": near})


def test_partitions_count_in_a_pass_as_far_as_their_entries_are_there(tmp_path: Path) -> None:
    """One pass is EM on all rows together, though half of the partitions lack 80 % of all."""
    source, x, start = genotypes(tmp_path / "a.zarr", 0.8)
    asked = Settings(family=Binomial(2), n_components=2, seed=1, polish=1)
    together, _ = stepped(x, start, strength=len(x) ** -0.5)
    assert together is not None
    off = []
    for observed in ((x >= 0).reshape(PARTITIONS, -1).mean(axis=1), np.ones(PARTITIONS)):
        messages = [
            Message(i, "fitted", ROWS, mixture=start, observed=float(share))
            for i, share in enumerate(observed)
        ]
        everybody = Verdict(tuple(range(PARTITIONS)), {})
        found = polish(Context(source, asked, InProcess(), ignore), messages, everybody, start)
        assert found.passes == 1
        gap = found.mixture.params["frequencies"] - together.canonical().params["frequencies"]
        off.append(float(np.sqrt((gap**2).mean())))
    assert off[0] < 0.001
    assert off[1] > 3.0 * off[0]  # had all been counted alike


def test_features_that_were_thrown_out_have_no_part_in_a_step() -> None:
    rng = np.random.default_rng(1)
    x = rng.binomial(2, 0.3, (ROWS, 12)).astype(np.int8)
    spoilt = x.copy()
    spoilt[:, :3] = 2 - spoilt[:, :3]
    heard = np.arange(3, 12)
    params = {"frequencies": rng.uniform(0.2, 0.5, (2, 12))}
    here = Mixture(Binomial(2), [0.4, 0.6], params)
    local = replace(context(drawn(), InProcess()).local, family=Binomial(2))
    found, other = (step(0, one, heard, here, 1e4, 0, local) for one in (x, spoilt))
    assert isinstance(found, Step)
    assert isinstance(other, Step)
    assert found.mixture is not None
    assert other.mixture is not None
    assert same_bits(found.mixture, other.mixture)
    assert found.score == other.score
    made, old = found.mixture.params["frequencies"], params["frequencies"]
    assert np.array_equal(made[:, :3], old[:, :3])
    assert not np.isclose(made[:, 3:], old[:, 3:]).any()
