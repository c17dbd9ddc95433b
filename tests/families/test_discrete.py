"""What families whose entries may be missing promise beyond the laws of all families."""

from __future__ import annotations

import numpy as np
import pytest

from dfmr_dask.errors import DegenerateRows, InvalidMixture
from dfmr_dask.families import (
    Bernoulli,
    Binomial,
    Categorical,
    DiagonalGaussian,
    Family,
    Gaussian,
    Poisson,
    Product,
    family_named,
)
from dfmr_dask.families.entrywise import Entrywise
from dfmr_dask.kernels import (
    expected_sums,
    labels,
    log_density,
    overall_statistics,
    reference,
    responsibilities,
)
from dfmr_dask.local.em import fit
from tests.tables import DISCRETE, columns_of, each_discrete, random_mixture, random_params

COUNTS = {name: one for name, one in DISCRETE.items() if name != "product"}
each_entrywise = pytest.mark.parametrize("family", COUNTS.values(), ids=COUNTS.keys())


def holed(family: Family, n: int, seed: int = 0) -> np.ndarray:
    """Rows of a random mixture, a fifth of whose entries are missing, but none in the last."""
    rng = np.random.default_rng(seed)
    x, _ = random_mixture(family, 3, columns_of(family), rng).sample(n, rng)
    gone = rng.random(x.shape) < 0.2
    gone[gone.all(axis=1), 0] = False
    gone[-1] = False
    return np.where(gone, np.nan, x)


@each_discrete
def test_what_is_missing_leaves_the_marginal_density(family: Family) -> None:
    params = random_params(family, 3, columns_of(family), np.random.default_rng(1))
    x = holed(family, 50)
    whole = np.nan_to_num(x, nan=0.0)
    wanted = np.zeros((50, 3))
    for j in range(x.shape[1]):  # the log density of one entry, the others missing
        alone = np.full_like(x, np.nan)
        alone[:, j] = whole[:, j]
        one = family.log_density(params, alone)
        wanted += np.where(np.isnan(x[:, j])[:, None], 0.0, one)
    np.testing.assert_allclose(family.log_density(params, x), wanted, atol=1e-10)


@each_entrywise
def test_minus_one_is_missing_in_signed_integers(family: Entrywise) -> None:
    params = random_params(family, 3, 2, np.random.default_rng(1))
    x = holed(family, 60)
    for dtype in (np.int8, np.int16, np.int64):
        coded = np.where(np.isnan(x), -1, x).astype(dtype)
        np.testing.assert_array_equal(family.floats(coded), x)
        np.testing.assert_allclose(
            family.log_density(params, coded), family.log_density(params, x), atol=1e-12
        )
        assert family.usable(coded).all()
        assert not family.complaint(coded)
    assert family.complaint(np.array([[-1.0, 0.0]])).startswith("-1.0 in column 0")


@each_discrete
def test_sums_leave_out_what_is_missing_entry_by_entry(family: Family) -> None:
    x = holed(family, 80)
    r = np.random.default_rng(2).dirichlet(np.ones(2), size=80)
    found = family.from_statistics(family.statistics(x, r))
    for j in range(x.shape[1]):
        there = ~np.isnan(x[:, j])  # the same column, from the rows that have it, all else whole
        rows = np.nan_to_num(x[there], nan=0.0)
        alone = family.from_statistics(family.statistics(rows, r[there]))
        for name in found:
            columns = {"categorical": _levels_of(family, j)}.get(family.name, [j])
            if not isinstance(family, Product):
                np.testing.assert_allclose(
                    found[name][:, columns], alone[name][:, columns], rtol=1e-12
                )
    if isinstance(family, Product):
        for name, column in (("diagonal_gaussian_0_means", 0), ("poisson_1_rates", 1)):
            there = ~np.isnan(x[:, column])
            means = (r[there].T @ x[there, column]) / r[there].sum(axis=0)
            np.testing.assert_allclose(found[name][:, 0], means, rtol=1e-12)


def _levels_of(family: Family, column: int) -> list[int]:
    if not isinstance(family, Categorical):
        return [column]
    before = sum(family.levels[:column])
    return list(range(before, before + family.levels[column]))


@each_discrete
def test_a_column_nobody_has_an_entry_in_cannot_be_fitted(family: Family) -> None:
    x = holed(family, 40)
    x[:, -1] = np.nan
    overall = family.statistics(x, np.ones((40, 1)))
    with pytest.raises(DegenerateRows, match="no entry in columns"):
        family.pseudo_rows(overall, 0.1, 1e-6)


@each_discrete
def test_the_kernel_and_the_reference_agree(family: Family) -> None:
    x = holed(family, 500, seed=3)
    g = random_mixture(family, 4, columns_of(family), np.random.default_rng(4))
    counts = np.random.default_rng(5).integers(0, 3, len(x)).astype(float)
    for weights in (None, counts):
        found, total = expected_sums(family, g.weights, g.params, x, weights)
        wanted, other = reference.expected_sums(family, g.weights, g.params, [(x, weights)])
        assert total == pytest.approx(other, rel=1e-12)
        np.testing.assert_allclose(found.count, wanted.count, rtol=1e-12)
        for name, array in wanted.moments.items():
            np.testing.assert_allclose(found.moments[name], array, rtol=1e-10, atol=1e-12)
        one, other_one = (
            kernel(family, x, weights)
            for kernel in (overall_statistics, reference.overall_statistics)
        )
        for name, array in other_one.moments.items():
            np.testing.assert_allclose(one.moments[name], array, rtol=1e-10, atol=1e-12)
    joint = family.log_density(g.params, x) + np.log(g.weights)
    np.testing.assert_allclose(
        log_density(family, g.weights, g.params, x), reference.log_sum_exp(joint), atol=1e-10
    )
    shares = np.exp(joint - reference.log_sum_exp(joint)[:, None])
    np.testing.assert_allclose(responsibilities(family, g.weights, g.params, x), shares, atol=1e-10)
    np.testing.assert_array_equal(labels(family, g.weights, g.params, x), shares.argmax(axis=1))


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_bytes_of_many_columns_are_summed_in_single_precision_all_but_exactly(
    missing: float,
) -> None:
    rng = np.random.default_rng(6)
    family = Binomial(2)
    g = random_mixture(family, 3, 1500, rng)
    x = g.sample(300, rng)[0].astype(np.int8)
    x[rng.random(x.shape) < missing] = -1
    found, total = expected_sums(family, g.weights, g.params, x)
    wanted, exact = expected_sums(family, g.weights, g.params, family.floats(x))
    assert total == pytest.approx(exact, rel=3e-8)
    np.testing.assert_allclose(found.count, wanted.count, rtol=1e-6)
    for name, array in wanted.moments.items():
        np.testing.assert_allclose(found.moments[name], array, atol=1e-6)


def test_unseen_levels_keep_a_probability() -> None:
    family = Categorical((3, 4))
    x = np.array([[0, 1], [1, 1], [0, 2], [1, 1], [0, 0]])
    pseudo = family.pseudo_rows(family.statistics(x, np.ones((5, 1))), 0.1, 1e-6)
    params = family.from_statistics(family.statistics(x, np.eye(2)[[0, 0, 0, 1, 1]]), pseudo)
    found = family.validated(params)["probabilities"]
    assert (found > 0.0).all()
    assert (found[:, [2, 6]] < 0.06).all()
    np.testing.assert_allclose(found[:, :3].sum(axis=1), 1.0, atol=1e-15)


def test_pseudo_rows_are_half_a_row_of_the_interior_mean() -> None:
    """The M-step of METHOD 2, by hand, with a column that is constant and one with a hole."""
    family = Binomial(2)
    x = np.array([[0.0, 2.0], [0.0, np.nan], [0.0, 1.0], [0.0, 0.0]])
    r = np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    pseudo = family.pseudo_rows(family.statistics(x, np.ones((4, 1))), 0.1, 1e-6)
    found = family.from_statistics(family.statistics(x, r), pseudo)["frequencies"]
    mean = np.array([0.5 / 5, (1.5 + 0.5) / 4])
    wanted = [[0.5 * mean[0] / 3.0, (1.0 + 0.25 + 0.5 * mean[1]) / 2.0],
              [0.5 * mean[0] / 2.0, (0.25 + 0.5 * mean[1]) / 2.0]]  # fmt: skip
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


@pytest.mark.parametrize(
    ("family", "value", "told"),
    [
        (Binomial(2), 3.0, "from 0 to 2"),
        (Binomial(2), -2.0, "from 0 to 2"),
        (Bernoulli(), 0.5, "from 0 to 1"),
        (Poisson(), 2.5, "whole numbers, not negative"),
        (Poisson(), np.inf, "whole numbers, not negative"),
        (Categorical((3, 2)), 2.0, "below the column's number of levels"),
    ],
)
def test_impossible_values_are_named(family: Family, value: float, told: str) -> None:
    x = np.zeros((3, 2))
    x[1, 1] = value
    assert f"{value} in column 1" in family.complaint(x)
    assert told in family.complaint(x)
    np.testing.assert_array_equal(family.usable(x), [True, False, True])


def test_integers_below_minus_one_are_impossible() -> None:
    x = np.array([[0, 1], [-2, 1], [-1, -1]], dtype=np.int8)
    assert "-2 in column 0" in Binomial(2).complaint(x)
    np.testing.assert_array_equal(Binomial(2).usable(x), [True, False, False])
    np.testing.assert_array_equal(Poisson().usable(x), [True, False, False])


BAD = {
    "binomial": ({}, {"frequencies": [[0.5, 1.5]]}),
    "binomial of nan": ({}, {"frequencies": [[0.5, np.nan]]}),
    "binomial on the border": ({}, {"frequencies": [[0.5, 0.0]]}),
    "binomial that is flat": ({}, {"frequencies": [0.5, 0.5]}),
    "poisson": ({}, {"rates": [[-1.0]]}),
    "poisson of infinity": ({}, {"rates": [[np.inf]]}),
    "categorical": ({"levels": [2]}, {"probabilities": [[0.5, 0.6]]}),
    "categorical of another shape": ({"levels": [3]}, {"probabilities": [[0.5, 0.5]]}),
    "categorical of zeros": ({"levels": [2]}, {"probabilities": [[0.0, 1.0]]}),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_parameters_are_refused(name: str) -> None:
    options, params = BAD[name]
    with pytest.raises(InvalidMixture):
        family_named(name.split(maxsplit=1)[0], options).validated(params)
    with pytest.raises(InvalidMixture):
        family_named(name.split(maxsplit=1)[0], options).validated({"means": [[1.0]]})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("binomial", {"n_trials": 0}),
        ("binomial", {"n_trials": 1.5}),
        ("binomial", {"n_trials": True}),
        ("categorical", {"levels": []}),
        ("categorical", {"levels": [3, 0]}),
        ("categorical", {"levels": "33"}),
        ("categorical", {"levels": [10**9]}),
        ("product", {"parts": []}),
        ("product", {"parts": [{"family": "product", "options": {"parts": []}, "columns": 1}]}),
        ("product", {"parts": [{"family": "poisson", "options": {}, "columns": -1}]}),
        ("product", {"parts": [{"family": "poisson", "options": {}}]}),
        ("product", {"parts": 3}),
    ],
)
def test_bad_options_are_refused(name: str, options: dict) -> None:
    with pytest.raises(InvalidMixture):
        family_named(name, options)


def test_parameters_of_a_product_are_those_of_its_parts() -> None:
    family = Product(((Gaussian(), 2), (Poisson(), 1)))
    params = dict(random_params(family, 2, 3, np.random.default_rng(7)))
    assert set(params) == {"gaussian_0_means", "gaussian_0_covariances", "poisson_1_rates"}
    for change in ({"poisson_1_rates": -np.ones((2, 1))}, {"poisson_1_rates": np.ones((2, 2))},
                   {"poisson_1_rates": np.ones((3, 1))}, {"rates": np.ones((2, 1))}):  # fmt: skip
        with pytest.raises(InvalidMixture, match=r"poisson_1|one number of components"):
            family.validated({**params, **change})


@pytest.mark.parametrize("real", [Gaussian(), DiagonalGaussian()])
def test_rows_of_a_product_need_columns_that_know_no_missing_entry(real: Family) -> None:
    family = Product(((real, 1), (Poisson(), 2)))
    x = np.array([[0.0, 1, 2], [np.nan, 1, 2], [0.0, np.nan, np.nan], [0.0, -3, 1], [np.inf, 1, 1]])
    wanted = [True, real.takes_missing, True, False, False]
    np.testing.assert_array_equal(family.usable(x), wanted)
    assert family.complaint(x).startswith("poisson: -3.0 in column 0")


@each_discrete
def test_a_fit_with_holes_finds_the_parameters(family: Family) -> None:
    rng = np.random.default_rng(8)
    truth = random_mixture(family, 2, columns_of(family), rng)
    x, _ = truth.sample(6000, rng)
    gone = rng.random(x.shape) < 0.1
    gone[gone.all(axis=1), 0] = False
    found = fit(np.where(gone, np.nan, x), truth, strength=0.01)
    assert found.converged
    whole = fit(x, truth, strength=0.01)
    assert np.diagonal(family.kl(whole.mixture.params, found.mixture.params)).max() < 0.05
