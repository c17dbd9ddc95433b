"""What geneticists look at: laws of frequencies, F_ST, memberships and principal components."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.errors import InvalidMixture
from dfmr_dask.families import Binomial, Poisson
from dfmr_dask.genetics import (
    allele_frequencies,
    in_order,
    memberships,
    pairwise_fst,
    principal_components,
)
from dfmr_dask.mixture import Mixture


def populations(k: int = 3, d: int = 80, seed: int = 0) -> Mixture:
    rng = np.random.default_rng(seed)
    return Mixture(Binomial(2), np.full(k, 1 / k), {"frequencies": rng.uniform(0.05, 0.95, (k, d))})


@given(st.integers(2, 5), st.integers(1, 30), st.integers(0, 50))
def test_fst_is_hudsons_ratio_of_sums(k: int, d: int, seed: int) -> None:
    one = populations(k, d, seed)
    p = allele_frequencies(one)
    found = pairwise_fst(one)
    for i in range(k):
        for j in range(k):
            apart = ((p[i] - p[j]) ** 2).sum()
            between = (p[i] * (1 - p[j]) + p[j] * (1 - p[i])).sum()
            assert found[i, j] == pytest.approx(apart / between, abs=1e-12)


@given(st.integers(0, 50))
def test_which_allele_is_counted_does_not_matter(seed: int) -> None:
    one = populations(seed=seed)
    flipped = allele_frequencies(one).copy()
    flipped[:, ::2] = 1.0 - flipped[:, ::2]
    other = Mixture(Binomial(2), one.weights, {"frequencies": flipped})
    assert np.allclose(pairwise_fst(one), pairwise_fst(other))


def test_populations_without_a_difference_have_no_fst() -> None:
    same = Mixture(Binomial(2), [0.5, 0.5], {"frequencies": np.full((2, 4), 0.3)})
    assert np.abs(pairwise_fst(same)).max() < 1e-12


def test_other_mixtures_are_refused() -> None:
    with pytest.raises(InvalidMixture, match="a mixture of genotypes is wanted"):
        pairwise_fst(Mixture(Poisson(), [1.0], {"rates": [[2.0]]}))


def test_memberships_are_posteriors_and_missing_calls_say_nothing() -> None:
    one = populations()
    x, labels = one.sample(60, np.random.default_rng(1))
    some = np.where(np.random.default_rng(2).random(x.shape) < 0.2, -1, x).astype(np.int8)
    found = memberships(one, some)
    assert np.allclose(found.sum(axis=1), 1.0)
    assert (found.argmax(axis=1) == labels).mean() > 0.95
    assert np.allclose(memberships(one, np.full((1, 80), -1, dtype=np.int8)), 1 / 3)
    assert memberships(one, some[:0]).shape == (0, 3)


@given(st.integers(0, 50))
def test_samples_in_order_are_grouped_and_the_surest_come_first(seed: int) -> None:
    found = np.random.default_rng(seed).dirichlet(np.ones(4), size=30)
    order = in_order(found)
    assert sorted(order) == list(range(30))
    best, sure = found.argmax(axis=1)[order], found.max(axis=1)[order]
    assert (np.diff(best) >= 0).all()
    assert (np.diff(sure)[np.diff(best) == 0] <= 0).all()


@pytest.mark.parametrize("n", [30, 200])  # fewer samples than SNPs, and more
def test_principal_components_are_those_of_the_covariance(n: int) -> None:
    one = populations()
    x, _ = one.sample(n, np.random.default_rng(1))
    axes = principal_components(x, one, 3)
    p = x.mean(axis=0) / 2
    scaled = (x - 2 * p) / np.sqrt(2 * p * (1 - p))
    values = np.linalg.svd(scaled, compute_uv=False) ** 2
    assert np.allclose(axes.explained, values[:3] / values.sum(), rtol=1e-3)
    gram = axes.scores.T @ axes.scores
    assert np.allclose(gram, np.diag(values[:3]), atol=1e-2 * values[0])


def test_snps_that_do_not_vary_and_missing_calls_make_no_nan() -> None:
    one = populations()
    x, _ = one.sample(40, np.random.default_rng(1))
    x[:, 3], x[:, 5], x[7] = 0, -1, -1
    axes = principal_components(x, one)
    assert np.isfinite(axes.scores).all()
    assert np.isfinite(axes.centers).all()
    assert np.allclose(axes.scores[7], 0.0, atol=1e-6)
