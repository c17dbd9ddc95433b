"""Votes about candidates by the scores that every partition gives them (METHOD 11)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from dfmr_dask.aggregate.center import LEVEL, attention, coat, inside, wilson_hilferty_cut

LOWEST = -1e100  # a score that stands for minus infinity


@dataclass(frozen=True, slots=True)
class Vote:
    """The outcome of a vote.

    Attributes
    ----------
    winner : int
        Number of the candidate.
    electorate : tuple of int
        Partitions whose scores were heard.
    gain : float
        Median of the electorate's gains of the winner over the next best, in nats a row.
    ranking : tuple of int
        All candidates, the one whose worst duel goes best first.
    behind : tuple of float
        For each candidate, the electorate's median of what it scores less than the winner.
    """

    winner: int
    electorate: tuple[int, ...]
    gain: float
    ranking: tuple[int, ...]
    behind: tuple[float, ...]


def electorate(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell whose scores are like those of the majority.

    COAT and the cut of METHOD 5 on the median absolute difference between score vectors;
    partitions with a score that is no number, or infinite praise, drop out. Minus infinity is an
    honest answer to an absurd candidate, see :func:`countable`.

    Parameters
    ----------
    scores : ndarray of shape (m, candidates)
        Mean log density of each partition's sample under each candidate.
    """
    scores = countable(scores)
    heard: NDArray[np.bool_] = np.asarray(np.isfinite(scores).all(axis=1))
    if heard.sum() < 3:
        return heard
    out = heard.copy()
    out[heard] = crowd(_median_absolute_differences(scores[heard]))
    return out


def crowd(distances: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell who belongs to the majority around the center of attention (METHOD 4 and 5).

    Parameters
    ----------
    distances : ndarray of shape (m, m)
        Symmetric, zero on the diagonal; infinite where two cannot be compared.

    Returns
    -------
    mask of shape (m,)
        Who lies within the Wilson-Hilferty cut around COAT; an honest majority loses one of its
        own with probability .05.
    """
    ball = coat(distances)
    to_center = distances[ball.center]
    return inside(to_center, wilson_hilferty_cut(to_center, ball, LEVEL / len(distances)))


def crowd_median(values: NDArray[np.float64]) -> float:
    """Return the median of those numbers that are like the majority's.

    The cut is that of :func:`crowd`, on differences; what praises or damns beyond it is not heard.

    Parameters
    ----------
    values : ndarray of shape (m,)
        Not NaN; m > 0.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.aggregate.vote import crowd_median
    >>> crowd_median(np.array([-0.3, -0.2, -0.1, 0.0, 0.1, 99.0, 99.0, 99.0]))
    -0.1
    """
    finite = countable(values)

    def columns(to: NDArray[np.intp] | None) -> NDArray[np.float64]:
        return np.asarray(np.abs(finite[:, None] - (finite if to is None else finite[to])))

    ball, far = attention(columns, len(finite))
    cut = wilson_hilferty_cut(far, ball, LEVEL / len(finite))
    return float(np.median(finite[inside(far, cut)]))


def vote(scores: NDArray[np.float64], electors: NDArray[np.bool_] | None = None) -> Vote:
    """Elect the candidate whose worst duel goes best.

    T[a, b] is the electorate's median of (score of a - score of b); the winner has the largest
    min over b of T[a, b].

    Parameters
    ----------
    scores : ndarray of shape (m, candidates)
    electors : mask of shape (m,), optional
        Who votes; found by :func:`electorate` unless given.

    Raises
    ------
    ValueError
        When nobody is left to vote.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.aggregate.vote import vote
    >>> vote(np.array([[1.0, 2.0], [1.1, 2.1], [0.9, 2.0], [9.0, 0.0]])).winner
    1
    """
    who = electorate(scores) if electors is None else electors
    if not who.any():
        raise ValueError("no partition gave scores that can be counted")
    heard = countable(scores[who])
    duels = np.median(heard[:, :, None] - heard[:, None, :], axis=0)
    np.fill_diagonal(duels, np.inf)
    worst = duels.min(axis=1)
    ranking = np.argsort(-worst, kind="stable")
    winner = int(ranking[0])
    gain = float(worst[winner]) if len(worst) > 1 else 0.0
    np.fill_diagonal(duels, 0.0)
    return Vote(
        winner,
        tuple(int(i) for i in np.flatnonzero(who)),
        gain,
        tuple(int(i) for i in ranking),
        tuple(float(one) for one in duels[winner]),
    )


def countable(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace minus infinity by a number: a candidate must not be able to silence its judges."""
    return np.where(np.isneginf(scores), LOWEST, scores)


def _median_absolute_differences(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance between score vectors, (m, m); the median shrugs off single wild candidates."""
    if scores.shape[1] == 1:
        return np.asarray(cdist(scores, scores, "cityblock"))
    return np.stack([np.median(np.abs(scores - row), axis=1) for row in scores])
