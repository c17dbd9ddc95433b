"""What the method promises, measured on fixed seeds: `pytest -m slow -s` prints every cell.

The studies are those of ``python -m dfmr_dask.experiments.studies``; all of them take hours on two
cores. A small part of each runs with the other tests.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dfmr_dask.experiments.studies import Cell, photograph, simulated_truth, whole_store

SCALES = (1.0, 1.0, 1.5, 2.0, 3.0)


def assert_as_good_as_the_oracle(cells: Sequence[Cell]) -> None:
    for cell in cells:
        print(cell)
        assert cell.dfmr_high <= 1.05, cell
        assert cell.vanilla >= 5.0 or cell.alpha < 0.1, cell


def test_dfmr_is_as_good_as_the_oracle_in_part() -> None:
    cells = simulated_truth(
        n_features=4, n_components=3, rows=1000, alphas=(0.0, 0.3), attacks=("mean",), seeds=(0, 1)
    )
    assert_as_good_as_the_oracle(cells)


@pytest.mark.slow
def test_dfmr_is_as_good_as_the_oracle() -> None:
    assert_as_good_as_the_oracle(simulated_truth(n_features=10, n_components=5))


@pytest.mark.slow
def test_dfmr_is_as_good_as_the_oracle_in_fifty_dimensions() -> None:
    cells = simulated_truth(n_features=50, n_components=10, scales=SCALES, start_at_truth=True)
    assert_as_good_as_the_oracle(cells)


@pytest.mark.slow
def test_the_score_of_a_whole_store_is_that_of_scikit_learn() -> None:
    for scored in whole_store():
        assert scored.ahead >= -1e-3, scored


@pytest.mark.slow
def test_the_photograph_is_fitted_as_well_as_by_scikit_learn_on_honest_pixels() -> None:
    for scored in photograph():
        assert scored.ahead >= -0.005, scored
