"""The start that most partitions' components make, where some partitions lack some."""

from __future__ import annotations

import numpy as np
import pytest

from dfmr_dask.aggregate.consensus import consensus
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.families import Binomial, DiagonalGaussian
from dfmr_dask.mixture import Mixture

FAMILY, COLUMNS, ROWS = Binomial(2), 600, 400.0
RNG = np.random.default_rng(0)
KINDS = RNG.uniform(0.1, 0.9, (4, COLUMNS))
NEAR = np.clip(KINDS[2] + 0.08 * RNG.standard_normal(COLUMNS), 0.05, 0.95)  # hard to tell apart
KINDS[3] = NEAR


def pilot(kinds: list[int], seed: int) -> Mixture:
    """An honest estimate of these kinds, by equal shares of the rows."""
    rng = np.random.default_rng(seed)
    share = np.full(len(kinds), 1.0 / len(kinds))
    drawn = [rng.binomial(2 * int(ROWS / len(kinds)), KINDS[k]) for k in kinds]
    found = np.array(drawn) / (2 * int(ROWS / len(kinds)))
    order = rng.permutation(len(kinds))
    frequencies = np.clip(found, 0.002, 0.998)[order]
    return Mixture(FAMILY, share, {"frequencies": frequencies})


def test_components_that_half_of_the_partitions_lack_are_there() -> None:
    lacking = [pilot([0, 1, 2, 2], seed) for seed in range(6)]  # one kind is cut in two
    whole = [pilot([0, 1, 2, 3], 10 + seed) for seed in range(6)]
    found = consensus([*lacking, *whole], ROWS)
    assert found is not None
    truth = Mixture(FAMILY, np.full(4, 0.25), {"frequencies": KINDS})
    assert error(found.reordered([0, 1, 2, 3]), truth) < error(whole[0], truth)
    apart = np.abs(found.params["frequencies"][:, None] - KINDS).mean(axis=2)
    assert sorted(apart.argmin(axis=1).tolist()) == [0, 1, 2, 3]


def test_a_minority_adds_no_component() -> None:
    honest = [pilot([0, 1, 2, 3], seed) for seed in range(7)]
    other = {"frequencies": np.random.default_rng(9).uniform(0.1, 0.9, (4, COLUMNS))}
    liars = [Mixture(FAMILY, np.full(4, 0.25), other)] * 5
    found = consensus([*liars, *honest], ROWS)
    assert found is not None
    apart = np.abs(found.params["frequencies"][:, None] - KINDS).mean(axis=2)
    assert (apart.min(axis=1) < 0.05).all()


def test_nothing_is_said_where_components_are_too_few_or_told_otherwise() -> None:
    assert consensus([], ROWS) is None
    alike = {"frequencies": np.repeat(KINDS[:1], 3, axis=0)}
    assert consensus([Mixture(FAMILY, np.full(3, 1 / 3), alike)] * 3, ROWS) is None
    real = {"means": np.zeros((1, COLUMNS)), "variances": np.ones((1, COLUMNS))}
    assert consensus([Mixture(DiagonalGaussian(), [1.0], real)], ROWS) is None
    few = {"frequencies": KINDS[:, :20]}
    assert consensus([Mixture(FAMILY, np.full(4, 0.25), few)], ROWS) is None


@pytest.mark.parametrize("copies", [1, 3])
def test_one_pilot_counts_once_for_a_component(copies: int) -> None:
    """A pilot that repeats a component does not make it more common."""
    many = [pilot([0, 1], seed) for seed in range(3)]
    repeated = [pilot([2] * 2, 20 + i) for i in range(copies - 1)]
    found = consensus([*many, *repeated], ROWS)
    assert found is not None
    apart = np.abs(found.params["frequencies"][:, None] - KINDS).mean(axis=2)
    assert set(apart.argmin(axis=1)) == {0, 1}
