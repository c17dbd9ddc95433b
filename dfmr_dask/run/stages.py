"""The stages of a run, each a function from values to values over many tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dfmr_dask.aggregate.aggregators import Aggregation, aggregate
from dfmr_dask.aggregate.check import checked
from dfmr_dask.aggregate.questions import Score, Scores, conclude, is_mass
from dfmr_dask.corruption import Corruption
from dfmr_dask.data.source import Source
from dfmr_dask.errors import AggregationFailed, TooFewMessages
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run import partition
from dfmr_dask.run.agreement import Agreed
from dfmr_dask.run.asking import Asking, terms_of
from dfmr_dask.run.context import Context, by_attack, is_failed
from dfmr_dask.run.events import Arrival, Event
from dfmr_dask.run.handles import itself
from dfmr_dask.run.provisional import provisional_filter
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import Failure, InProcess, described
from dfmr_dask.run.waiting import Patience

MOST_SENT = 10_000  # messages that are sent to a worker to be aggregated
SMALL_STORE = 1 << 28  # bytes up to which a store is read once more, to score all its rows


def fit_partitions(
    context: Context, agreed: Agreed, known: Mapping[int, Message] | None = None
) -> tuple[Message, ...]:
    """Fit every partition in full, from the common start (METHOD 2, and 11 step 7).

    Those whose messages are known, from before a run was interrupted, are not fitted again. The
    fits may end before all have arrived, by quorum or deadline; the others' messages say so.
    """
    before = dict(known or {})
    left = [i for i in range(len(context.source.plan)) if i not in before]
    patience = Patience(context.tasks.waiting, len(context.source.plan))
    patience.usable = sum(not is_failed(message) for message in before.values())
    handles: dict[int, Any] = {}
    for attack, chosen in by_attack(context, left, "messages"):
        handles |= _fits(context, agreed, chosen, attack)

    def accept(i: int, came: Any) -> Message:
        message = _message(context, i, came)
        patience.usable += not is_failed(message)
        hear(message)
        return message

    stop = patience if patience.ends else None
    if before:
        context.emit(_known_before(before, len(left)))
    planned = planned_rows(context.source)
    with provisional_filter(context, planned, before.values()) as hear:
        arrived = context.gathered("fit", handles, accept, total=len(left), stop=stop, each=True)
    return tuple(one for _, one in sorted({**before, **arrived}.items()))


def _fits(
    context: Context, agreed: Agreed, chosen: Sequence[int], attack: Corruption | None
) -> dict[int, Any]:
    """Submit fits: one by one those that have a pilot of their own to fall back on."""
    tasks, byzantine = context.tasks, frozenset(context.byzantine)
    common, local = tasks.share(agreed.start), tasks.share(context.local)
    own: dict[int, tuple[Any, ...]] = {}
    handles: dict[int, Any] = {}
    for i in chosen:
        source, j = context.rows_of(i, byzantine)
        pilot, reader = agreed.pilots.get(i), source.rows(j)
        verdict = getattr(agreed.samples.get(i), "verdict", None)
        if verdict is not None:  # its sample killed or blocked its worker: its rows would again
            handles[i] = tasks.submit("fit", (i,), itself, verdict)
        elif agreed.start is None or pilot is not None:
            handles[i] = tasks.submit(
                "fit", (i,), partition.fit, i, reader, common, pilot, agreed.samples.get(i),
                agreed.total_rows, local, attack,
            )  # fmt: skip
        else:
            own[i] = (i, reader)
    rest = (common, None, None, agreed.total_rows, local, attack)
    return handles | context.submitted("fit", (), partition.fit, own, *rest)


def aggregate_messages(
    context: Context, messages: Sequence[Message]
) -> tuple[Aggregation, dict[str, Aggregation], tuple[str, ...]]:
    """Filter and reduce in one task over the messages that arrived (METHOD 12).

    Returns
    -------
    aggregation : Aggregation
        Of the aggregator that was asked for.
    compared : dict of aggregators to Aggregation
        The others, from the same messages.
    notes : tuple of str
        Which of the others failed.

    Raises
    ------
    TooFewMessages
        When half or more of the non-empty partitions gave nothing usable.
    AggregationFailed
        When the messages cannot be merged by the aggregator that was asked for.
    """
    settings = context.settings
    names = tuple(dict.fromkeys([settings.aggregator, *settings.compare]))
    # Very many messages would lie in the scheduler's memory on their way, and they are here.
    here = replace(context, tasks=InProcess()) if len(messages) > MOST_SENT else context
    handle = here.tasks.submit(
        "aggregate", (0,), aggregate_by_name, here.tasks.share(tuple(messages)), names,
        settings, planned_rows(context.source), context.byzantine,
    )  # fmt: skip
    outcome = here.gathered("aggregate", {0: handle})[0]
    if isinstance(outcome, TooFewMessages):
        raise outcome
    found = {settings.aggregator: outcome} if isinstance(outcome, Failure) else dict(outcome)
    wanted = found.get(settings.aggregator)
    if not isinstance(wanted, Aggregation):
        raise AggregationFailed(
            f"{settings.aggregator} could not merge the messages: {getattr(wanted, 'reason', '')}"
        )
    compared = {
        name: one
        for name, one in found.items()
        if name in settings.compare and isinstance(one, Aggregation)
    }
    notes = tuple(
        f"{name} could not merge the messages: {one.reason}"
        for name, one in found.items()
        if isinstance(one, Failure)
    )
    return wanted, compared, notes


def check(context: Context, aggregation: Aggregation, agreed: Agreed) -> tuple[str, Mixture]:
    """Let the kept partitions vote on the aggregate and what may replace it (METHOD 11, step 8).

    That is the aggregate after some rounds on the samples ("polished"), the start, and the
    center; see :func:`dfmr_dask.aggregate.check.checked`.
    """
    alone = len(context.source.plan) == 1
    if agreed.start is None or alone or context.settings.method == "paper":
        return "aggregate", aggregation.mixture
    kept = {i: agreed.samples[i] for i in aggregation.verdict.kept if i in agreed.samples}
    others = {"start": agreed.start, "center": aggregation.center}
    steps = checked(terms_of(context), list(kept), aggregation.mixture, others, agreed.sample_rows)
    return conclude(steps, Asking(context, kept, "check"))


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
        byzantine = frozenset(context.byzantine)
        shared = context.tasks.share(tuple(mixtures))
        sources = {i: context.rows_of(i, byzantine) for i in kept}
        handles = context.submitted(
            "check", ("score",), partition.log_likelihoods,
            {i: (source.rows(j),) for i, (source, j) in sources.items()},
            shared, context.settings.outliers,
        )  # fmt: skip
        answers = context.gathered("check", handles, total=len(kept))
        parts = [value for value in answers.values() if not is_failed(value)]
    else:
        samples = {i: agreed.samples[i] for i in kept if i in agreed.samples}
        ask = Asking(context, samples, "check", honest=True)
        scored: dict[int, Scores] = dict(ask(Score(list(samples), mixtures, "sampled")).heard)
        parts = [(one.values * one.mass_to_score, one.mass_to_score) for one in scored.values()]
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
) -> dict[str, Aggregation | Failure] | TooFewMessages:
    """Aggregate the same messages in several ways; too few of them is an answer, too.

    What is there for comparison may fail (nothing protects ``vanilla`` from absurd estimates).
    """
    out: dict[str, Aggregation | Failure] = {}
    for name in names:
        try:
            out[name] = aggregate(
                messages,
                aggregator=name,
                rule=settings.rule,
                planned_rows=planned,
                byzantine=byzantine,
            )
        except TooFewMessages as error:
            return error
        except (ValueError, np.linalg.LinAlgError) as error:
            out[name] = Failure(described(error))
    return out


def _known_before(messages: Mapping[int, Message], left: int) -> Event:
    """Return the event that says which partitions had been fitted before a run was cut short."""
    text = f"{len(messages)} partitions were fitted before"
    return Event("fit", 0, left, text=text, arrivals=tuple(map(Arrival.of, messages.values())))


def planned_rows(source: Source) -> dict[int, int] | None:
    """Return the rows that the plan gives each partition, where they are known."""
    if source.plan.rows is None:
        return None
    return {p.index: p.rows for p in source.plan.partitions}


def _message(context: Context, i: int, came: Any) -> Message:
    """Return what a partition said, or that it did not say what it should have."""
    if isinstance(came, Failure):
        return Message.failed(i, came.reason)
    if not isinstance(came, Message) or came.partition != i:
        return Message.failed(i, "its message is not one of this partition")
    if came.mixture is not None and not context.fits_run(came.mixture):
        return Message.failed(i, "its estimate is of another family, order or number of features")
    if not is_mass(came.mass, weighted=context.source.weighted):
        return Message.failed(i, f"it claims a weight of {came.mass!r:.40} for its rows")
    return came
