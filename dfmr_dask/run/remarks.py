"""What users should know of a run besides its verdict, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.message import Message
from dfmr_dask.run.polish import Polished
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.waiting import NOT_AWAITED
from dfmr_dask.selection.curve import Selection

NAMED = 20  # partitions that a sentence lists


def remarks(
    settings: Settings,
    messages: Sequence[Message],
    verdict: Verdict,
    selection: Selection | None,
    polished: Polished,
) -> Iterator[str]:
    """Say what users should know of the passes, of the order, and of the fits that were merged."""
    if polished.note:
        yield polished.note
    if selection is not None:
        yield from selection.notes
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
