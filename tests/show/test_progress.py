"""Progress is drawn in a terminal and nowhere else."""

from __future__ import annotations

import io

from rich.console import Console

from dfmr_dask.run.events import Event
from dfmr_dask.show.progress import progress


def shown(terminal: bool) -> str:
    out = io.StringIO()
    with progress(Console(file=out, force_terminal=terminal, width=120)) as emit:
        emit(Event("start", 40, 40))
        emit(Event("fit", 3, 40, failed=2, text="reading"))
        emit(Event("fit", 40, 40, failed=2))
    return out.getvalue()


def test_a_terminal_sees_stages_counts_and_failures() -> None:
    text = shown(terminal=True)
    for words in ("start", "fit", "40/40", "2 failed"):
        assert words in text


def test_a_file_sees_nothing() -> None:
    assert shown(terminal=False) == ""
