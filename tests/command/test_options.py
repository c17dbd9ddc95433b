"""Options of the aggregation that a configuration and the command line name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.command.calls import dfmr

CONFIG = """
source: {path: rows.zarr, rows_per_partition: 250}
simulate: {kind: gaussian, rows: 3000, n_components: 3, n_features: 2, chunk_rows: 250}
mixture: {n_components: 3}
aggregate: {polish: 2}
labels: {write: false}
run: {folder: runs/a}
"""


def test_a_run_polishes_and_its_messages_are_judged_component_by_component(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(CONFIG)
    assert dfmr("simulate", "a.yaml") == 0
    capsys.readouterr()
    assert dfmr("run", "a.yaml", "--json") == 0
    ran = json.loads(capsys.readouterr().out)
    assert "polish" in ran["seconds"]
    assert ran["polishing_passes"] <= 2
    assert (ran["polishing_passes"] == 2) != any("polishing passes" in n for n in ran["notes"])
    assert ran["unit"] == "partition"
    assert dfmr("aggregate", "runs/a", "--unit", "component", "--json") == 0
    again = json.loads(capsys.readouterr().out)
    assert again["unit"] == "component"
    assert not again["certified"]
    weights = [[one["weight"] for one in found["components"]] for found in (ran, again)]
    assert weights[1] == pytest.approx(weights[0], abs=0.05)
    assert np.isclose(sum(weights[1]), 1.0)
    assert dfmr("aggregate", "runs/a", "--unit", "component", "--gate", "l2") == 2
    assert "whole machines" in capsys.readouterr().err
    assert dfmr("aggregate", "runs/a", "--unit", "row") == 2
    assert "aggregate.unit" in capsys.readouterr().err
