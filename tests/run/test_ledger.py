"""Run folders: what is refused, what is removed, what counts as finished."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dfmr_dask.errors import RunFolderExists, RunUnfinished
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.run.ledger import Ledger, write_dataset
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


def test_a_dataset_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: xr.Dataset, path: Path, **_: object) -> None:
        path.mkdir()
        (path / "half").write_text("")
        raise OSError("no space left on device")

    write_dataset(xr.Dataset({"a": ("x", [1])}), tmp_path / "a.zarr")
    monkeypatch.setattr(xr.Dataset, "to_zarr", broken)
    with pytest.raises(OSError, match="no space"):
        write_dataset(xr.Dataset({"a": ("x", [2])}), tmp_path / "a.zarr")
    assert xr.open_zarr(tmp_path / "a.zarr", consolidated=False)["a"].values.tolist() == [1]
