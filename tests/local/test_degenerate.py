"""Rows that ordinary fits stumble over: each is fitted right, or refused with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dfmr_dask.data import open_source
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.local import em, start
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.pipeline import Settings, fit
from dfmr_dask.run.tasks import InProcess
from tests.tables import covariances_of, each_family

FULL = COVARIANCE_TYPES["full"]
CENTERS = np.array([[0.0, 0.0, 0.0], [8.0, 0.0, 4.0]])


def two_clouds(n: int = 1200, seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return CENTERS[np.arange(n) % 2] + rng.standard_normal((n, 3))


def fitted(
    x: NDArray[Any], family: Family = FULL, order: int = 2, **settings: Any
) -> tuple[Mixture, em.Fit]:
    """Fit as a lone partition is fitted: a start of its own, then EM on all rows."""
    rng = np.random.default_rng(0)
    sample = start.draw_sample(x, start.Order(family, order, x.shape[1], alone=True), rng)
    first = start.propose(sample, family, order, rng)
    result = em.fit(x, first, strength=len(x) ** -0.5, **settings)
    return result.mixture.canonical(), result


def messages(x: NDArray[Any], order: int = 2, n_partitions: int = 3) -> tuple[Message, ...]:
    """What each of several partitions says; consecutive rows make a partition."""
    source = open_source(x, plan="rows", n_partitions=n_partitions)
    return fit(source, Settings(family=FULL, n_components=order), InProcess()).messages


@each_family
@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_scale_and_offset_change_nothing_but_the_units(
    family: Family, scale: float, offset: float
) -> None:
    x = np.round(two_clouds() * 256) / 256
    here, _ = fitted(x, family)
    there, result = fitted((x + offset) * scale, family)
    assert result.converged
    seen = there.params["means"] / scale - offset
    order = np.argsort(seen[:, 0]), np.argsort(here.params["means"][:, 0])
    np.testing.assert_allclose(seen[order[0]], here.params["means"][order[1]], atol=1e-3)
    spread = covariances_of(there.params)[order[0]] / scale**2
    np.testing.assert_allclose(spread, covariances_of(here.params)[order[1]], atol=1e-2)


def test_scales_of_features_may_differ_by_sixteen_orders() -> None:
    x = two_clouds()
    here, one = fitted(x)
    there, other = fitted(x * [1e-8, 1.0, 1e8])
    assert other.log_likelihood == pytest.approx(one.log_likelihood, abs=1e-6)
    np.testing.assert_allclose(there.weights, here.weights, atol=1e-4)


@each_family
def test_a_collinear_column_is_floored_not_singular(family: Family) -> None:
    x = two_clouds()
    x[:, 2] = 2.0 * x[:, 0] - x[:, 1]
    mixture, result = fitted(x, family)
    assert np.isfinite(result.log_likelihood)
    scale = x.std(axis=0)
    for covariance in covariances_of(mixture.params):
        correlation = covariance / (scale[:, None] * scale)
        assert np.linalg.eigvalsh(correlation).min() > 0.99e-6
    np.testing.assert_allclose(np.sort(mixture.weights), [0.5, 0.5], atol=0.02)


def test_a_column_that_is_constant_in_one_partition_fails_that_partition() -> None:
    x = two_clouds(3000)
    x[1000:2000, 1] = 4.0
    said = messages(x)
    assert [message.status for message in said] == ["fitted", "failed", "fitted"]
    assert said[1].reason.startswith("constant in every row: feature ")


@each_family
def test_rows_that_come_many_times_are_no_component_of_their_own_size(family: Family) -> None:
    """A point mass gets the floor for its spread, and the fit stays finite."""
    x = two_clouds()
    x[:300] = x[0]
    mixture, result = fitted(x, family, order=3)
    assert np.isfinite(result.log_likelihood)
    assert mixture.weights.min() > 0.01
    assert np.diff(result.trace).min(initial=0.0) >= -1e-9


def test_fewer_rows_than_a_fit_needs_are_refused_with_the_numbers() -> None:
    x = two_clouds(3000)
    x[1:1000] = np.nan
    said = messages(x)
    assert [message.status for message in said] == ["failed", "fitted", "fitted"]
    assert said[0].reason == "1 valid rows; 2 components of 3 features need at least 8"


@each_family
def test_as_many_rows_as_a_fit_needs_at_least_are_fitted(family: Family) -> None:
    least = family.min_rows(2, 3)
    x = two_clouds(least)
    mixture, result = fitted(x, family)
    assert np.isfinite(result.log_likelihood)
    assert mixture.n_components == 2


def test_rows_of_nan_are_left_out_and_counted() -> None:
    x = two_clouds(3000)
    clean = x.copy()
    x[5::10] = np.nan
    said = messages(x)
    assert [message.dropped_rows for message in said] == [100, 100, 100]
    assert said[0].mixture is not None
    kept = np.delete(clean, np.arange(5, 3000, 10), axis=0)
    here, _ = fitted(kept)
    there = said[0].mixture.canonical()
    assert here.score(clean) == pytest.approx(there.score(clean), abs=0.05)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "float16", "float32"])
def test_rows_of_every_dtype_are_fitted_as_their_values(dtype: str) -> None:
    """Unsigned bytes must not wrap when they are centered."""
    x = np.round(two_clouds() * 10 + 60).clip(0, 255).astype(dtype)
    here, one = fitted(x)
    there, other = fitted(x.astype(np.float64))
    assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-9)
    np.testing.assert_allclose(here.params["means"], there.params["means"], rtol=1e-6)


def test_a_component_of_a_few_rows_does_not_win_by_its_likelihood() -> None:
    """Eleven close rows gain likelihood as a component; the third cloud is worth more."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((3000, 10)) + 5.0 * (np.arange(3000) % 3)[:, None]
    x[:11] = x[0] + 1e-3 * rng.standard_normal((11, 10))
    mixture, _ = fitted(x, order=3)
    assert mixture.weights.min() > 0.2
