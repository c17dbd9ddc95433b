"""Interrupted runs go on: the same bits, nothing done twice, nothing that only looks whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dfmr_dask.corruption import Corruption
from dfmr_dask.data import Source, open_source
from dfmr_dask.errors import FolderBusy, RunDiffers, RunUnfinished
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run import pipeline
from dfmr_dask.run.events import Event
from dfmr_dask.run.identity import AGGREGATION, FIT, SHOWING
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.lock import locked
from dfmr_dask.run.record import recording
from dfmr_dask.run.results import Result, partition_table
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import Failure, InProcess

PARTITIONS, ROWS = 9, 400
SETTINGS = Settings(family=COVARIANCE_TYPES["full"], n_components=2, seed=3)


class PlugPulled(BaseException):
    """A run that is cut short."""


def rows(partitions: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(partitions * ROWS, 2))
    x[rng.random(len(x)) < 0.4] += 7.0
    return x


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "rows.zarr"
    zarr.create_array(path, data=rows(PARTITIONS), chunks=(ROWS, 2))
    return path


def run(
    source: Source,
    folder: Path,
    settings: Settings = SETTINGS,
    emit: Callable[[Event], None] = lambda event: None,
    tasks: Any = None,
) -> Result | None:
    """Run, or None where a finished run stays as it is."""
    told = {"aggregate": {"aggregator": settings.aggregator}}
    with recording(folder, told, source, settings) as ledger:
        if ledger.is_finished():
            return None
        result = pipeline.fit(source, settings, tasks or InProcess(), ledger=ledger, emit=emit)
        ledger.record_model(result.mixture, partition_table(source, result))
        ledger.finish({"kept": list(result.verdict.kept)})
        return result


def same(a: Mixture, b: Mixture) -> bool:
    return np.array_equal(a.weights, b.weights) and all(
        np.array_equal(a.params[name], b.params[name]) for name in a.params
    )


@pytest.fixture(scope="module")
def whole(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Result:
    found = run(open_source(store), tmp_path_factory.mktemp("whole") / "run")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def steps(store: Path) -> int:
    """How many events an undisturbed run has."""
    seen: list[Event] = []
    pipeline.fit(open_source(store), SETTINGS, InProcess(), emit=seen.append)
    return len(seen)


def pulled_after(steps: int) -> Callable[[Event], None]:
    left = iter(range(steps))

    def emit(event: Event) -> None:
        if next(left, None) is None:
            raise PlugPulled

    return emit


@hypothesis_settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_run_cut_anywhere_any_number_of_times_ends_as_one_that_never_was(
    store: Path,
    whole: Result,
    steps: int,
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("cut") / "run"
    for cut in data.draw(st.lists(st.integers(0, steps - 1), max_size=3)):
        try:
            run(open_source(store), folder, emit=pulled_after(cut))
        except PlugPulled:
            with pytest.raises(RunUnfinished):
                Ledger.open(folder)
            assert not (folder / "model.npz").exists()
        else:  # what was done before left fewer steps than that
            break
    else:
        found = run(open_source(store), folder)
        assert found is not None
        assert found.verdict.kept == whole.verdict.kept
        assert found.score == whole.score
    assert same(Ledger.open(folder).model(), whole.mixture)
    assert run(open_source(store), folder) is None  # nothing is left to do
    Ledger.open(folder)


def counting(fitted: list[int]) -> InProcess:
    class Counting(InProcess):
        def submit(self, stage: str, key: Any, function: Any, *args: Any) -> Any:
            if stage == "fit":
                fitted.append(key[0])
            return super().submit(stage, key, function, *args)

    return Counting()


def cut_at(stage: str, done: int) -> Callable[[Event], None]:
    def emit(event: Event) -> None:
        if event.stage == stage and event.done == done:
            raise PlugPulled

    return emit


def test_what_is_there_is_not_fitted_again(store: Path, whole: Result, tmp_path: Path) -> None:
    with pytest.raises(PlugPulled):
        run(open_source(store), tmp_path / "run", emit=cut_at("fit", 4))
    there = set(Ledger(tmp_path / "run").answered())
    assert len(there) == 4
    fitted: list[int] = []
    found = run(open_source(store), tmp_path / "run", tasks=counting(fitted))
    assert set(fitted) == set(range(PARTITIONS)) - there
    assert found is not None
    assert same(found.mixture, whole.mixture)


def test_another_filter_refits_nothing(store: Path, tmp_path: Path) -> None:
    run(open_source(store), tmp_path / "run")
    fitted: list[int] = []
    other = replace(SETTINGS, aggregator="trim")
    found = run(open_source(store), tmp_path / "run", other, tasks=counting(fitted))
    assert fitted == []
    assert found is not None
    assert same(found.mixture, pipeline.fit(open_source(store), other, InProcess()).mixture)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_components": 3}, "fit.n_components was 2, is 3"),
        ({"seed": 4}, "fit.seed was 3, is 4"),
        ({"family": COVARIANCE_TYPES["diag"]}, "fit.family.name was"),
        ({"outliers": 9.0}, "fit.outliers was none, is 9.0"),
        ({"method": "paper"}, "fit.own starts was false, is true"),
        ({"corruption": Corruption("mean", 0.3)}, "fit.corruption was none"),
    ],
)
def test_other_settings_are_refused_by_name(
    store: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(PlugPulled):
        run(open_source(store), tmp_path / "run", emit=cut_at("fit", 2))
    with pytest.raises(RunDiffers, match=words):
        run(open_source(store), tmp_path / "run", replace(SETTINGS, **change))
    assert len(Ledger(tmp_path / "run").answered()) == 2  # nothing was touched


def test_every_setting_belongs_to_the_fit_or_to_the_aggregation() -> None:
    assert {*FIT, *AGGREGATION, *SHOWING} == set(Settings.__slots__)
    assert len({*FIT, *AGGREGATION, *SHOWING}) == len([*FIT, *AGGREGATION, *SHOWING])


def test_another_version_is_refused(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(open_source(store), tmp_path / "run")
    monkeypatch.setattr("dfmr_dask.__version__", "99.0")
    with pytest.raises(RunDiffers, match=r"the package was .*, and is 99\.0"):
        run(open_source(store), tmp_path / "run")


def test_another_plan_of_the_same_store_is_refused(store: Path, tmp_path: Path) -> None:
    run(open_source(store), tmp_path / "run")
    with pytest.raises(RunDiffers, match=r'source\.plan was "auto", is "interleaved"'):
        run(open_source(store, n_partitions=3), tmp_path / "run")


def test_chunks_that_were_written_anew_are_refused_by_number(tmp_path: Path) -> None:
    path = tmp_path / "rows.zarr"
    array = zarr.create_array(path, data=rows(PARTITIONS), chunks=(ROWS, 2))
    run(open_source(path), tmp_path / "run")
    array[2 * ROWS : 3 * ROWS] += 1.0
    with pytest.raises(RunDiffers, match="chunks of partition 2 are others"):
        run(open_source(path), tmp_path / "run")


def test_what_was_appended_is_fitted_alone_from_the_start_that_was_agreed(tmp_path: Path) -> None:
    path, folder = tmp_path / "rows.zarr", tmp_path / "run"
    array = zarr.create_array(path, data=rows(PARTITIONS), chunks=(ROWS, 2))
    run(open_source(path), folder)
    before = Ledger(folder)
    start, said = before.start(), before.answered()
    array.append(rows(2, seed=1))
    fitted: list[int] = []
    found = run(open_source(path), folder, tasks=counting(fitted))
    assert fitted == [PARTITIONS, PARTITIONS + 1]
    assert found is not None and found.start is not None and start is not None
    assert same(found.start, start[0])
    assert Ledger(folder).start()[1] == start[1]  # type: ignore[index]  # N is the one agreed
    for i, message in said.items():
        now = Ledger(folder).answered()[i].mixture
        assert message.mixture is not None and now is not None and same(now, message.mixture)
    assert Ledger(folder).description()["planned_rows"] == [ROWS] * (PARTITIONS + 2)


def test_a_last_partition_that_was_filled_up_is_fitted_again(tmp_path: Path) -> None:
    path, folder = tmp_path / "rows.zarr", tmp_path / "run"
    array = zarr.create_array(path, data=rows(PARTITIONS)[: -ROWS // 2], chunks=(ROWS, 2))
    run(open_source(path), folder)
    array.append(rows(1, seed=1))
    fitted: list[int] = []
    run(open_source(path), folder, tasks=counting(fitted))
    assert fitted == [PARTITIONS - 1, PARTITIONS]


@pytest.mark.parametrize("written", [0, 3, 9, 14])
def test_a_full_disk_leaves_nothing_that_looks_whole(
    store: Path, whole: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    left = iter(range(written))
    flush = os.fsync

    def full(descriptor: int) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            run(open_source(store), tmp_path / "run")
    assert not (tmp_path / "run" / "summary.json").exists()
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert run(open_source(store), tmp_path / "run") is not None
    assert same(Ledger.open(tmp_path / "run").model(), whole.mixture)


class DeadWorkers(InProcess):
    """Partitions 2 and 5 never answer."""

    def submit(self, stage: str, key: Any, function: Any, *args: Any) -> Any:
        if stage == "fit" and key[0] in (2, 5):
            return Failure("its worker died")
        return super().submit(stage, key, function, *args)


def test_partitions_that_never_answered_are_asked_again(
    store: Path, whole: Result, tmp_path: Path
) -> None:
    found = run(open_source(store), tmp_path / "run", tasks=DeadWorkers())
    assert found is not None
    assert found.verdict.failed == {2: "its worker died", 5: "its worker died"}
    assert [m.partition for m in Ledger.open(tmp_path / "run").messages()] == list(
        range(PARTITIONS)
    )
    fitted: list[int] = []
    again = run(open_source(store), tmp_path / "run", tasks=counting(fitted))
    assert fitted == [2, 5]
    assert again is not None
    assert same(again.mixture, whole.mixture)


def test_a_message_that_the_disk_spoiled_is_fitted_again(
    store: Path, whole: Result, tmp_path: Path
) -> None:
    with pytest.raises(PlugPulled):
        run(open_source(store), tmp_path / "run", emit=cut_at("aggregate", 0))
    spoiled = tmp_path / "run" / "messages" / "00003.npz"
    spoiled.write_bytes(spoiled.read_bytes()[:-50])
    found = run(open_source(store), tmp_path / "run")
    assert found is not None
    assert same(found.mixture, whole.mixture)


def test_messages_of_several_partitions_in_one_file_lose_only_those_that_are_gone(
    tmp_path: Path,
) -> None:
    ledger = Ledger.create(tmp_path / "run", {"identity": {}})
    ledger.record_messages([Message.failed(i, "spoiled") for i in (3, 4, 5)])
    ledger.record_messages([Message(6, "empty")])
    ledger.go_on({}, {}, {4, 5, 6})
    assert set(ledger.answered()) == {4, 5, 6}
    ledger.record_messages([Message(3, "empty")])
    assert [m.partition for m in ledger.messages()] == [3, 4, 5, 6]


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    folder.mkdir()
    with locked(folder):
        yield


def test_two_runs_in_one_folder_the_second_refuses(store: Path, tmp_path: Path) -> None:
    with (
        at_work(tmp_path / "run"),
        pytest.raises(FolderBusy, match=r"is in use by process \d+ on"),
    ):
        run(open_source(store), tmp_path / "run")
    assert run(open_source(store), tmp_path / "run") is not None
