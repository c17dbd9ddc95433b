"""``dfmr show --watch``: a run is followed from elsewhere, whatever becomes of it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import dfmr_dask
from dfmr_dask import GaussianMixture
from dfmr_dask.errors import NewerRun, RunUnfinished
from dfmr_dask.run.events import Event
from dfmr_dask.run.ledger import DESCRIPTION, EVENTS, SUMMARY, Ledger
from dfmr_dask.run.lock import is_held, locked
from dfmr_dask.show.watching import Tail, watch
from tests.command.calls import dfmr

HOLDING = """import sys, time, pathlib
from dfmr_dask.run.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of data in memory."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-5, 1, (1800, 2)), rng.normal(5, 1, (1800, 2))])
    GaussianMixture(2, random_state=0, n_partitions=12).fit(x, run=folder)
    return folder


@pytest.fixture
def cut(finished: Path, tmp_path: Path) -> Path:
    """The same, as it would be had it been killed among its fits."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    (folder / SUMMARY).unlink()
    lines = (folder / EVENTS).read_text().splitlines()
    last = max(i for i, line in enumerate(lines) if '"stage":"fit"' in line)
    (folder / EVENTS).write_text("\n".join(lines[: last + 1]) + '\n{"stage":"fi')
    return folder


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that works in a folder."""
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(folder)], stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.send_signal(signal.SIGKILL)


def test_a_finished_run_shows_its_summary(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dfmr("show", str(finished), "--watch") == 0
    watched = capsys.readouterr().out
    assert dfmr("show", str(finished)) == 0
    assert watched == capsys.readouterr().out
    assert dfmr("show", str(finished), "--watch", "--json") == 0
    assert json.loads(capsys.readouterr().out)["partitions"] == 12


@pytest.mark.parametrize("more", [(), ("--watch",)])
def test_a_folder_that_is_no_run_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    assert dfmr("show", str(tmp_path), *more) == 1
    assert f"{tmp_path} holds no run: there is no {DESCRIPTION}" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--watch",)])
def test_a_run_that_was_killed_is_told_from_one_that_is_going(
    cut: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    assert dfmr("show", str(cut), *more) == 1
    told = capsys.readouterr().err
    assert "was killed, or its machine went down (fit 12/12" in told
    assert "The command that began it goes on where it stopped" in told


def test_a_run_that_is_going_says_how_far_it_is(
    cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(cut):
        assert dfmr("show", str(cut)) == 1
        told = capsys.readouterr().err
        assert f"the run in {cut} is still going (fit 12/12" in told
        assert "Follow it with --watch" in told
        with pytest.raises(RunUnfinished, match="still going"):
            Ledger.open(cut)


def test_a_run_that_ended_with_an_error_says_which(
    cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closing = Event("run", 0, 0, facts={"finished": True, "failed_with": "TooFewMessages: 3 of 9"})
    with (cut / EVENTS).open("a") as file:
        file.write("\n" + closing.to_json() + "\n")
    assert dfmr("show", str(cut), "--watch") == 1
    assert "ended with TooFewMessages: 3 of 9 (fit 12/12" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--watch",)])
def test_a_run_of_a_later_version_is_refused_with_what_to_do(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    told = json.loads((folder / DESCRIPTION).read_text())
    told |= {"schema": 99, "identity": {**told["identity"], "package": "77.1"}}
    (folder / DESCRIPTION).write_text(json.dumps(told))
    assert dfmr("show", str(folder), *more) == 1
    error = capsys.readouterr().err
    assert "dfmr-dask 77.1" in error and f"this is {dfmr_dask.__version__}" in error
    assert "Install that version" in error
    with pytest.raises(NewerRun):
        Ledger(folder).description()


def test_a_run_of_an_earlier_version_without_a_schema_is_read(
    finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    told = json.loads((folder / DESCRIPTION).read_text())
    del told["schema"]
    (folder / DESCRIPTION).write_text(json.dumps(told))
    (folder / EVENTS).unlink()
    assert dfmr("show", str(folder), "--watch") == 0


def test_a_run_is_followed_to_its_end(finished: Path, tmp_path: Path) -> None:
    """Its events arrive while it goes on, half a line at a time; then it is finished."""
    folder, seen = tmp_path / "run", list[Event]()
    shutil.copytree(finished, folder)
    summary, whole = (folder / SUMMARY).read_bytes(), (folder / EVENTS).read_bytes()
    (folder / SUMMARY).unlink()
    (folder / EVENTS).write_bytes(b"")
    with held(folder):
        follower = threading.Thread(target=watch, args=(folder, seen.append), kwargs={"poll": 0.01})
        follower.start()
        with (folder / EVENTS).open("ab", buffering=0) as file:
            for at in range(0, len(whole), 1000):
                file.write(whole[at : at + 1000])
                time.sleep(0.01)
        assert follower.is_alive()
        (folder / SUMMARY).write_bytes(summary)
        follower.join(20)
        assert not follower.is_alive()
    assert seen == [Event.from_json(line) for line in whole.splitlines()]


def test_a_run_that_is_killed_while_somebody_follows(cut: Path) -> None:
    found: list[BaseException] = []

    def follow() -> None:
        try:
            watch(cut, lambda event: None, poll=0.01, gone=0.2)
        except RunUnfinished as error:
            found.append(error)

    with held(cut) as other:
        follower = threading.Thread(target=follow)
        follower.start()
        time.sleep(0.5)
        assert follower.is_alive()
        other.send_signal(signal.SIGKILL)
        follower.join(20)
    assert "was killed" in str(found[0])


def test_a_file_that_another_run_replaces_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / EVENTS
    tail = Tail(path)
    assert list(tail.news()) == []
    path.write_text(Event("fit", 1, 9).to_json() + "\n")
    assert [event.done for event in tail.news()] == [1]
    other = tmp_path / "other"
    other.write_text(Event("fit", 5, 9).to_json() + "\n")
    other.replace(path)
    assert [event.done for event in tail.news()] == [5]
    path.unlink()
    assert list(tail.news()) == []


def test_looking_whether_a_folder_is_held_turns_nobody_away(tmp_path: Path) -> None:
    looking = threading.Event()

    def look() -> None:
        while not looking.is_set():
            is_held(tmp_path)

    assert not is_held(tmp_path)
    watcher = threading.Thread(target=look)
    watcher.start()
    for _ in range(50):
        with locked(tmp_path):
            assert is_held(tmp_path)
    looking.set()
    watcher.join()
    assert not is_held(tmp_path)
