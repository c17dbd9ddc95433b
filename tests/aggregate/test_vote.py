"""Votes by scores: liars cannot elect what is bad for the others."""

from __future__ import annotations

import numpy as np
import pytest

from dfmr_dask.aggregate.vote import electorate, vote


def scores(m: int = 30, candidates: int = 6, seed: int = 50) -> np.ndarray:
    """Candidate 2 is the best by half a nat; partitions differ in level and in noise."""
    rng = np.random.default_rng(seed)
    quality = np.array([0.0, -0.3, 0.5, -1.0, -2.0, 0.1])[:candidates]
    return np.asarray(quality + rng.normal(scale=0.05, size=(m, candidates)))


def test_the_best_candidate_wins_among_the_honest() -> None:
    outcome = vote(scores())
    assert outcome.winner == 2
    assert outcome.gain == pytest.approx(0.4, abs=0.05)
    assert len(outcome.electorate) >= 27


@pytest.mark.parametrize("lie", [1e6, -1e6, np.nan, np.inf])
def test_liars_do_not_elect_their_candidate(lie: float) -> None:
    said = scores()
    said[:14, 4] = lie
    assert vote(said).winner == 2


def test_partitions_with_other_scores_do_not_vote() -> None:
    said = scores()
    said[:13] = np.random.default_rng(51).normal(scale=3.0, size=(13, 6))
    assert not electorate(said)[:13].any()
    assert electorate(said)[13:].sum() >= 15


def test_an_order_of_candidates_or_partitions_does_not_matter() -> None:
    said = scores()
    order = np.random.default_rng(52).permutation(6)
    assert order[vote(said[:, order]).winner] == vote(said).winner
    assert vote(said[::-1]).winner == vote(said).winner


def test_nobody_left_to_vote_is_an_error() -> None:
    with pytest.raises(ValueError, match="no partition gave scores"):
        vote(np.full((3, 2), np.nan))


def test_a_single_candidate_wins() -> None:
    assert vote(np.zeros((5, 1))).winner == 0


def test_a_candidate_cannot_silence_its_judges() -> None:
    """An absurd candidate scores minus infinity with everybody, and everybody still votes."""
    said = scores()
    said[:, 3] = -np.inf
    assert vote(said).winner == 2
    assert electorate(said).sum() >= 27


def test_all_candidates_are_ranked_and_fall_behind_the_winner() -> None:
    said = scores()
    outcome = vote(said)
    assert outcome.ranking == (2, 5, 0, 1, 3, 4)
    assert outcome.behind[2] == 0.0
    assert outcome.behind[4] == pytest.approx(2.5, abs=0.05)
    heard = said[list(outcome.electorate)]
    assert outcome.gain == min(np.delete(outcome.behind, 2))
    assert outcome.behind[0] == np.median(heard[:, 2] - heard[:, 0])
