"""``dfmr predict``: several answers in one pass, bad blocks named, and a second call goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from dfmr_dask.command import finished
from dfmr_dask.data.files import read_mixture
from dfmr_dask.run.label_store import write_answers
from dfmr_dask.run.labelling import labels, log_density, posterior
from tests.command.calls import dfmr

CHUNK = 500


def rows(n: int) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 2)) + 6.0 * rng.integers(0, 2, (n, 1))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    here, before = tmp_path_factory.mktemp("predict"), Path.cwd()
    os.chdir(here)
    zarr.create_array("a.zarr", data=rows(6000), chunks=(CHUNK, 2))
    Path("r.yaml").write_text(
        "{source: {path: a.zarr}, mixture: {n_components: 2}, run: {folder: r}, "
        "cluster: {n_workers: 1}}"
    )
    assert dfmr("run", "r.yaml") == 0
    yield here
    os.chdir(before)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a chunk of the small store be a block."""
    monkeypatch.setattr(finished, "write_answers", partial(write_answers, block_bytes=16 * CHUNK))


def test_several_answers_are_written_in_one_pass(ran: Path) -> None:
    what = [part for name in ("posterior", "labels", "log_density") for part in ("--what", name)]
    assert dfmr("predict", "r", "a.zarr", "all.zarr", *what) == 0
    found = xr.open_zarr("all.zarr", mask_and_scale=False)
    model = read_mixture("r/model.npz")
    assert set(found.data_vars) == {"label", "posterior", "log_density"}
    for name, ask in {"label": labels, "posterior": posterior, "log_density": log_density}.items():
        np.testing.assert_array_equal(found[name].values, ask(model, rows(6000)))
    run = xr.open_zarr("r/labels.zarr", mask_and_scale=False)
    assert np.array_equal(found["label"].values, run["label"].values)


def test_bad_blocks_are_named_and_fail_only_a_strict_call(
    ran: Path, small_blocks: None, capsys: pytest.CaptureFixture[str]
) -> None:
    zarr.create_array("b.zarr", data=rows(6000), chunks=(CHUNK, 2))
    Path("b.zarr/c/3/0").write_bytes(b"rubbish")
    assert dfmr("predict", "r", "b.zarr", "bad.zarr", "--strict") == 1
    assert "1 of 12 blocks could not be read; row 1500:2000" in capsys.readouterr().err
    assert not Path("bad.zarr").exists()
    assert dfmr("predict", "r", "b.zarr", "bad.zarr") == 0
    out, told = capsys.readouterr()
    assert out == "bad.zarr\n"
    assert "1 of 12 blocks could not be read:\n  row 1500:2000: " in told
    found = xr.open_zarr("bad.zarr", mask_and_scale=False)["label"].values
    assert (found[1500:2000] == -1).all()
    assert (np.delete(found, slice(1500, 2000)) >= 0).all()


def test_an_interrupted_call_says_where_it_stands_and_the_next_one_goes_on(
    ran: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Any] = []

    def until(*args: Any, stop: int, emit: Any, **keys: Any) -> Any:
        def told(event: Any) -> None:
            seen.append(event)
            if event.done == stop:
                raise KeyboardInterrupt

        return write_answers(*args, emit=told, block_bytes=16 * CHUNK, **keys)

    monkeypatch.setattr(finished, "write_answers", partial(until, stop=4))
    assert dfmr("predict", "r", "a.zarr", "c.zarr") == 130
    assert "call again to go on" in capsys.readouterr().err
    assert not Path("c.zarr").exists()
    seen.clear()
    monkeypatch.setattr(finished, "write_answers", partial(until, stop=-1))
    assert dfmr("predict", "r", "a.zarr", "c.zarr", "--what", "posterior") == 1
    assert "differ in answers" in capsys.readouterr().err
    assert dfmr("predict", "r", "a.zarr", "c.zarr") == 0
    assert seen[0].text == "going on"
    assert len(seen) < 12
    model = read_mixture("r/model.npz")
    found = xr.open_zarr("c.zarr", mask_and_scale=False)["label"].values
    assert np.array_equal(found, labels(model, rows(6000)))


def test_labels_are_replaced_on_demand_and_urls_refused(
    ran: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dfmr("predict", "r", "a.zarr", "d.zarr") == 0
    assert dfmr("predict", "r", "a.zarr", "d.zarr", "--what", "log_density") == 1
    assert "--overwrite" in capsys.readouterr().err
    again = ("--what", "log_density", "--overwrite")
    assert dfmr("predict", "r", "a.zarr", "d.zarr", *again) == 0
    assert set(xr.open_zarr("d.zarr").data_vars) == {"log_density"}
    assert dfmr("predict", "r", "a.zarr", "s3://bucket/labels.zarr") == 1
    assert "is a URL" in capsys.readouterr().err
    assert dfmr("predict", "r", "a.zarr", "a.zarr", "--overwrite") == 1
    assert "holds something else" in capsys.readouterr().err


@pytest.mark.slow
def test_killed_with_its_cluster_it_leaves_nothing_that_looks_whole(ran: Path) -> None:
    many, once = 24_000_000, 1_000_000
    array = zarr.create_array("big.zarr", shape=(many, 2), chunks=(once, 2), dtype="f4")
    for start in range(0, many, once):
        array[start : start + once] = rows(once).astype("f4") + np.float32(start % 7)
    call = [sys.executable, "-m", "dfmr_dask", "predict", "r", "big.zarr", "big-labels.zarr"]
    working = Path(".big-labels.zarr.partial")
    for chunks in (0, 1, 3):
        with subprocess.Popen(call) as other:
            while len(list(working.glob("*/label/c/*"))) < chunks or not working.exists():
                assert other.poll() is None
                time.sleep(0.01)
            other.send_signal(signal.SIGKILL)
        assert not Path("big-labels.zarr").exists()
    assert subprocess.run(call, check=False).returncode == 0
    assert not working.exists()
    found = xr.open_zarr("big-labels.zarr", mask_and_scale=False)["label"]
    model = read_mixture("r/model.npz")
    for start in range(0, many, once):
        expected = labels(model, array[start : start + once])
        assert np.array_equal(found[start : start + once].values, expected)
