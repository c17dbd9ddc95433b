"""Parameters as free vectors: there and back again, and every vector is a parameter."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.families import Family
from dfmr_dask.families.unconstrained import covered
from tests.tables import each_family, generators, perturbed, random_params


@each_family
@given(rng=generators(), n_components=st.integers(1, 4), n_features=st.integers(1, 5))
def test_vectors_stand_for_the_parameters_that_they_were_made_of(
    family: Family, rng: np.random.Generator, n_components: int, n_features: int
) -> None:
    center = random_params(family, n_components, n_features, rng)
    params = perturbed(family, center, 0.5, rng)
    assert covered(family)
    chart = family.chart(center)
    found = chart.params(chart.vectors(params))
    assert list(found) == list(params)
    for name, array in params.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=1e-10)


@each_family
@given(rng=generators(), size=st.sampled_from([0.1, 1.0, 5.0]))
def test_any_combination_of_vectors_is_valid(
    family: Family, rng: np.random.Generator, size: float
) -> None:
    """Combinations keep tied covariances tied, and spherical variances spherical."""
    center = random_params(family, 3, 3, rng)
    chart = family.chart(center)
    one, other = (chart.vectors(perturbed(family, center, 0.2, rng)) for _ in range(2))
    family.validated(chart.params(one + size * (other - one)))


@each_family
def test_the_unit_of_a_feature_changes_no_vector(family: Family) -> None:
    rng = np.random.default_rng(0)
    center = random_params(family, 2, 3, rng)
    params = perturbed(family, center, 0.3, rng)

    def in_units(params: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {k: v * (1e6 if k == "means" else 1e12) for k, v in params.items()}

    here = family.chart(center).vectors(params)
    there = family.chart(in_units(dict(center))).vectors(in_units(dict(params)))
    np.testing.assert_allclose(there, here, atol=1e-9)
