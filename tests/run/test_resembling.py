"""What samples are like, as a task: failures are data, and liars say what they like."""

from __future__ import annotations

import numpy as np

from dfmr_dask.aggregate.questions import Resemblance, Resemble, Terms
from dfmr_dask.corruption import Corruption
from dfmr_dask.experiments.populations import population
from dfmr_dask.experiments.stores import Pieces
from dfmr_dask.local.start import Sample
from dfmr_dask.run.partition import Drawn
from dfmr_dask.run.resembling import resemble
from dfmr_dask.run.tasks import Failure

TRUTH = population(3, 2, seed=0)
ROWS = TRUTH.sample(300, np.random.default_rng(0))[0]
DRAWN = Drawn(Sample(ROWS[:200], ROWS[200:]), 300)
LOCAL = Pieces((ROWS,), 3).local
TERMS = Terms(TRUTH.family, 3, 2, 0, 4)


def said(attack: Corruption | None = None) -> object:
    return resemble(1, DRAWN, TRUTH, LOCAL, attack)


def test_an_honest_answer_is_accepted() -> None:
    found = said()
    assert isinstance(found, Resemblance)
    assert Resemble((1,), TRUTH).accepts(found, TERMS)
    assert np.isclose(found.means[:3].sum(), 1.0)


def test_what_has_no_sample_or_no_spread_fails_with_its_reason() -> None:
    gone = Failure("its chunk is missing")
    assert resemble(1, gone, TRUTH, LOCAL) is gone
    constant = Drawn(Sample(np.ones((200, 2)), np.ones((100, 2))), 300)
    assert isinstance(resemble(1, constant, TRUTH, LOCAL), Failure)


def test_liars_lie_and_the_harmless_do_not() -> None:
    honest, lie, harmless = said(), said(Corruption("mean", 0.3)), said(Corruption("permute", 0.3))
    assert isinstance(honest, Resemblance)
    assert isinstance(lie, Resemblance) and isinstance(harmless, Resemblance)
    np.testing.assert_array_equal(np.sort(lie.means[:3]), np.sort(honest.means[:3]))
    np.testing.assert_array_equal(harmless.means, honest.means)
    assert lie.mixture is not None and honest.mixture is not None
    assert not np.allclose(lie.mixture.params["means"], honest.mixture.params["means"])


def test_malformed_answers_are_none() -> None:
    assert not Resemble((1,), TRUTH).accepts(said(Corruption("malformed", 0.3)), TERMS)


def test_a_claim_of_rows_is_said() -> None:
    found = said(Corruption("mean", 0.3, claimed_rows=10**9))
    assert isinstance(found, Resemblance) and found.rows == 1e9
