"""The page's part on the scheduler: what it hears, what it answers, and what may be refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from dfmr_dask.show.dashboard import install, open_shown_tasks
from dfmr_dask.show.monitor import MOST_RUNS, NAME, Monitor
from tests.run.test_real_clusters import process, scheduler
from tests.show.told_runs import known_after, tell, told_run


@pytest.fixture
def client(dashboard: str | None) -> Iterator[Client]:
    """A scheduler in this process, without workers."""
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=dashboard) as cluster,
        Client(cluster, set_as_default=False) as one,
    ):
        yield one


@pytest.fixture
def dashboard() -> str | None:
    return "127.0.0.1:0"


def base(client: Client) -> str:
    return str(client.dashboard_link).removesuffix("/status")


def read(address: str) -> str:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return str(answer.read().decode())


def told(client: Client, token: str = "") -> Any:
    return json.loads(read(f"{base(client)}/json/dfmr.json?token={token}"))


def links(client: Client) -> list[str]:
    return re.findall(r'href="(dfmr)"', read(f"{base(client)}/status"))


def test_the_route_tells_what_runs_told_and_all_pages_have_one_link(client: Client) -> None:
    assert install(client) == install(client) == f"{base(client)}/dfmr"
    assert told(client)["run"] is None
    for name in ("first", "second"):
        tell(client, name, told_run(40, name=name))
    install(client)  # as the next run does: what is there remains
    assert links(client) == ["dfmr"]
    answer = told(client)
    assert (answer["page"], answer["refused"], answer["token"]) == ("/dfmr", "", "second")
    assert list(answer["runs"]) == ["first", "second"]
    expected = known_after(told_run(40, name="first"))
    found = told(client, "first")["run"]
    assert found["partitions"] == expected["partitions"]
    assert found["provisional"] == json.loads(json.dumps(expected["provisional"]))


def test_what_was_told_before_the_page_came_is_read_then(client: Client) -> None:
    tell(client, "early", told_run(40))
    install(client)
    assert told(client)["token"] == "early"


def test_what_is_no_event_harms_nobody(client: Client) -> None:
    install(client)
    for message in ("text", {"token": "a"}, {"token": "a", "events": ["no line"]}, [1]):
        client.log_event(NAME, message)
    tell(client, "b", told_run(40))
    assert told(client)["token"] == "b"


def test_a_scheduler_remembers_the_last_runs_alone() -> None:
    monitor = Monitor()
    lines = [event.to_json() for event in told_run(12)]
    for i in range(MOST_RUNS + 3):
        monitor.log_event(NAME, {"token": str(i), "events": lines})
        monitor.log_event(NAME, {"token": "0", "events": lines[-1:]})
    assert len(monitor.runs) == MOST_RUNS
    assert {"0", str(MOST_RUNS + 2)} <= set(monitor.runs)  # the one that goes on, and the newest
    assert monitor.run() is monitor.runs[str(MOST_RUNS + 2)]


@pytest.mark.filterwarnings("ignore:Port 8787 is already in use")
@pytest.mark.parametrize("dashboard", [None])
def test_where_nobody_wanted_a_dashboard_the_route_remains(client: Client) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert install(client) is None
    tell(client, "a", told_run(40))
    answer = told(client)
    assert answer["page"] is None
    assert answer["refused"] == "this scheduler has no dashboard"
    assert answer["run"]["counts"]["failed"] == 4


def test_a_dashboard_that_refuses_is_warned_of_and_the_route_remains(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("distributed.dashboard.core.BokehApplication")  # as in another version
    with pytest.warns(UserWarning, match="does not show this run: ImportError"):
        assert install(client) is None
    tell(client, "a", told_run(40))
    assert told(client)["run"]["counts"]["failed"] == 4
    assert links(client) == []


def test_a_scheduler_without_the_package_is_warned_of(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden" / "dfmr_dask"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('No module named dfmr_dask')")
    place = tmp_path / "scheduler.json"
    command = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    command += ["--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(place)]
    with (
        process(command, path=str(hidden.parent), cwd=tmp_path),
        Client(scheduler_file=str(place), set_as_default=False) as client,
        pytest.warns(UserWarning, match="ModuleNotFoundError: No module named dfmr_dask"),
    ):
        assert install(client) is None


def test_a_scheduler_that_was_told_beforehand_has_the_page_at_once(tmp_path: Path) -> None:
    place = str(tmp_path / "scheduler.json")
    with (
        scheduler(tmp_path, "--preload", "dfmr_dask.show.monitor"),
        Client(scheduler_file=place, set_as_default=False) as client,
    ):
        assert links(client) == ["dfmr"]
        assert "dfmr-figure" in read(f"{base(client)}/dfmr")
        tell(client, "a", told_run(40))
        assert install(client) == f"{base(client)}/dfmr"
        assert told(client)["token"] == "a"


def test_a_new_cluster_says_where_its_page_is_and_data_in_memory_have_none() -> None:
    said: list[str] = []
    with open_shown_tasks(in_memory=False, n_workers=1, say=said.append) as tasks:
        assert said == [
            f"dashboard: {tasks.dashboard_link}",
            f"this run: {base(tasks.client)}/dfmr",
        ]
    with open_shown_tasks(in_memory=True, say=said.append):
        assert len(said) == 2


def test_a_scheduler_imports_little_for_it() -> None:
    script = "import sys, dfmr_dask.show.monitor; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ
    )
    heavy = {"numba", "scipy", "sklearn", "zarr", "xarray", "pandas", "matplotlib", "bokeh"}
    assert not heavy & set(done.stdout.split())
