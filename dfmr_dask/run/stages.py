"""The stages of a run, each a function from values to values over many tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfmr_dask.aggregate.aggregators import Aggregation, aggregate
from dfmr_dask.aggregate.vote import vote
from dfmr_dask.data.source import Source
from dfmr_dask.errors import TooFewMessages
from dfmr_dask.local.start import sample_sizes
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run import partition
from dfmr_dask.run.context import Context, is_failed
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import Failure

MOST_PROPOSERS = 40
MOST_VOTERS = 400  # fewer are not safe when almost half of the partitions lie
SMALL_STORE = 1 << 28  # bytes up to which a store is read once more, to score all its rows


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
        scored = _scores(context, samples, [given])
        return Agreed(given, _all_rows(context, scored), samples, sample_rows=_fitted(scored))
    pilots, valid = _propose(context, samples)
    scored = _scores(context, samples, list(valid.values()))
    winner = vote(np.stack([one.values for one in scored.values()])).winner
    start = list(valid.values())[winner]
    own = {} if len(context.source.plan) == 1 else pilots
    return Agreed(start, _all_rows(context, scored), samples, own, _fitted(scored))


def fit_partitions(context: Context, agreed: Agreed) -> tuple[Message, ...]:
    """Fit every partition in full, from the common start (METHOD 2, and 11 step 7)."""
    handles = {}
    byzantine = frozenset(context.byzantine)
    common = context.tasks.share(agreed.start)
    for i in range(len(context.source.plan)):
        source, j = context.rows_of(i, byzantine)
        attack = context.attack("messages") if i in byzantine else None
        own, drawn = agreed.pilots.get(i), agreed.samples.get(i)
        handles[i] = context.tasks.submit(
            "fit", (i,), partition.fit, i, source.rows(j), common, own, drawn,
            agreed.total_rows, context.local, attack,
        )  # fmt: skip
    arrived = context.gathered("fit", handles)
    return tuple(
        Message.failed(i, value.reason) if isinstance(value, Failure) else value
        for i, value in arrived.items()
    )


def aggregate_messages(context: Context, messages: Sequence[Message]) -> dict[str, Aggregation]:
    """Filter and reduce in one task over the messages that arrived (METHOD 12)."""
    settings = context.settings
    names = tuple(dict.fromkeys([settings.aggregator, *settings.compare]))
    handle = context.tasks.submit(
        "aggregate", (0,), aggregate_by_name, context.tasks.share(tuple(messages)), names, settings,
        planned_rows(context.source), context.byzantine,
    )  # fmt: skip
    outcome = context.gathered("aggregate", {0: handle})[0]
    if isinstance(outcome, Failure):
        raise RuntimeError(f"the aggregation failed: {outcome.reason}")
    if isinstance(outcome, TooFewMessages):
        raise outcome
    aggregations: dict[str, Aggregation] = outcome
    return aggregations


def check(context: Context, aggregation: Aggregation, agreed: Agreed) -> tuple[str, Mixture]:
    """Let the kept partitions vote on the aggregate, the start and the center (METHOD 11.8).

    The aggregate gives way only to a median gain that sampling noise cannot explain.
    """
    alone = len(context.source.plan) == 1
    if agreed.start is None or alone or context.settings.method == "paper":
        return "aggregate", aggregation.mixture
    candidates = {
        "aggregate": aggregation.mixture,
        "start": agreed.start.canonical(),
        "center": aggregation.center.canonical(),
    }
    kept = {i: agreed.samples[i] for i in aggregation.verdict.kept if i in agreed.samples}
    scored = _scores(context, kept, list(candidates.values()), stage="check", honest=True)
    if not scored:
        return "aggregate", aggregation.mixture
    values = np.stack([one.values for one in scored.values()])
    winner = vote(values, np.ones(len(values), dtype=bool)).winner
    gain = float(np.median(values[:, winner] - values[:, 0]))
    if gain <= aggregation.mixture.n_parameters / agreed.sample_rows:
        return "aggregate", aggregation.mixture
    name = list(candidates)[winner]
    return name, candidates[name]


def score(
    context: Context, aggregation: Aggregation, agreed: Agreed, mixtures: Sequence[Mixture]
) -> tuple[list[float], int]:
    """Score mixtures on the rows of the kept partitions: all rows, or samples of a large store.

    Returns
    -------
    scores : list of float
        Mean log density a row under each mixture, in nats.
    rows : int
    """
    kept = aggregation.verdict.kept
    if context.source.plan.bytes is not None and context.source.plan.bytes <= SMALL_STORE:
        handles = {}
        byzantine = frozenset(context.byzantine)
        shared = context.tasks.share(tuple(mixtures))
        for i in kept:
            source, j = context.rows_of(i, byzantine)
            handles[i] = context.tasks.submit(
                "check", ("score", i), partition.log_likelihoods, source.rows(j), shared
            )
        parts = [v for v in context.gathered("check", handles).values() if not is_failed(v)]
    else:
        samples = {i: agreed.samples[i] for i in kept if i in agreed.samples}
        scored = _scores(context, samples, mixtures, stage="check", honest=True, key="sampled")
        parts = [(one.values * one.rows_to_score, one.rows_to_score) for one in scored.values()]
    rows = sum(n for _, n in parts)
    if not rows:
        return [float("nan")] * len(mixtures), 0
    return [float(total) / rows for total in sum(values for values, _ in parts)], rows


def aggregate_by_name(
    messages: tuple[Message, ...],
    names: tuple[str, ...],
    settings: Settings,
    planned: Mapping[int, int] | None,
    byzantine: tuple[int, ...],
) -> dict[str, Aggregation] | TooFewMessages:
    """Aggregate the same messages in several ways; too few of them is an answer, too."""
    try:
        return {
            name: aggregate(
                messages,
                aggregator=name,
                rule=settings.rule,
                planned_rows=planned,
                byzantine=byzantine,
            )
            for name in names
        }
    except TooFewMessages as error:
        return error


def planned_rows(source: Source) -> dict[int, int] | None:
    """Return the rows that the plan gives each partition, where they are known."""
    if source.plan.rows is None:
        return None
    return {p.index: p.rows for p in source.plan.partitions}


def _draw_samples(context: Context) -> dict[int, Any]:
    """Draw samples in all partitions, or in 400 random ones of a larger number.

    Where each partition starts on its own, all of them need samples.
    """
    voters = list(range(len(context.source.plan)))
    if len(voters) > MOST_VOTERS and context.settings.method != "paper":
        rng = generator(context.settings.seed, Stage.SAMPLE)
        voters = sorted(int(i) for i in rng.choice(voters, MOST_VOTERS, replace=False))
    return {i: _draw_sample(context, i) for i in voters}


def _draw_sample(context: Context, i: int) -> Any:
    source, j = context.rows_of(i, frozenset(context.byzantine))
    p = context.settings.family.n_parameters(context.settings.n_components, source.n_features)
    wanted = sum(sample_sizes(p, source.plan.partitions[j].rows or 1 << 62))
    rng = generator(context.settings.seed, Stage.SAMPLE, i + 1)
    reader = source.sample_rows(j, wanted, rng)
    return context.tasks.submit("start", ("sample", i), partition.draw, i, reader, context.local)


def _propose(
    context: Context, samples: Mapping[int, Any]
) -> tuple[dict[int, Any], dict[int, Mixture]]:
    """Let partitions propose; return the handles, and the pilots that are valid."""
    proposers = list(samples)
    if len(proposers) > MOST_PROPOSERS:
        rng = generator(context.settings.seed, Stage.PROPOSE)
        proposers = sorted(int(i) for i in rng.choice(proposers, MOST_PROPOSERS, replace=False))
    byzantine = frozenset(context.byzantine)
    handles = {
        i: context.tasks.submit(
            "start", ("propose", i), partition.propose, i, samples[i], context.local,
            context.attack("proposals") if i in byzantine else None,
        )
        for i in proposers
    }  # fmt: skip
    answers = context.gathered("start", handles)
    valid = {i: value for i, value in answers.items() if isinstance(value, Mixture)}
    if not valid:
        reasons = {value.reason for value in answers.values()}
        raise TooFewMessages(
            f"none of {len(answers)} partitions could propose a start. Reasons: "
            + "; ".join(sorted(reasons))
        )
    return {i: handles[i] for i in valid}, valid


def _scores(
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
    return {i: value for i, value in answers.items() if isinstance(value, partition.Scores)}


def _all_rows(context: Context, scored: Mapping[int, partition.Scores]) -> int:
    """Return N: the plan's rows, or an estimate from those that the samples were drawn from."""
    if context.source.plan.rows is not None:
        return context.source.plan.rows
    seen = sum(one.rows for one in scored.values())
    return max(1, seen * len(context.source.plan) // max(1, len(scored)))


def _fitted(scored: Mapping[int, partition.Scores]) -> int:
    return max(1, sum(one.rows_to_fit for one in scored.values()))
