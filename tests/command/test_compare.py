"""``dfmr compare``: the shipped configurations in a tiny form, stores of one's own, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr

from dfmr_dask.command.comparing import comparison_in, comparison_of, described, read_comparison
from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.experiments.cells import cases
from dfmr_dask.experiments.populations import population
from tests.command.calls import CONFIGS, dfmr

TINY = {
    "paper-comparison": (
        "populations=[{kind: overlap, n_components: 2, n_features: 2, max_overlap: 0.1}]",
        "grid.rows=200",
        "grid.partitions=[12]",
        "grid.alphas=[0, 0.25]",
        "grid.repetitions=1",
    ),
    "digits-comparison": (
        "populations=[{kind: digits, honest: [0, 1], alien: [7], n_features: 2}]",
        "grid.partitions=[12]",
        "grid.rows=200",
        "grid.alphas=[0.25]",
        "grid.repetitions=1",
    ),
    "strong-attacks": (
        "populations=[{kind: separated, n_components: 2, n_features: 2}]",
        "grid.rows=200",
        "grid.partitions=[12]",
        "grid.alphas=[0.25]",
        "grid.repetitions=1",
        "aggregators=[vanilla, dfmr, median]",
    ),
    "ablation": (
        "populations=[{kind: separated, n_components: 2, n_features: 2}]",
        "grid.rows=200",
        "grid.partitions=[12]",
        "grid.attacks=[mean, duplicate]",
        "grid.alphas=[0.25]",
        "grid.repetitions=1",
        "aggregators=[dfmr, {without: [groups]}, vanilla]",
    ),
}
SMALLEST: dict[str, Any] = {
    "populations": [{"kind": "separated", "n_components": 2, "n_features": 2}],
    "grid": {
        "partitions": [12],
        "rows": 200,
        "alphas": [0.25],
        "attacks": ["mean"],
        "repetitions": 1,
    },
    "aggregators": ["vanilla", "dfmr"],
    "run": {"folder": "runs/a"},
}


LONG = ("strong-attacks",)  # run with the slow tests


def compare(name: str | Path, *args: str) -> int:
    path = name if isinstance(name, Path) else CONFIGS / f"{name}.yaml"
    sets = [part for value in TINY.get(str(name), ()) for part in ("--set", value)]
    return dfmr("compare", str(path), *sets, *args)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in TINY],
)
def test_shipped_comparisons_run(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(name, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    config = read_comparison(CONFIGS / f"{name}.yaml", TINY[name])
    assert found["folder"] == f"runs/{name}"
    assert found["cells"] == found["computed"] == 1
    assert all(Path(path).exists() for path in found["files"].values())
    table = pd.read_csv(found["files"]["table"])
    assert table["failure"].isna().all()
    comparison = comparison_in(config)
    n_cases = len(list(cases(comparison.design)))
    assert len(table) == n_cases * (1 + len(config.aggregators))
    ours = table[(table["aggregator"] == "dfmr") & (table["attack"] == "mean")]
    theirs = table[(table["aggregator"] == "vanilla") & (table["attack"] == "mean")]
    assert (ours["error"].to_numpy() < theirs["error"].to_numpy()).all()
    assert not ours["byzantine_kept"].any()


@pytest.mark.parametrize("name", TINY)
def test_shipped_comparisons_are_valid_as_they_are(name: str) -> None:
    config = read_comparison(CONFIGS / f"{name}.yaml")
    assert config.run.folder == f"runs/{name}"
    comparison = comparison_in(config)
    assert len({cell for cell, _ in comparison.cells()}) == len(list(comparison.cells()))


@pytest.fixture
def config(here: Path) -> Path:
    path = here / "a.yaml"
    path.write_text(json.dumps(SMALLEST))
    return path


def test_a_second_call_goes_on_and_prints_the_same(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(config) == 0
    first = capsys.readouterr().out
    assert "separation 4, K 2, d 2, m = 12: mean error over the oracle's" in first
    assert "runs/a/table.csv" in first
    before = Path("runs/a/table.csv").read_bytes()
    assert compare(config, "--set", "cluster.n_workers=1") == 0
    assert capsys.readouterr().out == first
    assert Path("runs/a/table.csv").read_bytes() == before


def test_another_configuration_is_refused_by_the_key_that_differs(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(config) == 0
    capsys.readouterr()
    assert compare(config, "--set", "fits.tol=1e-4") == 2
    told = capsys.readouterr().err
    assert "fits.tol is 1e-06 there, 0.0001 here" in told
    assert "--overwrite" in told
    assert compare(config, "--set", "fits.tol=1e-4", "--overwrite") == 0
    assert Path("runs/a/comparison.json").read_text().count("0.0001") == 1


@pytest.fixture
def store(here: Path) -> Path:
    """Rows of two populations, and the true components of the honest ones."""
    root = zarr.create_group(here / "features.zarr")
    rows, labels = population(2, 3, seed=0).sample(4000, np.random.default_rng(0))
    aliens, _ = population(2, 3, seed=1).sample(500, np.random.default_rng(1))
    rows[5, 1] = np.nan
    for name, values in (("honest", rows), ("alien", aliens), ("label", labels)):
        root.create_array(name, data=values)
    return here / "features.zarr"


def of_store(store: Path, **changes: Any) -> dict[str, Any]:
    section = {
        "kind": "store",
        "honest": {"path": str(store), "group": "honest"},
        "alien": {"path": str(store), "group": "alien"},
        "labels": {"path": str(store), "group": "label"},
        "n_components": 2,
    }
    return {**SMALLEST, "populations": [{**section, **changes}]}


def test_rows_in_a_store_are_compared_too(
    store: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = of_store(store)
    values["grid"] = {**values["grid"], "attacks": ["data"], "repetitions": 2}
    config = here / "a.yaml"
    config.write_text(json.dumps(values))
    assert compare(config) == 0
    summary = pd.read_csv("runs/a/summary.csv").set_index("aggregator")
    assert summary.loc["dfmr", "ratio"] < 1.2
    assert summary.loc["vanilla", "ratio"] > 2.0
    assert summary.loc["dfmr", "ari"] > 0.8


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"honest": {"path": "features.zarr", "group": "nowhere"}}, "store.honest: .*nowhere"),
        ({"labels": {"path": "features.zarr", "group": "alien"}}, "store.labels: came 1500 val"),
        ({"alien": {"path": "features.zarr", "group": "label"}}, "store.alien"),
        ({"labels": {"path": "none.zarr"}}, "store.labels: none.zarr cannot be read"),
    ],
)
def test_stores_that_do_not_fit_are_named(
    store: Path, here: Path, changes: dict[str, Any], said: str
) -> None:
    comparison = comparison_in(comparison_of(of_store(store, **changes)))
    with pytest.raises(InvalidConfiguration, match=said):
        comparison.populations[0].build()


def test_too_few_rows_are_told(store: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = here / "a.yaml"
    config.write_text(json.dumps(of_store(store)))
    assert compare(config, "--set", "grid.rows=1000") == 1
    told = capsys.readouterr().err
    assert "12 partitions ask for 12000 rows; there are 3000 beside the 999 held out" in told
    assert "runs/a keeps the finished cells" in told


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grid": {"rows": 5}}, "grid.partitions: came nothing"),
        ({"grid": {**SMALLEST["grid"], "attacks": ["meen"]}}, "attack.*did you mean mean?"),
        ({"grid": {**SMALLEST["grid"], "alphas": [1.0]}}, "grid.alphas.0: came 1.0"),
        ({"grid": {**SMALLEST["grid"], "alphas": [0.1, 0.1]}}, "grid.alphas: .* 0.1 once"),
        ({"grid": {**SMALLEST["grid"], "rows": [9, 3]}}, "grid.rows: .* smaller number first"),
        ({"grid": {**SMALLEST["grid"], "attacks": []}}, "grid.attacks: .* no alphas but 0"),
        (
            {"grid": {**SMALLEST["grid"], "attacks": [{"attack": "mean", "sise": 1}]}},
            "grid.attacks.0.sise: unknown key; did you mean size?",
        ),
        (
            {"grid": {**SMALLEST["grid"], "attacks": [{"attack": "weight", "size": 1.0}]}},
            "grid.attacks.0.size: came 1.0, with attack: weight",
        ),
        ({"populations": []}, "populations: came []; wanted one value"),
        ({"aggregators": ["dfmr", "dfmr"]}, "aggregators: .* 'dfmr' once"),
        (
            {"aggregators": [{"name": "oracle", "aggregator": "dfmr"}]},
            "aggregators: came 'oracle', with aggregator: dfmr; wanted another name",
        ),
        (
            {"grid": {**SMALLEST["grid"], "attacks": [{"attack": "mean", "component": 2}]}},
            "grid.attacks.0.component: came .*; wanted one that is there: component 2 .* 0 to 1",
        ),
        ({"aggregators": ["vanila"]}, "aggregators.0.aggregator: .*did you mean vanilla?"),
        (
            {"aggregators": [{"aggregator": "coat", "rho": 2.0}]},
            "aggregators.0.rho: came 2.0, with aggregator: coat; wanted no rule",
        ),
        ({"populations": [{"kind": "overlapp"}]}, "populations.0.kind: came 'overlapp'"),
        ({"populations": [{"kind": "digits", "honest": [11], "alien": [1]}]}, "honest.0: came 11"),
        (
            {
                "populations": [{"kind": "digits", "honest": [1], "alien": [2]}],
                "grid": {**SMALLEST["grid"], "weights_dirichlet": 50.0},
            },
            "grid.weights_dirichlet: came 50.0; .* simulated populations only",
        ),
        ({"fits": {"start": "anywhere"}}, "fits.start: came 'anywhere'; wanted 'truth' or 'own'"),
    ],
)
def test_what_is_not_understood_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfiguration, match=said.replace("?", r"\?").replace("[]", r"\[\]")):
        comparison_of({**SMALLEST, **changes})


def test_a_number_out_of_range_gives_one_line() -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        comparison_of({**SMALLEST, "grid": {**SMALLEST["grid"], "partitions": [1]}})
    assert str(refused.value) == "grid.partitions.0: came 1; wanted greater than or equal to 2"
    with pytest.raises(InvalidConfiguration, match=r"grid.partitions: .* one value at the least"):
        comparison_of({**SMALLEST, "grid": {**SMALLEST["grid"], "partitions": []}})


def test_an_oracle_may_have_another_name() -> None:
    named = {"name": "best", "aggregator": "oracle"}
    config = comparison_of({**SMALLEST, "aggregators": ["dfmr", "oracle", named]})
    assert [one.title for one in config.aggregators] == ["dfmr", "oracle", "best"]


def test_components_are_counted_in_every_population() -> None:
    digits = {"kind": "digits", "honest": [0, 1, 2], "alien": [7]}
    for k, fits in ((2, True), (3, False)):
        attacks = [{"attack": "mean", "component": k}]
        values = {"populations": [digits], "grid": {**SMALLEST["grid"], "attacks": attacks}}
        if fits:
            comparison_of({**SMALLEST, **values})
        else:
            with pytest.raises(InvalidConfiguration, match="mixtures of 3 components"):
                comparison_of({**SMALLEST, **values})


def test_help_and_refusals_speak_of_comparisons(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dfmr("compare", "--help") == 0
    assert "--set grid.rows=500" in " ".join(capsys.readouterr().out.split())
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/diary.txt").write_text("mine")
    assert compare(config, "--overwrite") == 2
    told = capsys.readouterr().err
    assert "there is no comparison.json in it" in told
    assert "run" not in told.replace("runs/a", "")


def test_credentials_are_not_written_down() -> None:
    values = of_store(Path("a.zarr"))
    values["populations"][0]["honest"] = {
        "path": "s3://bucket/a.zarr",
        "storage_options": {"secret": "hunter2"},
    }
    assert "hunter2" not in json.dumps(described(comparison_of(values)))
