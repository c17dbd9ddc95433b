"""Rows of many small integers: the compiled way against NumPy, at every edge of its loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfmr_dask import kernels
from dfmr_dask.families import Bernoulli, Binomial, Family, Poisson
from dfmr_dask.families.base import OBSERVED
from dfmr_dask.kernels import reference, small_integers
from dfmr_dask.kernels.small_integers import COLUMNS, block_rows
from dfmr_dask.mixture import Mixture
from tests.tables import generators

HIGHEST = {"binomial": 1.0, "poisson": 4.0}
each_count = pytest.mark.parametrize("family", [Binomial(2), Bernoulli(), Binomial(3), Poisson()])


def drawn(
    family: Family, n: int, d: int, k: int, rng: np.random.Generator, dtype: Any, share: float
) -> tuple[Mixture, np.ndarray]:
    """A mixture and rows of it, some of whose entries are missing."""
    (name,) = family.columns(["x"])
    key = {"frequency": "frequencies", "rate": "rates"}[name]
    params = {key: rng.uniform(0.05, 0.95, (k, d)) * HIGHEST[family.name]}
    mixture = Mixture(family, rng.dirichlet(np.full(k, 5.0)), params)
    x = mixture.sample(n, rng)[0].astype(dtype)
    if np.dtype(dtype).kind == "i":
        x[rng.random(x.shape) < share] = -1
    return mixture, x


@each_count
@given(
    rng=generators(),
    n=st.integers(1, 11),
    d=st.sampled_from([128, COLUMNS - 1, COLUMNS, COLUMNS + 1, 2 * COLUMNS + 7]),
    k=st.integers(1, 7),
    dtype=st.sampled_from(["int8", "uint8"]),
    share=st.sampled_from([0.0, 0.01, 0.5]),
)
@settings(max_examples=25, deadline=None)
def test_both_kernels_give_the_same_sums(
    family: Family, rng: np.random.Generator, n: int, d: int, k: int, dtype: str, share: float
) -> None:
    mixture, x = drawn(family, n, d, k, rng, dtype, share)
    counts = rng.uniform(0.5, 2.0, n)
    assert small_integers.handles(family, x)
    found, total = kernels.expected_sums(family, mixture.weights, mixture.params, x, counts)
    wanted, same = reference.expected_sums(family, mixture.weights, mixture.params, [(x, counts)])
    assert total == pytest.approx(same, abs=1e-4 + 1e-6 * x.size)  # sums of single precision
    np.testing.assert_allclose(found.count, wanted.count, rtol=1e-3, atol=1e-3)
    one, other = (part.moments[OBSERVED] for part in (found, wanted))
    for name, array in found.moments.items():
        known = (one > 1e-3) & (other > 1e-3) & (wanted.count > 0.01)[:, None]
        np.testing.assert_allclose(array[known], wanted.moments[name][known], rtol=2e-3, atol=1e-3)


def test_single_precision_costs_next_to_nothing_where_rows_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    mixture, x = drawn(Binomial(2), 700, 5000, 5, rng, "int8", 0.03)
    told = mixture.family, mixture.weights, mixture.params
    found, total = kernels.expected_sums(*told, x)
    wanted, same = reference.expected_sums(*told, [(x, None)])
    assert total == pytest.approx(same, abs=1e-4 * len(x))
    np.testing.assert_allclose(found.count, wanted.count, rtol=1e-9)
    for name, array in found.moments.items():
        np.testing.assert_allclose(array, wanted.moments[name], atol=1e-6)


def test_blocks_of_whole_tiles_come_to_the_same_bits_as_all_rows_at_once() -> None:
    d = 5000
    step = block_rows(d)
    mixture, x = drawn(Binomial(2), 3 * step, d, 3, np.random.default_rng(1), "int8", 0.01)
    told = mixture.family, mixture.weights, mixture.params
    one, total = kernels.expected_sums(*told, x)
    other, same = kernels.expected_sums(*told, [(x[: 2 * step], None), (x[2 * step :], None)])
    assert total == same
    for name, array in one.moments.items():
        np.testing.assert_array_equal(array, other.moments[name])
