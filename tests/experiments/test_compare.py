"""A comparison's table depends on its settings alone: not on interrupts, workers or order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.image as mpimg
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client, LocalCluster

from dfmr_dask.aggregate.aggregators import aggregate, rule_named
from dfmr_dask.corruption import byzantine_partitions
from dfmr_dask.errors import (
    InvalidConfiguration,
    InvalidMessage,
    RunFolderExists,
    RunUnfinished,
)
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.experiments.cells import (
    COLUMNS,
    Attack,
    Cell,
    Design,
    Fits,
    cases,
    measured,
    partition_sizes,
)
from dfmr_dask.experiments.collected import collected
from dfmr_dask.experiments.compare import Comparison, Population, compare
from dfmr_dask.experiments.judging import Contender
from dfmr_dask.experiments.populations import population
from dfmr_dask.experiments.tables import summarized, summary_text, table_of
from dfmr_dask.experiments.worlds import Simulated
from dfmr_dask.families import Gaussian
from dfmr_dask.run.events import Event
from dfmr_dask.run.tasks import InProcess, Key, OnCluster

DESIGN = Design(
    attacks=(
        Attack("mean", "mean"),
        Attack("data, claims 5 rows", "data", {"claimed_rows": 5}),
    ),
    alphas=(0.0, 0.25),
    contenders=(
        Contender("vanilla", "vanilla"),
        Contender("dfmr"),
        Contender("paper", rule=rule_named("paper", rho=1.35)),
    ),
    rows=200,
    fresh_rows=300,
)
SETTINGS = {"grid": {"rows": 200, "alphas": [0.0, 0.25]}, "seed": 0}


def world() -> Simulated:
    return Simulated(population(2, 2, seed=0), population(2, 2, seed=1))


COMPARISON = Comparison((Population("two", 0, world),), (12,), (0, 1, 2), DESIGN)
ONE_ATTACK = replace(DESIGN, attacks=DESIGN.attacks[:1], contenders=(Contender("dfmr"),))
SMALL = replace(COMPARISON, seeds=(0, 1), design=ONE_ATTACK)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("comparison") / "whole"
    return folder, compare(COMPARISON, folder, InProcess(), settings=SETTINGS)


def table_in(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "table.csv").drop(columns="seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed(InProcess):
    """Tasks that are interrupted when one for each life has been done."""

    lives: list[None]

    def submit(self, stage: str, key: Key, function: Callable[..., Any], *args: Any) -> Any:
        if not self.lives:
            raise KeyboardInterrupt
        self.lives.pop()
        return InProcess.submit(self, stage, key, function, *args)


@dataclass(frozen=True, slots=True)
class Losing(InProcess):
    """Tasks of which those about one seed fail."""

    def submit(self, stage: str, key: Key, function: Callable[..., Any], *args: Any) -> Any:
        if args[0].seed == 1:
            return InProcess.submit(self, stage, key, _lost)
        return InProcess.submit(self, stage, key, function, *args)


def _lost() -> None:
    raise MemoryError("the worker is gone")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(processes=False, **options) as cluster, Client(cluster) as client:
        yield client


def test_every_cell_has_every_case_and_aggregator(done: tuple[Path, dict[str, Any]]) -> None:
    table = pd.read_csv(done[0] / "table.csv")
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 3 * len(list(cases(DESIGN))) * (1 + len(DESIGN.contenders))
    assert not table.duplicated(["draw", "attack", "alpha", "m", "seed", "aggregator"]).any()
    assert set(table["aggregator"]) == {"oracle", "vanilla", "dfmr", "paper"}
    assert table["failure"].isna().all()


def test_without_byzantine_partitions_there_is_nothing_to_keep_of_them(
    done: tuple[Path, dict[str, Any]],
) -> None:
    table = pd.read_csv(done[0] / "table.csv")
    none = table[table["alpha"] == 0.0]
    assert set(none["attack"]) == {"none"}
    assert none["byzantine_kept"].isna().all()
    assert table.loc[table["alpha"] > 0.0, "byzantine_kept"].notna().all()
    everybody = none[none["aggregator"] == "vanilla"].reset_index()
    oracle = none[none["aggregator"] == "oracle"].reset_index()
    assert everybody["error"].equals(oracle["error"])


def test_the_oracle_is_one_oracle_away_from_itself(done: tuple[Path, dict[str, Any]]) -> None:
    summary = pd.read_csv(done[0] / "summary.csv")
    oracle = summary[summary["aggregator"] == "oracle"]
    assert (oracle[["ratio", "low", "high"]] == 1.0).all(axis=None)
    assert (summary["cases"] == 3).all()


def test_lies_about_means_ruin_who_trusts_everybody_only(
    done: tuple[Path, dict[str, Any]],
) -> None:
    summary = pd.read_csv(done[0] / "summary.csv").set_index(["attack", "m", "aggregator"])
    assert summary.loc[("mean", 12, "vanilla"), "ratio"] > 10.0
    assert summary.loc[("mean", 12, "dfmr"), "ratio"] < 1.2
    assert summary.loc[("mean", 12, "dfmr"), "byzantine_kept"] == 0.0
    assert summary.loc[("data, claims 5 rows", 12, "vanilla"), "ratio"] > 2.0


def test_a_cell_is_what_its_parts_give() -> None:
    cell, here = Cell("two", 0, 8, 1), world()
    records = {
        (one["attack"], one["alpha"], one["aggregator"]): one
        for one in measured(cell, here, DESIGN)
    }
    fits = Fits(here, DESIGN, 1, 8 * 200)
    drawn = here.honest([200] * 8, 1)
    honest = [fits.message(j, x, here.truth) for j, x in enumerate(drawn)]
    attack = DESIGN.attacks[0].corruption(0.25)
    liars = byzantine_partitions(attack, 8, 1)
    told = fits.told(honest, drawn, attack, liars)
    left = [one for one in honest if one.partition not in liars]
    oracle, ours = aggregate(left, aggregator="vanilla"), aggregate(told)
    assert records["mean", 0.25, "oracle"]["error"] == error(oracle.mixture, here.truth)
    assert records["mean", 0.25, "dfmr"]["error"] == error(ours.mixture, here.truth)
    assert records["mean", 0.25, "dfmr"]["certified"] == ours.verdict.certified
    kept = len(set(ours.verdict.kept) - set(liars)) / (8 - len(liars))
    assert records["mean", 0.25, "dfmr"]["honest_kept"] == kept
    rows, _ = here.fresh(300, 1)
    likelihood = records["mean", 0.25, "dfmr"]["log_likelihood"]
    assert likelihood == ours.mixture.score(rows)


def test_a_second_call_computes_nothing_and_gives_the_same_table(
    done: tuple[Path, dict[str, Any]],
) -> None:
    folder, first = done
    before = (folder / "table.csv").read_bytes(), (folder / "summary.csv").read_bytes()
    again = compare(COMPARISON, folder, Killed(lives=[]), settings=SETTINGS)
    assert (first["computed"], again["computed"], again["cells"]) == (3, 0, 3)
    assert ((folder / "table.csv").read_bytes(), (folder / "summary.csv").read_bytes()) == before


def test_a_killed_comparison_goes_on_where_it_stopped(
    done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, events = tmp_path / "a", []
    with pytest.raises(KeyboardInterrupt) as stopped:
        compare(COMPARISON, folder, Killed(lives=[None] * 2), settings=SETTINGS)
    assert "goes on from there" in stopped.value.__notes__[0]
    kept = {path.name: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}
    assert len(kept) == 2
    found = compare(COMPARISON, folder, InProcess(), settings=SETTINGS, emit=events.append)
    assert found["computed"] == 1
    assert events == [Event("compare", 2, 3), Event("compare", 3, 3)]
    now = {path.name: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}
    assert kept.items() < now.items()
    pd.testing.assert_frame_equal(table_in(folder), table_in(done[0]))


def test_a_cluster_gives_the_same_table_as_one_process(
    done: tuple[Path, dict[str, Any]], client: Client, tmp_path: Path
) -> None:
    compare(COMPARISON, tmp_path / "a", OnCluster(client), settings=SETTINGS)
    pd.testing.assert_frame_equal(table_in(tmp_path / "a"), table_in(done[0]))


def test_failed_cells_are_named_and_the_others_kept(tmp_path: Path) -> None:
    with pytest.raises(RunUnfinished, match="failed: two, draw 0, m = 12, seed 1: Memory"):
        compare(SMALL, tmp_path / "a", Losing(), settings=SETTINGS)
    assert len(list((tmp_path / "a" / "cells").iterdir())) == 1
    assert compare(SMALL, tmp_path / "a", InProcess(), settings=SETTINGS)["computed"] == 1


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"grid": {"rows": 300, "alphas": [0.0, 0.25]}, "seed": 0}, "grid.rows is 200 there, 300"),
        (
            {"grid": {"rows": 200, "alphas": [0.1]}, "seed": 0},
            r"grid.alphas is \[0.0, 0.25\] there",
        ),
        ({"grid": {"rows": 200, "alphas": [0.0, 0.25]}}, "seed is 0 there, None here"),
    ],
)
def test_other_settings_are_refused_by_name(
    done: tuple[Path, dict[str, Any]], changed: Mapping[str, Any], said: str
) -> None:
    with pytest.raises(InvalidConfiguration, match=said):
        compare(COMPARISON, done[0], InProcess(), settings=changed)


def test_overwrite_begins_anew_and_leaves_nothing_of_the_earlier_one(
    done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    one = replace(SMALL, seeds=(0,))
    folder = tmp_path / "a"
    compare(one, folder, InProcess(), settings={"seed": 5})
    found = compare(one, folder, InProcess(), settings=SETTINGS, overwrite=True)
    assert found["computed"] == 1
    assert json.loads((folder / "comparison.json").read_text()) == SETTINGS
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_is_no_comparison_stays(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(RunFolderExists):
            compare(COMPARISON, tmp_path, InProcess(), settings=SETTINGS, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


def test_records_of_another_cell_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        compare(COMPARISON, tmp_path / "a", Killed(lives=[None] * 2), settings=SETTINGS)
    first, second = sorted((tmp_path / "a" / "cells").iterdir())
    second.write_bytes(first.read_bytes())
    with pytest.raises(InvalidMessage, match=r"seed1\.json holds no records of a cell"):
        compare(COMPARISON, tmp_path / "a", InProcess(), settings=SETTINGS)


def test_every_file_tells_the_same(done: tuple[Path, dict[str, Any]]) -> None:
    folder, found = done
    table = pd.read_csv(folder / "table.csv")
    scores = xr.open_zarr(folder / "table.zarr", chunks=None)
    where = {"attack": "mean", "alpha": 0.25, "m": 12, "seed": 1, "aggregator": "dfmr"}
    row = table.loc[(table[list(where)] == pd.Series(where)).all(axis=1)]
    assert float(scores["error"].sel(population="two", draw=0, **where)) == row["error"].item()
    assert np.isnan(scores["error"].sel({**where, "alpha": 0.0})).all()
    parquet = pd.read_parquet(found["files"]["parquet"])
    pd.testing.assert_series_equal(parquet["error"], table["error"])
    pictures = [path for path in found["files"].values() if path.endswith(".png")]
    assert len(pictures) == 2
    for picture in pictures:
        assert mpimg.imread(picture)[..., :3].std() > 0.01


def test_an_aggregator_that_fails_is_told_of_and_has_no_ratio() -> None:
    def raises(*_: Any) -> None:
        raise ZeroDivisionError("nothing to divide by")

    design = replace(DESIGN, contenders=(Contender("broken", raises),), attacks=DESIGN.attacks[:1])
    table = table_of(measured(Cell("two", 0, 8, 0), world(), design))
    summary = summarized(table).set_index(["attack", "aggregator"])
    assert np.isnan(summary.loc[("mean", "broken"), "ratio"])
    assert summary.loc[("mean", "broken"), "failures"] == 1
    assert summary.loc[("mean", "oracle"), "failures"] == 0
    assert table["failure"].str.contains("Error").sum() == 2
    text = summary_text(summarized(table).to_dict("records"))
    assert "oracle  broken" in text
    assert "broken: 2 answers failed: ZeroDivisionError: nothing to divide by" in text


def test_nobody_having_an_answer_is_said() -> None:
    table = table_of(measured(Cell("two", 0, 8, 0), world(), ONE_ATTACK))
    table[["error", "ari"]] = np.nan
    table["failure"] = "ValueError: no"
    text = summary_text(summarized(table).to_dict("records"))
    assert "Empty" not in text
    assert text.splitlines()[-3].split() == ["mean", "0.25", "-", "-"]
    assert "oracle: 2 answers failed: ValueError: no" in text


def test_names_that_look_alike_or_are_long_have_files_of_their_own(tmp_path: Path) -> None:
    names = ("a b", "a-b", "é" * 300, "é" * 300 + "!")
    populations = tuple(Population(name, 0, world) for name in names)
    several = replace(SMALL, populations=populations, seeds=(0,))
    found = compare(several, tmp_path / "a", InProcess(), settings={})
    assert found["computed"] == len(list((tmp_path / "a" / "cells").iterdir())) == 4
    again = compare(several, tmp_path / "a", InProcess(), settings={})
    assert (again["computed"], again["files"]) == (0, found["files"])
    assert len(set(found["files"].values())) == len(found["files"])
    assert set(pd.read_csv(tmp_path / "a" / "summary.csv")["population"]) == set(names)


def test_starts_penalties_and_drift_are_what_they_say() -> None:
    here, cell = world(), Cell("two", 0, 8, 0)
    plain = measured(cell, here, DESIGN)
    for changed in ({"start": "own"}, {"penalty": "partition"}, {"weights_dirichlet": 20.0}):
        other = measured(cell, here, replace(DESIGN, **changed))
        assert other[0]["error"] != plain[0]["error"]


def test_weights_drift_around_the_true_ones() -> None:
    here = world()
    shares = {
        drift: np.array(
            [
                np.bincount(here.truth.labels(x), minlength=2)[0] / len(x)
                for x in here.honest([1000] * 200, 0, drift)
            ]
        )
        for drift in (None, 20.0)
    }
    assert shares[20.0].mean() == pytest.approx(shares[None].mean(), abs=0.03)
    w = here.truth.weights[0]
    assert shares[None].std() < 0.02
    assert shares[20.0].std() == pytest.approx((w * (1 - w) / 21) ** 0.5, rel=0.15)


def test_sizes_stay_in_their_range_and_spread_over_it() -> None:
    sizes = np.array(partition_sizes((300, 6000), 2000, seed=3))
    assert sizes.min() >= 300
    assert sizes.max() <= 6000
    logs = np.log(sizes / 300) / np.log(20)
    assert np.quantile(logs, [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.05)


def test_collected_rows_are_in_one_partition_or_held_out() -> None:
    rows, labels = population(2, 2, seed=0).sample(400, np.random.default_rng(0))
    aliens, _ = population(2, 2, seed=1).sample(100, np.random.default_rng(1))
    here = collected(rows, labels, aliens, family=Gaussian(), n_components=2)
    drawn = np.concatenate([*here.honest([150, 100, 50], 0), here.fresh(1000, 0)[0]])
    assert len(drawn) == 400
    assert {tuple(x) for x in drawn} == {tuple(x) for x in rows}
    with pytest.raises(InvalidConfiguration, match="ask for 301 rows; there are 300"):
        here.honest([150, 151], 0)
    assert [len(x) for x in replace(here, replace=True).honest([500, 2], 0)] == [500, 2]
    assert {tuple(x) for x in here.alien(3, 50, 0)} <= {tuple(x) for x in aliens}


def test_what_counts_as_the_truth_of_collected_rows_is_their_mixture() -> None:
    truth, other = population(3, 2, seed=0), population(3, 2, seed=1)
    rows, labels = truth.sample(20_000, np.random.default_rng(0))
    aliens, _ = other.sample(20_000, np.random.default_rng(1))
    for classes in (labels, None):
        here = collected(rows, classes, aliens, family=Gaussian(), n_components=3)
        assert error(here.truth, truth) < 0.05 * error(other, truth)
        assert error(here.other, other) < 0.05 * error(other, truth)
