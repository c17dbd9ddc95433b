"""The order that pooled samples speak for, whoever else sends rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import sklearn.mixture
from numpy.typing import NDArray

from dfmr_dask.errors import TooFewMessages
from dfmr_dask.experiments.orders import POISONS
from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.local.merging import Trial
from dfmr_dask.selection.curve import Selection
from dfmr_dask.selection.hearing import Sample
from dfmr_dask.selection.pooled import overfitted, path, pooled

FULL = COVARIANCE_TYPES["full"]
M, N, D, K = 16, 300, 2, 3
TRUTH = population_with_overlap(K, D, 0.02, seed=1)
HONEST = {i: TRUTH.sample(N, np.random.default_rng(i))[0] for i in range(M)}
Rows = NDArray[np.float64]


def chosen(drawn: dict[int, Rows], most: int = 6, **settings: float) -> Selection:
    samples = {i: Sample(x) for i, x in drawn.items()}
    return pooled(samples, FULL, D, most, np.random.default_rng(0), **settings)


def test_the_true_order_is_found() -> None:
    found = chosen(HONEST)
    assert found.n_components == K
    assert found.orders == (1, 2, 3, 4, 5, 6)
    assert len(found.partitions) >= M - 2


def test_criteria_are_scikit_learns_on_the_same_rows() -> None:
    rows = np.concatenate(list(HONEST.values()))
    trial = Trial(FULL, rows, len(rows) ** -0.5, 1e-6)
    fits = path(trial, overfitted(trial, 5, np.random.default_rng(0)))
    one = {0: rows}
    found = pooled({0: Sample(rows)}, FULL, D, 5, np.random.default_rng(0), rows=len(rows))
    assert found.rows == len(one[0])
    for place, fit in enumerate(fits.values()):
        twin = sklearn.mixture.GaussianMixture(fit.mixture.n_components)
        twin.weights_, twin.means_ = fit.mixture.weights, fit.mixture.params["means"]
        twin.covariances_ = fit.mixture.params["covariances"]
        twin.precisions_cholesky_ = sklearn.mixture._gaussian_mixture._compute_precision_cholesky(
            twin.covariances_, "full"
        )
        assert found.bic[place] == pytest.approx(twin.bic(rows), rel=1e-9)
        assert found.aic[place] == pytest.approx(twin.aic(rows), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_scores_never_fall_with_the_order(seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(2000, D)) ** 3
    found = chosen(dict(enumerate(np.split(rows, 10))), most=8)
    assert np.all(found.gains[1:] > -1e-9)


def test_names_of_partitions_change_nothing() -> None:
    found = chosen(HONEST)
    other = chosen({7 * i + 2: x for i, x in HONEST.items()})
    np.testing.assert_array_equal(other.bic, found.bic)
    assert other.partitions == tuple(7 * i + 2 for i in found.partitions)


def test_the_order_of_partitions_changes_next_to_nothing() -> None:
    found, other = chosen(HONEST), chosen(dict(reversed(HONEST.items())))
    assert other.n_components == found.n_components
    np.testing.assert_allclose(other.bic[:K], found.bic[:K], rtol=1e-3)


def moved(x: Rows) -> Rows:
    return x + 100.0


def doubled(x: Rows) -> Rows:
    return 2.0 * x


@pytest.mark.parametrize("lie", [moved, doubled])
@pytest.mark.parametrize("liars", [1, 7])
def test_poisoned_samples_change_nothing(lie: Callable[[Rows], Rows], liars: int) -> None:
    found = chosen({i: lie(x) if i < liars else x for i, x in HONEST.items()})
    assert found.n_components == K
    assert not set(range(liars)) & set(found.partitions)
    assert set(range(liars)) <= set(found.left_out)


@pytest.mark.parametrize("name", POISONS)
def test_rows_that_imitate_mean_and_covariance_change_nothing(name: str) -> None:
    rng = np.random.default_rng(5)
    rows = {i: POISONS[name](x, TRUTH, rng) if i < 7 else x for i, x in HONEST.items()}
    found = chosen(rows)
    assert found.n_components == K
    assert not set(range(7)) & set(found.partitions)


@pytest.mark.parametrize(
    "bad",
    [np.full((N, D), np.nan), np.ones((N, D)), np.ones((N, D + 1)), np.ones(N), np.empty((0, D)),
     np.full((N, D), 1e300), np.array([["a", "b"]] * N), None],
)  # fmt: skip
def test_what_is_no_sample_is_named(bad: Rows) -> None:
    found = chosen({**HONEST, 3: bad})
    assert found.n_components == K
    assert 3 in found.left_out


def test_a_liar_gains_nothing_by_more_rows() -> None:
    many = {**HONEST, 0: TRUTH.sample(50 * N, np.random.default_rng(0))[0]}
    assert chosen(many, rows=N).rows <= M * N


def test_half_without_a_sample_are_too_many() -> None:
    bad = np.full((N, D), np.nan)
    with pytest.raises(TooFewMessages, match="8 of 16"):
        chosen({i: bad if i < 8 else x for i, x in HONEST.items()})


def test_partitions_that_are_not_alike_are_all_heard_and_it_is_said() -> None:
    rng = np.random.default_rng(0)
    rows = {i: x + rng.normal(size=D) * 3.0 for i, x in HONEST.items()}
    found = chosen(rows)
    assert len(found.partitions) == M
    assert any("all samples were pooled" in note for note in found.notes)


def test_free_weights_leave_nobody_out() -> None:
    found = chosen({**HONEST, 0: HONEST[0] + 100.0}, shared_weights=False)
    assert 0 in found.partitions
    assert "weights are free" in found.notes[0]


def test_samples_that_are_equal_to_the_bit() -> None:
    found = chosen(dict.fromkeys(range(M), HONEST[0]))
    assert 1 <= found.n_components <= 6
    assert np.isfinite(found.bic).all()


def test_one_partition_is_enough() -> None:
    found = pooled({0: Sample(np.concatenate(list(HONEST.values())))}, FULL, D, 6,
                   np.random.default_rng(0), rows=M * N)  # fmt: skip
    assert found.n_components == K
    assert np.isfinite(found.gain_errors[1:]).all()


def test_sizes_may_differ() -> None:
    rows = {i: x[: 20 if i % 2 else N] for i, x in HONEST.items()}
    assert chosen(rows).n_components == K


def test_one_component_is_all_that_is_asked() -> None:
    found = chosen(HONEST, most=1)
    assert (found.n_components, found.orders) == (1, (1,))


def test_more_components_than_the_rows_can_carry_are_not_tried() -> None:
    found = chosen({i: x[:4] for i, x in HONEST.items()}, most=60)
    assert found.orders[-1] == 4 * len(found.partitions) // 3


def test_weights_count_rows() -> None:
    """Equal weights are none; rows of weight 0 are not there, whatever else is known of them."""
    even = {i: Sample(x, np.full(N, 2.0)) for i, x in HONEST.items()}
    found = pooled(even, FULL, D, 4, np.random.default_rng(0))
    np.testing.assert_allclose(found.bic, chosen(HONEST, most=4).bic, rtol=1e-9)
    rng = np.random.default_rng(1)
    spoilt = {
        i: Sample(np.concatenate([x, x + 50.0])[(mixed := rng.permutation(2 * N))],
                  np.repeat([1.0, 0.0], N)[mixed])
        for i, x in HONEST.items()
    }  # fmt: skip
    other = pooled(spoilt, FULL, D, 4, np.random.default_rng(0), rows=2 * N)
    assert other.n_components == K
    np.testing.assert_allclose(other.scores[:K], found.scores[:K], atol=0.02)
