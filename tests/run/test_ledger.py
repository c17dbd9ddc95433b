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
