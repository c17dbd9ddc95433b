"""Laws of densities and of integrals of them, over the whole table of families."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import kstest, multivariate_normal, norm
from sklearn.mixture import GaussianMixture

from dfmr_dask.families import Family
from tests.tables import (
    FAMILIES,
    covariances_of,
    each_family,
    generators,
    lattice,
    mixtures,
    random_mixture,
    random_params,
)


@each_family
@pytest.mark.parametrize("n_features", [1, 2])
def test_density_integrates_to_one(family: Family, n_features: int) -> None:
    points, cell = lattice(n_features)
    for seed in range(3):
        params = random_params(family, 4, n_features, np.random.default_rng(seed))
        mass = np.exp(family.log_density(params, points)).sum(axis=0) * cell
        np.testing.assert_allclose(mass, 1.0, rtol=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
@given(data=st.data(), rng=generators())
def test_log_density_is_that_of_scipy(
    name: str, data: st.DataObject, rng: np.random.Generator
) -> None:
    family = FAMILIES[name]
    g = data.draw(mixtures(family))
    x = 4.0 * rng.standard_normal((20, g.n_features))
    wanted = [
        multivariate_normal(mean, covariance).logpdf(x)
        for mean, covariance in zip(g.params["means"], covariances_of(g.params), strict=True)
    ]
    found = family.log_density(g.params, x)
    np.testing.assert_allclose(found, np.transpose(wanted).reshape(20, -1), rtol=1e-9, atol=1e-9)


def scikit_learn_twin(name: str, n_components: int, n_features: int, seed: int) -> tuple:
    """One of our mixtures and the same one as a fitted scikit-learn estimator."""
    g = random_mixture(FAMILIES[name], n_components, n_features, np.random.default_rng(seed))
    covariances = covariances_of(g.params)
    shaped = {
        "full": covariances,
        "tied": covariances[0],
        "diag": np.diagonal(covariances, axis1=1, axis2=2),
        "spherical": covariances[:, 0, 0],
    }[name]
    twin = GaussianMixture(n_components, covariance_type=name)
    twin.weights_, twin.means_, twin.covariances_ = g.weights, g.params["means"], shaped
    if name in ("full", "tied"):  # scikit-learn wants U with U Uᵀ the precision
        twin.precisions_cholesky_ = np.linalg.inv(np.linalg.cholesky(shaped)).swapaxes(-1, -2)
    else:
        twin.precisions_cholesky_ = 1.0 / np.sqrt(shaped)
    return g, twin


@pytest.mark.parametrize("name", FAMILIES)
def test_mixture_agrees_with_scikit_learn(name: str) -> None:
    g, twin = scikit_learn_twin(name, 4, 3, seed=5)
    x, _ = g.sample(300, np.random.default_rng(6))
    np.testing.assert_allclose(g.log_density(x), twin.score_samples(x), rtol=1e-10)
    np.testing.assert_allclose(g.responsibilities(x), twin.predict_proba(x), atol=1e-10)
    np.testing.assert_array_equal(g.labels(x), twin.predict(x))
    assert g.score(x) == pytest.approx(twin.score(x))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("n_components", "n_features"), [(1, 1), (3, 4), (6, 2)])
def test_parameters_are_counted_like_scikit_learn_does(
    name: str, n_components: int, n_features: int
) -> None:
    g, twin = scikit_learn_twin(name, n_components, n_features, seed=1)
    assert g.n_parameters == twin._n_parameters()


@each_family
@pytest.mark.parametrize("n_features", [1, 2])
def test_log_inner_product_equals_quadrature(family: Family, n_features: int) -> None:
    rng = np.random.default_rng(n_features)
    p, q = (random_params(family, k, n_features, rng) for k in (3, 2))
    points, cell = lattice(n_features)
    density_p, density_q = (np.exp(family.log_density(params, points)) for params in (p, q))
    wanted = density_p.T @ density_q * cell
    np.testing.assert_allclose(np.exp(family.log_inner_product(p, q)), wanted, rtol=1e-9)


@each_family
def test_log_inner_product_is_one_density_at_the_other_mean(family: Family) -> None:
    """The integral of N(m, S) N(n, T) is N(m; n, S + T); in many dimensions it is tiny."""
    rng = np.random.default_rng(3)
    p, q = (random_params(family, k, 200, rng) for k in (2, 3))
    found = family.log_inner_product(p, q)
    np.testing.assert_allclose(found, family.log_inner_product(q, p).T, rtol=1e-10)
    total = covariances_of(p)[1] + covariances_of(q)[2]
    wanted = multivariate_normal(q["means"][2], total).logpdf(p["means"][1])
    assert found[1, 2] == pytest.approx(wanted, rel=1e-10)
    assert wanted < -300.0


@pytest.mark.parametrize("name", FAMILIES)
@given(data=st.data(), rng=generators())
def test_kl_is_the_closed_form_and_never_negative(
    name: str, data: st.DataObject, rng: np.random.Generator
) -> None:
    family = FAMILIES[name]
    p = data.draw(mixtures(family)).params
    q = random_params(family, 3, p["means"].shape[1], rng)
    found = family.kl(p, q)
    assert (found >= 0.0).all()
    np.testing.assert_allclose(np.diag(family.kl(p, p)), 0.0, atol=1e-12)
    for a, (mean_a, cov_a) in enumerate(zip(p["means"], covariances_of(p), strict=True)):
        for b, (mean_b, cov_b) in enumerate(zip(q["means"], covariances_of(q), strict=True)):
            offset = mean_b - mean_a
            wanted = 0.5 * (
                np.trace(np.linalg.solve(cov_b, cov_a))
                + offset @ np.linalg.solve(cov_b, offset)
                - len(offset)
                + np.linalg.slogdet(cov_b)[1]
                - np.linalg.slogdet(cov_a)[1]
            )
            assert found[a, b] == pytest.approx(wanted, rel=1e-9, abs=1e-11)


@each_family
def test_kl_equals_integration_by_scipy(family: Family) -> None:
    rng = np.random.default_rng(8)
    p, q = random_params(family, 3, 1, rng), random_params(family, 2, 1, rng)
    found = family.kl(p, q)
    for a in range(3):
        for b in range(2):
            mean_p, sd_p = p["means"][a, 0], np.sqrt(covariances_of(p)[a, 0, 0])
            at_p = norm(mean_p, sd_p)
            at_q = norm(q["means"][b, 0], np.sqrt(covariances_of(q)[b, 0, 0]))
            wanted, _ = quad(
                lambda x, f=at_p, g=at_q: f.pdf(x) * (f.logpdf(x) - g.logpdf(x)),
                mean_p - 12 * sd_p,
                mean_p + 12 * sd_p,
            )
            assert found[a, b] == pytest.approx(wanted, rel=1e-6, abs=1e-9)


@each_family
def test_kl_equals_quadrature_in_the_plane(family: Family) -> None:
    rng = np.random.default_rng(9)
    p, q = random_params(family, 2, 2, rng), random_params(family, 3, 2, rng)
    points, cell = lattice(2)
    log_p, log_q = family.log_density(p, points), family.log_density(q, points)
    wanted = [
        [float(np.exp(log_p[:, a]) @ (log_p[:, a] - log_q[:, b])) * cell for b in range(3)]
        for a in range(2)
    ]
    np.testing.assert_allclose(family.kl(p, q), wanted, rtol=1e-8)


@each_family
def test_kl_does_not_depend_on_where_zero_is(family: Family) -> None:
    rng = np.random.default_rng(10)
    p, q = random_params(family, 3, 3, rng), random_params(family, 3, 3, rng)
    away = [{**params, "means": params["means"] + 1e6} for params in (p, q)]
    np.testing.assert_allclose(family.kl(*away), family.kl(p, q), rtol=1e-8)


@each_family
def test_samples_follow_the_density(family: Family) -> None:
    g = random_mixture(family, 3, 2, np.random.default_rng(11))
    rows, labels = g.sample(4000, np.random.default_rng(12))
    for k in range(3):
        mine = rows[labels == k]
        covariance = covariances_of(g.params)[k]
        for direction in ([1.0, 0.0], [0.0, 1.0], [0.6, 0.8]):
            along = norm(
                g.params["means"][k] @ direction, np.sqrt(direction @ covariance @ direction)
            )
            assert kstest(mine @ direction, along.cdf).pvalue > 1e-4
