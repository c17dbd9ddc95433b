"""Scores that partitions give to candidates, and the vote on them (METHOD 11, steps 3 to 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dfmr_dask.aggregate.estimates import trusted_rows
from dfmr_dask.aggregate.vote import Vote, vote
from dfmr_dask.errors import TooFewMessages
from dfmr_dask.mixture import Mixture
from dfmr_dask.run import partition
from dfmr_dask.run.context import Context

MOST_ROWS = 1 << 62  # no partition has that many; what claims more is no answer
MOST_MASS = 1e100


def scores(
    context: Context,
    samples: Mapping[int, Any],
    candidates: Sequence[Mixture],
    *,
    stage: str = "start",
    honest: bool = False,
    key: str = "score",
) -> dict[int, partition.Scores]:
    """Score candidates on the sample B of every partition that has one."""
    byzantine = frozenset(() if honest else context.byzantine)
    shared = context.tasks.share(tuple(candidates))
    handles = {
        i: context.tasks.submit(
            stage, (key, "B", i), partition.score, i, sample, shared, context.local,
            context.attack("proposals") if i in byzantine else None,
        )
        for i, sample in samples.items()
    }  # fmt: skip
    answers = context.gathered(stage, handles)
    return {
        i: value for i, value in answers.items() if _are_scores(context, value, len(candidates))
    }


def outcome(scored: Mapping[int, partition.Scores]) -> Vote:
    """Let the partitions vote on the candidates that they scored."""
    try:
        return vote(np.stack([one.values for one in scored.values()]))
    except ValueError as error:
        raise TooFewMessages(
            f"{len(scored)} partitions gave scores, and no start could be agreed on ({error}). "
            "Make partitions larger, so that rows are left to score on."
        ) from error


def joined(
    earlier: Mapping[int, partition.Scores] | None, later: Mapping[int, partition.Scores]
) -> dict[int, partition.Scores]:
    """Append scores of more candidates, for partitions that scored all of them."""
    if earlier is None:
        return dict(later)
    return {
        i: replace(one, values=np.concatenate([earlier[i].values, one.values]))
        for i, one in later.items()
        if i in earlier
    }


def all_rows(context: Context, scored: Mapping[int, partition.Scores]) -> int:
    """Return N: the plan's rows, or an estimate from those that the samples were drawn from.

    Where rows have weights, N is their sum as these samples tell it; a partition cannot tell more
    than four times the median.
    """
    planned, m = context.source.plan.rows, len(context.source.plan)
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
    seen = sum(one.rows for one in scored.values())
    return max(1, seen * m // max(1, len(scored)))


def fitted_rows(scored: Mapping[int, partition.Scores]) -> int:
    """Return the rows of all samples A, none of which can be made to look huge."""
    counts = [one.rows_to_fit for one in scored.values()]
    return max(1, round(trusted_rows(counts).sum())) if counts else 1


def usual_rows(scored: Mapping[int, partition.Scores]) -> float:
    """Return the rows of a usual sample A."""
    counts = [one.rows_to_fit for one in scored.values()]
    return max(1.0, float(np.median(counts))) if counts else 1.0


def is_mass(context: Context, mass: Any) -> bool:
    """Tell whether a partition may say so of the weight of its rows: only where rows have any.

    Where they have none, a liar would be the only one to claim a weight, and rule the total.
    """
    if mass is None:
        return True
    return context.source.weighted and isinstance(mass, float) and 0.0 < mass < MOST_MASS


def _are_scores(context: Context, value: Any, candidates: int) -> bool:
    """Tell whether a partition scored every candidate, and said on how many rows."""
    return (
        isinstance(value, partition.Scores)
        and isinstance(value.values, np.ndarray)
        and value.values.dtype == np.float64
        and value.values.shape == (candidates,)
        and all(
            isinstance(rows, int) and 0 <= rows < MOST_ROWS
            for rows in (value.rows_to_fit, value.rows_to_score, value.rows, value.read)
        )
        and is_mass(context, value.mass)
    )
