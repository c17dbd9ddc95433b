"""``kill -9`` at any moment: nothing half done looks whole, and the same command goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dfmr_dask.data.files import read_mixture
from dfmr_dask.errors import RunUnfinished
from dfmr_dask.run.ledger import Ledger
from tests.command.calls import CONFIGS, SMALL

SETTINGS = [*SMALL["out-of-core"], "simulate.rows=24000"]
COMMAND = """
from distributed import Client
from dfmr_dask.command.cli import main
import sys
with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None):
    main(sys.argv[1:])
"""
MOMENTS: dict[str, Callable[[Path], bool]] = {
    "the start": lambda run: (run / "run.json").is_file(),
    "the fits": lambda run: len(list((run / "messages").glob("*.npz"))) > 2,
    "the labels": lambda run: (run / "model.npz").is_file(),
}


def begun(folder: Path) -> subprocess.Popen[bytes]:
    sets = [part for value in SETTINGS for part in ("--set", value)]
    args = ["run", str(CONFIGS / "out-of-core.yaml"), *sets, "--set", f"run.folder={folder}"]
    environment = {**os.environ, "PYTHONPATH": str(CONFIGS.parent)}
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )


def kill_when(folder: Path, there: Callable[[], bool]) -> bool:
    """Kill a run at a moment; tell whether it came to that."""
    process = begun(folder)
    while process.poll() is None and not there():
        time.sleep(0.002)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def finish(folder: Path) -> tuple[bytes, ...]:
    """Run to the end, and return all that tells one result from another."""
    process = begun(folder)
    told = process.communicate()[1]
    assert process.returncode == 0, told.decode()
    ledger = Ledger.open(folder)
    labels = xr.open_zarr(folder / "labels.zarr", chunks=None)["label"].values
    model = read_mixture(folder / "model.npz")
    assert np.array_equal(ledger.model().weights, model.weights)
    arrays = [model.weights, *model.params.values(), labels]
    return (*(array.tobytes() for array in arrays), str(ledger.summary()["kept"]).encode())


def check_unfinished(folder: Path) -> None:
    with pytest.raises(RunUnfinished):
        Ledger.open(folder)
    assert not (folder / "summary.json").exists()
    if (folder / "labels.zarr").exists():  # renamed when they are whole, before the summary
        assert (xr.open_zarr(folder / "labels.zarr", chunks=None)["label"].values >= 0).all()


@pytest.mark.slow
def test_a_run_killed_at_each_stage_ends_as_one_that_never_was(here: Path) -> None:
    whole = finish(here / "whole")
    folder = here / "killed"
    for reached in MOMENTS.values():
        if kill_when(folder, lambda reached=reached: reached(folder)):
            check_unfinished(folder)
    assert finish(folder) == whole


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_run_killed_at_random_times_ends_as_one_that_never_was(here: Path, seed: int) -> None:
    began = time.monotonic()
    whole = finish(here / "whole")
    usual = time.monotonic() - began
    rng = np.random.default_rng(seed)
    for _ in range(5):
        end = time.monotonic() + rng.uniform(0.2, 1.0) * usual
        if kill_when(here / "killed", lambda end=end: time.monotonic() > end):
            check_unfinished(here / "killed")
    assert finish(here / "killed") == whole
