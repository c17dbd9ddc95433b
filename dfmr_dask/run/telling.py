"""What a run tells beside how far its stages are: what it is about, and what it found out."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.data.remote import without_secrets
from dfmr_dask.data.source import Source
from dfmr_dask.message import Message
from dfmr_dask.run.context import Context
from dfmr_dask.run.events import LONGEST_REASON, RUN, Arrival, Event, ignore
from dfmr_dask.run.provisional import mapped, pictured
from dfmr_dask.run.stages import planned_rows

MOST_LOCATED = 20_000  # partitions that are told where they lie; it is in a table at the end
LONGEST_LOCATION = 120


def opening(context: Context) -> Event:
    """Return the event that says what a run is about; partitions chosen later are told again."""
    from dfmr_dask import __version__  # noqa: PLC0415  (the package imports this module)

    source, settings = context.source, context.settings
    partitions = source.plan.partitions
    facts = {
        "token": context.tasks.token,
        "run": None if context.ledger is None else os.fspath(context.ledger.folder),
        "source": without_secrets(source.location),
        "features": list(source.features),
        "partitions": len(partitions),
        "planned_rows": [] if source.plan.rows is None else [one.rows for one in partitions],
        "locations": locations(source),
        "n_components": "auto" if settings.selection else settings.n_components,
        "seed": settings.seed,
        "dashboard": context.tasks.dashboard_link,
        "version": __version__,
        "process": f"process {os.getpid()} on {socket.gethostname()}",
    }
    return Event(RUN, 0, len(partitions), facts=facts)


def locations(source: Source) -> list[str]:
    """Say where partitions lie in a source; nothing where there are too many to tell them all."""
    count = len(source.plan)
    if count > MOST_LOCATED:
        return []
    return [source.box_text(i)[:LONGEST_LOCATION] for i in range(count)]


def fates(verdict: Verdict) -> tuple[Arrival, ...]:
    """Say what became of each partition in the end."""
    reasons = {"dropped": verdict.dropped, "failed": verdict.failed}
    left_out = tuple(
        Arrival(int(i), state, reason=why[:LONGEST_REASON])
        for state, some in reasons.items()
        for i, why in some.items()
    )
    return tuple(Arrival(int(i), "kept") for i in verdict.kept) + left_out


def judged(context: Context, messages: Sequence[Message], verdict: Verdict) -> Event:
    """Return the event that says who was kept and who was dropped, with the pictures of it.

    They take time that nobody has to spend where nobody reads.
    """
    done = len(messages)
    if context.emit is ignore:
        return Event("check", done, done)
    planned, settings = planned_rows(context.source), context.settings
    told = pictured(verdict, mapped(messages, verdict.center, settings, planned))
    facts = {"certified": bool(verdict.certified), "doubts": list(verdict.doubts)}
    return Event("check", done, done, arrivals=fates(verdict), facts={"verdict": told | facts})


def found(verdict: Verdict, score: float) -> Event:
    """Return the event that says what came out; files are written after it."""
    facts = {
        "certified": bool(verdict.certified),
        "doubts": list(verdict.doubts),
        "score": float(score),
    }
    return Event(RUN, 0, 0, facts=facts)
