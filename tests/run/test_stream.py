"""Events reach all readers, in order, and no reader can stop or slow a run."""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zarr
from distributed import Client
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.data import open_source
from dfmr_dask.errors import TooFewMessages
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.run import pipeline, provisional
from dfmr_dask.run.events import STATES, Arrival, Event, ignore
from dfmr_dask.run.ledger import EVENTS
from dfmr_dask.run.outlets import TOPIC, EventFile, ToScheduler, watched
from dfmr_dask.run.record import recording
from dfmr_dask.run.results import Result
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.stream import coalesced, streaming
from dfmr_dask.run.tasks import InProcess, OnCluster
from dfmr_dask.show.state import RunState
from tests.run.faults import same_bits

PARTITIONS, ROWS = 14, 300
SETTINGS = Settings(family=COVARIANCE_TYPES["full"], n_components=2, seed=3)


def state_of(events: list[Event]) -> RunState:
    state = RunState()
    for event in events:
        state.take(event)
    return state


def read(path: Path) -> list[Event]:
    return [Event.from_json(line) for line in path.read_bytes().splitlines()]


arrivals = st.builds(Arrival, st.integers(0, 9), st.sampled_from(STATES), st.integers(0, 99))
steps = st.tuples(
    st.sampled_from(["start", "fit", "check"]),
    st.integers(0, 4),
    st.lists(arrivals, max_size=3).map(tuple),
)


@given(st.lists(steps, max_size=12))
def test_what_is_known_is_the_same_however_events_travel(
    told: list[tuple[str, int, tuple[Arrival, ...]]],
) -> None:
    events = [
        Event(stage, done, 4, at=100.0 + i, arrivals=some)
        for i, (stage, done, some) in enumerate(told)
    ]
    one, other = state_of(events).snapshot(), state_of(coalesced(events)).snapshot()
    for name in ("counts", "partitions", "rows", "stage"):
        assert one[name] == other[name]
    progress = [
        [(stage["name"], stage["done"], stage["total"]) for stage in shown["stages"]]
        for shown in (one, other)
    ]
    assert progress[0] == progress[1]


def test_many_events_of_a_second_travel_together() -> None:
    seen: list[Event] = []
    with streaming(seen.append) as emit:
        emit(Event("fit", 0, 2000))
        for i in range(2000):
            emit(Event("fit", i, 2000, arrivals=(Arrival(i, "fitting"),)))
            emit(Event("fit", i + 1, 2000, arrivals=(Arrival(i, "fitted", 5),)))
    assert len(seen) < 100
    assert state_of(seen).counts["fitted"] == 2000
    assert seen[-1].facts["finished"] and seen[-1].facts["failed_with"] is None


def test_readers_are_told_how_a_run_failed() -> None:
    seen: list[Event] = []
    with pytest.raises(TooFewMessages), streaming(seen.append):
        raise TooFewMessages("3 of 9 partitions")
    assert seen[-1].facts["failed_with"] == "TooFewMessages: 3 of 9 partitions"
    with pytest.raises(KeyboardInterrupt), streaming(seen.append):
        raise KeyboardInterrupt
    assert seen[-1].facts["failed_with"] == "an interrupt (Ctrl-C)"


def test_a_reader_that_fails_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Event] = []

    def broken(event: Event) -> None:
        raise OSError("no space left")

    with caplog.at_level(logging.WARNING), streaming(broken, seen.append, every=0.01) as emit:
        for i in range(3):
            emit(Event("fit", i, 3))
            time.sleep(0.05)
    assert [event.stage for event in seen] == ["fit", "fit", "fit", "run"]
    assert caplog.text.count("no space left") == 1


def test_a_reader_that_hangs_does_not_hold_up_whoever_tells() -> None:
    let_go = threading.Event()
    with streaming(lambda event: let_go.wait(30) and None) as emit:
        for i in range(1000):
            emit(Event("fit", i, 1000))
        assert not let_go.is_set()  # all has been told, and nothing been read
        let_go.set()


def test_memory_is_told_when_it_has_grown() -> None:
    sizes, seen = iter([100, 101, 200]), list[Event]()
    with streaming(seen.append, memory=lambda: {"client": next(sizes)}, every=0.01) as emit:
        emit(Event("fit", 0, 2))
        time.sleep(0.1)
        emit(Event("fit", 1, 2))
        time.sleep(0.1)
    told = [event.facts.get("memory") for event in seen]
    assert told == [{"client": 100}, None, {"client": 200}]


def test_a_file_that_was_cut_in_the_middle_of_a_line_goes_on(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    whole = Event("fit", 1, 2).to_json()
    path.write_text(f'{whole}\n{{"stage":"fi')
    file = EventFile(path)
    file(Event("fit", 2, 2))
    file.close()
    first, half, last = path.read_text().splitlines()
    assert (first, half) == (whole, '{"stage":"fi')
    assert Event.from_json(last) == Event("fit", 2, 2)


def test_a_file_is_written_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / EVENTS).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        EventFile(tmp_path / EVENTS)
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_ten_thousand_partitions_are_few_bytes(tmp_path: Path) -> None:
    m, reason = 10_000, "means 25.3 > 1.61; covariances 7.7 > 1.5 (mean of component 3 along 'x')"
    lists = {"partition": list(range(m)), "x": [-1.234] * m, "y": [12.34] * m}
    gates = [{**lists, "gate": name, "cutoff": 1.5} for name in ("means", "covariances", "weights")]
    said = {"map": {**lists, "center": 5, "radius": 1.0}, "distances": gates, "of": m, "at": 1.0}
    half = {"kept": list(range(500)), "dropped": {str(i): reason for i in range(499)}, **said}
    facts = {"partitions": m, "planned_rows": [5000] * m, "locations": ["time 1000:2000"] * m}
    file = EventFile(tmp_path / EVENTS)
    file(Event("run", 0, m, facts=facts))
    for i in range(0, m, 20):
        begun = tuple(Arrival(j, "fitting") for j in range(i, i + 20))
        done = tuple(Arrival(j, "fitted", 5000, 0.1234, -12.345678) for j in range(i, i + 20))
        file(Event("fit", i + 20, m, arrivals=begun + done))
    for _ in range(20):
        file(Event("run", 0, 0, facts={"provisional": half}))
    fates = tuple(Arrival(i, "dropped" if i % 3 else "kept", reason=reason) for i in range(m))
    file(Event("check", m, m, arrivals=fates, facts={"verdict": said}))
    file.close()
    assert (tmp_path / EVENTS).stat().st_size < 5_000_000
    assert state_of(read(tmp_path / EVENTS)).counts["kept"] == 3334


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(PARTITIONS * ROWS, 2))
    x[rng.random(len(x)) < 0.4] += 7.0
    x[:ROWS] = np.nan
    x[ROWS : 2 * ROWS] *= 40.0
    x[2 * ROWS : 3 * ROWS] = 1.0
    path = tmp_path_factory.mktemp("store") / "rows.zarr"
    zarr.create_array(path, data=x, chunks=(ROWS, 2))
    return path


@pytest.fixture(scope="module")
def alone(store: Path) -> Result:
    """A run that nobody reads."""
    return pipeline.fit(open_source(store, plan="chunks"), SETTINGS, InProcess())


@dataclass
class Watched:
    """A run on a cluster that several read; ``direct`` is what it said before it travelled."""

    tasks: OnCluster
    folder: Path
    result: Result
    direct: list[Event]
    seen: list[Event]


@pytest.fixture(scope="module")
def seen_run(store: Path, tmp_path_factory: pytest.TempPathFactory, client: Client) -> Watched:
    folder, tasks = tmp_path_factory.mktemp("watched") / "run", OnCluster(client)
    source, direct, seen = open_source(store, plan="chunks"), list[Event](), list[Event]()
    with (
        recording(folder, {"aggregate": {}}, source, SETTINGS) as ledger,
        watched(tasks, ledger, seen.append) as tell,
    ):

        def emit(event: Event) -> None:
            direct.append(event)
            tell(event)

        result = pipeline.fit(source, SETTINGS, tasks, ledger=ledger, emit=emit)
    return Watched(tasks, folder, result, direct, seen)


def test_a_run_tells_what_became_of_each_partition(seen_run: Watched) -> None:
    state, shown = state_of(seen_run.seen), state_of(seen_run.seen).snapshot()
    verdict = seen_run.result.verdict
    assert [state.state_of(i) for i in range(3)] == ["empty", "dropped", "failed"]
    assert state.counts["kept"] == len(verdict.kept) == PARTITIONS - 3
    assert shown["partitions"]["reason"]["2"] == verdict.failed[2]
    assert shown["partitions"]["location"][3] == "row 900:1200"
    assert shown["rows"] == (PARTITIONS - 1) * ROWS  # one partition is empty
    assert [one["name"] for one in shown["stages"]] == ["start", "fit", "aggregate", "check"]
    assert shown["memory"]["client"] > 1e7 and shown["memory"]["worker"] > 1e7
    json.dumps(shown, allow_nan=False)


def test_a_run_tells_the_verdict_with_its_pictures(seen_run: Watched) -> None:
    verdict, result = seen_run.result.verdict, seen_run.result
    shown = state_of(seen_run.seen).snapshot()["verdict"]
    assert shown["dropped"] == {"1": verdict.dropped[1]}
    assert sorted(shown["map"]["partition"]) == sorted([1, *verdict.kept])
    assert shown["map"]["center"] == verdict.center
    gate = shown["distances"][0]
    at = gate["partition"].index(1)
    assert gate["distance"][at] == pytest.approx(verdict.gates[0].distances[1], rel=1e-3)
    assert shown["doubts"] == list(verdict.doubts)
    assert state_of(seen_run.seen).snapshot()["score"] == result.score


def test_partitions_are_told_when_their_tasks_are_with_the_cluster(seen_run: Watched) -> None:
    told = [one for event in seen_run.direct for one in event.arrivals]
    begun = [one.partition for one in told if one.state == "fitting"]
    assert sorted(begun) == list(range(PARTITIONS))
    for i in range(PARTITIONS):
        states = [one.state for one in told if one.partition == i]
        assert states[0] == "fitting" and states[1] in ("fitted", "failed", "empty")


def test_the_folder_and_the_scheduler_are_told_the_same(seen_run: Watched, client: Client) -> None:
    shown = state_of(seen_run.seen).snapshot()
    assert state_of(read(seen_run.folder / EVENTS)).snapshot() == shown
    told = [one for _, one in client.get_events(TOPIC) if one["token"] == seen_run.tasks.token]
    lines = [line for message in told for line in message["events"]]
    assert state_of([Event.from_json(line) for line in lines]).snapshot() == shown


def test_no_bit_depends_on_who_reads(seen_run: Watched, alone: Result) -> None:
    assert same_bits(alone.mixture, seen_run.result.mixture)
    assert str(alone.verdict) == str(seen_run.result.verdict)


def test_a_verdict_is_told_while_estimates_arrive(
    alone: Result, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the verdict of the filter itself, here on the estimates of nearly all partitions."""
    seen: list[Event] = []
    judge = provisional.Provisional(seen.append, SETTINGS, None)
    for message in alone.messages:
        judge.hear(message)
    monkeypatch.setattr(provisional, "EVERY", 0.0)
    judging = threading.Thread(target=judge.run)
    judging.start()
    for _ in range(1000):
        if seen:
            break
        time.sleep(0.01)
    judge.ended.set()
    judging.join()
    assert len(seen) == 1  # nothing new has arrived since
    said = seen[0].facts["provisional"]
    assert said["kept"] == list(alone.verdict.kept)
    assert set(said["dropped"]) == {"1"}
    assert said["of"] == PARTITIONS - 2 == len(said["map"]["x"])
    assert all(one["cutoff"] > 0 for one in said["distances"])


def test_a_sample_is_judged_where_there_are_many(alone: Result) -> None:
    fitted = [message for message in alone.messages if message.mixture is not None]
    few = provisional.chosen(fitted, 5, seed=1)
    assert len(few) == 5 and [one.partition for one in few] == sorted(one.partition for one in few)
    more = provisional.chosen(fitted, 8, seed=1)
    assert {one.partition for one in few} <= {one.partition for one in more}
    assert provisional.chosen(fitted, 5, seed=2) != few
    assert provisional.chosen(fitted[::-1], 99, seed=1) == fitted


def test_a_run_that_goes_on_appends_and_is_told_from_the_start(store: Path, tmp_path: Path) -> None:
    def pulled(event: Event) -> None:
        if event.stage == "aggregate":
            raise KeyboardInterrupt

    folder, source = tmp_path / "run", open_source(store, plan="chunks")
    with pytest.raises(KeyboardInterrupt), recording(folder, {}, source, SETTINGS) as ledger:
        pipeline.fit(source, SETTINGS, InProcess(), ledger=ledger, emit=pulled)
    (folder / EVENTS).write_text(
        Event("run", 0, 1, facts={"token": "a", "partitions": 1}).to_json()
    )
    with recording(folder, {}, source, SETTINGS) as ledger, watched(InProcess(), ledger) as emit:
        pipeline.fit(source, SETTINGS, InProcess(), ledger=ledger, emit=emit)
    events = read(folder / EVENTS)
    assert len([event for event in events if "partitions" in event.facts]) == 2
    state = state_of(events)
    assert sum(state.counts.values()) == PARTITIONS and state.rows == (PARTITIONS - 1) * ROWS
    assert state.finished
    known = next(event for event in events if "were fitted before" in event.text)
    assert len(known.arrivals) == PARTITIONS


def test_a_scheduler_that_refuses_ends_no_run(
    store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Client(processes=False, n_workers=1, dashboard_address=None, set_as_default=False) as gone:
        tasks = OnCluster(gone)
    reader = ToScheduler(tasks.client, tasks.token)
    with caplog.at_level(logging.WARNING), streaming(reader) as emit:
        emit(Event("fit", 0, 1))
    assert "a reader of the run's events failed" in caplog.text


def test_nothing_is_told_where_nobody_reads() -> None:
    with watched(InProcess(), None, ignore) as emit:
        assert emit is ignore
