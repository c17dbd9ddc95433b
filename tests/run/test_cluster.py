"""Which client is used, what it listens on, and workers that cannot do the work."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import dask.config
import psutil
import pytest
from distributed import Client, LocalCluster
from distributed.core import Status
from distributed.process import AsyncProcess

from dfmr_dask.errors import WorkersDiffer
from dfmr_dask.run.cluster import check_workers, local_cluster, open_tasks
from dfmr_dask.run.tasks import Failure, InProcess, OnCluster


def fail(text: str) -> None:
    raise ValueError(text)


def add(a: int, b: int) -> int:
    return a + b


def test_data_in_memory_start_no_cluster() -> None:
    with open_tasks(in_memory=True) as tasks:
        assert isinstance(tasks, InProcess)
        assert tasks.dashboard_link is None


def test_the_client_that_is_there_is_used(client: Client) -> None:
    with client.as_current(), open_tasks(in_memory=False) as tasks:
        assert isinstance(tasks, OnCluster)
        assert tasks.client is client


def test_an_address_is_connected_to(client: Client) -> None:
    with open_tasks(in_memory=False, address=client.scheduler.address) as tasks:
        assert isinstance(tasks, OnCluster)
        assert tasks.client.scheduler.address == client.scheduler.address


def test_a_local_cluster_listens_on_the_loopback_only() -> None:
    with open_tasks(in_memory=False, n_workers=1) as tasks:
        me = psutil.Process()
        listening = [
            connection.laddr.ip
            for process in (me, *me.children(recursive=True))
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening
        assert set(listening) == {"127.0.0.1"}
        assert tasks.dashboard_link is not None
        assert tasks.dashboard_link.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("content", "told"),
    [('__version__ = "0.0.1"', "0.0.1"), ('raise ImportError("not here")', "none")],
)
def test_workers_without_this_version_are_named(tmp_path: Path, content: str, told: str) -> None:
    """A real worker process that finds another package of that name, or none."""
    shadow = tmp_path / "dfmr_dask"
    shadow.mkdir()
    (shadow / "__init__.py").write_text(content)
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as one,
    ):
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        options = ["--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        worker = subprocess.Popen(
            [*command, *options], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}
        )
        try:
            one.wait_for_workers(1, timeout=60)
            with pytest.raises(WorkersDiffer, match=rf"tcp://127\.0\.0\.1:\d+ has {told}"):
                check_workers(one)
        finally:
            worker.terminate()
            worker.wait(30)


def start_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes take half a second more to start, from now on."""
    at_once = AsyncProcess.start

    async def late(process: AsyncProcess) -> None:
        await asyncio.sleep(0.5)
        await at_once(process)

    monkeypatch.setattr(AsyncProcess, "start", late)


def test_a_cluster_is_closed_once_no_worker_is_being_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run whose last task killed its worker must not end with an error of Dask's."""
    seen: list[Status] = []
    with local_cluster(n_workers=1) as cluster, Client(cluster, set_as_default=False) as one:
        closing = cluster.close
        start_late(monkeypatch)
        (nanny,) = cluster.workers.values()
        monkeypatch.setattr(cluster, "close", lambda: seen.append(nanny.process.status))
        dying = one.submit(os._exit, 1, pure=False)
        while nanny.process.status is not Status.starting:
            time.sleep(0.001)
        del dying
    closing()
    assert seen == [Status.running]


def test_a_worker_comes_back_however_long_that_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "0.1s"}),
        local_cluster(n_workers=1) as cluster,
        Client(cluster, set_as_default=False) as one,
    ):
        start_late(monkeypatch)
        (first,) = one.nthreads()
        dying = one.submit(os._exit, 1, pure=False)
        while first in one.nthreads():
            time.sleep(0.01)
        del dying
        one.wait_for_workers(1, timeout=60)
        assert first not in one.nthreads()
        assert len(cluster.workers) == 1  # and nobody has given it up


def test_workers_with_this_version_pass(client: Client) -> None:
    check_workers(client)


@pytest.mark.parametrize("where", ["here", "cluster"])
def test_a_task_that_fails_is_a_value(client: Client, where: str) -> None:
    tasks = InProcess() if where == "here" else OnCluster(client)
    broken = tasks.submit("fit", (0,), fail, "no such chunk")
    fine = tasks.submit("fit", (1,), add, 1, 2)
    results = dict(tasks.results({0: broken, 1: fine}))
    assert results == {0: Failure("ValueError: no such chunk"), 1: 3}


@pytest.mark.parametrize("where", ["here", "cluster"])
def test_handles_and_shared_values_are_resolved(client: Client, where: str) -> None:
    tasks = InProcess() if where == "here" else OnCluster(client)
    three = tasks.submit("fit", (0,), add, 1, 2)
    total = tasks.submit("fit", (1,), add, three, tasks.share(4))
    assert dict(tasks.results({5: total})) == {5: 7}


def test_a_script_without_a_main_guard_is_told_what_to_do(tmp_path: Path) -> None:
    script = tmp_path / "plain.py"
    script.write_text(
        "from dfmr_dask.run.cluster import open_tasks\n"
        "with open_tasks(in_memory=False, n_workers=1):\n    pass\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    assert "ClusterFailed" in done.stderr.splitlines()[-1]
    assert "if __name__ == '__main__':" in done.stderr.splitlines()[-1]


def test_the_dashboard_is_told_of_a_client_that_was_not_there(client: Client) -> None:
    told: list[str] = []
    with client.as_current(), open_tasks(in_memory=False, say=told.append):
        assert told == []
    with open_tasks(in_memory=False, address=client.scheduler.address, say=told.append):
        assert told == [f"dashboard: {client.dashboard_link}"]
