"""Repairs: components that are wrong are put right, and nothing gets worse."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.families.base import Params
from dfmr_dask.local.em import Fit
from dfmr_dask.local.merging import Trial, cut, merged, repaired
from dfmr_dask.mixture import Mixture
from tests.tables import each_family, generators, random_mixture

CENTERS = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])


def with_unit_spread(family: Family, means: NDArray[np.float64]) -> Mixture:
    k, d = means.shape
    spread = (
        {"variances": np.ones((k, d))}
        if family.name == "diagonal_gaussian"
        else {"covariances": np.repeat(np.eye(d)[None], k, axis=0)}
    )
    return Mixture(family, np.full(k, 1.0 / k), {"means": means, **spread})


def trial_of(family: Family, n: int, seed: int) -> Trial:
    x, _ = with_unit_spread(family, CENTERS).sample(n, np.random.default_rng(seed))
    return Trial(family, x, n**-0.5, 1e-6)


def furthest(params: Params, centers: NDArray[np.float64]) -> float:
    distance = np.linalg.norm(params["means"][:, None] - centers, axis=2)
    return float(distance[linear_sum_assignment(distance)].max())


@each_family
def test_a_repair_undoes_a_wrong_merge_and_a_wrong_split_at_once(family: Family) -> None:
    """EM alone stays where one component covers two groups, and two share another one."""
    trial = trial_of(family, 2000, seed=1)
    wrong = np.array([[0.0, 4.5], [9.0, -0.5], [9.0, 0.5], [9.0, 9.0]])
    stuck = trial.climbed(with_unit_spread(family, wrong), 60, 1e-7)
    assert furthest(stuck.mixture.params, CENTERS) > 3.0
    right = repaired(trial, stuck, 2)
    assert right.trace[-1] > stuck.trace[-1]
    assert furthest(right.mixture.params, CENTERS) < 0.3


@each_family
@given(rng=generators())
@settings(max_examples=8, deadline=None)
def test_a_repair_never_makes_a_fit_worse(family: Family, rng: np.random.Generator) -> None:
    x, _ = random_mixture(family, 4, 2, rng).sample(300, rng)
    trial = Trial(family, x, 300**-0.5, 1e-6)
    found = trial.climbed(random_mixture(family, 3, 2, rng), 5)
    better = repaired(trial, found, 2)
    assert better.mixture.n_components == 3
    assert trial.standing(better) >= trial.standing(found)


def test_likelihood_does_not_excuse_a_component_of_a_handful_of_rows() -> None:
    family = COVARIANCE_TYPES["full"]
    trial = trial_of(family, 1000, seed=2)
    params = with_unit_spread(family, CENTERS).params
    sound = Fit(Mixture(family, np.full(4, 0.25), params), 1, True, -4.0, (-4.0,))
    spiky = Mixture(family, [0.333, 0.333, 0.333, 0.001], params)
    assert trial.standing(sound) > trial.standing(Fit(spiky, 1, True, -3.0, (-3.0,)))
    assert trial.standing(Fit(spiky, 1, True, -2.0, (-2.0,))) > trial.standing(
        Fit(spiky, 1, True, -3.0, (-3.0,))
    )


@each_family
def test_halves_lie_on_both_sides_of_what_they_were(family: Family) -> None:
    trial = trial_of(family, 1000, seed=3)
    whole = trial.climbed(with_unit_spread(family, CENTERS), 5).mixture
    halves = cut(trial, whole)
    assert halves.n_components == 8
    back = 0.5 * (halves.params["means"][:4] + halves.params["means"][4:])
    np.testing.assert_allclose(back, whole.params["means"], atol=0.2)
    assert np.linalg.norm(halves.params["means"][:4] - halves.params["means"][4:], axis=1).min() > 1


@each_family
def test_rows_too_few_to_be_cut_are_left_alone(family: Family) -> None:
    trial = trial_of(family, family.min_rows(8, 2) - 1, seed=4)
    found = trial.climbed(with_unit_spread(family, CENTERS), 3)
    assert repaired(trial, found, 5) is found


@each_family
@given(rng=generators())
@settings(max_examples=15, deadline=None)
def test_groups_are_weighted_as_if_rows_were_repeated(
    family: Family, rng: np.random.Generator
) -> None:
    x, labels = random_mixture(family, 3, 2, rng).sample(60, rng)
    times = rng.integers(0, 4, 60)
    times[:2] = 1
    weighted = Trial(family, x, 0.1, 1e-6, times.astype(float)).grouped(labels, 4)
    repeated = Trial(family, np.repeat(x, times, axis=0), 0.1, 1e-6)
    other = repeated.grouped(np.repeat(labels, times), 4)
    np.testing.assert_allclose(weighted.weights, other.weights, rtol=1e-10)
    for name, array in other.params.items():
        np.testing.assert_allclose(weighted.params[name], array, rtol=1e-8, atol=1e-8)


@each_family
@given(rng=generators())
@settings(max_examples=10, deadline=None)
def test_a_merge_goes_on_from_where_it_stopped(family: Family, rng: np.random.Generator) -> None:
    """Costs that are kept up to date say the same as costs computed anew for every merge."""
    mixture = random_mixture(family, 6, 2, rng)
    if family.options.get("tied"):  # a tied covariance is put together after the last merge only
        return
    at_once, in_steps = merged(mixture, 2), mixture
    for order in range(5, 1, -1):
        in_steps = merged(in_steps, order)
    for name, array in at_once.params.items():
        np.testing.assert_allclose(in_steps.params[name], array, rtol=1e-9, atol=1e-9)
