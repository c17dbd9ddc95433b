"""Rows that starts must survive: duplicates, collinear columns, few rows, odd scales and dtypes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.exceptions import ConvergenceWarning

from dfmr_dask.errors import DegenerateRows
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.local import start
from dfmr_dask.mixture import Mixture
from tests.tables import each_family

each_start = pytest.mark.parametrize("init_params", start.STARTS)
CENTERS = np.array([[40.0, 40.0], [200.0, 40.0], [40.0, 200.0]])


def groups(n: int, seed: int = 0) -> NDArray[np.float64]:
    """Three groups of rows, some ten units wide, between 0 and 255."""
    rng = np.random.default_rng(seed)
    x = CENTERS[rng.integers(0, 3, n)] + rng.normal(scale=8.0, size=(n, 2))
    return np.clip(x, 0.0, 255.0)


def pilot_of(x: NDArray[np.generic], family: Family, order: int, **options: object) -> Mixture:
    rng = np.random.default_rng(1)
    return start.propose(start.Sample(x, x), family, order, rng, **options)  # type: ignore[arg-type]


def distance_to(centers: NDArray[np.float64], pilot: Mixture) -> float:
    distance = np.linalg.norm(pilot.params["means"][:, None] - centers, axis=2)
    return float(distance[linear_sum_assignment(distance)].max())


@each_start
@each_family
def test_fewer_distinct_rows_than_components(family: Family, init_params: str) -> None:
    x = np.random.default_rng(0).choice(np.array([[0.0, 1.0], [3.0, 0.0], [5.0, 5.0]]), 400)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # k-means tells of the duplicates
        pilot = pilot_of(x, family, 5, init_params=init_params, n_init=1)
    assert pilot.n_components == 5
    assert np.isfinite(pilot.score(x))


@each_family
def test_many_duplicates_beside_a_cloud(family: Family) -> None:
    cloud = groups(300)
    x = np.concatenate([np.repeat([[220.0, 220.0]], 300, axis=0), cloud])
    x = np.random.default_rng(2).permutation(x)
    pilot = pilot_of(x, family, 4, alone=True)
    assert np.linalg.norm(pilot.params["means"] - 220.0, axis=1).min() < 1.0


@each_start
@each_family
def test_a_constant_column_is_named(family: Family, init_params: str) -> None:
    x = np.column_stack([groups(300), np.full(300, 7.0)])
    with pytest.raises(DegenerateRows, match=r"constant columns: \[2\]"):
        pilot_of(x, family, 3, init_params=init_params)


@each_family
def test_collinear_columns_are_survived(family: Family) -> None:
    x = groups(900)
    x = np.column_stack([x, x @ [1.0, -2.0], 3.0 * x[:, 0]])
    pilot = pilot_of(x, family, 3, alone=True)
    assert distance_to(CENTERS, Mixture(*_first_two(pilot))) < 5.0


def _first_two(pilot: Mixture) -> tuple[Family, NDArray[np.float64], dict[str, object]]:
    params: dict[str, object] = {"means": pilot.params["means"][:, :2]}
    if "variances" in pilot.params:
        params["variances"] = np.repeat(pilot.params["variances"][:, :1], 2, axis=1)
    else:
        params["covariances"] = pilot.params["covariances"][:, :2, :2]
    return pilot.family, pilot.weights, params


@each_start
@each_family
@pytest.mark.parametrize("order", [2, 3, 5])
def test_just_enough_rows_and_too_few(family: Family, init_params: str, order: int) -> None:
    least = family.min_rows(order, 2)
    x = groups(least, seed=5)
    pilot = pilot_of(x, family, order, init_params=init_params)
    assert np.isfinite(pilot.score(x))
    for fewer in (x[:-1], x[:1]):
        with pytest.raises(DegenerateRows, match=f"need at least {least}"):
            pilot_of(fewer, family, order, init_params=init_params)


@each_family
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_scale_and_offset_change_nothing(family: Family, scale: float, offset: float) -> None:
    pilot = pilot_of(scale * (groups(1000) + offset), family, 3, alone=True)
    assert distance_to(scale * (CENTERS + offset), pilot) < 5.0 * scale


@each_start
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", "float32"])
def test_rows_of_any_dtype_say_what_their_values_say(dtype: DTypeLike, init_params: str) -> None:
    x = groups(600).astype(dtype)
    narrow, wide = (
        pilot_of(rows, COVARIANCE_TYPES["full"], 3, init_params=init_params)
        for rows in (x, x.astype(np.float64))
    )
    for name, array in wide.params.items():
        np.testing.assert_allclose(narrow.params[name], array, rtol=1e-6, atol=1e-6)


@each_start
def test_rows_of_no_weight_are_not_there(init_params: str) -> None:
    x = groups(600)
    far = np.random.default_rng(3).normal([900.0, 900.0], 1.0, (600, 2))
    both, weight = np.empty((1200, 2)), np.tile([1.7, 0.0], 600)
    both[::2], both[1::2] = x, far
    pilots = [
        start.propose(
            start.Sample(rows, x, counts),
            COVARIANCE_TYPES["full"],
            3,
            np.random.default_rng(5),
            init_params=init_params,
        )
        for rows, counts in ((both, weight), (x, np.ones(600)))
    ]
    for name, array in pilots[1].params.items():
        assert np.array_equal(pilots[0].params[name], array)


def test_a_sample_in_which_no_row_counts_is_too_small() -> None:
    with pytest.raises(DegenerateRows, match="a sample of 0 rows"):
        start.propose(
            start.Sample(groups(50), groups(50), np.zeros(50)),
            COVARIANCE_TYPES["full"],
            3,
            np.random.default_rng(5),
        )


@each_family
def test_wide_rows_are_looked_at_in_few_directions(family: Family) -> None:
    rng = np.random.default_rng(6)
    centers = 9.0 * rng.standard_normal((4, 30))
    x = centers[rng.integers(0, 4, 1500)] + rng.standard_normal((1500, 30))
    assert distance_to(centers, pilot_of(x, family, 4)) < 1.5
