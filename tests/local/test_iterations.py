"""Plain EM iterations from several starts."""

from __future__ import annotations

import numpy as np
import pytest

from dfmr_dask.errors import DegenerateRows
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.local.em import fit
from dfmr_dask.local.iterations import iterated
from dfmr_dask.mixture import Mixture
from tests.tables import each_family, random_mixture


@each_family
def test_each_iteration_is_one_of_a_fit_without_extrapolation(family: Family) -> None:
    rng = np.random.default_rng(0)
    truth = random_mixture(family, 3, 2, rng)
    x, _ = truth.sample(600, rng)
    starts = [random_mixture(family, 3, 2, rng) for _ in range(2)]
    for start, made in zip(starts, iterated(x, starts, 4, strength=0.05), strict=True):
        expected = fit(x, start, strength=0.05, tol=0.0, max_iter=4, accelerate=False).mixture
        assert made is not None
        assert made.weights == pytest.approx(expected.weights, abs=1e-12)
        assert made.params["means"] == pytest.approx(expected.params["means"], abs=1e-10)


def test_a_row_of_weight_two_is_a_row_twice() -> None:
    rng = np.random.default_rng(1)
    truth = random_mixture(COVARIANCE_TYPES["full"], 2, 2, rng)
    x, _ = truth.sample(300, rng)
    counts = rng.integers(0, 3, len(x))
    (weighted,) = iterated(x, [truth], 3, strength=0.05, sample_weight=counts.astype(float))
    (repeated,) = iterated(np.repeat(x, counts, axis=0), [truth], 3, strength=0.05)
    assert weighted is not None
    assert repeated is not None
    assert weighted.params["means"] == pytest.approx(repeated.params["means"], abs=1e-10)


def test_starts_that_rows_cannot_be_reached_from_are_left_out() -> None:
    rng = np.random.default_rng(2)
    truth = random_mixture(COVARIANCE_TYPES["full"], 2, 2, rng)
    x, _ = truth.sample(200, rng)
    params = {**truth.params, "covariances": truth.params["covariances"] * 1e-40}
    away = {**truth.params, "means": truth.params["means"] + 1e40}
    starts = [Mixture(truth.family, truth.weights, p) for p in (params, away)]
    made = iterated(x, [*starts, truth], 2, strength=0.05)
    assert made[-1] is not None
    assert all(one is None or np.isfinite(one.params["means"]).all() for one in made)


def test_too_few_rows_are_refused() -> None:
    truth = random_mixture(COVARIANCE_TYPES["full"], 3, 2, np.random.default_rng(3))
    with pytest.raises(DegenerateRows, match="4 valid rows"):
        iterated(np.eye(4)[:, :2], [truth], 2, strength=0.05)
