"""Laws of the coordinates that distances and the default filter live in (METHOD 12)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.families import DiagonalGaussian, Family, Gaussian
from dfmr_dask.families.base import stack
from tests.tables import FAMILIES, each_family, generators, mixtures, perturbed, random_params


@pytest.mark.parametrize("name", FAMILIES)
@given(data=st.data(), rng=generators())
def test_squared_length_is_twice_the_kl_nearby(
    name: str, data: st.DataObject, rng: np.random.Generator
) -> None:
    family = FAMILIES[name]
    center = data.draw(mixtures(family)).params
    moved = perturbed(family, center, 1e-4, rng)
    wanted = 2.0 * np.diag(family.kl(moved, center))
    blocks = sum((block.coordinates**2).sum(axis=-1) for block in family.blocks(moved, center))
    fisher = (family.fisher_coordinates(moved, center) ** 2).sum(axis=-1)
    np.testing.assert_allclose(blocks, wanted, rtol=2e-3, atol=1e-13)
    np.testing.assert_allclose(fisher, wanted, rtol=2e-3, atol=1e-13)


@pytest.mark.parametrize("name", FAMILIES)
@given(data=st.data())
def test_the_center_is_the_origin(name: str, data: st.DataObject) -> None:
    family = FAMILIES[name]
    center = data.draw(mixtures(family)).params
    for block in family.blocks(center, center):
        np.testing.assert_allclose(block.coordinates, 0.0, atol=1e-12)
    np.testing.assert_allclose(family.fisher_coordinates(center, center), 0.0, atol=1e-12)


@each_family
def test_stacks_give_what_their_members_give(family: Family) -> None:
    rng = np.random.default_rng(0)
    center, *many = (random_params(family, 3, 2, rng) for _ in range(5))
    stacked = stack(many)
    for i, block in enumerate(family.blocks(stacked, center)):
        alone = [family.blocks(params, center)[i].coordinates for params in many]
        np.testing.assert_allclose(block.coordinates, alone, atol=1e-12)
    alone = [family.fisher_coordinates(params, center) for params in many]
    np.testing.assert_allclose(family.fisher_coordinates(stacked, center), alone, atol=1e-12)


@each_family
def test_blocks_hold_each_free_parameter_once(family: Family) -> None:
    """Weights aside: what ``tied`` shares is one block for all components."""
    n_components, n_features = 3, 4
    center = random_params(family, n_components, n_features, np.random.default_rng(1))
    means, covariances = family.blocks(center, center)
    assert (means.name, covariances.name) == ("means", "covariances")
    assert not means.shared
    assert covariances.shared == (family == Gaussian(tied=True))
    assert covariances.coordinates.shape[0] == (1 if covariances.shared else n_components)
    size = means.coordinates.size + covariances.coordinates.size
    assert size == family.n_parameters(n_components, n_features) - (n_components - 1)


@each_family
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_coordinates_of_estimates_vary_by_one_over_the_rows(family: Family, seed: int) -> None:
    """Whatever the parameters are: that is what makes the filter's distances comparable."""
    rng = np.random.default_rng(seed)
    n_features, rows_each, repeats = 2, 400, 250
    center = random_params(family, 2, n_features, rng)
    labels = np.repeat([0, 1], rows_each)
    estimates = [
        family.from_statistics(
            family.statistics(family.sample(center, labels, rng), np.eye(2)[labels])
        )
        for _ in range(repeats)
    ]
    for block in family.blocks(stack(estimates), center):
        rows = 2 * rows_each if block.shared else rows_each
        variances = block.coordinates.var(axis=0) * rows
        assert variances.mean() == pytest.approx(1.0, abs=0.25)  # sd below .09
        assert ((variances > 0.55) & (variances < 1.6)).all()  # each one: sd .09


@each_family
@pytest.mark.parametrize("seed", range(4))
def test_coordinates_stay_finite_at_the_worst_that_is_valid(family: Family, seed: int) -> None:
    """A liar may send any valid parameters; distances to them must not become NaN."""
    rng = np.random.default_rng(seed)
    n_features = 4
    worst = []
    for exponent in (-11.0, -11.0, -6.0, 0.0):
        axes = np.linalg.qr(rng.standard_normal((n_features, n_features)))[0]
        covariance = (axes * np.logspace(exponent, 0.0, n_features)) @ axes.T
        spread = {"covariances": covariance[None]}
        if isinstance(family, DiagonalGaussian):
            variances = np.logspace(exponent, 5.0, n_features)[None]
            shared = np.full_like(variances, 10.0**exponent)
            spread = {"variances": shared if family.spherical else variances}
        worst.append(family.validated({"means": rng.standard_normal((1, n_features)), **spread}))
    for params in worst:
        for center in worst:
            for block in family.blocks(params, center):
                assert np.isfinite(block.coordinates).all()
            assert np.isfinite(family.fisher_coordinates(params, center)).all()
            assert np.isfinite(family.kl(params, center)).all()
            assert np.isfinite(family.log_inner_product(params, center)).all()
