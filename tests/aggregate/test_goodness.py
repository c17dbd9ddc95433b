"""How well rows fit, and who is how far from whom: against chance, and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dfmr_dask.aggregate.distances import blocks_at, studentized_block, studentized_weights
from dfmr_dask.aggregate.estimates import collect
from dfmr_dask.aggregate.goodness import goodness_of_fit
from dfmr_dask.aggregate.matrix import distance_matrix
from dfmr_dask.families import DiagonalGaussian
from tests.show.html.making import said, truth
from tests.tables import random_mixture


def test_rows_of_the_model_are_seldom_found_to_misfit() -> None:
    model, rng = truth(3, 2), np.random.default_rng(0)
    found = [goodness_of_fit(model, model.sample(200, rng)[0], rng).fits for _ in range(40)]
    assert sum(found) >= 34  # 95 of 100 in the long run


def test_missing_entries_are_no_misfit() -> None:
    """Rows with fewer entries have other log densities than whole ones."""
    rng = np.random.default_rng(3)
    model = random_mixture(DiagonalGaussian(), 2, 4, rng)
    rows = model.sample(600, rng)[0]
    rows[::2, :3] = np.nan
    assert goodness_of_fit(model, rows, rng).fits
    assert not goodness_of_fit(model, 1.5 * rows, rng).fits


@pytest.mark.parametrize("wrong", ["wider", "shifted", "strays"])
def test_what_is_no_row_of_the_model_is_found(wrong: str) -> None:
    model, rng = truth(2, 3), np.random.default_rng(1)
    rows = model.sample(600, rng)[0]
    changed = {
        "wider": 1.5 * rows,
        "shifted": rows + 1.0,
        "strays": np.where(np.arange(600)[:, None] < 60, 50.0, rows),
    }[wrong]
    found = goodness_of_fit(model, changed, rng)
    assert not found.fits
    assert "not all there is" in str(found)
    if wrong == "strays":
        assert found.rare >= 0.1


def test_the_distance_is_that_of_kolmogorov_and_smirnov() -> None:
    model = truth(1, 2)
    rows = np.random.default_rng(2).normal(size=(150, 2))
    found = goodness_of_fit(model, rows, np.random.default_rng(3))
    own = model.log_density(model.sample(3000, np.random.default_rng(3))[0])
    exact = stats.ks_2samp(model.log_density(rows), own).statistic
    assert found.distance == pytest.approx(exact, abs=1e-9)


def test_a_matrix_begins_with_the_center_and_holds_the_distances_of_the_filter() -> None:
    mixture = truth(3, 2)
    estimates = collect(said(9, mixture, liars=(4,)))[0]
    found = distance_matrix(estimates, center=6)
    assert found.ids[0] == 6
    assert found.ids[-1] == 4
    assert np.all(np.diff(found.distances[0]) >= 0.0)
    assert np.allclose(found.distances, found.distances.T)
    blocks = blocks_at(estimates, estimates.mixture(6))
    squares = [studentized_block(block, estimates) ** 2 for block in blocks]
    squares.append(studentized_weights(estimates) ** 2)
    expected = np.sqrt(np.mean(squares, axis=0))
    assert np.allclose(found.distances, expected[np.ix_(found.ids, found.ids)])


def test_a_large_matrix_shows_the_center_the_dropped_and_some_others() -> None:
    liars = range(0, 60, 12)
    estimates = collect(said(60, truth(2, 1), liars=liars))[0]
    found = distance_matrix(estimates, center=7, dropped=liars, most=20)
    assert len(found.ids) == 20
    assert found.left_out == 40
    assert {7, *liars} <= set(found.ids.tolist())
