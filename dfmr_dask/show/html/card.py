"""A verdict in a few lines, for notebooks."""

from __future__ import annotations

from collections.abc import Mapping

from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.show.html.numbers import counted, listed
from dfmr_dask.show.html.page import rendered, style
from dfmr_dask.show.html.words import cut, sentence
from dfmr_dask.show.report import grouped

MOST_LINES = 6  # of reasons, and of doubts
MOST_CELLS = 400  # partitions that are drawn one by one


def card(verdict: Verdict) -> str:
    """Return a verdict as a small part of a page, which takes the colors of what is around it.

    Parameters
    ----------
    verdict : Verdict

    Returns
    -------
    str
        HTML; reasons are escaped.

    Examples
    --------
    >>> from dfmr_dask.aggregate.verdict import Verdict
    >>> from dfmr_dask.show.html.card import card
    >>> "means 5 &gt; 2" in card(Verdict((0, 2), {1: "means 5 > 2"}))
    True
    """
    told: Mapping[str, Mapping[int, str]] = {"dropped": verdict.dropped, "failed": verdict.failed}
    reasons = [
        f"{fate} {line}"
        for fate, some in told.items()
        for line in grouped({"id": i, "reason": reason} for i, reason in some.items())
    ]
    return rendered(
        "card.html.j2",
        style=style("card.css"),
        certified=verdict.certified,
        head=_head(verdict),
        cells=_cells(verdict),
        doubts=_some([sentence(doubt) for doubt in verdict.doubts]),
        reasons=_some(reasons),
    )


def _head(verdict: Verdict) -> str:
    counts = {"kept": verdict.kept, "dropped": verdict.dropped, "failed": verdict.failed}
    m = sum(map(len, counts.values()))
    parts = [f"{len(some):,} {fate}" for fate, some in counts.items() if some or fate == "kept"]
    parts += [f"{len(verdict.empty):,} empty"] if verdict.empty else []
    return f"{listed(parts)} of {counted(m + len(verdict.empty), 'partition')}"


def _cells(verdict: Verdict) -> list[tuple[str, int]]:
    """Return the fate of each partition in their order; nothing of one, or of very many."""
    fates: dict[int, str] = dict.fromkeys(verdict.kept, "kept")
    fates |= dict.fromkeys(verdict.dropped, "dropped") | dict.fromkeys(verdict.failed, "failed")
    fates |= dict.fromkeys(verdict.empty, "empty")
    if not 1 < len(fates) <= MOST_CELLS:
        return []
    return [(fates[i], i) for i in sorted(fates)]


def _some(lines: list[str]) -> list[str]:
    shown = [cut(line) for line in lines[:MOST_LINES]]
    more = len(lines) - len(shown)
    return [*shown, f"and {more:,} more"] if more else shown
