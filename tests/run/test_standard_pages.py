"""What Dask's own pages, logs and reports tell of a run."""

from __future__ import annotations

import logging
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import zarr
from distributed import Client

from dfmr_dask.command.config import configuration
from dfmr_dask.command.jobs import run as run_configuration
from dfmr_dask.data import open_source
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.run import partition, pipeline
from dfmr_dask.run.ledger import PERFORMANCE
from dfmr_dask.run.outlets import watched
from dfmr_dask.run.record import recording
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import InProcess, OnCluster
from dfmr_dask.run.worker_log import LOGGER

PARTITIONS, ROWS = 12, 300
SETTINGS = Settings(family=COVARIANCE_TYPES["full"], n_components=2, seed=3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(PARTITIONS * ROWS, 2))
    x[rng.random(len(x)) < 0.4] += 7.0
    x[2 * ROWS : 3 * ROWS] = 1.0
    path = tmp_path_factory.mktemp("store") / "rows.zarr"
    zarr.create_array(path, data=x, chunks=(ROWS, 2))
    return path


@pytest.fixture(scope="module")
def folder(store: Path, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the cluster of these tests, with a performance report."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    source, tasks = open_source(store, plan="chunks"), OnCluster(client)
    with (
        recording(folder, {}, source, SETTINGS) as ledger,
        watched(tasks, ledger, performance=True) as emit,
    ):
        pipeline.fit(source, SETTINGS, tasks, ledger=ledger, emit=emit)
    return folder


def test_tasks_go_by_the_names_of_their_stages(folder: Path, client: Client) -> None:
    prefixes = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.task_prefixes))
    ours = {name for name in prefixes if "dfmr" in name}
    stages = ("start", "fit", "aggregate", "check", "share")
    assert {f"dfmr-{one}" for one in stages} <= ours
    assert all(re.fullmatch("dfmr-[a-z]+", name) for name in ours)


def test_a_performance_report_is_written_on_request(folder: Path) -> None:
    text = (folder / PERFORMANCE).read_text()
    assert "dfmr-fit" in text and "bokeh" in text.lower()
    assert "<script src=" not in text and "cdn.bokeh.org" not in text.split("<body")[0]


def test_no_performance_report_is_written_unasked(store: Path, tmp_path: Path) -> None:
    source = open_source(store, plan="chunks")
    for performance in (False, True):  # in memory there is no cluster to report on
        with (
            recording(tmp_path / "run", {}, source, SETTINGS, overwrite=True) as ledger,
            watched(InProcess(), ledger, performance=performance) as emit,
        ):
            pipeline.fit(source, SETTINGS, InProcess(), ledger=ledger, emit=emit)
        assert not (tmp_path / "run" / PERFORMANCE).exists()


def test_the_logs_of_workers_name_partitions_and_reasons(folder: Path, client: Client) -> None:
    logs = [line for lines in client.get_worker_logs().values() for line in lines]
    fitted = [text for level, text in logs if level == "INFO" and "dfmr-fit: fit of" in text]
    for i in range(PARTITIONS):
        assert any(f"partition {i}: fitted, 300 rows" in text for text in fitted) == (i != 2)
    failed = [text for level, text in logs if level == "WARNING" and "of partition 2:" in text]
    assert all("constant in every row" in text for text in failed)
    assert {text.split("dfmr-")[1].split(":")[0] for text in failed} == {"start", "fit"}


def test_a_failure_is_a_warning_once_and_not_each_time_it_is_passed_on(client: Client) -> None:
    def ask() -> list[tuple[str, int, str]]:
        told: list[tuple[str, int, str]] = []

        class Keep(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                told.append((record.levelname, record.partition, record.stage))  # type: ignore[attr-defined]

        log, keep = logging.getLogger(LOGGER), Keep()
        before = log.level
        log.addHandler(keep)
        log.setLevel(logging.DEBUG)
        try:
            local = partition.LocalSettings(
                family=COVARIANCE_TYPES["full"], n_components=2, features=("a", "b"), seed=0,
                tol=1e-6, reg_covar=1e-6, max_iter=5, n_init=1, init_params="overfit",
            )  # fmt: skip
            drawn = partition.draw(7, np.ones((50, 2)), local)
            partition.propose(7, drawn, local)
        finally:
            log.removeHandler(keep)
            log.setLevel(before)
        return told

    key = ("dfmr-start-0123456789abcdef0123456789abcdef", "asked")
    told = client.submit(ask, key=key, pure=False).result()
    assert told == [("WARNING", 7, "start"), ("DEBUG", 7, "start")]


def test_a_run_in_memory_writes_into_no_log(store: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        pipeline.fit(open_source(store, plan="chunks"), SETTINGS, InProcess())
    assert not [record for record in caplog.records if record.name == LOGGER]


def test_tasks_travel_by_name() -> None:
    for task in (partition.fit, partition.draw, partition.score, partition.propose):
        assert pickle.loads(pickle.dumps(task)) is task


def test_a_configuration_asks_for_the_report(store: Path, tmp_path: Path, client: Client) -> None:
    folder = tmp_path / "run"
    told = {
        "source": {"path": str(store), "plan": "chunks"},
        "mixture": {"n_components": 2},
        "labels": {"write": False},
        "run": {"folder": str(folder), "performance_report": True},
    }
    with client.as_current():
        run_configuration(configuration(told))
    assert (folder / PERFORMANCE).is_file()
