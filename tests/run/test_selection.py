"""A run that chooses its number of components: once, from rows that nobody writes down."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from distributed import Client

from dfmr_dask.corruption import Corruption
from dfmr_dask.data import open_source
from dfmr_dask.errors import InvalidMessage, RunDiffers, TooFewMessages
from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.local.start import Order, Sample, draw_sample, trimmed
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.events import Event
from dfmr_dask.run.ledger import SELECTION, Ledger
from dfmr_dask.run.pipeline import fit
from dfmr_dask.run.record import recording
from dfmr_dask.run.results import Result, partition_table
from dfmr_dask.run.settings import OrderSettings, Settings, order_settings
from dfmr_dask.run.tasks import InProcess, OnCluster
from dfmr_dask.selection.curve import Selection

M, N, K = 12, 400, 3
TRUTH = population_with_overlap(K, 2, 0.01, seed=1)
ROWS = TRUTH.sample(M * N, np.random.default_rng(0))[0]
AUTO = Settings(family=COVARIANCE_TYPES["full"], seed=3, **order_settings("auto", 6))


class PlugPulled(BaseException):
    """A run that is cut short."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "rows.zarr"
    zarr.create_array(path, data=ROWS, chunks=(N, 2))
    return path


def run(
    store: Path, folder: Path, settings: Settings = AUTO, cut: str = "", seen: Any = None
) -> Result:
    def emit(event: Event) -> None:
        if seen is not None:
            seen.add(event.stage)
        if event.stage == cut and event.done == event.total:
            raise PlugPulled

    source = open_source(store)
    with recording(folder, {"aggregate": {}}, source, settings) as ledger:
        result = fit(source, settings, InProcess(), ledger=ledger, emit=emit)
        ledger.record_model(result.mixture, partition_table(source, result))
        ledger.finish({"kept": list(result.verdict.kept)})
        return result


def same(a: Mixture, b: Mixture) -> bool:
    return np.array_equal(a.weights, b.weights) and all(
        np.array_equal(a.params[name], b.params[name]) for name in a.params
    )


def curve(result: Result) -> Selection:
    assert result.selection is not None
    return result.selection


def test_the_fit_is_that_of_the_order_that_was_chosen(store: Path) -> None:
    result = fit(open_source(store), AUTO, InProcess())
    assert curve(result).n_components == result.mixture.n_components == K
    given = replace(AUTO, n_components=K, selection=None)
    assert same(result.mixture, fit(open_source(store), given, InProcess()).mixture)


@pytest.mark.slow
def test_the_same_bits_with_processes(store: Path, client: Client) -> None:
    one = fit(open_source(store), AUTO, InProcess())
    two = fit(open_source(store), AUTO, OnCluster(client))
    np.testing.assert_array_equal(curve(one).bic, curve(two).bic)
    np.testing.assert_array_equal(curve(one).gain_errors, curve(two).gain_errors)
    assert same(one.mixture, two.mixture)


def test_a_run_that_goes_on_does_not_choose_again(store: Path, tmp_path: Path) -> None:
    whole = fit(open_source(store), AUTO, InProcess())
    with pytest.raises(PlugPulled):
        run(store, tmp_path / "run", cut="start")
    seen: set[str] = set()
    found = run(store, tmp_path / "run", seen=seen)
    assert "select" not in seen
    assert same(found.mixture, whole.mixture)
    np.testing.assert_array_equal(curve(found).bic, curve(whole).bic)


def test_what_is_recorded_is_what_counts(store: Path, tmp_path: Path) -> None:
    with pytest.raises(PlugPulled):
        run(store, tmp_path / "run", cut="start")
    ledger = Ledger(tmp_path / "run")
    recorded = ledger.selection()
    assert recorded is not None
    ledger.record_selection(replace(recorded, n_components=2))
    (tmp_path / "run" / "start.npz").unlink(missing_ok=True)
    assert run(store, tmp_path / "run").mixture.n_components == 2


def test_a_forged_record_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(PlugPulled):
        run(store, tmp_path / "run", cut="start")
    (tmp_path / "run" / SELECTION).write_text('{"orders": [1, 2], "n_components": 7}')
    with pytest.raises(InvalidMessage, match="no selection"):
        run(store, tmp_path / "run")


@pytest.mark.parametrize("change", [OrderSettings(5), OrderSettings(6, 0.1), None])
def test_another_question_is_another_run(
    store: Path, tmp_path: Path, change: OrderSettings | None
) -> None:
    with pytest.raises(PlugPulled):
        run(store, tmp_path / "run", cut="start")
    with pytest.raises(RunDiffers, match=r"fit\.selection"):
        run(store, tmp_path / "run", replace(AUTO, selection=change))


def test_no_row_is_in_a_file_of_the_run(store: Path, tmp_path: Path) -> None:
    run(store, tmp_path / "run")
    values = {one.tobytes() for one in ROWS.ravel()[:500]}
    texts = {repr(float(one)).encode() for one in ROWS.ravel()[:500]}
    for path in (tmp_path / "run").rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert not any(value in data for value in (*values, *texts)), path


@pytest.mark.parametrize("attack", ["mean", "covariance", "wide", "sign_flip", "malformed"])
def test_poisoned_samples_change_nothing(store: Path, attack: str) -> None:
    lied = fit(open_source(store), replace(AUTO, corruption=Corruption(attack, 0.4)), InProcess())
    assert curve(lied).n_components == K
    assert not {*lied.byzantine} & {*curve(lied).partitions}


def test_rows_of_another_population_change_nothing(store: Path) -> None:
    other = population_with_overlap(5, 2, 0.01, seed=9).sample(M * N, np.random.default_rng(1))[0]
    settings = replace(AUTO, corruption=Corruption("data", 0.4))
    replacement = open_source(other, n_partitions=M)
    lied = fit(open_source(store), settings, InProcess(), replacement=replacement)
    assert curve(lied).n_components == K


def test_max_components_beyond_the_rows_is_lowered_and_said() -> None:
    source = open_source(ROWS[: M * 20], n_partitions=M)
    result = fit(source, replace(AUTO, selection=OrderSettings(50)), InProcess())
    assert curve(result).orders[-1] == 6
    assert "lowered from 50 to 6" in result.notes[0]


def test_partitions_without_rows_count_neither_way() -> None:
    rows = ROWS.copy()
    rows[: 8 * N] = np.nan
    result = fit(open_source(rows, plan="rows", n_partitions=M), AUTO, InProcess())
    assert curve(result).n_components == K
    assert "0 valid rows" in curve(result).left_out[0]


def test_rows_that_do_not_vary_are_named() -> None:
    with pytest.raises(TooFewMessages, match="constant in every row"):
        fit(open_source(np.ones((400, 2)), n_partitions=4), AUTO, InProcess())


def test_sizes_may_differ() -> None:
    table = [ROWS[:50], ROWS[50:100], *np.split(ROWS[100:4600], [900, 1200, 1500, 2200, 4000])]
    group = np.repeat(np.arange(len(table)), [len(one) for one in table])
    assert group[-1] == 7
    source = open_source(np.concatenate(table), plan="rows", rows_per_partition=700)
    assert source.plan.partitions[-1].rows != 700
    assert curve(fit(source, AUTO, InProcess())).n_components == K


@pytest.mark.parametrize(("rows", "weighted"), [(40, False), (1000, False), (1000, True)])
def test_trimmed_samples_are_those_of_fewer_parameters(rows: int, weighted: bool) -> None:
    x = np.random.default_rng(0).normal(size=(rows, 2))
    weights = np.random.default_rng(1).random(rows) if weighted else None

    few, many = (Order(COVARIANCE_TYPES["full"], k, 2) for k in (3, 12))

    def drawn(order: Order) -> Sample:
        return draw_sample(x, order, np.random.default_rng(2), weights)

    cut = trimmed(drawn(many), few, rows)
    for name in Sample.__slots__:
        left, right = getattr(cut, name), getattr(drawn(few), name)
        assert (left is None) == (right is None)
        if left is not None:
            np.testing.assert_allclose(left, right, rtol=1e-12)


@pytest.mark.parametrize("given", ["automatic", "", "5"])
def test_other_words_than_auto_are_refused(given: str) -> None:
    with pytest.raises(ValueError, match="wanted a number, or 'auto'"):
        order_settings(given)


def test_a_start_has_an_order() -> None:
    with pytest.raises(ValueError, match="beside n_components='auto'"):
        replace(AUTO, start=TRUTH)
    with pytest.raises(ValueError, match="max_components=0"):
        OrderSettings(0)
    with pytest.raises(ValueError, match="min_gain=-1"):
        OrderSettings(3, -1.0)
