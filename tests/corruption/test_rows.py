"""Faults of genotypes: what each does to rows, what it leaves alone, and who shares what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.corruption import ATTACKS, Corruption, corrupted_rows
from dfmr_dask.corruption.rows import FAULTS
from dfmr_dask.errors import InvalidConfiguration

N, D = 60, 200


def genotypes(seed: int = 0, n: int = N, d: int = D, missing: float = 0.1) -> np.ndarray:
    """Two populations of clearly different frequencies, half of the rows each."""
    rng = np.random.default_rng(seed)
    low, high = rng.uniform(0.05, 0.3, d), rng.uniform(0.7, 0.95, d)
    x = rng.binomial(2, np.where(np.arange(n)[:, None] < n // 2, low, high)).astype(np.int8)
    x[rng.random(x.shape) < missing] = -1
    return x


def spoilt(attack, x, partition=0, seed=5, **options):
    return corrupted_rows(x, Corruption(attack, 0.3, **options), seed, partition)


@pytest.mark.parametrize("attack", FAULTS)
@given(seed=st.integers(0, 100))
def test_spoilt_rows_are_genotypes_again_and_follow_from_the_address(attack, seed):
    x = genotypes(seed, n=12, d=15)
    before = x.copy()
    one, again = (spoilt(attack, x, seed=seed) for _ in range(2))
    assert np.array_equal(x, before)
    assert np.array_equal(one, again)
    assert one.shape == x.shape
    assert one.dtype == x.dtype
    assert set(np.unique(one)) <= {-1, 0, 1, 2}


@pytest.mark.parametrize("attack", FAULTS)
def test_floats_are_spoilt_as_integers_are(attack):
    x = genotypes()
    floats = np.where(x < 0, np.nan, x).astype(np.float64)
    other = spoilt(attack, floats)
    assert np.array_equal(np.where(np.isnan(other), -1, other), spoilt(attack, x))


def flipped_columns(before, after):
    known = before >= 0
    assert np.array_equal(known, after >= 0)
    turned = np.all((after == 2 - before) | ~known, axis=0)
    same = np.all(after == before, axis=0)
    assert np.all(turned | same)
    return np.flatnonzero(turned & ~same)


def test_flipped_alleles_are_a_share_of_snps_and_the_same_everywhere():
    x = genotypes()
    one, other = (flipped_columns(x, spoilt("flipped_alleles", x, i, size=0.1)) for i in (0, 3))
    assert len(one) == 20
    assert np.array_equal(one, other)
    assert len(flipped_columns(x, spoilt("flipped_alleles", x))) == D


def test_each_partition_may_flip_alleles_of_its_own():
    x = genotypes()
    one, other = (flipped_columns(x, spoilt("own_flipped_alleles", x, i)) for i in (0, 3))
    assert len(one) == len(other) == 10
    assert not np.array_equal(one, other)


def test_shuffled_snps_are_the_same_columns_in_one_other_order():
    x = genotypes()
    one, other = (spoilt("shuffled_snps", x, i) for i in (0, 3))
    assert np.array_equal(one, other)
    assert not np.array_equal(one, x)
    assert np.array_equal(np.sort(one.T.tolist(), axis=0), np.sort(x.T.tolist(), axis=0))


def test_missing_genotypes_become_the_reference():
    x = genotypes()
    one = spoilt("missing_as_reference", x, size=0.3)
    assert (one >= 0).all()
    assert (one[x < 0] == 0).all()
    changed = (one != x) & (x > 0)
    assert (one[changed] == 0).all()
    assert abs(changed.sum() / (x > 0).sum() - 0.3) < 0.03


def test_random_frequencies_leave_nothing_but_what_is_missing():
    x = genotypes()
    one = spoilt("random_frequencies", x)
    assert np.array_equal(one < 0, x < 0)
    known = np.ma.masked_less(one, 0)
    halves = known[: N // 2].mean(axis=0) - known[N // 2 :].mean(axis=0)
    assert abs(halves).mean() < 0.3  # of populations that differed by 1.3


def test_repeated_samples_are_few_and_there_ten_times():
    x = genotypes()
    rows, counts = np.unique(spoilt("repeated_samples", x), axis=0, return_counts=True)
    assert counts.tolist() == [10] * (N // 10)
    assert all((x == row).all(axis=1).any() for row in rows)


def test_relatives_have_parents_of_one_population():
    x = genotypes(missing=0.0)
    one = spoilt("relatives", x)
    mean = np.where(np.arange(2)[:, None] == 0, x[: N // 2].mean(axis=0), x[N // 2 :].mean(axis=0))
    away = ((one[:, None] - mean) ** 2).sum(axis=2)
    near, far = away.min(axis=1), away.max(axis=1)
    assert (near < 0.7 * far).all()  # a child of both populations would lie between them
    families = one.reshape(N // 10, 10, D)
    within = (np.diff(families, axis=1) != 0).mean()
    between = (np.diff(families[:, 0], axis=0) != 0).mean()
    assert 0 < within < 0.8 * between


def test_a_child_of_equal_parents_has_what_both_are_sure_to_give():
    x = np.repeat(np.array([[0, 2, 2, 0]], dtype=np.int8), 20, axis=0)
    assert np.array_equal(spoilt("relatives", x), x)


def test_attacks_on_messages_leave_rows_alone():
    x = genotypes()
    for name, row in ATTACKS.items():
        if row.rows is None:
            assert corrupted_rows(x, name, 0, 0) is x


def test_rows_that_are_no_counts_are_refused():
    with pytest.raises(InvalidConfiguration, match="'relatives' is for counts of alleles"):
        corrupted_rows(np.zeros((3, 2)), "relatives", 0, 0, highest=None)
    with pytest.raises(InvalidConfiguration, match="signed counts; uint8 came"):
        corrupted_rows(np.zeros((3, 2), dtype=np.uint8), "relatives", 0, 0)


@pytest.mark.parametrize("attack", [name for name, fault in FAULTS.items() if fault.share])
def test_a_share_is_no_more_than_one(attack):
    with pytest.raises(ValueError, match="wants a share, up to 1"):
        Corruption(attack, 0.3, size=1.5)
