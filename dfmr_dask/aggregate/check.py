"""The check after an aggregation: a vote on the aggregate and what may replace it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfmr_dask.aggregate.electing import gated_round
from dfmr_dask.aggregate.questions import Improve, Score, Steps, Terms
from dfmr_dask.aggregate.vote import vote
from dfmr_dask.mixture import Mixture

POLISHING_ROUNDS = 5


def checked(
    terms: Terms,
    voters: Sequence[int],
    mixture: Mixture,
    others: dict[str, Mixture],
    sample_rows: int,
) -> Steps[tuple[str, Mixture]]:
    """Let the kept partitions vote on the aggregate and what may replace it (METHOD 11, step 8).

    That is the aggregate after some rounds on the samples ("polished"), and others. The aggregate
    gives way only to a median gain that sampling noise cannot explain.

    Parameters
    ----------
    terms : Terms
    voters : sequence of int
        Kept partitions that have samples.
    mixture : Mixture
        The aggregate.
    others : dict of names to Mixture
        What may replace it: the start, the center.
    sample_rows : int
        Rows of all samples A together.

    Returns
    -------
    name : str
    mixture : Mixture
    """
    polished = yield from _polished(terms, voters, mixture, sample_rows)
    candidates = {"aggregate": mixture, **polished}
    candidates |= {name: one.canonical() for name, one in others.items()}
    answers = yield Score(voters, list(candidates.values()))
    if not answers.heard:
        return "aggregate", mixture
    values = np.stack([one.values for one in answers.heard.values()])
    winner = vote(values, np.ones(len(values), dtype=bool)).winner
    gain = float(np.median(values[:, winner] - values[:, 0]))
    if gain <= mixture.n_parameters / sample_rows:
        return "aggregate", mixture
    name = list(candidates)[winner]
    return name, candidates[name]


def _polished(
    terms: Terms, voters: Sequence[int], mixture: Mixture, sample_rows: int
) -> Steps[dict[str, Mixture]]:
    """Return what gated rounds of one EM iteration each make of the aggregate, if anything."""
    here: Mixture | None = mixture
    for number in range(POLISHING_ROUNDS):
        if here is None:
            break
        question = Improve(voters, [here], sample_rows, 1, f"polish-{number}")
        (here,) = yield from gated_round(terms, question)
    return {} if here is None else {"polished": here.canonical()}
