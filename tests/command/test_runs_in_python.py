"""Runs that Python writes: refused as those of the command are, with texts that fit both."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from dfmr_dask import GaussianMixture
from dfmr_dask.corruption import Corruption
from dfmr_dask.errors import (
    DegenerateRows,
    RunDiffers,
    RunFolderExists,
    TooFewMessages,
    UncertifiedWarning,
)
from tests.command.calls import dfmr

ROWS = np.random.default_rng(0).normal(size=(600, 2))


def test_a_refused_fit_leaves_no_folder(here: Path) -> None:
    with pytest.raises(DegenerateRows, match="largest partition"):
        GaussianMixture(8, n_partitions=60).fit(ROWS, run="r/a")
    assert list(here.iterdir()) == []


def test_a_folder_that_is_taken_is_told_of_in_words_that_python_has(here: Path) -> None:
    GaussianMixture(1, random_state=0, tol=0.0).fit(ROWS, run="r")
    with pytest.raises(RunFolderExists, match="run= in Python") as caught:
        GaussianMixture(1).fit(ROWS, run="r")
    assert "--set" not in str(caught.value)
    assert dfmr("aggregate", "r", "--aggregator", "coat") == 0  # tol = 0 is no obstacle


def test_a_fit_that_fails_says_what_is_left(here: Path) -> None:
    with pytest.raises(TooFewMessages, match="constant") as caught:
        GaussianMixture(2, n_partitions=2).fit(np.zeros((600, 2)), run="r")
    assert any("r holds the unfinished run" in note for note in caught.value.__notes__)
    assert not (Path("r") / "summary.json").exists()
    with pytest.raises(RunDiffers, match=r"fit\.n_components was 2, is 1"):
        GaussianMixture(1, n_partitions=2).fit(np.zeros((600, 2)), run="r")


@pytest.mark.parametrize("name", ["coat", "vanilla", "trim", "oracle"])
def test_who_filters_nobody_warns_of_no_doubts(name: str) -> None:
    model = GaussianMixture(
        1, n_partitions=4, random_state=0, aggregator=name, corruption=Corruption("mean", 0.0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UncertifiedWarning)
        model.fit(ROWS)
    with pytest.warns(UncertifiedWarning, match="too few to tell"):
        model.set_params(aggregator="dfmr").fit(ROWS)


def test_models_are_saved_where_there_is_room_or_the_text_says_why_not(here: Path) -> None:
    model = GaussianMixture(1, random_state=0).fit(ROWS)
    model.save("new/folder/a.npz")
    assert GaussianMixture.load("new/folder/a.npz").n_components == 1
    with pytest.raises(OSError, match=r"^new/folder is a folder"):
        model.save("new/folder")
    with pytest.raises(OSError, match=r"^new/folder/a.npz/b.npz cannot be written"):
        model.save("new/folder/a.npz/b.npz")
