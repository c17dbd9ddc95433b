"""The order of the stages: select, start, fit, aggregate, check, polish. No other file knows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

from dfmr_dask.aggregate.alignment import like
from dfmr_dask.aggregate.uncertainty import reported_errors
from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.data.source import Source
from dfmr_dask.run.context import Context
from dfmr_dask.run.demands import check_replacement, check_sizes
from dfmr_dask.run.events import Emit, ignore
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.likeness import start_and_way, unasked
from dfmr_dask.run.pieces import piece_table
from dfmr_dask.run.polish import Polished, polish
from dfmr_dask.run.remarks import remarks
from dfmr_dask.run.results import Result
from dfmr_dask.run.sampling import sample_rows
from dfmr_dask.run.selection import choose_order
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.stages import (
    aggregate_messages,
    check,
    fit_partitions,
    score,
)
from dfmr_dask.run.tasks import Tasks
from dfmr_dask.run.telling import found, judged, opening
from dfmr_dask.run.way import Way

UNFILTERED = (
    "the pieces of the source are not alike, and none was dropped for being unlike: what is bad in "
    "them is in the model; plan='chunks' filters them all the same"
)

__all__ = ["Result", "Settings", "fit", "timed"]


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
    emit(opening(context))
    # As in the processes of a cluster: how many threads share a product decides its last bits.
    with threadpool_limits(limits=1, user_api="blas"):
        return fitted(context)


def fitted(context: Context) -> Result:
    """Take a context through all stages."""
    source, settings, ledger, emit = context.source, context.settings, context.ledger, context.emit
    seconds: dict[str, float] = {}
    known = {} if ledger is None else ledger.answered()

    selection = None
    if settings.selection is not None:
        with timed(seconds, "select"):
            context, selection = choose_order(context)

    with timed(seconds, "start"):
        context, agreed, way = start_and_way(context, known)
    if context.source is not source:
        emit(opening(context))

    with timed(seconds, "fit"):
        messages = fit_partitions(context, agreed, known)

    with timed(seconds, "aggregate"):
        aggregation, others, notes = aggregate_messages(context, messages)

    with timed(seconds, "check"):
        chosen, mixture = check(context, aggregation, agreed)
        verdict = doubted(aggregation.verdict, chosen, way)
    emit(judged(context, messages, verdict))

    # Polishing starts from what won the check: a wrong optimum cannot be polished away, and the
    # passes are judged on all rows of the kept partitions, where the check has samples only.
    polished = Polished(mixture, 0)
    if context.settings.polish:
        with timed(seconds, "polish"):
            gated = way is None or not way.interleaved
            polished = polish(context, messages, verdict, mixture, gated=gated)

    with timed(seconds, "check"):
        compared = {name: other.mixture for name, other in others.items()}
        scores, rows = score(context, aggregation, agreed, [polished.mixture, *compared.values()])
        sample = sample_rows(context, messages, verdict.kept, agreed)

    mixture = like(polished.mixture, aggregation.mixture)  # the verdict names its components
    with timed(seconds, "errors"):
        errors = reported_errors(messages, aggregation.parts, mixture, chosen, polished.passes)
    said = remarks(context.settings, messages, verdict, selection, polished)
    emit(found(verdict, scores[0]))
    return Result(
        mixture=mixture,
        verdict=verdict,
        messages=messages,
        start=agreed.start,
        compared=compared,
        score=scores[0],
        score_rows=rows,
        scores=dict(zip(compared, scores[1:], strict=True)),
        seconds=seconds,
        byzantine=context.byzantine,
        notes=(*context.source.plan.notes, *unasked(source), *notes, *said),
        chosen=chosen,
        passes=polished.passes,
        errors=errors,
        selection=selection,
        source=context.source,
        settings=context.settings,
        way=way,
        pieces=None if way is None else piece_table(source, way),
        sample=sample,
    )


def doubted(verdict: Verdict, chosen: str, way: Way | None) -> Verdict:
    """Add what speaks against a verdict beyond the distances: the check, and the way taken."""
    if way is not None and way.interleaved:
        verdict = verdict.doubted(UNFILTERED)
    if chosen in ("start", "center"):
        verdict = verdict.doubted(
            f"the {chosen} scores better on the kept partitions' samples than the aggregate: "
            "their estimates may come from different optima"
        )
    return verdict


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Note how long a stage takes; one that is entered again goes on."""
    began = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - began
