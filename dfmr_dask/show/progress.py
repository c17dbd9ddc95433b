"""Progress on standard error: a line a stage that moves in a terminal, few lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column

from dfmr_dask.run.events import RUN, Emit, Event
from dfmr_dask.show.lines import ending, stage_end, stage_line, stage_notes
from dfmr_dask.show.state import RunState

EVERY = 30.0  # seconds between two lines of a stage, where there is no terminal
BAR = 16  # characters

Print = Callable[[str], None]


@contextmanager
def progress(console: Console | None = None) -> Iterator[Emit]:
    """Show events as they come.

    Parameters
    ----------
    console : rich.console.Console, optional
        Default: standard error. In a terminal there is a bar for each stage, with what has failed
        and what the filter drops so far, rows a second, memory and the time left. Anywhere else a
        line when a stage begins and when it ends, and one every half a minute between.

    Yields
    ------
    callable
        What is to be called with each :class:`~dfmr_dask.run.events.Event`.

    Examples
    --------
    >>> import io
    >>> from rich.console import Console
    >>> from dfmr_dask.run.events import Event
    >>> from dfmr_dask.show.progress import progress
    >>> with progress(Console(file=io.StringIO())) as emit:
    ...     emit(Event("fit", 3, 40, 0))
    """
    console = Console(stderr=True) if console is None else console
    if not console.is_terminal:

        def line(text: str) -> None:
            console.print(text, markup=False, highlight=False, soft_wrap=True)

        lines = Lines(line)
        yield lines
        lines.close()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(BAR),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn(
            "{task.fields[note]}",
            markup=False,
            table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
        ),
    )
    with Progress(*columns, console=console, expand=True) as shown:
        yield Bars(shown)


@dataclass(slots=True)
class Bars:
    """A bar for each stage, in a terminal.

    Parameters
    ----------
    shown : rich.progress.Progress
    """

    shown: Progress
    state: RunState = field(default_factory=RunState)
    stages: dict[str, TaskID] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Draw what has changed."""
        before = self.state.stage
        self.state.take(event)
        for name in set(self.stages) - set(self.state.stages):  # of an attempt that was cut short
            self.shown.remove_task(self.stages.pop(name))
        if event.stage == RUN:
            self._told(before)
            return
        if event.stage != before:
            self._left(before)
        if event.stage not in self.stages:
            self.stages[event.stage] = self.shown.add_task(event.stage, note="")
        self._draw(event.stage)

    def _draw(self, name: str) -> None:
        now = self.state.stages[name]
        note = ", ".join(stage_notes(self.state, name))
        self.shown.update(self.stages[name], completed=now.done, total=now.total, note=note)

    def _told(self, name: str) -> None:
        """Redraw the fits once the filter has said something, and stop the clock at the end."""
        for one in {name, "fit"} & set(self.stages):
            self._draw(one)
        if self.state.finished:
            self._left(name)

    def _left(self, name: str) -> None:
        if name in self.stages:
            self._draw(name)
            self.shown.stop_task(self.stages[name])


@dataclass(slots=True)
class Lines:
    """Few lines of text, for logs.

    Parameters
    ----------
    line : callable
        Writes one.
    every : float
        Seconds between two lines of a stage.
    """

    line: Print
    every: float = EVERY
    state: RunState = field(default_factory=RunState)
    last: float = float("-inf")
    current: str = ""

    def __call__(self, event: Event) -> None:
        """Say what has changed, if it is time to."""
        self.state.take(event)
        if event.stage not in (RUN, self.current):
            self.close()
        if event.stage == RUN:
            if self.state.finished:
                self.close()
            if self.state.finished and self.state.failed_with is None:
                self.line(ending(self.state))  # whoever runs or follows it tells the error
            return
        now = time.monotonic()
        if event.stage != self.current or now - self.last >= self.every:
            self.line(stage_line(self.state, event.stage))
            self.current, self.last = event.stage, now

    def close(self) -> None:
        """Say how the stage ended that was told last."""
        if self.current in self.state.stages:  # not so where a run begins anew
            self.line(stage_end(self.state, self.current))
        self.current = ""
