"""Scores that partitions give to candidates: votes on them, rows behind them, gated rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from dfmr_dask.aggregate.estimates import trusted_rows
from dfmr_dask.aggregate.questions import Improve, Scores, Steps, Terms
from dfmr_dask.aggregate.rounds import gated_match
from dfmr_dask.aggregate.vote import Vote, vote
from dfmr_dask.errors import TooFewMessages
from dfmr_dask.mixture import Mixture


def outcome(scored: Mapping[int, Scores]) -> Vote:
    """Let the partitions vote on the candidates that they scored.

    Raises
    ------
    TooFewMessages
        When nobody gave scores that can be counted.
    """
    try:
        return vote(np.stack([one.values for one in scored.values()]))
    except ValueError as error:
        raise TooFewMessages(
            f"{len(scored)} partitions gave scores, and no start could be agreed on ({error}). "
            "Make partitions larger, so that rows are left to score on."
        ) from error


def joined(earlier: Mapping[int, Scores], later: Mapping[int, Scores]) -> dict[int, Scores]:
    """Append scores of more candidates, for partitions that scored all of them."""
    return {
        i: replace(one, values=np.concatenate([earlier[i].values, one.values]))
        for i, one in later.items()
        if i in earlier
    }


def all_rows(terms: Terms, scored: Mapping[int, Scores]) -> int:
    """Return N: the plan's rows, or an estimate from those that the samples were drawn from.

    Where rows have weights, N is their sum as these samples tell it; a partition cannot tell more
    than four times the median. Rows that only partitions know are clipped as everywhere else.
    """
    planned, m = terms.planned_rows, terms.n_partitions
    masses = [
        one.mass / (1 if planned is None else max(1, one.read))
        for one in scored.values()
        if one.mass is not None
    ]
    if masses:
        capped = np.minimum(masses, 4.0 * np.median(masses))
        return max(1, round(float(capped.mean()) * (m if planned is None else planned)))
    if planned is not None:
        return planned
    if not scored:
        return 1
    return max(1, round(float(trusted_rows([one.rows for one in scored.values()]).mean()) * m))


def fitted_rows(scored: Mapping[int, Scores]) -> int:
    """Return the rows of all samples A, none of which can be made to look huge."""
    counts = [one.rows_to_fit for one in scored.values()]
    return max(1, round(trusted_rows(counts).sum())) if counts else 1


def usual_rows(scored: Mapping[int, Scores]) -> float:
    """Return the rows of a usual sample A."""
    counts = [one.rows_to_fit for one in scored.values()]
    return max(1.0, float(np.median(counts))) if counts else 1.0


def gated_round(terms: Terms, question: Improve) -> Steps[list[Mixture | None]]:
    """Let partitions improve candidates, and merge what they answer (METHOD 11, steps 6 and 8).

    Returns
    -------
    list of (Mixture or None)
        One entry a candidate; None where most partitions got nowhere from it.
    """
    answers = yield question
    heard = list(answers.heard.values())
    rows = [one.rows for one in heard]
    return [
        gated_match(candidate, [_usable(terms, one.mixtures[c]) for one in heard], rows)
        for c, candidate in enumerate(question.candidates)
    ]


def some(found: Sequence[Mixture | None]) -> list[Mixture]:
    """Leave out what led nowhere."""
    return [one for one in found if one is not None]


def _usable(terms: Terms, answer: object) -> Mixture | None:
    return answer if isinstance(answer, Mixture) and terms.fit(answer) else None
