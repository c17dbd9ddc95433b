"""A folder has one worker at a time, and is free when that one is gone, however it went."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dfmr_dask.errors import FolderBusy
from dfmr_dask.run.lock import LOCK, locked

HOLDING = """import sys, time, pathlib
from dfmr_dask.run.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_another_process_is_named_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(FolderBusy, match=f"process {other.pid} on ") as caught, locked(folder):
            raise AssertionError("two at once")
        assert str(folder) in str(caught.value)
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
        if other.stdout is not None:
            other.stdout.close()
    with locked(folder):
        assert "process" in (folder / LOCK).read_text()


def test_threads_exclude_each_other_and_errors_let_go(tmp_path: Path) -> None:
    found: list[BaseException] = []

    def try_it() -> None:
        try:
            with locked(tmp_path):
                pass
        except FolderBusy as error:
            found.append(error)

    with pytest.raises(KeyError), locked(tmp_path):
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
        raise KeyError
    assert len(found) == 1
    try_it()
    assert len(found) == 1


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(precious)
    with pytest.raises(OSError, match="lock"), locked(tmp_path / "run"):
        pass
    assert precious.read_text() == "kept"
