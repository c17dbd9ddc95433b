"""Counts and categories come out as well as the oracle's, whatever a third of the liars say."""

from __future__ import annotations

import numpy as np
import pytest

from dfmr_dask.experiments.accuracy import error
from dfmr_dask.experiments.counts import FAMILIES, Cell, counts, messages_of, truth_of


@pytest.mark.parametrize("family", ["poisson", "categorical"])
def test_errors_are_the_oracles(family: str) -> None:
    cells = counts((family,), (20,), ("mean", "wide"), (0.3,), seeds=(0, 1))
    for cell in cells:
        assert isinstance(cell, Cell)
        assert cell.dfmr <= 1.05
        assert cell.byzantine_kept == 0.0
        assert cell.honest_kept >= 0.9
        assert cell.vanilla > 1.5


@pytest.mark.slow
def test_errors_are_the_oracles_in_every_cell() -> None:
    for cell in counts():
        assert cell.dfmr <= 1.05, cell


@pytest.mark.parametrize("family", FAMILIES)
def test_the_error_of_an_estimate_falls_with_its_rows(family: str) -> None:
    truth = truth_of(FAMILIES[family](6), 3, 6, seed=5)
    few, many = (messages_of(truth, n, 1, seed=5)[0].mixture for n in (300, 10_000))
    assert few is not None
    assert many is not None
    assert error(many, truth) < error(few, truth)
    assert error(truth, truth) == pytest.approx(0.0, abs=1e-9)
    order = np.array([2, 0, 1])
    assert error(many.reordered(order), truth) == pytest.approx(error(many, truth))
