"""Run folders: what is refused, what is removed, what counts as finished."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dfmr_dask.errors import RunFolderExists, RunUnfinished
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.run.ledger import Ledger
from tests.tables import random_mixture


def test_an_existing_folder_is_refused_unless_it_is_a_run_to_overwrite(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    Ledger.create(folder, {"seed": 1})
    with pytest.raises(RunFolderExists, match="--overwrite"):
        Ledger.create(folder, {"seed": 2})
    assert Ledger.create(folder, {"seed": 3}, overwrite=True).description()["seed"] == 3
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("years of work")
    with pytest.raises(RunFolderExists, match="no run"):
        Ledger.create(tmp_path / "precious", {}, overwrite=True)
    assert (tmp_path / "precious" / "thesis.tex").read_text() == "years of work"


def test_an_earlier_run_is_removed_when_the_new_one_is_finished(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    Ledger.create(folder, {"seed": 1}).finish({"rows": 1})
    broken_off = Ledger.create(folder, {"seed": 2}, overwrite=True)
    assert broken_off.replaced == tmp_path / ".run.replaced"
    with pytest.raises(RunUnfinished, match=r"kept in .*\.run\.replaced"):
        Ledger.open(folder)
    third = Ledger.create(folder, {"seed": 3}, overwrite=True)
    kept = [Ledger(path).description()["seed"] for path in sorted(third.replaced.iterdir())]
    assert kept == [1, 2]
    third.finish({"rows": 3})
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert Ledger.open(folder).summary() == {"rows": 3}


def test_what_links_lead_to_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("years of work")
    folder = tmp_path / "run"
    Ledger.create(folder, {}).finish({})
    (folder / "link").symlink_to(tmp_path / "precious")
    Ledger.create(folder, {}, overwrite=True).finish({})
    assert (tmp_path / "precious" / "thesis.tex").read_text() == "years of work"
    (tmp_path / "linked").symlink_to(folder)
    with pytest.raises(RunFolderExists, match="is a link"):
        Ledger.create(tmp_path / "linked", {}, overwrite=True)
    (tmp_path / ".run.replaced").symlink_to(tmp_path / "precious")
    with pytest.raises(RunFolderExists, match="is a link"):
        Ledger.create(folder, {}, overwrite=True)
    assert Ledger.open(folder).summary() == {}
    assert [path.name for path in (tmp_path / "precious").iterdir()] == ["thesis.tex"]


def test_the_current_directory_is_not_moved_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Ledger.create(tmp_path / "run", {}).finish({})
    monkeypatch.chdir(tmp_path / "run")
    with pytest.raises(RunFolderExists, match="current directory"):
        Ledger.create(".", {}, overwrite=True)


def test_a_check_writes_nothing_and_names_the_place(tmp_path: Path) -> None:
    Ledger.check(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("precious")
    with pytest.raises(NotADirectoryError, match=r"file/run cannot be written: .*file is a file"):
        Ledger.check(tmp_path / "file" / "run")
    with pytest.raises(PermissionError, match="nothing can be made in /"):
        Ledger.check("/proc/run")  # where nobody, whatever their rights, can make a file


def test_an_unfinished_run_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(RunUnfinished, match="holds no run"):
        Ledger.open(tmp_path)
    ledger = Ledger.create(tmp_path / "run", {"seed": 1})
    mixture = random_mixture(COVARIANCE_TYPES["full"], 2, 2, np.random.default_rng(0))
    ledger.record_model(mixture, xr.Dataset({"kept": ("partition", [True])}))
    with pytest.raises(RunUnfinished, match="did not finish"):
        Ledger.open(tmp_path / "run")
    ledger.finish({"rows": 10})
    opened = Ledger.open(tmp_path / "run")
    assert opened.summary() == {"rows": 10}
    assert np.array_equal(opened.model().weights, mixture.weights)
    assert bool(opened.partitions()["kept"][0])
    assert (tmp_path / "run" / "partitions.csv").read_text().startswith("partition,kept")
