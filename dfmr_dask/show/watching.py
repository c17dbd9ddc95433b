"""Following a run from elsewhere, by the events that it writes into its folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from dfmr_dask.errors import RunUnfinished
from dfmr_dask.run.events import Emit, Event
from dfmr_dask.run.ledger import EVENTS, Ledger
from dfmr_dask.run.lock import is_held
from dfmr_dask.run.places import how_to_go_on
from dfmr_dask.run.reading import event_of, events_of
from dfmr_dask.show.lines import duration, ending, stage_line
from dfmr_dask.show.state import RunState

POLL = 0.5  # seconds between looks at the file
GONE = 2.0  # seconds without a holder of the folder, and without events, after which it is cut

LONGEST_LINE = 1 << 26  # bytes


def watch(folder: Path, emit: Emit, *, poll: float = POLL, gone: float = GONE) -> None:
    """Hand on the events of a run until it has ended.

    Parameters
    ----------
    folder : Path
    emit : callable
        Told of each event, those before as well.
    poll, gone : float
        Seconds.

    Raises
    ------
    RunUnfinished
        When there is no run, it ends with an error, or it was killed: nobody works in the folder.
    NewerRun
        When a later version writes it.
    """
    if not Ledger.holds_run(folder):
        Ledger.open(folder)  # says so
    Ledger(folder).description()
    if Ledger(folder).is_finished():
        return
    tail, state, alive = Tail(folder / EVENTS), RunState(), time.monotonic()
    while True:
        for event in tail.news():
            alive = time.monotonic()
            state.take(event)
            emit(event)
        if Ledger(folder).is_finished() and (state.finished or not is_held(folder)):
            return
        if is_held(folder):
            alive = time.monotonic()
        elif time.monotonic() - alive > gone:
            raise RunUnfinished(standing(folder))
        time.sleep(poll)


def standing(folder: Path) -> str:
    """Say how a run stands that is not finished: how far it is, or was, and how to go on.

    Raises
    ------
    RunUnfinished
        When there is no run.
    """
    if not Ledger.holds_run(folder):
        Ledger.open(folder)
    state = RunState()
    for event in events_of(folder / EVENTS):
        state.take(event)
    if is_held(folder):
        return f"the run in {folder} is still going{_far(state)}. Follow it with --watch"
    again = how_to_go_on(folder)
    if state.failed_with is not None:
        return f"the run in {folder} {ending(state)}{_far(state)}. {again}"
    return (
        f"the run in {folder} did not finish: it was killed, or its machine went down"
        f"{_far(state)}. {again}"
    )


def _far(state: RunState) -> str:
    """Say how far a run is as its events tell, and when the last one was."""
    if not state.stage:
        return ""
    ago = duration(max(0.0, time.time() - state.at))
    return f" ({stage_line(state, state.stage)}; last heard of {ago} ago)"


@dataclass(slots=True)
class Tail:
    """Reads what is appended to a file; from its beginning once another one takes its place.

    Parameters
    ----------
    path : Path
    """

    path: Path
    file: BufferedReader | None = None
    half: bytes = field(default=b"")

    def news(self) -> Iterator[Event]:
        """Yield the events that were appended since the last call."""
        if self.file is None or self._is_another():
            self._open()
        if self.file is None:
            return
        for line in self.file:
            self.half += line
            if self.half.endswith(b"\n"):
                whole, self.half = self.half, b""
                yield from event_of(whole)
            elif len(self.half) > LONGEST_LINE:
                self.half = b""

    def _is_another(self) -> bool:
        try:
            there = self.path.stat()
        except FileNotFoundError:  # a new run is about to begin in its place
            return False
        return self.file is not None and not os.path.samestat(os.fstat(self.file.fileno()), there)

    def _open(self) -> None:
        if self.file is not None:
            self.file.close()
        self.half = b""
        self.file = self.path.open("rb") if self.path.is_file() else None
