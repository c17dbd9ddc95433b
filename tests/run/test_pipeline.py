"""The main job from a real store to a verdict, in this process and on a real cluster."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import zarr
from distributed import Client
from zarr.storage import LocalStore, WrapperStore

from dfmr_dask.aggregate.aggregators import AGGREGATORS
from dfmr_dask.corruption import Corruption
from dfmr_dask.data.source import Source, open_source
from dfmr_dask.errors import AggregationFailed, DegenerateRows, InvalidSource, TooFewMessages
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.experiments.populations import population, write_gaussians
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run import agreement, partition, stages
from dfmr_dask.run.cluster import open_tasks
from dfmr_dask.run.events import Event
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.pipeline import Settings, fit
from dfmr_dask.run.results import partition_table
from dfmr_dask.run.tasks import InProcess, OnCluster

FULL = COVARIANCE_TYPES["full"]
TRUTH = population(3, 2, separation=5.0, seed=7)
CHUNK, CHUNKS = 500, 16


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """16 chunks of 500 rows, with checksums."""
    path = tmp_path / "rows.zarr"
    return write_gaussians(path, TRUTH, CHUNK * CHUNKS, chunk_rows=CHUNK, seed=7)


def settings(**changes: Any) -> Settings:
    return Settings(**{"family": FULL, "n_components": 3, "seed": 1, **changes})


def same_bits(one: Mixture, other: Mixture) -> bool:
    arrays = zip(one.params.values(), other.params.values(), strict=True)
    weights = np.array_equal(one.weights, other.weights)
    return weights and all(np.array_equal(a, b) for a, b in arrays)


class CountingStore(WrapperStore[LocalStore]):
    """Counts which chunks are read, and how often (the store is copied when it is opened)."""

    read: ClassVar[Counter[str]] = Counter()

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        if key.startswith("c/"):
            self.read[key] += 1
        return await super().get(key, prototype, byte_range)


def test_the_fit_reads_each_chunk_once(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = CountingStore(LocalStore(store))
    source = open_source(zarr.open_array(counting, mode="r"))
    counting.read.clear()
    before: Counter[str] = Counter()
    during: Counter[str] = Counter()
    plain = stages.fit_partitions

    def counted(*args: Any) -> Any:
        before.update(counting.read)
        messages = plain(*args)
        during.update(counting.read - before)
        return messages

    monkeypatch.setattr("dfmr_dask.run.pipeline.fit_partitions", counted)
    fit(source, settings(), InProcess())
    assert sorted(during) == sorted(f"c/{i}/0" for i in range(CHUNKS))
    assert set(during.values()) == {1}


def test_same_bits_with_one_worker_two_workers_and_again(store: Path, client: Client) -> None:
    source = open_source(store)
    asked = settings(corruption=Corruption("mean", 0.3))
    again = [fit(source, asked, OnCluster(client)) for _ in range(2)]
    with open_tasks(in_memory=False, n_workers=1) as alone:
        one = fit(source, asked, alone)
    assert same_bits(again[0].mixture, again[1].mixture)
    assert same_bits(again[0].mixture, one.mixture)
    assert again[0].score == again[1].score == one.score
    assert again[0].verdict.kept == one.verdict.kept


def test_tasks_have_plain_names_in_the_dashboard(store: Path, client: Client) -> None:
    fit(open_source(store), settings(), OnCluster(client))
    prefixes = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.task_prefixes))
    assert {"dfmr-start", "dfmr-fit", "dfmr-aggregate", "dfmr-check"} <= set(prefixes)


@pytest.mark.parametrize("attack", ["mean", "covariance", "data"])
def test_attacks_are_filtered_and_vanilla_is_not(store: Path, tmp_path: Path, attack: str) -> None:
    other = population(3, 2, separation=5.0, seed=8)
    replaced = write_gaussians(tmp_path / "other.zarr", other, CHUNK * CHUNKS, chunk_rows=CHUNK)
    asked = settings(corruption=Corruption(attack, 0.4), compare=("vanilla", "oracle"))
    result = fit(open_source(store), asked, InProcess(), replacement=open_source(replaced))
    assert len(result.byzantine) == 6
    assert not set(result.byzantine) & set(result.verdict.kept)
    assert error(result.mixture, TRUTH) < 2 * error(result.compared["oracle"], TRUTH)
    assert error(result.compared["vanilla"], TRUTH) > 3 * error(result.mixture, TRUTH)
    assert result.score > result.scores["vanilla"]


def test_a_chunk_that_cannot_be_decoded_is_a_failed_message(store: Path) -> None:
    chunk = store / "c" / "5" / "0"
    damaged = bytearray(chunk.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    chunk.write_bytes(bytes(damaged))
    result = fit(open_source(store), settings(), InProcess())
    assert list(result.verdict.failed) == [5]
    assert "checksum" in result.verdict.failed[5].lower()
    assert len(result.verdict.kept) >= 13


def test_bad_rows_are_dropped_and_counted_and_empty_partitions_do_not_count(
    store: Path,
) -> None:
    array = zarr.open_array(store, mode="r+")
    array[3:10, 0] = np.nan
    array[CHUNK : CHUNK + 495] = np.inf  # five rows left
    array[2 * CHUNK : 3 * CHUNK] = np.nan
    source = open_source(store, missing_chunks="fill")  # Zarr leaves out what is NaN throughout
    result = fit(source, settings(), InProcess())
    table = partition_table(source, result)
    assert table["dropped_rows"].values[:4].tolist() == [7, 495, 500, 0]
    assert table["rows"].values[:4].tolist() == [493, 5, 0, 500]
    assert table["fate"].values[1] == "failed"
    assert "5 valid rows; 3 components of 2 features need at least 9" in result.verdict.failed[1]
    assert result.verdict.empty == (2,)
    assert table["location"].values[2] == "row 1000:1500"
    assert bool(table["kept"][0])


def test_a_run_stops_when_half_of_the_partitions_cannot_be_used(store: Path) -> None:
    array = zarr.open_array(store, mode="r+")
    array[: 8 * CHUNK, 1] = 3.0
    with pytest.raises(TooFewMessages, match=r"8 of 16 .* feature 'x1'"):
        fit(open_source(store), settings(), InProcess())


def test_a_feature_constant_everywhere_is_named(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(2000, 2))
    x[:, 1] = 3.0
    source = open_source(x, features=["temp", "salt"], n_partitions=10)
    with pytest.raises(TooFewMessages, match="constant in every row: feature 'salt'"):
        fit(source, settings(), InProcess())


def test_sizes_are_checked_before_anything_is_read(store: Path) -> None:
    source = open_source(store)
    with pytest.raises(DegenerateRows, match=r"largest partition has 500 rows; 200 components"):
        fit(source, settings(n_components=200), InProcess())
    with pytest.raises(DegenerateRows, match="the start has 3 features, the source 2"):
        fit(source, settings(start=population(3, 3)), InProcess())
    with pytest.raises(InvalidSource, match="needs a source of rows"):
        fit(source, settings(corruption=Corruption("data", 0.2)), InProcess())


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"method": "magic"}, "allowed are 'blocks', 'paper'"),
        ({"gates": ("l3",)}, "'blocks', 'center', 'ctd', 'fisher', 'l2'"),
        ({"rho": 0.5}, "rho=0.5"),
        ({"aggregator": "oracle"}, "simulations only"),
        ({"n_components": 0}, "n_components=0"),
    ],
)
def test_settings_that_do_not_fit_are_named(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        settings(**wrong)


def test_paper_mode_starts_each_partition_on_its_own(store: Path) -> None:
    asked = settings(method="paper", corruption=Corruption("mean", 0.3), n_init=4)
    result = fit(open_source(store), asked, InProcess())
    assert result.start is None
    assert {m.start for m in result.messages} == {"own"}
    assert [gate.name for gate in result.verdict.gates] == ["l2"]
    assert not set(result.byzantine) & set(result.verdict.kept)


def test_a_given_start_is_where_everybody_starts(store: Path) -> None:
    result = fit(open_source(store), settings(start=TRUTH), InProcess())
    assert result.start is TRUTH
    assert {m.start for m in result.messages} == {"common"}
    assert max(m.n_iter for m in result.messages) < 40


def test_a_single_partition_is_an_ordinary_fit() -> None:
    x, _ = TRUTH.sample(3000, np.random.default_rng(3))
    result = fit(open_source(x), settings(), InProcess())
    assert result.verdict.kept == (0,)
    assert not result.verdict.certified
    assert result.score > TRUTH.score(x)
    assert result.score == pytest.approx(result.mixture.score(x))


def test_many_partitions_propose_in_part_and_large_stores_are_scored_in_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agreement, "MOST_VOTERS", 20)
    monkeypatch.setattr("dfmr_dask.aggregate.agreement.MOST_PROPOSERS", 8)
    monkeypatch.setattr(stages, "SMALL_STORE", 0)
    x, _ = TRUTH.sample(12_000, np.random.default_rng(4))
    events: list[Event] = []
    result = fit(open_source(x, n_partitions=40), settings(), InProcess(), emit=events.append)
    assert {e.total for e in events if e.stage == "start"} == {8, 20}
    assert 0 < result.score_rows < 12_000
    assert result.score == pytest.approx(result.mixture.score(x), abs=0.1)


def test_events_count_every_partition(store: Path) -> None:
    events: list[Event] = []
    fit(open_source(store), settings(), InProcess(), emit=events.append)
    fits = [event for event in events if event.stage == "fit"]
    assert [event.done for event in fits] == list(range(CHUNKS + 1))
    assert {event.total for event in fits} == {CHUNKS}


def test_messages_are_written_as_they_arrive(store: Path, tmp_path: Path) -> None:
    ledger = Ledger.create(tmp_path / "run", {"seed": 1})
    result = fit(open_source(store), settings(), InProcess(), ledger=ledger)
    written = ledger.messages()
    assert [m.partition for m in written] == list(range(CHUNKS))
    for message, stored in zip(result.messages, written, strict=True):
        assert isinstance(stored, Message)
        assert message.mixture is not None
        assert stored.mixture is not None
        assert same_bits(message.mixture, stored.mixture)


def saying(**lies: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    """Stand-ins for what runs in tasks, in which some partitions lie."""
    plain = {name: getattr(partition, name) for name in lies}

    def wrapped(name: str) -> Callable[..., Any]:
        return lambda i, *args: lies[name](i, plain[name](i, *args))

    return {name: wrapped(name) for name in lies}


def test_messages_are_not_believed_about_who_they_are(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lie(i: int, message: Message) -> Any:
        if i == 3:
            return replace(message, partition=4)
        if i == 5:
            return replace(message, mixture=population(2, 2))
        return None if i == 6 else message

    monkeypatch.setattr(partition, "fit", saying(fit=lie)["fit"])
    ledger = Ledger.create(tmp_path / "run", {})
    result = fit(open_source(store), settings(), InProcess(), ledger=ledger)
    assert sorted(result.verdict.failed) == [3, 5, 6]
    assert "another family, order" in result.verdict.failed[5]
    assert 4 in result.verdict.kept
    assert [m.status for m in ledger.messages()].count("failed") == 3


def test_pilots_and_scores_of_another_kind_are_not_counted(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pilot(i: int, plain: Any) -> Any:
        others = [population(9, 2), population(3, 3), population(3, 2, seed=9)]
        params = {**plain.params, "means": np.full((3, 2), 1e50)}
        return [*others, Mixture(FULL, plain.weights, params)][i] if i < 4 else plain

    def scored(i: int, plain: Any) -> Any:
        return replace(plain, values=plain.values[:2]) if i == 7 else plain

    for name, stand_in in saying(propose=pilot, score=scored).items():
        monkeypatch.setattr(partition, name, stand_in)
    result = fit(open_source(store), settings(), InProcess())
    assert result.mixture.n_components == 3
    assert error(result.mixture, TRUTH) < 0.3
    assert len(result.verdict.kept) >= 14


def test_partitions_too_small_to_score_on_are_told() -> None:
    x = np.random.default_rng(5).normal(size=(72, 2))
    source = open_source(x, n_partitions=12)
    with pytest.raises(TooFewMessages, match="Make partitions larger"):
        fit(source, settings(n_components=2), InProcess())


def test_a_comparison_that_fails_is_a_note(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise np.linalg.LinAlgError("not positive definite")

    monkeypatch.setitem(AGGREGATORS, "vanilla", broken)  # type: ignore[arg-type]
    result = fit(open_source(store), settings(compare=("vanilla", "coat")), InProcess())
    assert list(result.compared) == ["coat"]
    assert "vanilla could not merge the messages" in result.notes[0]
    with pytest.raises(AggregationFailed, match="vanilla could not merge"):
        fit(open_source(store), settings(aggregator="vanilla"), InProcess())


class Killing:
    """A reader that kills the worker that calls it."""

    def __call__(self) -> Any:
        os._exit(1)


@pytest.mark.slow
def test_a_partition_that_kills_its_workers_costs_itself_only(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(store)
    plain = Source.rows
    monkeypatch.setattr(Source, "rows", lambda self, i: Killing() if i == 7 else plain(self, i))
    with open_tasks(in_memory=False, n_workers=2) as tasks:
        result = fit(source, settings(), tasks)
    assert list(result.verdict.failed) == [7]  # its neighbors on dying workers were tried again
    assert "4 workers died with it" in result.verdict.failed[7]
    assert len(result.verdict.kept) >= 13


def test_fits_that_did_not_converge_and_scarce_rows_are_noted() -> None:
    x, _ = TRUTH.sample(1200, np.random.default_rng(6))
    source = open_source(x, n_partitions=10)
    result = fit(source, settings(max_iter=1), InProcess())
    kept = len(result.verdict.kept)
    assert f"EM did not converge in {kept} of {kept} kept partitions" in result.notes[0]
    source = open_source(x[:150], n_partitions=10)
    result = fit(source, settings(n_components=3), InProcess())
    assert "fewer rows than the 17 free parameters" in result.notes[-1]
