"""Runs of stores whose pieces are not alike, through the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
import yaml
import zarr

from dfmr_dask.experiments.populations import dithered
from dfmr_dask.randomness import Stage, generator
from tests.command.calls import dfmr

CHUNK = (27, 40)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture in tiles, a configuration, and its run."""
    folder = tmp_path_factory.mktemp("tiles")
    picture = dithered("china.jpg", 4, generator(1, Stage.SIMULATE))
    shape = picture.shape
    zarr.create_array(
        folder / "tiles.zarr",
        data=picture,
        chunks=(*CHUNK, 3),
        dimension_names=("y", "x", "channel"),
    )
    config: dict[str, Any] = {
        "source": {"path": str(folder / "tiles.zarr"), "features": "channel"},
        "mixture": {"n_components": 3},
        "run": {"folder": str(folder / "run")},
        "labels": {"write": False},
        "cluster": {"n_workers": 1},
    }
    (folder / "c.yaml").write_text(yaml.safe_dump(config))
    assert shape[:2] == (107, 160)
    assert dfmr("run", str(folder / "c.yaml")) == 0
    return folder


def test_a_run_says_which_way_it_took_and_leaves_the_pieces(place: Path, capsys: Any) -> None:
    assert dfmr("show", str(place / "run")) == 0
    text = capsys.readouterr().out
    for said in ("rows are fitted in interleaved partitions", "group 0:", "Doubts"):
        assert said in text
    summary = json.loads((place / "run" / "summary.json").read_text())
    assert summary["plan"] == "interleaved"
    assert summary["likeness"]["route"] == "unlike"
    assert sum(map(len, summary["likeness"]["groups"])) == 16
    assert xr.open_zarr(summary["files"]["pieces"]).sizes == {"piece": 16}
    assert all(Path(file).exists() for file in summary["files"].values())


def test_the_same_command_finds_nothing_left_to_do(place: Path, capsys: Any) -> None:
    assert dfmr("run", str(place / "c.yaml")) == 0
    assert "nothing is computed" in capsys.readouterr().err


def test_its_messages_are_aggregated_again_as_they_were(place: Path, capsys: Any) -> None:
    assert dfmr("aggregate", str(place / "run"), "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["aggregator"] == "vanilla"
    assert len(again["kept"]) == 8
    assert again["likeness"]["route"] == "unlike"
    assert dfmr("aggregate", str(place / "run"), "--aggregator", "dfmr", "--json") == 0
    assert json.loads(capsys.readouterr().out)["aggregator"] == "dfmr"


def test_the_plan_tells_both_ways_and_samples_tell_which(place: Path, capsys: Any) -> None:
    assert dfmr("plan", str(place / "c.yaml")) == 0
    text = capsys.readouterr().out
    assert "plan        auto: chunks where samples find them alike" in text
    assert "otherwise   8 interleaved partitions" in text
    assert dfmr("plan", str(place / "c.yaml"), "--sample") == 0
    text = capsys.readouterr().out
    assert "rows are fitted in interleaved partitions" in text
    assert "plan        interleaved" in text
    forced = ("--set", "source.plan=chunks", "--sample", "--json")
    assert dfmr("plan", str(place / "c.yaml"), *forced) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["likeness"] is None
    assert found["otherwise"] is None
    assert found["plan"] == found["taken"]["plan"] == "chunks"


def test_another_treatment_of_places_is_another_run(place: Path, capsys: Any) -> None:
    assert dfmr("run", str(place / "c.yaml"), "--set", "aggregate.places=drop") == 2
    assert 'fit.places was "flag", is "drop"' in capsys.readouterr().err
