"""What is refused: before anything is made or lost, with the key that is to blame."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from dfmr_dask.command import jobs
from dfmr_dask.run.ledger import Ledger
from tests.command.calls import CONFIGS, dfmr, run_small

OUT_OF_CORE = str(CONFIGS / "out-of-core.yaml")
# The command, hearing Ctrl-C even where tests run in the background of a shell, deaf to it.
HEARING = """import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from dfmr_dask.command.cli import main
sys.exit(main(sys.argv[1:]))
"""


def sets(*overrides: str) -> list[str]:
    return [part for one in overrides for part in ("--set", one)]


def everything(folder: Path) -> dict[str, bytes]:
    files = [
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".lock")
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("overrides", "code", "words"),
    [
        (["mixture.n_component=3"], 2, "mixture.n_component: unknown key"),
        (["mixture.tol=-1"], 2, "mixture.tol: came -1"),
        (["source.path=nowhere.zarr", "simulate=null"], 1, "there is no"),
        (["mixture.n_components=900"], 1, "900 components"),
        (["picture=true", "labels.write=true"], 2, "picture: came True"),
        (["cluster.memory_per_worker=1MiB"], 2, "cluster.memory_per_worker: came 1.0 MiB"),
        (["aggregate.compare=[oracle]", "corruption=null"], 2, "aggregate.compare: came ('oracle'"),
        (
            ["corruption={attack: mean, fraction: .2, component: 9}"],
            2,
            "corruption.component: came (9,); wanted one that is there: component 9",
        ),
        (["source.features=nothing"], 2, "source: "),
        (["source.group=nothing"], 2, "source: "),
        (["source.n_partitions=99999"], 2, "source: n_partitions=99999"),
        (["source.n_partitions=5", "source.plan=chunks"], 2, "source.plan: came 'chunks', with n_"),
        (["labels={write: true, features: nothing}"], 2, "labels: "),
        (
            [
                "corruption={attack: data, fraction: .2, replacement: "
                "{path: data/paper-simulation.zarr, features: nothing}}"
            ],
            2,
            "corruption.replacement: ",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_before_a_folder_is_made(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    overrides: list[str],
    code: int,
    words: str,
) -> None:
    assert run_small("paper-simulation", *sets(*overrides)) == code
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told
    assert not Path("runs").exists()


def test_a_refused_command_costs_no_earlier_run(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_small("paper-simulation") == 0
    before = everything(Path("runs"))
    assert run_small("paper-simulation", *sets("mixture.n_components=900"), "--overwrite") == 1
    assert "900 components" in capsys.readouterr().err
    assert everything(Path("runs")) == before


def test_an_earlier_run_outlives_a_new_one_that_fails(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_small("paper-simulation") == 0
    earlier = everything(Path("runs/paper-simulation"))

    def full(*args: Any, **settings: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(jobs, "write_model", full)
        assert run_small("paper-simulation", "--overwrite") == 1
    told = capsys.readouterr().err
    assert "no space left on device" in told
    assert "runs/paper-simulation holds the unfinished run" in told
    (place,) = Path("runs/.paper-simulation.replaced").iterdir()
    assert str(place.parent) in told
    assert everything(place) == earlier
    assert dfmr("show", "runs/paper-simulation") == 1
    assert str(place.parent) in capsys.readouterr().err
    assert run_small("paper-simulation", "--overwrite") == 0
    assert [path.name for path in Path("runs").iterdir()] == ["paper-simulation"]
    assert dfmr("show", "runs/paper-simulation") == 0


def test_an_axis_number_names_the_features_as_in_python(here: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(3, 4000))
    zarr.create_array("wide.zarr", data=rows, chunks=(3, 500))
    config = Path("wide.yaml")
    config.write_text(
        "{source: {path: wide.zarr, features: 0}, mixture: {n_components: 1}, run: {folder: r}}"
    )
    assert dfmr("run", str(config)) == 0
    assert json.loads(Path("r/summary.json").read_text())["rows"] == 4000
    assert dfmr("predict", "r", "wide.zarr", "again.zarr") == 0
    assert zarr.open_group("again.zarr", mode="r")["label"].shape == (4000,)


@pytest.mark.parametrize(
    ("args", "place"),
    [
        (["run", OUT_OF_CORE, *sets("run.folder=file/r")], "file/r"),
        (["run", OUT_OF_CORE, *sets("source.path=file/a.zarr")], "file/a.zarr"),
        (["simulate", OUT_OF_CORE, *sets("source.path=file/a.zarr")], "file/a.zarr"),
        (["predict", "r", "a.zarr", "file/labels.zarr"], "file/labels.zarr"),
    ],
)
def test_places_where_nothing_can_be_made_are_noticed_at_once(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    place: str,
) -> None:
    Path("file").write_text("precious")
    monkeypatch.setattr(jobs, "open_shown_tasks", None)  # not even a cluster may be asked for
    assert dfmr(*args) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"dfmr: {place} cannot be written: ")
    assert "file is a file and no folder" in told
    assert [path.name for path in here.iterdir()] == ["file"]


def test_errors_that_nobody_thought_of_are_one_line_and_a_flag_shows_the_rest(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: Path) -> None:
        raise AssertionError("of https://me:hunter2@host/a")

    monkeypatch.setattr(Ledger, "open", broken)
    assert dfmr("show", "r") == 1
    told = capsys.readouterr().err
    assert told == (
        "dfmr: internal error: AssertionError: of https://host/a; run again with --debug for the "
        "traceback\n"
    )
    for args in (["--debug", "show", "r"], ["show", "r", "--debug"]):
        assert dfmr(*args) == 1
        told = capsys.readouterr().err
        assert "Traceback" in told
        assert "in broken" in told
        assert "hunter2" not in told


def interrupted(args: list[str], begun: str) -> tuple[int, str]:
    """Run the command, press Ctrl-C when a path is there, and return code and standard error."""
    process = subprocess.Popen(
        [sys.executable, "-c", HEARING, *args],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(CONFIGS.parent)},
    )
    while process.poll() is None and not list(Path().glob(begun)):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers, too
    _, told = process.communicate(timeout=60)
    return process.returncode, told


def beside_progress(told: str) -> list[str]:
    """Return the lines that tell of no stage, nor of the dashboard."""
    usual = re.compile(r"$|dashboard: |[a-z]+ (\d+/\d+|ended after )")
    return [line for line in told.splitlines() if not usual.match(line)]


def test_ctrl_c_leaves_no_store_and_says_so(here: Path) -> None:
    code, told = interrupted(["simulate", OUT_OF_CORE], "data/.*/*/c/*")  # of 40 million rows
    assert code == 130
    assert beside_progress(told) == ["dfmr: interrupted; nothing half done was left."]
    assert list(here.glob("data/*")) == []


def test_ctrl_c_in_a_run_says_what_is_left_and_nothing_else(here: Path) -> None:
    small = sets("simulate.rows=1000000", "source.rows_per_partition=200000")
    code, told = interrupted(["run", OUT_OF_CORE, *small], "runs/out-of-core/run.json")
    assert code == 130
    assert beside_progress(told) == [
        "dfmr: interrupted. runs/out-of-core holds the unfinished run: the same command goes on "
        "with it, --overwrite begins anew."
    ]
