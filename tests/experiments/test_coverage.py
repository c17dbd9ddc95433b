"""The study of coverage, scaled down: nominal 95 % intervals cover about that."""

from __future__ import annotations

import pytest

from dfmr_dask.corruption import Corruption
from dfmr_dask.experiments.coverage import COMBINATIONS, QUANTITIES, Combination, coverage
from dfmr_dask.experiments.studies import STUDIES


def test_it_is_a_study_of_all_combinations() -> None:
    assert STUDIES["coverage"] is coverage
    assert len(set(COMBINATIONS)) == 20
    assert {(c.n_features, c.rows, c.m, c.alpha) for c in COMBINATIONS} >= {
        (d, n, m, a) for d in (2, 10) for n in (1000, 5000) for m in (20, 50) for a in (0.0, 0.3)
    }


def test_intervals_cover_the_truth() -> None:
    """Parameters of one data set depend on each other, so that a share is as sure as it says."""
    some = [Combination(2, 1000, 20), Combination(2, 1000, 20, 0.3), Combination(2, 1000, 20, 0, 1)]
    for found in coverage(12, some, attack=Corruption("mean", 0.3)):
        print(found)
        assert found.data_sets == 12
        assert found.liars_kept == 0.0
        assert found.honest_kept > 0.98
        for name in QUANTITIES:
            assert getattr(found, name) >= 0.95 - 3.5 * max(found.uncertain, 0.02), (name, found)
        assert f"m = {found.combination.m}" in str(found)


@pytest.mark.slow
def test_intervals_cover_the_truth_in_all_combinations() -> None:
    for found in coverage(100):
        print(found)
        for name in QUANTITIES:
            low = 0.92 if found.combination.polish else 0.85 if found.combination.m > 50 else 0.93
            assert low - 3 * found.uncertain <= getattr(found, name), (name, found)
            assert getattr(found, name) <= 0.97 + 3 * found.uncertain, (name, found)
