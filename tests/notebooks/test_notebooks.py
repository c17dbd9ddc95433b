"""The notebooks run from top to bottom, small, and what each of them tells is true."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 400_000  # of a notebook with its pictures
LONG = ("attacks", "bike_share", "digits", "ocean")  # run with the slow tests

# What a reader is told, as statements about what the notebook has computed
STORIES: Mapping[str, str] = {
    "quickstart": """
assert sorted(model.verdict_.dropped) == bad.tolist()
assert model.score(good) > everything.score(good) + 0.1
assert labels.dims == ("y", "x") and labels.shape == china.shape[:2]
""",
    "bike_share": """
assert set(broken.values()) == {"swapped coordinates", "wrong unit", "no position"}
assert set(model.verdict_.dropped) == set(broken) <= set(strict.verdict_.dropped)
inside = (model.means_ > extent[::2]) & (model.means_ < extent[1::2])
assert inside.all()
assert not ((plain.means_ > extent[::2]) & (plain.means_ < extent[1::2])).all()
assert meters.min() < 130 < meters.max()  # a single dock, no wider than the blur
assert labels.dims == ("month", "trip") and set(labels.coords) == {"month"}
""",
    "digits": """
for what, values in ari.items():
    assert values.loc["dfmr", 0.4] > values.loc["vanilla", 0.4]
    assert values.loc["dfmr", 0.4] > values.loc["oracle", 0.4] - 0.02
    assert values.loc["median unaligned"].max() < 0.3 < values.loc["median"].min()
assert sorted(merged["dfmr"].verdict.dropped) == list(liars)
""",
    "ocean": """
assert model.likeness_.route == "unlike" and not model.verdict_.certified
assert {i for i, kind in broken.items() if kind == "stuck"} <= set(model.likeness_.misplaced)
assert scores["all tiles"] < min(scores["misplaced tiles left out"], scores["no sensor broken"])
assert labels.dims == data.temperature.dims
assert ((labels == -1) == data.temperature.isnull()).all()
assert (labels.time == data.time).all() and (labels.depth == data.depth).all()
""",
    "attacks": """
assert error(averaged, truth_of_two) > 5 * error(reduced, truth_of_two)
assert not set(found["mean"].verdict.kept) & set(liars)
assert not set(found["needle"].verdict.kept) & set(liars)
assert set(found["permute"].verdict.kept) >= set(liars)
assert len(found["malformed"].verdict.failed) == len(liars)
assert all(cost[name][0] < 1.2 < cost[name][1] for name in ("mean", "data", "collude", "wide"))
assert kept[0] == 1 and kept[-1] == 0
""",
}


def test_there_is_a_quickstart() -> None:
    assert "quickstart" in [path.stem for path in NOTEBOOKS]
    assert set(STORIES) <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in LONG else [])
        for path in NOTEBOOKS
    ],
)
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFMR_NOTEBOOK_SIZE", "small")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(STORIES.get(path.stem, "")))
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    said = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    assert not [o for o in said if o.get("name") == "stderr"], "a cell wrote to standard error"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_what_is_stored_of_a_notebook_is_small_and_says_nothing_of_the_machine(path: Path) -> None:
    text = path.read_text()
    assert len(text) < MOST_BYTES
    for word in ("/tmp", "/home", "/root", "127.0.0.1:", "Traceback"):
        stored = [o for cell in json.loads(text)["cells"] for o in cell.get("outputs", [])]
        assert word not in json.dumps([{**o, "data": _words(o)} for o in stored])


def _words(output: Mapping[str, object]) -> dict[str, object]:
    """Return what an output says, without its pictures."""
    data = output.get("data", {})
    assert isinstance(data, dict)
    return {kind: value for kind, value in data.items() if not kind.startswith("image/")}
