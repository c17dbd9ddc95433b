"""Populations of a given overlap: it is what other computations of the same probability say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.experiments.overlap import DRAWS, pairwise_overlap, population_with_overlap
from dfmr_dask.mixture import Mixture


def error(overlap: float, draws: int = DRAWS) -> float:
    """Four of the stated standard errors."""
    return 4.0 * float(np.sqrt(overlap * (2.0 - overlap) / draws))


def log_weighted_of(mixture: Mixture, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """log w_k f_k(x_i), shape (n, K)."""
    return mixture.family.log_density(mixture.params, x) + np.log(mixture.weights)


def overlap_by_quadrature(mixture: Mixture, i: int, j: int) -> float:
    """Integrate f_i where w_j f_j is larger, and the other way round, on a fine line."""
    spread = np.sqrt(mixture.params["covariances"].max())
    reach = np.abs(mixture.params["means"]).max() + 12.0 * spread
    x, step = np.linspace(-reach, reach, 400_001, retstep=True)
    log_weighted = log_weighted_of(mixture, x[:, None])
    densities = np.exp(log_weighted - np.log(mixture.weights))
    j_wins = log_weighted[:, j] > log_weighted[:, i]
    return float(step * (densities[j_wins, i].sum() + densities[~j_wins, j].sum()))


def overlap_by_sampling(mixture: Mixture, draws: int, seed: int) -> float:
    """Classify rows of one component against each other one, and take the worst pair."""
    rng, order = np.random.default_rng(seed), mixture.n_components
    wrong = np.zeros((order, order))
    for i in range(order):
        x = mixture.family.sample(mixture.params, np.full(draws, i), rng)
        log_weighted = log_weighted_of(mixture, x)
        wrong[i] = (log_weighted > log_weighted[:, [i]]).mean(axis=0)
    return float((wrong + wrong.T).max())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("wanted", [0.01, 0.1, 0.3])
def test_the_overlap_on_a_line_is_that_of_quadrature(wanted: float, seed: int) -> None:
    truth = population_with_overlap(4, 1, wanted, seed)
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    exact = [overlap_by_quadrature(truth, i, j) for i, j in pairs]
    assert max(exact) == pytest.approx(wanted, abs=error(wanted))
    measured = pairwise_overlap(truth, seed=seed)
    for (i, j), value in zip(pairs, exact, strict=True):
        assert measured[i, j] == measured[j, i] == pytest.approx(value, abs=error(value) + 1e-4)


@pytest.mark.parametrize(
    ("order", "features", "wanted"), [(10, 10, 0.1), (15, 2, 0.3), (3, 50, 0.05)]
)
def test_the_overlap_is_how_often_rows_are_taken_for_another_components(
    order: int, features: int, wanted: float
) -> None:
    truth = population_with_overlap(order, features, wanted, seed=5)
    measured = overlap_by_sampling(truth, 40_000, seed=6)
    assert measured == pytest.approx(wanted, abs=error(wanted) + error(wanted, 40_000))


def test_a_seed_names_a_population() -> None:
    first, again, other = (population_with_overlap(3, 2, 0.1, seed) for seed in (1, 1, 2))
    for name, array in first.params.items():
        assert np.array_equal(array, again.params[name])
        assert not np.allclose(array, other.params[name])
    assert np.array_equal(first.weights, again.weights)


def test_covariances_are_no_more_eccentric_than_said() -> None:
    values = np.linalg.eigvalsh(population_with_overlap(5, 20, 0.1).params["covariances"])
    assert (values[:, 0] / values[:, -1]).min() >= 0.19 - 1e-9


@pytest.mark.parametrize(("order", "wanted"), [(1, 0.1), (3, 0.0), (3, 1.0), (3, -0.1)])
def test_an_overlap_that_nothing_has_is_refused(order: int, wanted: float) -> None:
    with pytest.raises(InvalidConfiguration, match="wanted two components"):
        population_with_overlap(order, 2, wanted)
