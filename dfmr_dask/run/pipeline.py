"""The order of the stages: select, start, fit, aggregate, check, polish. No other file knows it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dfmr_dask.aggregate.alignment import like
from dfmr_dask.aggregate.uncertainty import reported_errors
from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.data.source import Source
from dfmr_dask.errors import DegenerateRows, InvalidSource
from dfmr_dask.message import Message
from dfmr_dask.run.context import Context
from dfmr_dask.run.events import Emit, ignore
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.likeness import start_and_way
from dfmr_dask.run.pieces import piece_table
from dfmr_dask.run.polish import Polished, polish
from dfmr_dask.run.results import Result
from dfmr_dask.run.selection import choose_order
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.stages import (
    aggregate_messages,
    check,
    fit_partitions,
    score,
)
from dfmr_dask.run.tasks import Tasks
from dfmr_dask.run.waiting import NOT_AWAITED
from dfmr_dask.selection.curve import Selection

NAMED = 20  # partitions that a note lists
UNFILTERED = (
    "the pieces of the source are not alike, and none was dropped for being unlike: what is bad in "
    "them is in the model; plan='chunks' filters them all the same"
)

__all__ = ["Result", "Settings", "check_sizes", "fit"]


def fit(
    source: Source,
    settings: Settings,
    tasks: Tasks,
    *,
    ledger: Ledger | None = None,
    emit: Emit = ignore,
    replacement: Source | None = None,
) -> Result:
    """Fit a mixture to a source: every stage, in order.

    Parameters
    ----------
    source : Source
    settings : Settings
    tasks : Tasks
        Where the tasks run.
    ledger : Ledger, optional
        Where the start and the messages are written as they arrive.
    emit : callable
        Told what happens.
    replacement : Source, optional
        Rows for the ``data`` attack.

    Raises
    ------
    DegenerateRows
        When no partition has rows enough for the order.
    InvalidSource
        When an attack on rows has no rows to put in their place.
    TooFewMessages
        When half or more of the non-empty partitions gave nothing usable.
    TooLittleMemory
        When a worker has less memory than the plan needs.
    """
    source.plan.check_memory()
    check_sizes(source, settings)
    check_replacement(source, settings, replacement)
    context = Context(source, settings, tasks, emit, ledger, replacement)
    seconds: dict[str, float] = {}

    known = {} if ledger is None else ledger.answered()
    selection = None
    if settings.selection is not None:
        with timed(seconds, "select"):
            context, selection = choose_order(context)
    settings = context.settings  # with the order that was chosen

    with timed(seconds, "start"):
        context, agreed, way = start_and_way(context, known)

    with timed(seconds, "fit"):
        messages = fit_partitions(context, agreed, known)

    with timed(seconds, "aggregate"):
        aggregation, others, notes = aggregate_messages(context, messages)

    with timed(seconds, "check"):
        chosen, mixture = check(context, aggregation, agreed)
        verdict = aggregation.verdict
        if way is not None and way.interleaved:
            verdict = verdict.doubted(UNFILTERED)
        if chosen in ("start", "center"):
            verdict = verdict.doubted(
                f"the {chosen} scores better on the kept partitions' samples than the aggregate: "
                "their estimates may come from different optima"
            )

    # Polishing starts from what won the check: a wrong optimum cannot be polished away, and the
    # passes are judged on all rows of the kept partitions, where the check has samples only.
    polished = Polished(mixture, 0)
    if context.settings.polish:
        with timed(seconds, "polish"):
            gated = way is None or not way.interleaved
            polished = polish(context, messages, verdict.kept, mixture, gated=gated)

    with timed(seconds, "check"):
        compared = {name: other.mixture for name, other in others.items()}
        scores, rows = score(context, aggregation, agreed, [polished.mixture, *compared.values()])

    said = [polished.note] if polished.note else []
    mixture = like(polished.mixture, aggregation.mixture)  # the verdict names its components
    with timed(seconds, "errors"):
        errors = reported_errors(messages, aggregation.parts, mixture, chosen, polished.passes)
    return Result(
        mixture,
        verdict,
        messages,
        agreed.start,
        compared,
        scores[0],
        rows,
        dict(zip(compared, scores[1:], strict=True)),
        seconds,
        context.byzantine,
        (
            *context.source.plan.notes,
            *notes,
            *said,
            *notes_on(settings, messages, verdict, selection),
        ),
        chosen,
        polished.passes,
        errors,
        selection,
        context.source,
        context.settings,
        way,
        None if way is None else piece_table(source, way),
    )


def notes_on(
    settings: Settings,
    messages: Sequence[Message],
    verdict: Verdict,
    selection: Selection | None = None,
) -> Iterator[str]:
    """Say what users should know of the choice of the order, and of the fits that were merged."""
    yield from () if selection is None else selection.notes
    absent = [message for message in messages if message.reason.startswith(NOT_AWAITED)]
    if absent:
        numbers = ", ".join(str(message.partition) for message in absent[:NAMED])
        more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
        yield f"{absent[0].reason}; these were missing: {numbers}{more}"
    lost = {message.reason: message.partition for message in messages if _lost(message)}
    if lost:
        told = "; ".join(f"partition {i}: {why}" for why, i in list(lost.items())[:NAMED])
        yield f"chunks that cannot be read were left out of interleaved partitions: {told}"
    among = frozenset(verdict.kept)
    kept = [message for message in messages if message.partition in among]
    slow = sum(not message.converged for message in kept)
    if slow:
        yield (
            f"EM did not converge in {slow} of {len(kept)} kept partitions within max_iter = "
            f"{settings.max_iter} iterations; allow more, or a larger tol"
        )
    parameters = max((m.mixture.n_parameters for m in kept if m.mixture is not None), default=0)
    scarce = sum(message.rows < parameters for message in kept)
    if scarce:
        yield (
            f"{scarce} of {len(kept)} kept partitions have fewer rows than the {parameters} free "
            "parameters of the model; make partitions larger, or ask for fewer components"
        )


def _lost(message: Message) -> bool:
    """Tell whether a partition was fitted without some of its rows, which could not be read."""
    return message.status == "fitted" and bool(message.reason)


def check_sizes(source: Source, settings: Settings) -> None:
    """Raise when no partition of the plan has rows enough, before anything is read."""
    needed = settings.family.min_rows(settings.n_components, source.n_features)
    sizes = [p.rows for p in source.plan.partitions if source.plan.rows is not None]
    if sizes and max(sizes) < needed:
        raise DegenerateRows(
            f"the largest partition has {max(sizes)} rows; {settings.n_components} components of "
            f"{source.n_features} features need at least {needed} in each. Make partitions larger "
            "(rows_per_partition=, or a smaller n_partitions=), or ask for fewer components."
        )
    start = settings.start
    if start is not None and start.n_features != source.n_features:
        raise DegenerateRows(
            f"the start has {start.n_features} features, the source {source.n_features}"
        )
    if start is not None and start.n_components != settings.n_components:
        raise DegenerateRows(
            f"the start has {start.n_components} components; wanted {settings.n_components}"
        )
    if start is not None and start.family != settings.family:
        raise DegenerateRows(f"the start is of {start.family}; wanted {settings.family}")


def check_replacement(source: Source, settings: Settings, replacement: Source | None) -> None:
    """Raise unless an attack on rows has rows of the same features to put in their place."""
    corruption = settings.corruption
    if corruption is None or "rows" not in corruption.stages:
        return
    if replacement is None:
        raise InvalidSource("the attack 'data' needs a source of rows to put in place of others")
    if replacement.n_features != source.n_features:
        raise InvalidSource(
            f"the replacement has {replacement.n_features} features, the source {source.n_features}"
        )


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long a stage takes; one that is entered again goes on."""
    began = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - began
