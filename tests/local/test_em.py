"""Laws of the local fit: the objective never falls, floors hold, and good data give good fits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture as Rival

from dfmr_dask.errors import DegenerateRows
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.kernels import expected_sums, overall_statistics
from dfmr_dask.local import em, start
from dfmr_dask.mixture import Mixture
from tests.tables import covariances_of, each_family, generators, random_mixture


@each_family
@given(
    rng=generators(),
    n_components=st.integers(1, 4),
    n_features=st.integers(1, 4),
    strength=st.sampled_from([1e-3, 0.02, 1.0]),
    lattice=st.booleans(),
    prior_rows=st.sampled_from([0.0, 4.0, 60.0]),
)
@settings(max_examples=15, deadline=None)
def test_the_penalised_likelihood_never_falls(
    family: Family,
    rng: np.random.Generator,
    n_components: int,
    n_features: int,
    strength: float,
    lattice: bool,
    prior_rows: float,
) -> None:
    """On lattices too, where components collapse and the floor is at work."""
    truth = random_mixture(family, n_components, n_features, rng)
    x, _ = truth.sample(150, rng)
    x = np.round(x) if lattice else x
    if (x == x[0]).all(axis=0).any():
        return
    first = random_mixture(family, n_components, n_features, rng)
    result = em.fit(x, first, strength=strength, tol=0.0, max_iter=60, prior_rows=prior_rows)
    steps = np.diff(result.trace)
    assert steps.min(initial=0.0) >= -1e-9 * abs(result.trace[-1]) - 1e-11


@each_family
def test_covariances_do_not_fall_below_the_floor(family: Family) -> None:
    rng = np.random.default_rng(1)
    thin = np.concatenate([rng.normal(size=(200, 1)), np.zeros((200, 1))], axis=1)
    thin[:, 1] = thin[:, 0] * 2.0 + np.repeat([0.0, 1.0], 100)  # two collinear clouds
    floor = 1e-4
    first = random_mixture(family, 2, 2, rng)
    result = em.fit(thin, first, strength=1e-9, floor=floor, tol=0.0, max_iter=100)
    scale = thin.std(axis=0)
    for covariance in covariances_of(result.mixture.params):
        values = np.linalg.eigvalsh(covariance / (scale[:, None] * scale))
        assert values.min() >= floor * (1 - 1e-6) * (0.2 if family.name != "gaussian" else 1.0)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_score_agrees_with_scikit_learn(kind: str) -> None:
    """The same start and next to no penalty: the same optimum."""
    rng = np.random.default_rng(2)
    truth = random_mixture(COVARIANCE_TYPES[kind], 3, 2, rng)
    x, _ = truth.sample(3000, rng)
    ours = em.fit(x, truth, strength=1e-6, tol=1e-10, max_iter=2000)
    rival = Rival(
        3,
        covariance_type=kind,
        means_init=truth.params["means"],
        weights_init=truth.weights,
        tol=1e-10,
        max_iter=2000,
        reg_covar=0.0,
    )
    assert ours.log_likelihood >= rival.fit(x).score(x) - 1e-6
    assert ours.log_likelihood == pytest.approx(ours.mixture.score(x), abs=1e-12)


@each_family
def test_tiles_sum_up_to_the_whole(family: Family) -> None:
    """Statistics of many tiles are those of one, wherever the data lie."""
    rng = np.random.default_rng(3)
    mixture = random_mixture(family, 3, 3, rng)
    x, _ = mixture.sample(20_000, rng)
    in_tiles, total = expected_sums(family, mixture.weights, mixture.params, x)
    at_once = family.statistics(x, mixture.responsibilities(x))
    assert total == pytest.approx(mixture.log_density(x).sum(), rel=1e-12)
    np.testing.assert_allclose(in_tiles.count, at_once.count, rtol=1e-12)
    wanted = family.from_statistics(at_once)
    for name, array in family.from_statistics(in_tiles).items():
        np.testing.assert_allclose(array, wanted[name], rtol=1e-9, atol=1e-11)
    overall = overall_statistics(family, x + 1e6)
    np.testing.assert_allclose(overall.moments["means"][0], x.mean(axis=0) + 1e6, rtol=1e-12)


@each_family
def test_a_component_without_rows_keeps_its_place(family: Family) -> None:
    """No NaN comes of a start that lies far from all rows."""
    rng = np.random.default_rng(4)
    near, far = random_mixture(family, 1, 2, rng), random_mixture(family, 1, 2, rng)
    params = {k: np.concatenate([near.params[k], far.params[k]]) for k in near.params}
    if family.options.get("tied"):
        params["covariances"] = np.repeat(near.params["covariances"], 2, axis=0)
    params["means"] = params["means"] + np.array([[0.0], [1e4]])
    x, _ = near.sample(500, rng)
    result = em.fit(x, Mixture(family, [0.5, 0.5], params), strength=0.05)
    assert np.isfinite(result.log_likelihood)
    assert result.mixture.weights.min() < 1e-6


@each_family
def test_a_prior_leaves_nothing_of_itself_in_what_has_rows(family: Family) -> None:
    """One component takes all rows whatever the prior; well separated ones nearly do."""
    rng = np.random.default_rng(13)
    for order, error in ((1, 1e-9), (3, 0.02)):
        truth = random_mixture(family, order, 2, rng)
        apart = {**truth.params, "means": truth.params["means"] + 40.0 * np.arange(order)[:, None]}
        x, _ = Mixture(family, truth.weights, apart).sample(3000, rng)
        near = Mixture(family, truth.weights, {**apart, "means": apart["means"] + 0.5})
        free = em.fit(x, near, strength=0.02).mixture
        held = em.fit(x, near, strength=0.02, prior_rows=30.0).mixture
        assert np.diagonal(family.kl(free.params, held.params)).max() < error**2


def test_a_prior_keeps_a_component_of_few_rows_from_fitting_another_one() -> None:
    """Six rows cannot hold a component of two features; what most rows do not explain can."""
    rng = np.random.default_rng(14)
    family = COVARIANCE_TYPES["full"]
    means = np.array([[0.0, 0.0], [6.0, 0.0], [3.0, 4.0]])
    start = Mixture(family, [0.4, 0.4, 0.2], {"means": means, "covariances": [np.eye(2)] * 3})
    away = []
    for _ in range(10):
        labels = np.repeat([0, 1, 2], [300, 694, 6])
        x = family.sample(start.params, labels, rng)
        found = [em.fit(x, start, strength=0.03, prior_rows=n).mixture for n in (0.0, 6.0)]
        away.append([np.linalg.norm(one.params["means"][2] - means[2]) for one in found])
    free, held = np.array(away).T
    assert held.max() < 2.0  # six rows' mean lies .4 off in each feature
    assert free.max() > 2.0


def test_too_few_rows_and_constant_columns_are_told() -> None:
    rng = np.random.default_rng(5)
    first = random_mixture(COVARIANCE_TYPES["full"], 3, 2, rng)
    with pytest.raises(
        DegenerateRows, match="8 valid rows; 3 components of 2 features need at least 9"
    ):
        em.fit(rng.normal(size=(8, 2)), first, strength=0.1)
    flat = np.column_stack([rng.normal(size=100), np.full(100, 7.0)])
    with pytest.raises(DegenerateRows, match=r"constant columns: \[1\]"):
        em.fit(flat, first, strength=0.1)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int16", "uint8"])
def test_rows_of_any_dtype_give_the_fit_of_their_values(dtype: str) -> None:
    rng = np.random.default_rng(6)
    x = np.clip(rng.normal(100.0, 30.0, size=(2000, 2)), 0, 250).astype(dtype)
    pilot = start.propose(start.Sample(x, x), COVARIANCE_TYPES["full"], 2, np.random.default_rng(0))
    fit, same = (em.fit(rows, pilot, strength=0.02) for rows in (x, x.astype(np.float64)))
    assert fit.trace == same.trace


@each_family
def test_extrapolated_steps_lead_to_the_same_place_in_fewer_passes(family: Family) -> None:
    """Components that overlap make EM slow; an accepted step never lowers the objective."""
    rng = np.random.default_rng(7)
    truth = random_mixture(family, 2, 2, rng)
    near = dict(truth.params) | {"means": np.array([[0.0, 0.0], [1.2, 0.4]])}
    truth = Mixture(family, truth.weights, near)
    x, _ = truth.sample(4000, rng)
    settings = {"strength": 0.01, "tol": 1e-9, "max_iter": 3000}
    plain = em.fit(x, truth, accelerate=False, **settings)
    fast = em.fit(x, truth, **settings)
    assert plain.converged
    assert fast.converged
    assert fast.trace[-1] >= plain.trace[-1] - 1e-6
    assert fast.n_iter < plain.n_iter
    assert np.diff(fast.trace).min() >= -1e-12


@each_family
def test_blocks_that_are_read_anew_give_the_fit_of_all_rows(family: Family) -> None:
    """What does not fit in memory streams: the result is the same to 1e-8."""
    rng = np.random.default_rng(8)
    first = random_mixture(family, 3, 3, rng)
    x, _ = first.sample(5000, rng)
    reads = []

    class Stored(Sequence):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 7

        def __getitem__(self, i: int) -> tuple[np.ndarray, None]:
            if i >= 7:
                raise IndexError
            reads.append(i)
            return x[i * 800 : (i + 1) * 800].copy(), None

    settings = {"strength": 0.02, "tol": 0.0, "max_iter": 12}
    streamed = em.fit(Stored(), first, **settings)
    whole = em.fit(x, first, **settings)
    assert len(reads) == 7 * (streamed.n_iter + 2)  # once more to check and to scale the rows
    assert streamed.log_likelihood == pytest.approx(whole.log_likelihood, abs=1e-10)
    for name, array in whole.mixture.params.items():
        np.testing.assert_allclose(streamed.mixture.params[name], array, rtol=1e-8, atol=1e-8)


@each_family
def test_weights_of_rows_are_how_often_they_count(family: Family) -> None:
    rng = np.random.default_rng(9)
    first = random_mixture(family, 2, 3, rng)
    x, _ = first.sample(800, rng)
    counts = rng.integers(0, 3, 800)
    settings = {"strength": 0.03, "tol": 1e-10, "max_iter": 300}
    weighted = em.fit(x, first, sample_weight=counts.astype(float), **settings)
    repeated = em.fit(np.repeat(x, counts, axis=0), first, **settings)
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, abs=1e-8)
    for name, array in repeated.mixture.params.items():
        np.testing.assert_allclose(weighted.mixture.params[name], array, rtol=1e-6, atol=1e-6)
    with pytest.raises(DegenerateRows, match="1 valid rows"):
        em.fit(x, first, strength=0.1, sample_weight=np.eye(1, 800, 5)[0])


@each_family
def test_float32_work_ends_where_float64_does(family: Family) -> None:
    rng = np.random.default_rng(10)
    first = random_mixture(family, 3, 4, rng)
    x = (first.sample(3000, rng)[0] * 1e3 + 1e5).astype(np.float32)
    moved = {k: v * 1e6 for k, v in first.params.items() if k != "means"}
    start_there = Mixture(
        family, first.weights, moved | {"means": first.params["means"] * 1e3 + 1e5}
    )
    settings = {"strength": 0.02, "tol": 1e-9, "max_iter": 500}
    double = em.fit(x, start_there, **settings)
    single = em.fit(x, start_there, dtype_work="float32", **settings)
    assert single.log_likelihood == pytest.approx(double.log_likelihood, abs=1e-6)
    assert single.converged


def test_a_fit_reports_every_pass() -> None:
    rng = np.random.default_rng(11)
    first = random_mixture(COVARIANCE_TYPES["full"], 2, 2, rng)
    x, _ = first.sample(500, rng)
    told: list[tuple[int, float]] = []
    result = em.fit(x, first, strength=0.05, report=lambda *one: told.append(one))
    assert [number for number, _ in told] == list(range(result.n_iter + 1))
    assert told[-1][1] == pytest.approx(result.log_likelihood)


def test_passes_are_never_more_than_asked_for() -> None:
    rng = np.random.default_rng(12)
    first = random_mixture(COVARIANCE_TYPES["full"], 4, 2, rng)
    x, _ = random_mixture(COVARIANCE_TYPES["full"], 4, 2, rng).sample(400, rng)
    for most in range(1, 12):
        assert em.fit(x, first, strength=0.05, tol=0.0, max_iter=most).n_iter <= most


def test_blocks_that_come_once_and_weights_of_other_rows_are_refused() -> None:
    rng = np.random.default_rng(13)
    first = random_mixture(COVARIANCE_TYPES["full"], 2, 2, rng)
    x, _ = first.sample(100, rng)
    with pytest.raises(TypeError, match="wanted a sequence"):
        em.fit(((x, None) for _ in range(1)), first, strength=0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="90 sample weights for 100 rows"):
        em.fit(x, first, strength=0.1, sample_weight=np.ones(90))


def test_a_component_that_has_gone_very_far_costs_the_others_no_digits() -> None:
    rng = np.random.default_rng(14)
    x = rng.normal(-1.0, 0.1, size=(500, 1))
    x[0] = 1e13
    params = {"means": np.array([[0.0], [-1.0], [1e13]]), "variances": np.full((3, 1), 0.01)}
    first = Mixture(COVARIANCE_TYPES["diag"], np.full(3, 1 / 3), params)
    mean = em.fit(x, first, strength=1e-9, floor=0.0, max_iter=2).mixture.params["means"][1, 0]
    assert mean == pytest.approx(x[1:].mean(), abs=1e-3)


def test_rows_of_another_width_than_the_start_are_refused() -> None:
    mixture = random_mixture(COVARIANCE_TYPES["full"], 2, 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"wanted \(n, 2\)"):
        em.fit(np.zeros((100, 3)), mixture, strength=0.1)
