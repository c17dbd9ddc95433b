"""The way that a run takes, by the likeness of its pieces in the start's samples (EVIDENCE 11).

``plan="auto"`` begins with one piece a chunk. Where samples find the pieces alike, the run goes on
with them; where they differ in the weights of shared components, with the filter that leaves those
free; else nobody is dropped for being unlike, and the same rows are fitted in interleaved
partitions, from a start that is agreed on anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.questions import conclude
from dfmr_dask.data.grid import rows_of
from dfmr_dask.data.source import Source
from dfmr_dask.likeness import Likeness, examined
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run import partition
from dfmr_dask.run.agreement import Agreed, agree_on_start, agreed_again, samples_of
from dfmr_dask.run.asking import Asking, terms_of
from dfmr_dask.run.context import Context
from dfmr_dask.run.dealing import deal, shares
from dfmr_dask.run.events import Emit, ignore
from dfmr_dask.run.identity import Pieces
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.stages import SMALL_STORE, planned_rows
from dfmr_dask.run.tasks import Failure, Tasks
from dfmr_dask.run.way import Way

FEWEST = 3  # pieces, among which something can be said to stand apart
MOST_FEATURES = 300  # each piece sends the covariance of so many at most
PASSES = 3  # over the rows of interleaved partitions of a small store, after they are merged


def start_and_way(
    context: Context, known: Mapping[int, Message]
) -> tuple[Context, Agreed, Way | None]:
    """Agree on the start, choose the way, and write both down; or take what a run had before.

    Whatever is fitted later, rows that were appended included, starts there and with that N.

    Parameters
    ----------
    context : Context
        Of the pieces.
    known : mapping of partition to Message
        Of partitions that need no start any more.

    Returns
    -------
    context : Context
        Of the partitions that are fitted.
    agreed : Agreed
    way : Way or None
        None where nothing was to be chosen.
    """
    ledger = context.ledger
    recorded = None if ledger is None else ledger.start()
    if ledger is not None and recorded is not None:
        told = ledger.way()
        way = None if told is None else Way.from_plain(told)
        return _as_before(context, way, *recorded, known)
    agreed = agree_on_start(context)
    way = None
    if agreed.start is not None and chooses(context):
        way = _chosen(context, agreed.samples, agreed.start)
        mixed = taken(context, way)
        if way.shares is not None:
            samples = deal(context, _dealt(way, agreed.samples), mixed, way.shares)
            agreed = agree_on_start(mixed, samples)
        if ledger is not None:
            planned = planned_rows(mixed.source) or {}
            ledger.record_way(way.plain(), list(planned.values()), Pieces.of(mixed.source).plain())
        context = mixed
    if ledger is not None and agreed.start is not None:
        facts = {"total_rows": agreed.total_rows, "sample_rows": agreed.sample_rows}
        ledger.record_start(agreed.start, proposers=list(agreed.proposers), **facts)
    return context, agreed, way


def way_by_samples(
    source: Source,
    settings: Settings,
    tasks: Tasks,
    emit: Emit = ignore,
    replacement: Source | None = None,
) -> Way | None:
    """Return the way that a run would take; None where its plan leaves nothing to choose.

    Samples are drawn and a start is agreed on, as in a run; nothing is fitted or written.
    """
    context = Context(source, settings, tasks, emit, replacement=replacement)
    if not chooses(context):
        return None
    agreed = agree_on_start(context)
    return None if agreed.start is None else _chosen(context, agreed.samples, agreed.start)


def taken(context: Context, way: Way) -> Context:
    """Return what the stages after the start share, from what shares the pieces.

    Local fits of interleaved partitions, merged, lay up to .004 nats a row below the best optimum
    that EM on all rows leads to (photographs in tiles and bands, an ocean grid, K = 4 and 8; the
    grid at K = 4: .015), three EM passes over all rows left up to .003 (.014); with bad pieces in
    it was .027 and .022 at worst. A small store gets these passes; of a large one each would read
    all of it again.
    """
    source, settings = way.source(context.source), way.settings(context.settings)
    if way.interleaved and (source.plan.bytes or 0) <= SMALL_STORE:
        settings = replace(settings, polish=max(settings.polish, PASSES))
    called = ("interleaved",) if way.interleaved else ()
    return replace(context, source=source, settings=settings, called=called)


def chooses(context: Context) -> bool:
    """Tell whether the way is chosen by the samples: a plan that is forced forces the way."""
    plan, wide = context.source.plan, context.source.n_features > MOST_FEATURES
    return plan.auto and len(plan) >= FEWEST and context.settings.method != "paper" and not wide


def unasked(source: Source) -> tuple[str, ...]:
    """Say so where nobody asks whether pieces are alike, though the plan would have it."""
    if not source.plan.auto or source.n_features <= MOST_FEATURES:
        return ()
    return (
        f"whether the pieces are alike was not asked: {source.n_features} features are more than "
        f"the {MOST_FEATURES} that pieces are compared by. They were filtered as alike ones",
    )


def _as_before(
    context: Context,
    way: Way | None,
    start: Mixture,
    facts: dict[str, Any],
    known: Mapping[int, Message],
) -> tuple[Context, Agreed, Way | None]:
    """Go on with the start and the way of a run that was cut short."""
    asked = [i for i in facts.pop("proposers") if i not in known]
    samples = samples_of(context)
    if way is None:
        return (
            context,
            agreed_again(context, start, proposers=asked, samples=samples, **facts),
            None,
        )
    mixed = taken(context, way)
    if way.shares is not None:
        samples = deal(context, _dealt(way, samples), mixed, way.shares)
    return mixed, agreed_again(mixed, start, proposers=asked, samples=samples, **facts), way


def examine(context: Context, samples: Mapping[int, Any], start: Mixture) -> Likeness:
    """Ask the pieces whether they are alike; their places are asked for unless they are ignored."""
    ignored = context.settings.places == "ignore"
    positions = None if ignored else positions_of(context.source)
    steps = examined(terms_of(context), list(samples), start, positions)
    return conclude(steps, Asking(context, samples))


def _chosen(context: Context, samples: Mapping[int, Any], start: Mixture) -> Way:
    """Choose the way, and find out what interleaved partitions need to know."""
    likeness = examine(context, samples, start)
    if likeness.route == "alike":  # the fits tell soon enough who cannot be read
        return Way(likeness)
    failed = _unread(context, samples)
    way = Way(likeness, failed)
    if not way.interleaved:
        return way
    killed = {i: failed[i] for i, handle in samples.items() if _kills(handle) and i in failed}
    dropped = likeness.misplaced if context.settings.places == "drop" else {}
    way = replace(way, left_out=dict(sorted({**dropped, **killed}.items())))
    mixed = way.source(context.source)
    return replace(way, shares=shares(context, _dealt(way, samples), start, mixed))


def _dealt(way: Way, samples: Mapping[int, Any]) -> dict[int, Any]:
    """Return the samples of pieces whose rows are in interleaved partitions."""
    return {i: handle for i, handle in samples.items() if i not in way.left_out}


def _unread(context: Context, samples: Mapping[int, Any]) -> dict[int, str]:
    """Return which pieces gave no sample, and why."""
    submit = context.tasks.submit
    handles = {
        i: submit("start", ("drawn", i), partition.seen, i, drawn) for i, drawn in samples.items()
    }
    came = context.gathered("start", handles)
    return {i: one.reason for i, one in came.items() if isinstance(one, Failure)}


def _kills(handle: Any) -> bool:
    """Tell whether drawing a sample killed or blocked its worker: reading the rows would again."""
    return getattr(handle, "verdict", None) is not None


def positions_of(source: Source) -> NDArray[np.float64] | None:
    """Return the centers of a source's partitions on its grid, in units of usual partitions.

    Returns
    -------
    ndarray of shape (partitions, sample dimensions), or None
        None where the rows of a partition lie in no one place.

    Examples
    --------
    >>> import dask.array as da
    >>> from dfmr_dask.data import open_source
    >>> from dfmr_dask.run.likeness import positions_of
    >>> positions_of(open_source(da.zeros((40, 2), chunks=(10, 2)))).ravel()
    array([0.5, 1.5, 2.5, 3.5])
    """
    parts = source.plan.partitions
    if source.chunked is None or source.plan.kind == "interleaved":
        return None
    spans = [np.array(one.boxes, dtype=np.float64) for one in parts]  # (boxes, dims, 2)
    sizes = [np.array([rows_of(box) for box in one.boxes]) for one in parts]
    centers = np.array(
        [size @ one.mean(axis=2) / size.sum() for one, size in zip(spans, sizes, strict=True)]
    )
    lengths = np.array([one[..., 1].max(axis=0) - one[..., 0].min(axis=0) for one in spans])
    return np.asarray(centers / np.median(lengths, axis=0))
