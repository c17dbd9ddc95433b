"""How partitions agree on one start, by messages alone (METHOD 11, steps 1 to 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfmr_dask.aggregate.vote import vote
from dfmr_dask.errors import TooFewMessages
from dfmr_dask.local.start import sample_sizes
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run import partition
from dfmr_dask.run.context import Context
from dfmr_dask.run.tasks import Failure

MOST_PROPOSERS = 40
MOST_VOTERS = 400  # fewer are not safe when almost half of the partitions lie


@dataclass(frozen=True, slots=True, eq=False)
class Agreed:
    """Where the fits start.

    Attributes
    ----------
    start : Mixture or None
        None where each partition starts from its own pilot.
    total_rows : int or None
        N of the penalty; None where each takes its own rows.
    samples, pilots : mapping of partition to handle
        Held by whoever computed them.
    sample_rows : int
        Rows of all samples A together.
    """

    start: Mixture | None
    total_rows: int | None
    samples: Mapping[int, Any] = field(default_factory=dict)
    pilots: Mapping[int, Any] = field(default_factory=dict)
    sample_rows: int = 1


def agree_on_start(context: Context) -> Agreed:
    """Draw samples, let partitions propose, let all score, vote (METHOD 11, steps 1 to 5)."""
    samples, given = _draw_samples(context), context.settings.start
    if context.settings.method == "paper":
        return Agreed(given, None, samples)
    if given is not None:
        scored = scores(context, samples, [given])
        return Agreed(given, _all_rows(context, scored), samples, sample_rows=_fitted(scored))
    pilots, valid = _propose(context, samples)
    scored = scores(context, samples, list(valid.values()))
    start = list(valid.values())[_elected(scored)]
    own = {} if len(context.source.plan) == 1 else pilots
    return Agreed(start, _all_rows(context, scored), samples, own, _fitted(scored))


def _draw_samples(context: Context) -> dict[int, Any]:
    """Draw samples in all partitions, or in 400 random ones of a larger number.

    Where each partition starts on its own, all of them need samples.
    """
    voters = list(range(len(context.source.plan)))
    if len(voters) > MOST_VOTERS and context.settings.method != "paper":
        rng = generator(context.settings.seed, Stage.VOTERS)
        voters = sorted(int(i) for i in rng.choice(voters, MOST_VOTERS, replace=False))
    return {i: _draw_sample(context, i) for i in voters}


def _draw_sample(context: Context, i: int) -> Any:
    source, j = context.rows_of(i, frozenset(context.byzantine))
    p = context.settings.family.n_parameters(context.settings.n_components, source.n_features)
    wanted = sum(sample_sizes(p, source.plan.partitions[j].rows or 1 << 62))
    rng = generator(context.settings.seed, Stage.SAMPLE_BLOCKS, i)
    reader = source.sample_rows(j, wanted, rng)
    return context.tasks.submit("start", ("sample", i), partition.draw, i, reader, context.local)


def _propose(
    context: Context, samples: Mapping[int, Any]
) -> tuple[dict[int, Any], dict[int, Mixture]]:
    """Let partitions propose; return the handles, and the pilots that are valid."""
    proposers = _proposers(context, samples)
    byzantine = frozenset(context.byzantine)
    handles = {
        i: context.tasks.submit(
            "start", ("propose", i), partition.propose, i, samples[i], context.local,
            context.attack("proposals") if i in byzantine else None,
        )
        for i in proposers
    }  # fmt: skip
    answers = context.gathered("start", handles)
    valid = {
        i: value
        for i, value in answers.items()
        if isinstance(value, Mixture) and context.fits_run(value)
    }
    if not valid:
        raise TooFewMessages(
            f"none of {len(answers)} partitions could propose a start. {_reasons(answers)}. A "
            "feature that does not vary can be left out (features=), and partitions can be larger"
        )
    return {i: handles[i] for i in valid}, valid


def _proposers(context: Context, samples: Mapping[int, Any]) -> list[int]:
    """Return who proposes: 40 random partitions of those that have rows to do it with."""
    if len(samples) <= MOST_PROPOSERS:
        return list(samples)
    handles = {
        i: context.tasks.submit("start", ("seen", i), partition.seen, drawn)
        for i, drawn in samples.items()
    }
    answers = context.gathered("start", handles)
    able = [i for i, rows in answers.items() if isinstance(rows, int)]
    if not able:
        raise TooFewMessages(f"no partition has rows to start from. {_reasons(answers)}")
    rng = generator(context.settings.seed, Stage.PROPOSERS)
    count = min(MOST_PROPOSERS, len(able))
    return sorted(int(i) for i in rng.choice(able, count, replace=False))


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
        i: value
        for i, value in answers.items()
        if isinstance(value, partition.Scores) and value.values.shape == (len(candidates),)
    }


def _elected(scored: Mapping[int, partition.Scores]) -> int:
    """Return the number of the candidate that the partitions elect."""
    try:
        return vote(np.stack([one.values for one in scored.values()])).winner
    except ValueError as error:
        raise TooFewMessages(
            f"{len(scored)} partitions gave scores, and no start could be agreed on ({error}). "
            "Make partitions larger, so that rows are left to score on."
        ) from error


def _reasons(answers: Mapping[int, Any]) -> str:
    reasons = {value.reason for value in answers.values() if isinstance(value, Failure)}
    return "Reasons: " + "; ".join(sorted(reasons or {"proposals of another kind than asked for"}))


def _all_rows(context: Context, scored: Mapping[int, partition.Scores]) -> int:
    """Return N: the plan's rows, or an estimate from those that the samples were drawn from."""
    if context.source.plan.rows is not None:
        return context.source.plan.rows
    seen = sum(one.rows for one in scored.values())
    return max(1, seen * len(context.source.plan) // max(1, len(scored)))


def _fitted(scored: Mapping[int, partition.Scores]) -> int:
    return max(1, sum(one.rows_to_fit for one in scored.values()))
