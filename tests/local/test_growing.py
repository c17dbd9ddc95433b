"""Subsamples that grow: few passes over all rows, and the maximum is the one of all rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.local import em, growing, subsamples
from dfmr_dask.local.climbing import Climb
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from tests.tables import random_mixture

N = 60_000
TOL = 1e-6


def problem(seed: int, kind: str = "full", overlap: float = 0.1) -> tuple[Mixture, np.ndarray]:
    """Return a start some way off the truth, and rows; few parameters, so that they grow."""
    rng = np.random.default_rng(seed)
    truth = population_with_overlap(4, 3, overlap, seed=seed)
    x, _ = truth.sample(N, rng)
    family = COVARIANCE_TYPES[kind]
    few = random_mixture(family, 4, 3, rng)
    spread = x.std(axis=0)
    params = dict(few.params)
    params["means"] = truth.params["means"] + 0.3 * spread * rng.standard_normal((4, 3))
    name = "variances" if "variances" in params else "covariances"
    wide = np.diag(0.3 * spread**2) if name == "covariances" else 0.3 * spread**2
    if params[name].ndim == 2 and kind == "spherical":
        wide = np.full(params[name].shape[1:], 0.3 * float((spread**2).mean()))
    params[name] = np.broadcast_to(wide, params[name].shape).copy()
    return Mixture(family, np.full(4, 0.25), params), x


def without_subsamples(monkeypatch: pytest.MonkeyPatch, x: Any, first: Mixture, **options: Any):
    with monkeypatch.context() as patch:
        patch.setattr(em, "subsamples", lambda *_: [])
        return em.fit(x, first, **options)


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
@pytest.mark.parametrize("dtype_work", ["float64", "float32"])
def test_the_maximum_is_as_high_after_fewer_passes(
    kind: str, dtype_work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, x = problem(1, kind)
    options = {"strength": N**-0.5, "tol": TOL, "dtype_work": dtype_work}
    plain = without_subsamples(monkeypatch, x, first, **options)
    fast = em.fit(x, first, **options)
    assert fast.converged
    assert fast.trace[-1] >= plain.trace[-1] - 3 * TOL
    assert fast.n_iter < plain.n_iter
    assert np.all(np.diff(fast.trace) >= 0.0)


@settings(max_examples=12, deadline=None, derandomize=True)  # some starts have two optima near
@given(seed=st.integers(0, 10_000), overlap=st.sampled_from([0.02, 0.1, 0.3]))
def test_random_problems_end_no_lower(seed: int, overlap: float) -> None:
    """An EM step from there gains less than tol, and what was reached is as high."""
    first, x = problem(seed, overlap=overlap)
    options = {"strength": N**-0.5, "tol": TOL}
    with pytest.MonkeyPatch.context() as patch:
        plain = without_subsamples(patch, x, first, **options)
    fast = em.fit(x, first, **options)
    (after,) = np.diff(em.fit(x, fast.mixture, accelerate=False, max_iter=1, **options).trace)
    assert after < TOL  # the fit knew it without that pass
    assert fast.trace[-1] >= plain.trace[-1] - 1e-5


def test_few_rows_climb_as_without_subsamples(monkeypatch: pytest.MonkeyPatch) -> None:
    first, x = problem(2)
    few = x[: growing.FEWEST_ROWS - 1]
    plain = without_subsamples(monkeypatch, few, first, strength=0.01)
    assert em.fit(few, first, strength=0.01).trace == plain.trace


@pytest.mark.parametrize("cuts", [(), (7,), (16, 20_001, 20_002, 51_000)])
def test_blocks_are_read_once_more_than_they_are_visited(cuts: tuple[int, ...]) -> None:
    """The pass that checks the rows gathers the subsamples, and blocks leave no trace in them."""
    first, x = problem(3)
    edges = (0, *cuts, N)
    reads: list[int] = []

    class Stored(Sequence):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(edges) - 1

        def __getitem__(self, i: int) -> tuple[np.ndarray, None]:
            if i >= len(self):
                raise IndexError
            reads.append(i)
            return x[edges[i] : edges[i + 1]].copy(), None

    streamed, whole = (em.fit(rows, first, strength=0.004) for rows in (Stored(), x))
    assert len(reads) == (len(edges) - 1) * (streamed.n_iter + 2)
    assert streamed.n_iter == whole.n_iter
    assert streamed.log_likelihood == pytest.approx(whole.log_likelihood, abs=1e-9)
    for name, array in whole.mixture.params.items():
        np.testing.assert_allclose(streamed.mixture.params[name], array, rtol=1e-7, atol=1e-7)


def test_weights_are_how_often_rows_count_in_subsamples_too() -> None:
    first, x = problem(4)
    counts = generator(0, Stage.SIMULATE).integers(0, 4, N).astype(float)
    options: dict[str, Any] = {"strength": 0.004, "tol": 1e-8}
    weighted = em.fit(x, first, sample_weight=counts, **options)
    repeated = em.fit(np.repeat(x, counts.astype(int), axis=0), first, **options)
    assert weighted.log_likelihood == pytest.approx(repeated.log_likelihood, abs=1e-6)
    scaled = em.fit(x, first, sample_weight=1e6 * counts, **options)
    assert scaled.n_iter <= 12


def test_sorted_rows_and_rows_that_repeat_lose_nothing() -> None:
    first, x = problem(5)
    fit = em.fit(x, first, strength=0.004)
    for order in (np.argsort(x[:, 0]), np.argsort(np.arange(N) % 256, kind="stable")):
        other = em.fit(x[order], first, strength=0.004)
        assert other.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-5)
        assert other.n_iter <= 6


def test_a_start_that_is_better_than_what_few_rows_tell_is_kept() -> None:
    """The second fit of the same rows ends where it began, after the pass that finds that out."""
    first, x = problem(6)
    fit = em.fit(x, first, strength=0.004, tol=1e-8)
    again = em.fit(x, fit.mixture, strength=0.004)
    assert again.n_iter <= 2
    assert again.trace[0] >= fit.trace[-1] - 1e-12


def test_a_rare_component_asks_for_larger_subsamples_or_none() -> None:
    first, x = problem(7)
    gathered = subsamples.Gathering()
    em.checked_rows(first, [(x, None)], gathered)
    family = first.family
    overall = em.checked_rows(first, [(x, None)])
    climb = Climb(family, [(x, None)], N, family.pseudo_rows(overall, 0.1, 1e-6), True, None)

    def sizes(weights: Sequence[float]) -> list[float]:
        start = Mixture(family, np.array(weights), first.params)
        return [one.n for one in growing.subsamples(climb, gathered, start, lambda _: None)]

    even = sizes([0.25] * 4)
    rare = sizes([0.33, 0.33, 0.33, 0.01])
    assert len(even) > len(rare) > 0
    assert even == sorted(even)
    assert not sizes([0.3333, 0.3333, 0.3333, 0.0001])


@given(
    n=st.integers(1, 5000),
    level=st.integers(0, 3),
    edges=st.lists(st.integers(0, 5000), max_size=6),
)
def test_a_subsample_does_not_depend_on_blocks(n: int, level: int, edges: list[int]) -> None:
    x = np.arange(n)[:, None]
    cuts = sorted({min(n, edge) for edge in edges} | {0, n})
    gathered = subsamples.Gathering()
    for start, stop in pairwise(cuts):
        gathered.add(x[start:stop], 2.0 * np.arange(start, stop))
    rows, weights = gathered.rows(max(1, level))
    np.testing.assert_array_equal(
        rows[:, 0], np.flatnonzero(subsamples.is_taken(x[:, 0], max(1, level)))
    )
    np.testing.assert_array_equal(weights, 2.0 * rows[:, 0])


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_subsample_comes_from_everywhere_and_follows_no_period(level: int) -> None:
    numbers = np.flatnonzero(subsamples.is_taken(np.arange(1 << 20), level))
    stride = subsamples.SHRINKAGE**level
    share = len(numbers) * stride / (1 << 20)
    assert share == pytest.approx(1.0, abs=0.01)
    assert np.diff(numbers).max() <= 2 * stride * subsamples.RUN
    for period in (64, 100, 128, 256, 360, 1024, 4096):
        if period < stride * subsamples.RUN * 4:
            counts = np.bincount(numbers % period // subsamples.RUN)
            assert counts[:-1].min() > 0.7 * counts[:-1].mean()


def test_what_is_held_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subsamples, "HELD_BYTES", 8 * 1000)
    gathered = subsamples.Gathering()
    for start in range(0, 100_000, 1000):
        gathered.add(np.arange(start, start + 1000)[:, None], None)
    rows, _ = gathered.rows(gathered.level)
    assert 100 < len(rows) <= 1000
    np.testing.assert_array_equal(
        rows[:, 0], np.flatnonzero(subsamples.is_taken(np.arange(100_000), gathered.level))
    )
