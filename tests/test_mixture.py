"""A mixture is immutable, valid whenever it exists, and the same under any labels."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import kstest, norm

from dfmr_dask.errors import InvalidMixture, InvalidSource
from dfmr_dask.families import DiagonalGaussian, Family, Gaussian, family_named
from dfmr_dask.kernels.reference import log_sum_exp
from dfmr_dask.mixture import Mixture, described
from tests.tables import FAMILIES, each_family, generators, lattice, mixtures, random_mixture


def assert_same_bits(g: Mixture, h: Mixture) -> None:
    assert g.family == h.family
    assert g.weights.tobytes() == h.weights.tobytes()
    assert list(g.params) == list(h.params)
    for name, array in g.params.items():
        assert array.tobytes() == h.params[name].tobytes()


def example(seed: int = 0, family: Family = FAMILIES["full"]) -> Mixture:
    return random_mixture(family, 3, 2, np.random.default_rng(seed))


@each_family
@pytest.mark.parametrize("n_features", [1, 2])
def test_density_integrates_to_one(family: Family, n_features: int) -> None:
    g = random_mixture(family, 5, n_features, np.random.default_rng(n_features))
    points, cell = lattice(n_features)
    assert np.exp(g.log_density(points)).sum() * cell == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
@given(data=st.data(), rng=generators(), reach=st.sampled_from([1.0, 10.0, 1e6]))
def test_responsibilities_sum_to_one_however_far_the_rows(
    name: str, data: st.DataObject, rng: np.random.Generator, reach: float
) -> None:
    g = data.draw(mixtures(FAMILIES[name]))
    rows = reach * rng.standard_normal((30, g.n_features))
    found = g.responsibilities(rows)
    assert found.shape == (30, g.n_components)
    assert (found >= 0.0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)
    assert (np.take_along_axis(found, g.labels(rows)[:, None], 1)[:, 0] == found.max(axis=1)).all()


@pytest.mark.parametrize("name", FAMILIES)
@given(data=st.data(), rng=generators())
def test_relabelling_changes_nothing(
    name: str, data: st.DataObject, rng: np.random.Generator
) -> None:
    g = data.draw(mixtures(FAMILIES[name]))
    order = rng.permutation(g.n_components)
    h = g.reordered(order)
    rows = 3.0 * rng.standard_normal((25, g.n_features))
    np.testing.assert_allclose(h.log_density(rows), g.log_density(rows), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        h.responsibilities(rows), g.responsibilities(rows)[:, order], atol=1e-12
    )
    assert h.n_parameters == g.n_parameters
    assert_same_bits(h.canonical(), g.canonical())
    assert_same_bits(h.reordered(np.argsort(order)), g)


@pytest.mark.parametrize("name", FAMILIES)
@given(data=st.data())
def test_canonical_order_is_heaviest_first_and_final(name: str, data: st.DataObject) -> None:
    g = data.draw(mixtures(FAMILIES[name])).canonical()
    assert (np.diff(g.weights) <= 0.0).all()
    assert_same_bits(g.canonical(), g)


def test_canonical_order_breaks_ties_by_every_parameter() -> None:
    """Components of one weight and one mean, as of a mixture with a wide background."""
    variances = [[4.0, 1.0], [1.0, 4.0], [1.0, 1.0], [4.0, 1.0]]
    means = [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    g = Mixture(DiagonalGaussian(), np.full(4, 0.25), {"means": means, "variances": variances})
    assert g.canonical().params["means"].tolist()[-1] == [1.0, 0.0]
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(4)
        assert_same_bits(g.reordered(order).canonical(), g.canonical())


@pytest.mark.parametrize("name", FAMILIES)
@given(data=st.data())
def test_copies_and_pickles_have_the_same_bits(name: str, data: st.DataObject) -> None:
    g = data.draw(mixtures(FAMILIES[name]))
    for h in (pickle.loads(pickle.dumps(g)), copy.deepcopy(g), copy.copy(g)):
        assert_same_bits(g, h)
        assert not h.weights.flags.writeable
    assert_same_bits(g, Mixture(family_named(**described_arguments(g)), g.weights, g.params))


def described_arguments(g: Mixture) -> dict[str, Any]:
    facts = described(g)
    return {"name": facts["family"], "options": facts["options"]}


class Forged:
    """Pickles into the constructor call that a liar would like to make."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return Mixture, self.arguments


def negated(values: np.ndarray) -> np.ndarray:
    return -values


def half_nan(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(values.size).reshape(values.shape) % 2, values, np.nan)


@each_family
@pytest.mark.parametrize("tamper", [negated, half_nan])
def test_pickles_that_were_tampered_with_are_refused(
    family: Family, tamper: Callable[[np.ndarray], np.ndarray]
) -> None:
    g = random_mixture(family, 3, 2, np.random.default_rng(1))
    second = list(g.params)[1]
    for values in (g.weights, g.params[second]):
        payload = pickle.dumps(g)
        assert values.tobytes() in payload
        with pytest.raises(InvalidMixture):
            pickle.loads(payload.replace(values.tobytes(), tamper(values).tobytes()))
    forged = Forged(family, tamper(g.weights), dict(g.params))
    with pytest.raises(InvalidMixture):
        pickle.loads(pickle.dumps(forged))


@each_family
def test_nothing_of_a_mixture_can_be_changed(family: Family) -> None:
    given_weights = np.array([0.25, 0.25, 0.5])
    drawn = random_mixture(family, 3, 2, np.random.default_rng(2))
    params = {name: array.copy() for name, array in drawn.params.items()}
    g = Mixture(family, given_weights, params)
    given_weights[:] = 0.0
    params["means"][:] = np.nan
    assert np.isfinite(g.params["means"]).all()
    assert g.weights.tolist() == [0.25, 0.25, 0.5]
    for array in (g.weights, *g.params.values()):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    with pytest.raises(TypeError):
        g.params["means"] = params["means"]  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        g.weights = given_weights  # type: ignore[misc]


BAD_WEIGHTS = {
    "negative": [1.2, -0.2, 0.0],
    "one is zero": [0.5, 0.5, 0.0],
    "sum above 1": [0.5, 0.5, 0.5],
    "sum below 1": [0.3, 0.3, 0.3],
    "NaN": [0.5, 0.5, np.nan],
    "infinity": [0.5, 0.5, np.inf],
    "too few": [0.5, 0.5],
    "too many": [0.25, 0.25, 0.25, 0.25],
    "a column": [[0.3], [0.3], [0.4]],
    "a number": 1.0,
    "none": [],
    "words": ["a", "b", "c"],
    "complex": [0.3 + 0j, 0.3, 0.4],
}


@each_family
@pytest.mark.parametrize("weights", BAD_WEIGHTS.values(), ids=BAD_WEIGHTS.keys())
def test_bad_weights_are_refused(family: Family, weights: Any) -> None:
    params = random_mixture(family, 3, 2, np.random.default_rng(3)).params
    with pytest.raises(InvalidMixture):
        Mixture(family, weights, params)


def test_weights_are_normalized_once() -> None:
    params = {"means": [[0.0], [1.0], [2.0]], "variances": [[1.0]] * 3}
    g = Mixture(DiagonalGaussian(), np.array([0.1, 0.2, 0.7]) * (1 + 5e-7), params)
    assert abs(g.weights.sum() - 1.0) < 1e-15
    np.testing.assert_allclose(g.weights, [0.1, 0.2, 0.7], rtol=1e-12)
    assert_same_bits(Mixture(g.family, g.weights, g.params), g)


@given(rng=generators(), n_components=st.integers(1, 40), slip=st.floats(-9e-7, 9e-7))
def test_normalized_weights_keep_their_bits(
    rng: np.random.Generator, n_components: int, slip: float
) -> None:
    weights = rng.dirichlet(np.ones(n_components)) * (1.0 + slip)
    params = {"means": rng.standard_normal((n_components, 1)), "variances": [[1.0]] * n_components}
    g = Mixture(DiagonalGaussian(), weights, params)
    order = rng.permutation(n_components)
    assert_same_bits(g.reordered(order).reordered(np.argsort(order)), g)


@each_family
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int64", "bool", ">f8", "<i2"])
def test_rows_of_any_dtype_are_scored_like_float64(family: Family, dtype: str) -> None:
    g = random_mixture(family, 3, 2, np.random.default_rng(4))
    rows = np.random.default_rng(5).integers(0, 2 if dtype == "bool" else 6, (50, 2)).astype(dtype)
    if dtype in ("float32", "float16"):
        rows = rows + np.dtype(dtype).type(0.3)
        assert rows.dtype == dtype
    wanted = rows.astype(np.float64)
    np.testing.assert_array_equal(g.log_density(rows), g.log_density(wanted))
    np.testing.assert_array_equal(g.responsibilities(rows), g.responsibilities(wanted))
    assert g.score(rows) == g.score(wanted)


@each_family
def test_rows_are_scored_one_by_one_whatever_the_tiles(family: Family) -> None:
    g = random_mixture(family, 4, 3, np.random.default_rng(6))
    rows, _ = g.sample(9000, np.random.default_rng(7))
    found = g.log_density(rows)
    for edge in (0, 191, 192, 8832, 8999):  # 192 rows are a tile, and 168 are left for the last
        np.testing.assert_array_equal(g.log_density(rows[edge : edge + 1]), found[[edge]])
    strided, turned = np.repeat(rows, 2, axis=0)[::2], np.asfortranarray(rows)
    np.testing.assert_allclose(g.log_density(strided), found, rtol=1e-12)
    np.testing.assert_allclose(g.log_density(turned), found, rtol=1e-12)


def test_no_rows_give_no_scores() -> None:
    rows = np.empty((0, 2))
    assert example().log_density(rows).shape == (0,)
    assert example().responsibilities(rows).shape == (0, 3)
    assert example().labels(rows).shape == (0,)


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 3), (5, 2, 1)])
def test_rows_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    """One column would be broadcast over both features, and give a wrong number silently."""
    with pytest.raises(InvalidSource, match=r"wanted \(n, 2\)"):
        example().log_density(np.zeros(shape))


@each_family
def test_samples_follow_the_mixture(family: Family) -> None:
    g = random_mixture(family, 3, 1, np.random.default_rng(8))
    rows, labels = g.sample(5000, np.random.default_rng(9))
    assert rows.shape == (5000, 1)
    sds = np.sqrt(list(g.params.values())[1].ravel())
    means = g.params["means"].ravel()

    def cdf(x: np.ndarray) -> np.ndarray:
        return norm(means, sds).cdf(np.asarray(x)[:, None]) @ g.weights

    assert kstest(rows[:, 0], cdf).pvalue > 1e-4
    shares = np.bincount(labels, minlength=3) / 5000
    np.testing.assert_allclose(shares, g.weights, atol=5 * np.sqrt(0.25 / 5000))


@each_family
def test_the_same_generator_state_gives_the_same_rows(family: Family) -> None:
    g = random_mixture(family, 3, 2, np.random.default_rng(10))
    (first, labels), (again, labels_again), (other, _) = (
        g.sample(40, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(labels, labels_again)
    assert (first != other).any()


@given(rng=generators(), shift=st.sampled_from([-1e4, 0.0, 1e4]))
def test_log_sum_exp_is_that_of_scipy(rng: np.random.Generator, shift: float) -> None:
    values = 50.0 * rng.standard_normal((20, 4)) + shift
    values[0] = -np.inf
    values[1, :3] = -np.inf
    found = log_sum_exp(values)
    np.testing.assert_allclose(found, logsumexp(values, axis=1), rtol=1e-12)
    assert found[0] == -np.inf


def test_counts_are_plain() -> None:
    g = example(family=Gaussian(tied=True))
    assert (g.n_components, g.n_features, g.n_parameters) == (3, 2, 2 + 6 + 3)
    assert described(g) == {"family": "gaussian", "options": {"tied": True}}
