"""Missing entries of Gaussians without covariances: left out of every sum, entry by entry."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from distributed import Client
from hypothesis import given, settings
from scipy.stats import norm

from dfmr_dask import GaussianMixture, MixtureModel, kernels, open_source
from dfmr_dask.errors import DegenerateRows
from dfmr_dask.families import DiagonalGaussian
from dfmr_dask.families.base import OBSERVED
from dfmr_dask.kernels import reference
from dfmr_dask.local.em import fit
from dfmr_dask.local.outliers import bounds, within
from dfmr_dask.mixture import Mixture
from tests.tables import generators, random_mixture

BOTH = (DiagonalGaussian(), DiagonalGaussian(spherical=True))
each_kind = pytest.mark.parametrize("family", BOTH, ids=["diag", "spherical"])


def holed(
    family: DiagonalGaussian, n: int, rng: np.random.Generator, share: float = 0.2
) -> tuple[Mixture, np.ndarray]:
    """A mixture, and rows of it in which some entries are missing."""
    mixture = random_mixture(family, 3, 4, rng)
    x, _ = mixture.sample(n, rng)
    gone = rng.random(x.shape) < share
    gone[gone.all(axis=1), 0] = False
    return mixture, np.where(gone, np.nan, x)


@each_kind
def test_the_density_is_that_of_the_entries_that_are_there(family: DiagonalGaussian) -> None:
    mixture, x = holed(family, 50, np.random.default_rng(0))
    for k, (mean, variance) in enumerate(zip(*mixture.params.values(), strict=True)):
        each = norm(mean, np.sqrt(variance)).logpdf(x)
        found = family.log_density(mixture.params, x)[:, k]
        np.testing.assert_allclose(found, np.nansum(each, axis=1), atol=1e-10)


@each_kind
@given(rng=generators())
@settings(max_examples=20, deadline=None)
def test_sums_of_parts_are_those_of_all(family: DiagonalGaussian, rng: np.random.Generator) -> None:
    _, x = holed(family, 40, rng)
    r = rng.dirichlet(np.ones(2), size=40)
    whole = family.statistics(x, r)
    halves = reference.pooled(family, [family.statistics(x[i::2], r[i::2]) for i in range(2)])
    np.testing.assert_allclose(halves.count, whole.count)
    for name, array in whole.moments.items():
        np.testing.assert_allclose(halves.moments[name], array, rtol=1e-9, atol=1e-12)
    for j in range(4):
        there = ~np.isnan(x[:, j])
        mean = (r[there].T @ x[there, j]) / r[there].sum(axis=0)
        np.testing.assert_allclose(whole.moments["means"][:, j], mean, rtol=1e-9)


@each_kind
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.7])
def test_every_kernel_leaves_out_the_same_entries(
    family: DiagonalGaussian, dtype: Any, share: float
) -> None:
    rng = np.random.default_rng(1)
    mixture, x = holed(family, 700, rng, share)
    x, counts = x.astype(dtype), rng.uniform(0.5, 2.0, 700)
    blocks = [(x[:300], counts[:300]), (x[300:], counts[300:])]
    weights, params = mixture.weights, mixture.params
    one, total = kernels.expected_sums(family, weights, params, blocks)
    other, wanted = reference.expected_sums(family, weights, params, blocks)
    assert total == pytest.approx(wanted, abs=1e-8)
    np.testing.assert_allclose(one.count, other.count, rtol=1e-10)
    for name in ("means", "variances", OBSERVED):
        np.testing.assert_allclose(one.moments[name], other.moments[name], rtol=1e-8, atol=1e-10)
    overall = kernels.overall_statistics(family, x).moments
    np.testing.assert_allclose(overall["means"][0], np.nanmean(x.astype(float), axis=0), rtol=1e-9)
    found = mixture.answers(x, ("log_density", "responsibilities", "labels"))
    places = np.empty(700), np.empty((700, 3)), np.empty(700, dtype=np.intp)
    reference.answers(family, weights, params, x, places)
    for (name, array), wanted_array in zip(found.items(), places, strict=True):
        np.testing.assert_allclose(array, wanted_array, atol=1e-9, err_msg=name)


@each_kind
def test_the_objective_never_falls_and_the_fit_finds_the_parameters(
    family: DiagonalGaussian,
) -> None:
    truth, x = holed(family, 6000, np.random.default_rng(2), 0.15)
    found = fit(x, truth, strength=0.01, accelerate=False, tol=1e-9)
    assert found.converged
    assert np.diff(found.trace).min() > -1e-12
    assert np.diagonal(family.kl(truth.params, found.mixture.params)).max() < 0.05


def test_a_component_without_an_entry_in_a_column_has_the_mean_of_all_there() -> None:
    family = DiagonalGaussian()
    x = np.array([[0.0, np.nan], [0.1, np.nan], [9.0, 4.0], [9.1, 6.0]])
    r = np.repeat(np.eye(2), 2, axis=0)
    overall = family.statistics(x, np.ones((4, 1)))
    pseudo = family.pseudo_rows(overall, 0.5, 1e-6)
    found = family.from_statistics(family.statistics(x, r), pseudo)
    np.testing.assert_allclose(found["means"], [[0.05, 5.0], [9.05, 5.0]])
    assert found["variances"][0, 1] == pytest.approx(1.0)  # as everybody has it


def test_a_column_that_nobody_has_an_entry_in_is_named() -> None:
    truth, x = holed(DiagonalGaussian(), 60, np.random.default_rng(3))
    x[:, 2] = np.nan
    with pytest.raises(DegenerateRows, match=r"no entry in columns \[2\]"):
        fit(x, truth, strength=0.1)


def test_outliers_are_told_by_the_entries_that_are_there() -> None:
    x = np.array([[1.0, np.nan], [2.0, 5.0], [np.nan, 6.0], [3.0, 7.0], [1e9, np.nan]])
    limits = bounds(x, 100.0)
    np.testing.assert_allclose(limits.middle, [2.0, 6.0])
    np.testing.assert_array_equal(within(x, limits), [True, True, True, True, False])


@pytest.mark.parametrize("kind", ["diag", "full"])
def test_rows_of_a_store_stay_where_covariances_do_not_ask_for_all_entries(kind: str) -> None:
    """Half of the rows lack one of three entries; full covariances cannot use any of these."""
    import dask.array as da  # noqa: PLC0415

    rng = np.random.default_rng(4)
    middles = np.array([[0.0, 0.0, 0.0], [8.0, 8.0, 8.0]])
    z = rng.integers(2, size=1200)
    x = middles[z] + rng.standard_normal((1200, 3))
    x[::2, rng.integers(3)] = np.nan
    x[0] = np.nan
    source = open_source(da.from_array(x, chunks=(200, 3)))
    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None):
        model = GaussianMixture(2, covariance_type=kind, random_state=0).fit(source)
        labels = np.asarray(model.predict(source))
    dropped = int(model.partitions_.dropped_rows.sum())
    assert dropped == (1 if kind == "diag" else 600)
    known = labels >= 0
    assert known.sum() == 1200 - dropped
    agree = np.mean(labels[known] == z[known])
    assert max(agree, 1.0 - agree) > 0.99


def test_tables_in_memory_may_have_holes_where_the_family_allows() -> None:
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(0, 1, (150, 2)), rng.normal(9, 1, (150, 2))])
    x[::5, 1] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MixtureModel(2, random_state=0).fit(x)
        labels = GaussianMixture(2, covariance_type="diag", random_state=0).fit_predict(x)
    assert np.sort(model.means_[:, 0]).round() + 0.0 == pytest.approx([0.0, 9.0])
    assert len(set(labels[:150])) == len(set(labels[150:])) == 1
    with pytest.raises(ValueError, match="NaN"):
        GaussianMixture(2, covariance_type="full").fit(x)
