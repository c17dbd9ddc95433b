"""The command, end to end, on small stores: what it leaves, prints, and answers to errors."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import matplotlib.image as mpimg
import numpy as np
import pytest
import xarray as xr
import zarr

from dfmr_dask.data.files import read_mixture
from tests.command.calls import CONFIGS, dfmr, run_small


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The quickstart on every fifth pixel, and the summary that it wrote."""
    folder = tmp_path_factory.mktemp("quickstart")
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert run_small("quickstart") == 0
        return folder, json.loads(Path("runs/quickstart/summary.json").read_text())
    finally:
        os.chdir(before)


@pytest.fixture
def there(quickstart: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(quickstart[0])
    return quickstart[0]


def test_the_quickstart_throws_out_the_other_photograph(
    quickstart: tuple[Path, dict[str, Any]],
) -> None:
    summary = quickstart[1]
    byzantine = set(summary["byzantine"])
    assert len(byzantine) == int(0.3 * summary["partitions"])
    assert not byzantine & set(summary["kept"])
    assert len(summary["kept"]) > 0.5 * summary["partitions"]
    (vanilla,) = summary["compared"]
    assert vanilla["score"] < summary["score"]
    assert vanilla["labels_differ"] > 0.02


def test_the_quickstart_names_files_that_are_there(there: Path) -> None:
    summary = json.loads(Path("runs/quickstart/summary.json").read_text())
    assert set(summary["files"]) >= {"model", "partitions", "labels", "picture", "summary"}
    assert all(Path(path).exists() for path in summary["files"].values())
    assert read_mixture(summary["files"]["model"]).n_components == 4
    with Path(summary["files"]["partitions_csv"]).open() as file:
        table = list(csv.DictReader(file))
    assert [row["kept"] == "True" for row in table] == [
        i in summary["kept"] for i in range(summary["partitions"])
    ]


def test_the_labels_lie_on_the_grid_of_the_picture(there: Path) -> None:
    labels = xr.open_zarr("runs/quickstart/labels.zarr", mask_and_scale=False)
    grid = xr.open_zarr("data/quickstart.zarr", group="photograph", consolidated=False)["color"]
    assert labels["label"].dims == ("y", "x")
    assert labels["label"].shape == grid.shape[:2]
    assert np.array_equal(labels["y"], grid["y"])
    model = read_mixture("runs/quickstart/model.npz")
    expected = model.labels(grid.values.reshape(-1, 3)).reshape(grid.shape[:2])
    assert np.array_equal(labels["label"].values, expected)
    assert labels["label"].dtype == np.int16
    assert labels["label"].attrs["flag_values"] == [0, 1, 2, 3]
    assert labels["label"].attrs["_FillValue"] == -1


def test_the_picture_has_three_panels(there: Path) -> None:
    height, width, _ = mpimg.imread("runs/quickstart/segmentation.png").shape
    assert width > 3 * height


def test_the_report_shows_the_photograph_and_who_was_thrown_out(there: Path) -> None:
    page = Path("runs/quickstart/report.html").read_text()
    summary = json.loads(Path("runs/quickstart/summary.json").read_text())
    assert "data:image/jpeg;base64," in page
    assert f"{len(summary['kept'])} of {summary['partitions']} partitions were kept" in page
    assert "dfmr run run.yaml" in page
    assert dfmr("report", "runs/quickstart", "--out", "twice.html") == 0
    assert Path("twice.html").read_text() == page


def test_labels_have_checksums(there: Path) -> None:
    array = zarr.open_group("runs/quickstart/labels.zarr", mode="r")["label"]
    assert isinstance(array, zarr.Array)
    assert any("Crc32c" in type(codec).__name__ for codec in array.compressors)
    assert array.nchunks_initialized == array.nchunks


def test_show_prints_the_summary_again(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dfmr("show", "runs/quickstart") == 0
    text = capsys.readouterr().out
    assert "red, green, blue" in text
    assert "runs/quickstart/segmentation.png" in text
    assert dfmr("show", "runs/quickstart", "--json") == 0
    written = json.loads(Path("runs/quickstart/summary.json").read_text())
    assert json.loads(capsys.readouterr().out) == written


def test_aggregate_with_another_rule_refits_nothing(
    there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path("runs/quickstart/model.npz").read_bytes()
    assert dfmr("aggregate", "runs/quickstart", "--aggregator", "vanilla", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["kept"]) == found["partitions"]
    assert found["compared"][0]["ctd"] > 0.1
    assert read_mixture(found["files"]["model"]).n_components == 4
    assert Path("runs/quickstart/model.npz").read_bytes() == before
    page = Path("runs/quickstart/aggregates/vanilla-blocks/report.html")
    assert found["files"]["report"] == str(page)
    assert "Not certified" in page.read_text()
    assert dfmr("report", str(page.parent), "--out", "again.html") == 0
    assert Path("again.html").read_bytes() == page.read_bytes()
    capsys.readouterr()
    paper = ["--method", "paper", "--rho", "2.5", "--gate", "l2", "--out", "paper-2.5", "--json"]
    assert dfmr("aggregate", "runs/quickstart", *paper) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "paper"
    assert Path("runs/quickstart/aggregates/paper-2.5/summary.json").is_file()


def test_partitions_can_be_forced_in_and_out(
    there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = json.loads(Path("runs/quickstart/summary.json").read_text())
    honest, liar = str(summary["kept"][0]), str(summary["byzantine"][0])
    args = ["--drop", honest, "--keep", liar, "--out", "forced", "--json"]
    assert dfmr("aggregate", "runs/quickstart", *args) == 0
    found = json.loads(capsys.readouterr().out)
    assert int(liar) in found["kept"]
    assert {"id": int(honest), "reason": "forced out"} in found["dropped"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--drop", "999"], "[999]"),
        (["--rho", "0.5"], "aggregate.rho"),
        (["--aggregator", "vanila"], "did you mean vanilla?"),
        (["--gate", "l3"], "aggregate.gates.0"),
        (["--out", "../elsewhere"], "--out ../elsewhere"),
        (["--out", ".."], "--out .."),
    ],
)
def test_aggregate_names_what_it_cannot_do(
    there: Path, capsys: pytest.CaptureFixture[str], args: list[str], words: str
) -> None:
    assert dfmr("aggregate", "runs/quickstart", *args) == 2
    assert words in capsys.readouterr().err


def test_predict_labels_another_store(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ("runs/quickstart", "data/quickstart.zarr", "again.zarr", "--group", "photograph")
    assert dfmr("predict", *args) == 0
    assert capsys.readouterr().out == "again.zarr\n"
    first, again = (
        xr.open_zarr(path, consolidated=False)["label"].values
        for path in ("runs/quickstart/labels.zarr", "again.zarr")
    )
    assert np.array_equal(first, again)
    assert dfmr("predict", *args) == 1
    assert "is there already" in capsys.readouterr().err


def test_predict_refuses_other_features(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = xr.Dataset({name: ("row", np.zeros(10)) for name in ("a", "b", "c")})
    other.to_zarr("other.zarr", mode="w", consolidated=False)
    wrong = ["predict", "runs/quickstart", "other.zarr", "x.zarr"]
    wrong += [part for name in "abc" for part in ("--features", name)]
    assert dfmr(*wrong) == 1
    assert "red" in capsys.readouterr().err
    assert not Path("x.zarr").exists()


def test_a_finished_run_is_shown_again_and_another_one_not_written_over_it(
    there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path("runs/quickstart").rglob("*.*")}
    assert run_small("quickstart") == 0
    told = capsys.readouterr()
    assert "is finished, and nothing has changed since" in told.err
    assert "kept" in told.out
    after = {path: path.stat().st_mtime_ns for path in Path("runs/quickstart").rglob("*.*")}
    hidden = {path for path in {*before, *after} if path.name.startswith(".")}
    assert {p: t for p, t in after.items() if p not in hidden} == {
        p: t for p, t in before.items() if p not in hidden
    }
    assert run_small("quickstart", "--set", "mixture.tol=1e-3") == 2
    told = capsys.readouterr()
    assert "fit.tol was 1e-06, is 0.001" in told.err
    assert "--overwrite" in told.err


def test_overwrite_replaces_a_run_and_nothing_else(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("runs/paper-simulation").mkdir(parents=True)
    Path("runs/paper-simulation/thesis.tex").write_text("precious")
    assert run_small("paper-simulation", "--overwrite") == 2
    assert "holds something else than this command writes" in capsys.readouterr().err
    assert Path("runs/paper-simulation/thesis.tex").read_text() == "precious"


def test_a_run_with_json_prints_one_object(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_small("out-of-core", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {"rows", "partitions", "kept", "dropped", "score", "seconds", "files"} <= set(found)
    assert (found["rows"], found["partitions"]) == (12000, 12)
    assert {"start", "fit", "aggregate", "check", "label"} <= set(found["seconds"])
    truth, model = (
        read_mixture(p) for p in ("data/out-of-core.truth.npz", found["files"]["model"])
    )
    rows = zarr.open_array("data/out-of-core.zarr", mode="r")[:]
    assert found["score"] == pytest.approx(truth.score(np.asarray(rows)), abs=0.02)
    assert np.array_equal(
        xr.open_zarr(found["files"]["labels"], consolidated=False)["label"].values,
        model.labels(np.asarray(rows)),
    )


def test_the_same_run_gives_the_same_model(here: Path) -> None:
    assert run_small("out-of-core", "--set", "labels.write=false") == 0
    first = read_mixture("runs/out-of-core/model.npz")
    assert run_small("out-of-core", "--set", "labels.write=false", "--overwrite") == 0
    again = read_mixture("runs/out-of-core/model.npz")
    assert np.array_equal(first.weights, again.weights)
    assert all(np.array_equal(first.params[k], again.params[k]) for k in first.params)


def test_the_paper_simulation_compares_all_aggregators(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_small("paper-simulation", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    far = {one["aggregator"]: one["ctd"] for one in found["compared"]}
    assert set(far) == {"oracle", "vanilla", "coat", "trim"}
    assert far["oracle"] < 0.2 < far["vanilla"]
    assert set(found["byzantine"]) == {one["id"] for one in found["dropped"]}
    assert "labels" not in found["files"]


def test_another_method_comes_with_its_own_gates_and_rho(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_small("paper-simulation") == 0
    assert "method paper" in (text := capsys.readouterr().out)
    assert "gates l2; cut-off at rho = 3" in text
    run = "runs/paper-simulation"
    assert dfmr("aggregate", run, "--method", "blocks") == 0
    assert "gates blocks; cut-off by the spread of the distances" in capsys.readouterr().out
    cases: list[tuple[list[str], tuple[list[str], float | None]]] = [
        (["--method", "blocks", "--rho", "4"], (["blocks"], 4.0)),
        (["--method", "blocks", "--gate", "ctd"], (["ctd"], None)),
        (["--method", "paper"], (["l2"], 3.0)),
        (["--gate", "ctd"], (["ctd"], 3.0)),
    ]
    for i, (args, expected) in enumerate(cases):
        assert dfmr("aggregate", run, *args, "--out", f"a{i}", "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["gates"], found["rho"]) == expected
    folders = {path.name for path in Path(run, "aggregates").iterdir()}
    assert folders == {"dfmr-blocks", *(f"a{i}" for i in range(len(cases)))}


def test_plan_computes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, sets = str(CONFIGS / "out-of-core.yaml"), ["--set", "simulate.rows=12000"]
    sets += ["--set", "simulate.chunk_rows=1000", "--set", "source.rows_per_partition=2000"]
    assert dfmr("plan", config, *sets) == 2
    assert "dfmr simulate" in capsys.readouterr().err
    assert dfmr("simulate", config, *sets) == 0
    assert dfmr("simulate", config, *sets) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].endswith("is written")
    assert told[2].endswith("is there already")
    assert told[3] == "data/out-of-core.truth.npz holds the true mixture"
    assert Path("data/out-of-core.truth.npz").is_file()
    assert dfmr("plan", config, *sets, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["partitions"]) == (12000, 6)
    assert found["bytes"] == 12000 * 10 * 4
    assert found["memory"] > 2000 * 10 * 4
    assert dfmr("plan", config, *sets) == 0
    assert "row 0:2000" in capsys.readouterr().out
    assert not Path("runs").exists()


def test_a_store_made_from_another_recipe_is_not_taken_for_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(CONFIGS / "paper-simulation.yaml")
    assert dfmr("simulate", config, "--set", "simulate.rows=1000") == 0
    assert dfmr("simulate", config, "--set", "simulate.rows=2000") == 2
    assert "rows is 1000 there, 2000 here" in capsys.readouterr().err
    zarr.create_array("foreign.zarr", shape=(10, 2), dtype="f8")
    assert dfmr("simulate", config, "--set", "source.path=foreign.zarr") == 2
    assert "was not made by this command" in capsys.readouterr().err


def test_an_unfinished_run_is_not_taken_for_a_finished_one(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/run.json").write_text('{"state": "running"}')
    for args in (["show", "runs/a"], ["aggregate", "runs/a"], ["predict", "runs/a", "b", "c"]):
        assert dfmr(*args) == 1
        assert "did not finish" in capsys.readouterr().err
    assert dfmr("show", "runs/b") == 1
    assert "holds no run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["rum"], "Did you mean"),
        (["run"], "Missing argument"),
        (["run", "a.yaml", "--jsn"], "--json"),
        (["run", "missing.yaml"], "missing.yaml"),
    ],
)
def test_a_command_line_that_is_not_understood(
    here: Path, capsys: pytest.CaptureFixture[str], args: list[str], words: str
) -> None:
    assert dfmr(*args) == 2
    assert words in capsys.readouterr().err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert dfmr("--version") == 0
    assert dfmr("run", "--help") == 0
    assert "--overwrite" in capsys.readouterr().out
