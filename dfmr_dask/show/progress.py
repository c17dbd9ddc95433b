"""Progress in a terminal, on standard error; silent anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from dfmr_dask.run.events import Emit, Event, ignore


@contextmanager
def progress(console: Console | None = None) -> Iterator[Emit]:
    """Show events as they come: a bar for each stage.

    Parameters
    ----------
    console : rich.console.Console, optional
        Default: standard error. Nothing is written to what is no terminal.

    Yields
    ------
    callable
        What is to be called with each :class:`~dfmr_dask.run.events.Event`.

    Examples
    --------
    >>> from dfmr_dask.run.events import Event
    >>> from dfmr_dask.show.progress import progress
    >>> with progress() as emit:
    ...     emit(Event("fit", 3, 40, 0))
    """
    console = Console(stderr=True) if console is None else console
    if not console.is_terminal:
        yield ignore
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bars:
        yield _drawn_on(bars)


def _drawn_on(bars: Progress) -> Emit:
    stages: dict[str, TaskID] = {}

    def emit(event: Event) -> None:
        if event.stage not in stages:
            stages[event.stage] = bars.add_task(event.stage, note="")
        failed = f"{event.failed} failed" if event.failed else ""
        note = ", ".join(text for text in (failed, event.text) if text)
        bars.update(stages[event.stage], completed=event.done, total=event.total, note=note)

    return emit
