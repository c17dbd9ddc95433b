"""``dfmr select``, and runs that are asked for ``n_components: auto``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
import zarr

from dfmr_dask.command.config import configuration
from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.experiments.overlap import population_with_overlap
from tests.command.calls import dfmr

K = 3
ROWS = population_with_overlap(K, 2, 0.01, seed=1).sample(4800, np.random.default_rng(0))[0]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("auto")
    zarr.create_array(folder / "rows.zarr", data=ROWS, chunks=(400, 2))
    told = {
        "source": {"path": str(folder / "rows.zarr")},
        "mixture": {"n_components": "auto", "max_components": 5},
        "labels": {"write": False},
        "cluster": {"n_workers": 2},
        "run": {"folder": str(folder / "run")},
    }
    path = folder / "auto.yaml"
    path.write_text(yaml.safe_dump(told))
    return path


def test_a_run_shows_the_curve_and_draws_it(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dfmr("run", str(config)) == 0
    told = capsys.readouterr().out
    assert f"Order       {K} components: the smallest BIC" in told
    assert f"  *  {K}" in told
    folder = config.parent / "run"
    assert (folder / "selection.png").stat().st_size > 10_000
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["selection"]["n_components"] == K == len(summary["components"])
    assert summary["files"]["selection_picture"] == str(folder / "selection.png")
    assert dfmr("aggregate", str(folder), "--aggregator", "vanilla", "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["selection"] == summary["selection"]


def test_select_fits_nothing(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--set", "mixture.n_components=2", "--set", f"run.folder={tmp_path / 'none'}"]
    assert dfmr("select", str(config), *words, "--json", "--out", str(tmp_path / "out")) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["n_components"] == K
    assert not (tmp_path / "none").exists()
    assert json.loads((tmp_path / "out" / "selection.json").read_text()) == told
    assert (tmp_path / "out" / "selection.png").exists()


def test_select_takes_what_a_component_must_bring(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dfmr("select", str(config), "--min-gain", "100") == 0
    told = capsys.readouterr().out
    assert "1 components: one more component gains" in told


def test_select_refuses_what_does_not_fit(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dfmr("select", str(config), str(config)) == 2
    assert dfmr("select", str(tmp_path), "--set", "run.seed=1") == 2
    assert dfmr("select", str(config), "--out", str(config)) == 2
    assert dfmr("select", str(tmp_path / "none.yaml")) == 2
    assert dfmr("select", str(tmp_path)) == 1
    assert "no site's fit lies in" in capsys.readouterr().err


@pytest.mark.parametrize(
    "mixture",
    [{"n_components": "automatic"}, {"n_components": 0}, {"n_components": 2, "min_gain": -1.0},
     {"n_components": "auto", "max_components": 0}],
)  # fmt: skip
def test_other_words_are_refused(mixture: dict[str, object]) -> None:
    with pytest.raises(InvalidConfiguration, match=r"mixture\."):
        configuration({"source": {"path": "a"}, "mixture": mixture, "run": {"folder": "b"}})
