"""Which rows are so far away that they are errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.local.outliers import near, quantiles


@given(
    seed=st.integers(0, 1000),
    scale=st.sampled_from([1e-8, 1.0, 1e8]),
    offset=st.sampled_from([0.0, 1e6]),
)
def test_units_do_not_matter(seed: int, scale: float, offset: float) -> None:
    x = np.random.default_rng(seed).standard_t(1, (200, 3))
    assert np.array_equal(near(x * scale + offset * scale, 5.0), near(x, 5.0))


@given(seed=st.integers(0, 1000))
def test_weights_are_repetitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, weights = rng.standard_t(1, (60, 2)), rng.integers(1, 4, 60)
    repeated = near(np.repeat(x, weights, axis=0), 4.0)
    assert np.array_equal(np.repeat(near(x, 4.0, weights.astype(float)), weights), repeated)


@given(seed=st.integers(0, 1000), level=st.floats(0.01, 1.0))
def test_quantiles_reach_their_share(seed: int, level: float) -> None:
    values = np.random.default_rng(seed).normal(size=31)
    for weights in (None, np.ones(31)):
        (found,) = quantiles(values, (level,), weights)
        assert np.mean(values <= found) >= level - 1e-12
        assert np.mean(values < found) < level


def test_far_rows_in_any_feature_are_told() -> None:
    x = np.random.default_rng(0).normal(size=(1000, 3))
    x[[3, 500], [0, 2]] = 1e6, -1e6
    assert np.array_equal(np.flatnonzero(~near(x, 1e3)), [3, 500])
    assert near(x, 1e7).all()


@pytest.mark.parametrize("dtype", ["i2", "u1", "f2", "f4"])
def test_any_numbers_will_do(dtype: str) -> None:
    x = np.array([[3], [4], [5], [6], [200]], dtype)
    assert near(x, 20.0).tolist() == [True] * 4 + [False]


def test_features_that_are_mostly_one_value_go_by_their_quartiles() -> None:
    x = np.zeros((100, 1))
    x[:40] = 1.0
    x[0] = 1e6
    assert np.array_equal(np.flatnonzero(~near(x, 100.0)), [0])


def test_features_without_any_spread_are_left_alone() -> None:
    x = np.zeros((100, 2))
    x[0] = 1e6
    assert near(x, 3.0).all()
    assert near(np.empty((0, 2)), 3.0).shape == (0,)
