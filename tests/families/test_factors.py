"""Factors of small and of large covariances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.families.factors import SMALL, factors
from tests.tables import generators


@given(rng=generators(), d=st.sampled_from([1, 2, 3, 7, SMALL, SMALL + 1, 40]))
def test_factors_are_those_of_lapack_and_their_inverses(rng: np.random.Generator, d: int) -> None:
    axes = rng.standard_normal((2, 3, d, d + 2)) * np.exp(rng.uniform(-6, 6, (2, 3, d, 1)))
    covariances = axes @ axes.swapaxes(-1, -2)
    lower, inverse = factors(covariances)
    wanted = np.linalg.cholesky(covariances)
    scale = np.sqrt(np.diagonal(covariances, axis1=-2, axis2=-1))[..., None]
    np.testing.assert_allclose(lower / scale, wanted / scale, atol=1e-10)
    np.testing.assert_allclose(inverse @ lower, np.broadcast_to(np.eye(d), lower.shape), atol=1e-6)
    assert (np.triu(inverse, 1) == 0.0).all()


@pytest.mark.parametrize("d", [2, SMALL + 1])
def test_what_is_not_positive_definite_is_refused(d: int) -> None:
    stack = np.stack([np.eye(d), np.eye(d)])
    stack[1, 0, 0] = -1.0
    with pytest.raises(np.linalg.LinAlgError):
        factors(stack)
    stack[1, 0, 0] = np.nan
    if d <= SMALL:
        with pytest.raises(np.linalg.LinAlgError):
            factors(stack)
