"""What parameters a family takes, and what it refuses."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.errors import DfmrError, InvalidMixture
from dfmr_dask.families import (
    COVARIANCE_TYPES,
    DiagonalGaussian,
    Family,
    Gaussian,
    family_named,
)
from tests.tables import FAMILIES, each_family, generators, mixtures, random_params

MEANS = np.zeros((2, 2))
EYES = np.stack([np.eye(2), np.eye(2)])

BAD_MEANS = {
    "NaN": [[np.nan, 0.0], [0.0, 0.0]],
    "infinity": [[np.inf, 0.0], [0.0, 0.0]],
    "too large to be squared": [[1e200, 0.0], [0.0, 0.0]],
    "a vector": [0.0, 0.0],
    "a cube": np.zeros((2, 2, 1)),
    "no component": np.zeros((0, 2)),
    "no feature": np.zeros((2, 0)),
    "a number": 1.0,
    "ragged": [[0.0, 0.0], [0.0]],
    "words": [["a", "b"], ["c", "d"]],
    "digits in words": [["1", "2"], ["3", "4"]],
    "complex": MEANS + 1j,
    "objects": [[None, 0.0], [0.0, 0.0]],
}

BAD_COVARIANCES = {
    "NaN off the diagonal": np.add(EYES, [[0.0, np.nan], [np.nan, 0.0]]),
    "NaN on the diagonal": EYES * np.nan,
    "infinity": np.add(EYES, [[np.inf, 0.0], [0.0, 0.0]]),
    "asymmetric": np.add(EYES, [[0.0, 0.1], [0.0, 0.0]]),
    "asymmetric in tiny units": np.add(EYES, [[0.0, 0.1], [0.0, 0.0]]) * 1e-20,
    "indefinite": np.add(EYES, [[0.0, 1.1], [1.1, 0.0]]),
    "singular": np.ones((2, 2, 2)),
    "negative definite": -EYES,
    "badly conditioned": np.add(EYES, [[0.0, 1.0 - 1e-13], [1.0 - 1e-13, 0.0]]),
    "variance zero": EYES * [[1.0, 0.0], [0.0, 0.0]],
    "underflowing": EYES * 1e-200,
    "overflowing": EYES * 1e200,
    "diagonals only": np.ones((2, 2)),
    "one matrix": np.eye(2),
    "one component too few": EYES[:1],
    "another number of features": np.stack([np.eye(3), np.eye(3)]),
    "words": np.full((2, 2, 2), "a"),
}

BAD_VARIANCES = {
    "NaN": [[np.nan, 1.0], [1.0, 1.0]],
    "infinity": [[np.inf, np.inf], [1.0, 1.0]],
    "zero": [[0.0, 0.0], [1.0, 1.0]],
    "negative": [[-1.0, -1.0], [1.0, 1.0]],
    "underflowing": np.full((2, 2), 1e-200),
    "overflowing": np.full((2, 2), 1e200),
    "one a component": [1.0, 1.0],
    "matrices": EYES,
    "one component too few": [[1.0, 1.0]],
    "complex": np.ones((2, 2)) + 0j,
}


@each_family
@pytest.mark.parametrize("means", BAD_MEANS.values(), ids=BAD_MEANS.keys())
def test_bad_means_are_refused(family: Family, means: object) -> None:
    second = "variances" if isinstance(family, DiagonalGaussian) else "covariances"
    spread = np.ones((2, 2)) if second == "variances" else EYES
    family.validated({"means": MEANS, second: spread})
    with pytest.raises(InvalidMixture):
        family.validated({"means": means, second: spread})


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("covariances", BAD_COVARIANCES.values(), ids=BAD_COVARIANCES.keys())
def test_bad_covariances_are_refused(tied: bool, covariances: object) -> None:
    with pytest.raises(InvalidMixture):
        Gaussian(tied).validated({"means": MEANS, "covariances": covariances})


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("variances", BAD_VARIANCES.values(), ids=BAD_VARIANCES.keys())
def test_bad_variances_are_refused(spherical: bool, variances: object) -> None:
    with pytest.raises(InvalidMixture):
        DiagonalGaussian(spherical).validated({"means": MEANS, "variances": variances})


def test_what_is_shared_must_be_equal() -> None:
    covariances = EYES * np.array([1.0, 1.001])[:, None, None]
    Gaussian().validated({"means": MEANS, "covariances": covariances})
    with pytest.raises(InvalidMixture, match="tied"):
        Gaussian(tied=True).validated({"means": MEANS, "covariances": covariances})
    variances = [[1.0, 1.0], [1.0, 1.001]]
    DiagonalGaussian().validated({"means": MEANS, "variances": variances})
    with pytest.raises(InvalidMixture, match="spherical"):
        DiagonalGaussian(spherical=True).validated({"means": MEANS, "variances": variances})


def test_rounding_does_not_untie() -> None:
    """A correlation near 0 differs by rounding, relative to itself by much."""
    covariances = EYES.copy()
    covariances[1, 0, 1] = covariances[1, 1, 0] = 1e-17
    Gaussian(tied=True).validated({"means": MEANS, "covariances": covariances})


def test_rounding_of_symmetry_is_mended() -> None:
    """Else a liar's matrix could pass as definite and fail once it is averaged with others."""
    covariances = EYES.copy()
    covariances[0, 0, 1] += 1e-9
    given = {"means": MEANS, "covariances": covariances}
    found = Gaussian().validated(given)["covariances"]
    np.testing.assert_array_equal(found, found.transpose(0, 2, 1))
    np.testing.assert_array_equal(
        Gaussian().validated({"means": MEANS, "covariances": found})["covariances"], found
    )


@each_family
def test_features_may_have_very_different_units(family: Family) -> None:
    units = np.full(3, 1e-20) if family.options.get("spherical") else np.array([1e-20, 1.0, 1e20])
    params = random_params(family, 2, 3, np.random.default_rng(0))
    factors = {"means": units, "variances": units**2, "covariances": np.outer(units, units)}
    scaled = family.validated({name: array * factors[name] for name, array in params.items()})
    np.testing.assert_allclose(
        family.kl(scaled, scaled), family.kl(params, params), rtol=1e-9, atol=1e-12
    )


@each_family
@pytest.mark.parametrize("change", ["missing", "unknown", "empty"])
def test_parameters_of_other_names_are_refused(family: Family, change: str) -> None:
    params = dict(random_params(family, 2, 2, np.random.default_rng(1)))
    if change == "missing":
        params.pop("means")
    elif change == "unknown":
        params["precisions"] = np.ones((2, 2))
    else:
        params.clear()
    with pytest.raises(InvalidMixture, match="means"):
        family.validated(params)


@pytest.mark.parametrize("name", FAMILIES)
@given(data=st.data())
def test_valid_parameters_are_copied_as_they_are(name: str, data: st.DataObject) -> None:
    family = FAMILIES[name]
    params = data.draw(mixtures(family)).params
    again = family.validated(params)
    for key, array in params.items():
        np.testing.assert_array_equal(again[key], array)
        assert again[key].dtype == np.float64
        assert not np.shares_memory(again[key], array)
        with pytest.raises(ValueError, match="read-only"):
            again[key][:] = 0.0


@pytest.mark.parametrize("name", FAMILIES)
@given(data=st.data(), rng=generators(), noise=st.floats(0.0, 1e12))
def test_noise_is_refused_or_good_for_everything(
    name: str, data: st.DataObject, rng: np.random.Generator, noise: float
) -> None:
    """Whatever passes can be computed with; whatever does not says so by name."""
    family = FAMILIES[name]
    params = data.draw(mixtures(family)).params
    noisy = {key: array + noise * rng.standard_normal(array.shape) for key, array in params.items()}
    try:
        valid = family.validated(noisy)
    except InvalidMixture:
        return
    assert np.isfinite(family.kl(valid, params)).all()
    assert np.isfinite(family.log_density(valid, params["means"])).all()


@each_family
def test_families_are_made_again_from_name_and_options(family: Family) -> None:
    assert family_named(family.name, family.options) == family
    assert pickle.loads(pickle.dumps(family)) == family
    assert copy.deepcopy(family) == family
    assert family in COVARIANCE_TYPES.values()


@pytest.mark.parametrize(
    ("name", "options"),
    [("cauchy", {}), ("gaussian", {"spherical": True}), ("diagonal_gaussian", {"tied": False})],
)
def test_unknown_families_and_options_are_refused(name: str, options: dict) -> None:
    with pytest.raises(InvalidMixture, match=name):
        family_named(name, options)


def test_errors_are_value_errors_of_the_package() -> None:
    assert issubclass(InvalidMixture, DfmrError)
    assert issubclass(InvalidMixture, ValueError)
