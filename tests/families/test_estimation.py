"""Laws of the penalized M-step and of the floor (METHOD 2)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.errors import DegenerateRows
from dfmr_dask.families import DiagonalGaussian, Family, Params
from dfmr_dask.kernels.reference import log_sum_exp
from tests.tables import (
    FAMILIES,
    covariances_of,
    each_family,
    generators,
    perturbed,
    random_mixture,
)


def overall_statistics(family: Family, rows: np.ndarray):
    return family.statistics(rows, np.ones((len(rows), 1)))


def scaled_eigenvalues(params: Params, rows: np.ndarray) -> np.ndarray:
    """Eigenvalues of D^-1/2 Sigma D^-1/2 with D the diagonal of the rows' covariance."""
    scale = rows.std(axis=0)
    return np.linalg.eigvalsh(covariances_of(params) / np.outer(scale, scale))


def lifted(params: Params, rows: np.ndarray, floor: float) -> Params:
    """The same parameters, covariances enlarged until none is below the floor."""
    values = scaled_eigenvalues(params, rows)
    short = np.maximum(1.0, floor / values.min(axis=1)).max()  # one factor, so that tied stay tied
    return {key: array if key == "means" else array * short for key, array in params.items()}


def penalized(family: Family, params: Params, rows: np.ndarray, weights: np.ndarray, pseudo):
    return float((weights * family.log_density(params, rows)).sum()) - family.penalty(
        params, pseudo
    )


@pytest.mark.parametrize("name", FAMILIES)
@given(rng=generators(), n_features=st.integers(1, 4), strength=st.sampled_from([0.0, 0.05, 20.0]))
def test_m_step_is_the_maximum_of_the_penalized_expected_log_likelihood(
    name: str, rng: np.random.Generator, n_features: int, strength: float
) -> None:
    family = FAMILIES[name]
    rows = rng.standard_normal((80, n_features)) @ rng.standard_normal((n_features, n_features))
    weights = rng.dirichlet(np.ones(3), size=80)
    pseudo = family.pseudo_rows(overall_statistics(family, rows), strength, 1e-9)
    best = family.from_statistics(family.statistics(rows, weights), pseudo)
    top = penalized(family, best, rows, weights, pseudo)
    for size in (1e-3, 1e-2, 1e-1):
        moved = perturbed(family, best, size, rng)
        assert penalized(family, moved, rows, weights, pseudo) < top + 1e-9 * abs(top)


@pytest.mark.parametrize("name", FAMILIES)
@given(rng=generators(), strength=st.floats(0.0, 10.0))
def test_m_step_and_penalty_are_the_formulas_of_the_method(
    name: str, rng: np.random.Generator, strength: float
) -> None:
    family = FAMILIES[name]
    rows, weights = rng.standard_normal((70, 3)) * [1, 2, 3], rng.dirichlet(np.ones(2), size=70)
    pseudo = family.pseudo_rows(overall_statistics(family, rows), strength, 1e-9)
    params = family.from_statistics(family.statistics(rows, weights), pseudo)
    overall = np.cov(rows.T, ddof=0)
    count = weights.sum(axis=0)
    offset = rows[None] - (weights.T @ rows / count[:, None])[:, None]
    scatter = np.einsum("ik,kij,kil->kjl", weights, offset, offset)
    full = (scatter + 2 * strength * overall) / (count + 2 * strength)[:, None, None]
    tied = (scatter.sum(axis=0) + 2 * strength * overall) / (70 + 2 * strength)
    wanted = {
        "full": full,
        "tied": np.stack([tied, tied]),
        "diag": full * np.eye(3),
        "spherical": np.trace(full, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3),
    }[name]
    np.testing.assert_allclose(covariances_of(params), wanted, atol=1e-10)
    terms = [np.trace(np.linalg.solve(c, overall)) + np.linalg.slogdet(c)[1] for c in wanted]
    penalty = strength * (terms[0] if name == "tied" else sum(terms))
    assert family.penalty(params, pseudo) == pytest.approx(penalty, rel=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
@given(rng=generators(), floor=st.sampled_from([1e-6, 1e-2, 0.6]))
def test_no_eigenvalue_is_below_the_floor(
    name: str, rng: np.random.Generator, floor: float
) -> None:
    """Rows of the first component lie on a line, so that only the floor holds its covariance."""
    family = FAMILIES[name]
    rows = rng.standard_normal((60, 3)) * [1.0, 1e-3, 1e4]
    rows[:20] = rows[:1] + np.outer(rng.standard_normal(20), [1e-9, 1e-12, 1e-5])
    weights = np.eye(2)[(np.arange(60) >= 20).astype(int)]
    pseudo = family.pseudo_rows(overall_statistics(family, rows), 0.0, floor)
    params = family.from_statistics(family.statistics(rows, weights), pseudo)
    family.validated(params)
    values = scaled_eigenvalues(params, rows)
    assert values.min() >= floor * (1 - 1e-9)
    if name in ("full", "diag"):
        np.testing.assert_allclose(values[0], floor, rtol=1e-6)


@pytest.mark.parametrize("name", FAMILIES)
@given(rng=generators(), strength=st.sampled_from([0.0, 0.1]))
def test_the_floor_is_the_constrained_maximum(
    name: str, rng: np.random.Generator, strength: float
) -> None:
    """No point above the floor is better than the M-step, which a ridge would not be."""
    family = FAMILIES[name]
    rows = rng.standard_normal((60, 2)) * [1.0, 7.0]
    weights = rng.dirichlet(np.ones(2), size=60) ** 2
    floor = 0.7
    pseudo = family.pseudo_rows(overall_statistics(family, rows), strength, floor)
    best = family.from_statistics(family.statistics(rows, weights), pseudo)
    top = penalized(family, best, rows, weights, pseudo)
    for size in np.repeat([1e-3, 1e-2, 1e-1], 3):
        moved = lifted(perturbed(family, best, size, rng), rows, floor)
        assert scaled_eigenvalues(moved, rows).min() >= floor * (1 - 1e-12)
        assert penalized(family, moved, rows, weights, pseudo) < top + 1e-9 * abs(top)


@each_family
def test_penalized_likelihood_never_falls_on_lattice_data(family: Family) -> None:
    """Whole numbers with many ties pull components onto lattice lines, where the floor acts."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 4, (300, 2)).astype(np.float64)
    rows[:100, 1] = rows[:100, 0]
    pseudo = family.pseudo_rows(overall_statistics(family, rows), 300**-0.5, 1e-3)
    start = random_mixture(family, 4, 2, rng)
    weights, params, previous = start.weights, start.params, -np.inf
    for iteration in range(40):
        log_weighted = family.log_density(params, rows) + np.log(weights)
        log_density = log_sum_exp(log_weighted)
        reached = log_density.sum() - family.penalty(params, pseudo)
        if iteration > 1:  # the start need not obey the floor
            assert reached >= previous - 1e-8
        previous = reached
        statistics = family.statistics(rows, np.exp(log_weighted - log_density[:, None]))
        weights = statistics.count / 300
        params = family.from_statistics(statistics, pseudo)


@each_family
def test_a_component_without_rows_gets_the_overall_covariance(family: Family) -> None:
    rows = np.random.default_rng(1).standard_normal((50, 2)) * [1.0, 3.0]
    weights = np.column_stack([np.ones(50), np.zeros(50)])
    pseudo = family.pseudo_rows(overall_statistics(family, rows), 0.1, 1e-6)
    params = family.from_statistics(family.statistics(rows, weights), pseudo)
    covariances = covariances_of(params)
    assert np.isfinite(params["means"]).all()
    np.testing.assert_allclose(covariances[1], covariances[0], rtol=1e-12)
    assert np.trace(covariances[1]) == pytest.approx(rows.var(axis=0).sum())


@each_family
@pytest.mark.parametrize("value", [0.0, 3.0, 1e6 / 3.0])
def test_constant_columns_cannot_carry_a_fit_and_are_named(family: Family, value: float) -> None:
    rows = np.random.default_rng(2).standard_normal((40, 3))
    rows[:, 1] = value
    with pytest.raises(DegenerateRows, match=r"\[1\]"):
        family.pseudo_rows(overall_statistics(family, rows), 0.1, 1e-6)


@each_family
def test_columns_far_from_zero_are_not_taken_for_constant(family: Family) -> None:
    rows = np.random.default_rng(3).standard_normal((40, 2)) * [1e-3, 1.0] + [1e6, -1e6]
    overall = overall_statistics(family, rows)
    assert family.pseudo_rows(overall, 0.5, 1e-6).strength == 0.5
    variances = np.diagonal(covariances_of(dict(overall.moments)), axis1=1, axis2=2)
    np.testing.assert_allclose(variances[0], rows.var(axis=0), rtol=1e-6)


@each_family
@pytest.mark.parametrize(("n_components", "n_features"), [(1, 1), (3, 4)])
def test_the_fewest_rows_are_those_that_span_every_component(
    family: Family, n_components: int, n_features: int
) -> None:
    fewest = family.min_rows(n_components, n_features)
    if isinstance(family, DiagonalGaussian):
        assert fewest == n_components + 1
    else:
        rows = np.random.default_rng(4).standard_normal((fewest, n_features))
        labels = np.arange(fewest) % n_components
        moments = family.statistics(rows, np.eye(n_components)[labels]).moments
        assert (np.linalg.eigvalsh(moments["covariances"]) > 1e-12).all()
