"""Workers that die, hang, are slow, come and go: the run ends with what could be had."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster

from dfmr_dask.data.source import Source, open_source
from dfmr_dask.errors import ClusterFailed
from dfmr_dask.experiments.populations import population, write_gaussians
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.run.cluster import local_cluster
from dfmr_dask.run.handles import dressed, stripped
from dfmr_dask.run.pipeline import fit
from dfmr_dask.run.results import Result
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import Failure, InProcess, OnCluster
from dfmr_dask.run.waiting import Waiting
from tests.run.faults import (
    After,
    Once,
    breaks,
    faulty,
    hangs,
    kills,
    leaves,
    lingers,
    same_bits,
)

TRUTH = population(3, 2, separation=5.0, seed=7)
CHUNK, CHUNKS = 300, 14
DEATHS = 6
PATIENT = 25.0  # seconds: a fresh worker on a busy machine needs some to import the package


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two workers; Dask gives a task up after two deaths here, which is faster than four."""
    with local_cluster(n_workers=2) as one:
        one.scheduler.allowed_failures = 1
        yield one


@pytest.fixture
def workers(cluster: LocalCluster) -> Iterator[Client]:
    with Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 chunks of 300 rows."""
    path = tmp_path_factory.mktemp("faults") / "rows.zarr"
    return write_gaussians(path, TRUTH, CHUNK * CHUNKS, chunk_rows=CHUNK, seed=7)


@pytest.fixture
def source(store: Path) -> Source:
    return open_source(store)


def settings(**changes: Any) -> Settings:
    chosen = {"family": COVARIANCE_TYPES["full"], "n_components": 3, "seed": 1, **changes}
    return Settings(**chosen)


def same(one: Result, other: Result) -> bool:
    return (
        same_bits(one.mixture, other.mixture)
        and one.score == other.score
        and one.verdict.kept == other.verdict.kept
    )


@pytest.mark.parametrize(
    "fault",
    [pytest.param(kills, marks=pytest.mark.slow), leaves],
    ids=["SIGKILL", "exit"],
)
def test_who_kills_its_workers_fails_and_its_neighbors_do_not(
    source: Source, workers: Client, fault: Any
) -> None:
    result = fit(faulty(source, {5: fault}), settings(), OnCluster(workers))
    assert list(result.verdict.failed) == [5]
    assert "2 workers died with it" in result.verdict.failed[5]
    assert "cluster.memory_per_worker" in result.verdict.failed[5]
    assert same(result, fit(faulty(source, {5: breaks}), settings(), InProcess()))


@pytest.mark.slow
def test_who_kills_in_the_start_is_not_asked_again(source: Source, workers: Client) -> None:
    struck = faulty(source, {2: breaks}, {2: kills})
    result = fit(struck, settings(), OnCluster(workers))
    assert list(result.verdict.failed) == [2]
    assert "workers died" in result.verdict.failed[2]
    undisturbed = fit(faulty(source, {2: breaks}, {2: breaks}), settings(), InProcess())
    assert same(result, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["check", "polish"])
def test_who_kills_later_is_left_out_there(
    source: Source, workers: Client, tmp_path: Path, stage: str
) -> None:
    asked = settings(polish=2 if stage == "polish" else 0)
    struck, broken = (
        faulty(source, {5: After(fault, 1, tmp_path / fault.__name__)}) for fault in (kills, breaks)
    )
    result = fit(struck, asked, OnCluster(workers))
    assert 5 in result.verdict.kept
    assert same(result, fit(broken, asked, InProcess()))


@pytest.mark.slow
def test_a_death_that_does_not_come_again_changes_no_bit(
    source: Source, workers: Client, tmp_path: Path
) -> None:
    struck = faulty(
        source, {3: Once(kills, tmp_path / "fit")}, {8: Once(leaves, tmp_path / "start")}
    )
    result = fit(struck, settings(), OnCluster(workers))
    assert (tmp_path / "fit").exists() and (tmp_path / "start").exists()
    assert same(result, fit(source, settings(), InProcess()))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["fit", "start"])
def test_a_task_that_hangs_is_stopped_and_its_worker_freed(
    source: Source, workers: Client, stage: str
) -> None:
    where = {"fit": ({4: hangs}, {}), "start": ({4: breaks}, {4: hangs})}[stage]
    tasks = OnCluster(workers, waiting=Waiting(partition_timeout=PATIENT))
    result = fit(faulty(source, *where), settings(), tasks)
    assert dict(result.verdict.failed) == {4: "no answer within 25 s"}
    broken = faulty(source, {4: breaks}, {4: breaks} if stage == "start" else {})
    assert same(result, fit(broken, settings(), InProcess()))
    workers.wait_for_workers(2, timeout=60)


def test_what_hangs_is_given_up_and_what_needed_it_goes_on(workers: Client) -> None:
    tasks = OnCluster(workers, waiting=Waiting(partition_timeout=8.0))
    stuck = tasks.submit("start", (0,), time.sleep, 600)
    needing = tasks.submit("fit", (0,), repr, stuck)
    others = {i: tasks.submit("fit", (i,), repr, i) for i in range(1, 9)}
    results = dict(tasks.results({0: needing, **others}))
    assert results == {0: repr(Failure("no answer within 8 s")), **{i: repr(i) for i in others}}
    assert dict(tasks.results({0: stuck})) == {0: Failure("no answer within 8 s")}


def test_waiting_in_the_queue_is_no_hanging(workers: Client) -> None:
    tasks = OnCluster(workers, waiting=Waiting(partition_timeout=3.0))
    handles = {i: tasks.submit("fit", (i,), time.sleep, 1.0) for i in range(8)}
    assert [value for _, value in tasks.results(handles)] == [None] * 8


@pytest.mark.slow
def test_a_quorum_ends_the_fits(source: Source, workers: Client) -> None:
    tasks = OnCluster(workers, waiting=Waiting(quorum=CHUNKS - 1))
    result = fit(faulty(source, {6: hangs}), settings(), tasks)
    assert list(result.verdict.failed) == [6]
    told = f"not waited for: the quorum of {CHUNKS - 1} among {CHUNKS} had arrived"
    assert result.verdict.failed[6] == told
    assert f"{told}; these were missing: 6" in result.notes
    assert all(message.status == "fitted" for message in result.messages if message.partition != 6)


@pytest.mark.slow
def test_a_deadline_ends_the_fits(source: Source, workers: Client) -> None:
    tasks = OnCluster(workers, waiting=Waiting(deadline=8.0))
    result = fit(faulty(source, {0: hangs}), settings(), tasks)
    assert 0 in result.verdict.failed
    assert "the deadline of 8 s for the fits had passed" in result.verdict.failed[0]
    assert any("these were missing: 0" in note for note in result.notes)


def test_several_partitions_to_a_task_give_the_same_bits(source: Source, workers: Client) -> None:
    together = OnCluster(workers, many=10, together=4)
    result = fit(source, settings(polish=1), together)
    assert same(result, fit(source, settings(polish=1), InProcess()))
    fits = workers.run_on_scheduler(
        lambda dask_scheduler: dask_scheduler.task_prefixes["dfmr-fit"].state_counts
    )
    assert fits  # the prefix is there


@pytest.mark.slow
@pytest.mark.parametrize("fault", [kills, hangs], ids=["kills", "hangs"])
def test_of_several_in_a_task_only_the_guilty_one_fails(
    source: Source, workers: Client, fault: Any
) -> None:
    waiting = Waiting(partition_timeout=PATIENT)
    together = OnCluster(workers, waiting=waiting, many=10, together=7)
    guilty = CHUNKS - 2
    asked = settings(start=TRUTH)  # so that no partition has a pilot of its own, and is alone
    result = fit(faulty(source, {guilty: fault}), asked, together)
    assert list(result.verdict.failed) == [guilty]
    assert same(result, fit(faulty(source, {guilty: breaks}), asked, InProcess()))


@pytest.mark.slow
def test_few_tasks_are_under_way_at_a_time(workers: Client) -> None:
    tasks = OnCluster(workers)
    handles = {i: tasks.submit("fit", (i,), lingers) for i in range(40)}
    arrived = tasks.results(handles)
    next(arrived)
    assert sum(handle.sent for handle in handles.values()) <= 2 * 4 + 1
    assert len(list(arrived)) == 39


def test_a_run_without_workers_ends() -> None:
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as empty,
        Client(empty, set_as_default=False) as client,
    ):
        tasks = OnCluster(client, waiting=Waiting(worker_timeout=2.0))
        with pytest.raises(ClusterFailed, match="no worker for 2 s"):
            list(tasks.results({0: tasks.submit("fit", (0,), lingers)}))


@pytest.mark.slow
def test_what_killed_its_workers_is_not_sent_again(workers: Client) -> None:
    tasks = OnCluster(workers)
    guilty = tasks.submit("start", (0,), leaves)
    (first,) = tasks.results({0: guilty})
    sent = guilty.sent
    (second,) = tasks.results({0: guilty})
    assert first == second
    assert isinstance(first[1], Failure)
    assert guilty.sent == sent


@pytest.mark.slow
def test_workers_killed_at_random_change_no_bit(source: Source, workers: Client) -> None:
    """Every four seconds a worker gets SIGKILL, some times."""
    workers.cluster.scheduler.allowed_failures = 3  # as Dask has it
    undisturbed = fit(source, settings(polish=1), InProcess())
    slow = faulty(source, dict.fromkeys(range(CHUNKS), lingers))
    done = threading.Event()
    deaths = []

    def reap() -> None:
        while len(deaths) < DEATHS and not done.wait(4.0):
            pids = [
                one.process.process.pid for one in workers.cluster.workers.values() if alive(one)
            ]
            if pids:
                os.kill(pids[len(deaths) % len(pids)], signal.SIGKILL)
                deaths.append(1)

    thread = threading.Thread(target=reap)
    thread.start()
    try:
        result = fit(slow, settings(polish=1), OnCluster(workers))
    finally:
        done.set()
        thread.join()
        workers.cluster.scheduler.allowed_failures = 1
    assert deaths
    assert same(result, undisturbed)


def alive(nanny: Any) -> bool:
    return nanny.process is not None and nanny.process.is_alive()


def test_readers_travel_without_the_layout_that_they_share(source: Source) -> None:
    layouts: list[Any] = []
    own = {i: (i, source.rows(i)) for i in range(CHUNKS)}
    bare = stripped(own, layouts)
    assert len(layouts) == 1
    assert len(pickle.dumps(bare[3])) < len(pickle.dumps(own[3])) / 2
    for i, (number, reader) in dressed(bare, layouts).items():
        assert number == i
        assert np.array_equal(reader(), source.rows(i)())


@pytest.mark.parametrize(
    ("quorum", "of", "needed"), [(None, 7, 7), (0.9, 10, 9), (0.7, 10, 7), (3, 10, 3), (1.0, 5, 5)]
)
def test_what_a_quorum_is(quorum: float | None, of: int, needed: int) -> None:
    assert Waiting(quorum=quorum).needed(of) == needed
    assert Waiting(quorum=quorum).needed(2) <= 2


@pytest.mark.parametrize("wrong", [{"quorum": 1.5}, {"deadline": 0.0}, {"partition_timeout": True}])
def test_waiting_refuses_what_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}="):
        replace(Waiting(), **wrong)
