"""Where the events of a run go: its folder, the scheduler of its tasks, and whoever else reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from io import BufferedWriter
from pathlib import Path
from typing import Any

import psutil
from distributed import Client, performance_report

from dfmr_dask.run.events import Emit, Event, ignore
from dfmr_dask.run.handles import described
from dfmr_dask.run.ledger import EVENTS, PERFORMANCE, Ledger
from dfmr_dask.run.stream import log, streaming
from dfmr_dask.run.tasks import OnCluster, Tasks

TOPIC = "dfmr"  # of the events of a Dask scheduler: {"token": of the run, "events": [lines]}
MOST_SENT = 1 << 22  # bytes of one message to the scheduler
PATIENCE = 30.0  # seconds for a busy scheduler to take one
# What the file does without: it would grow by that every few seconds, and the verdict follows.
ONLY_NOW = ("map", "distances")


@contextmanager
def watched(
    tasks: Tasks, ledger: Ledger | None, *readers: Emit | None, performance: bool = False
) -> Iterator[Emit]:
    """Stream the events of a run into its folder, and to the scheduler of its tasks.

    Parameters
    ----------
    tasks : Tasks
    ledger : Ledger, optional
    *readers : callables
        Who else reads.
    performance : bool
        Whether Dask writes its performance report into the folder, where there is a cluster.

    Yields
    ------
    callable
        To be called with each event. Nothing is told where nobody would hear it.
    """
    asked = [one for one in readers if one is not None and one is not ignore]
    asked += [ToScheduler(tasks.client, tasks.token)] if isinstance(tasks, OnCluster) else []
    with ExitStack() as stack:
        if ledger is not None:
            if performance and isinstance(tasks, OnCluster):
                stack.enter_context(performing(tasks.client, ledger.folder / PERFORMANCE))
            asked.append(stack.enter_context(closing(EventFile(ledger.folder / EVENTS))))
        if not asked:
            yield ignore
            return
        memory = partial(memory_of, tasks)
        yield stack.enter_context(streaming(*asked, memory=memory))


@contextmanager
def performing(client: Client, path: Path) -> Iterator[None]:
    """Write Dask's own report of what the cluster did meanwhile; a run never fails for it."""
    from bokeh.core.properties import validate  # noqa: PLC0415  # large, and seldom asked for

    report = performance_report(str(path.absolute()), mode="inline")
    with client.as_current():
        report.__enter__()
        try:
            yield
        finally:
            try:
                # Pages that update at this moment switch validation off for the whole process, and
                # the report's figures would have a text for a title then: Bokeh cannot draw those.
                with validate(True):
                    report.__exit__(None, None, None)
            except Exception as error:
                log.warning("no performance report was written: %s", described(error))


@dataclass(slots=True)
class EventFile:
    """Appends events to a file, a line each, and flushes them together.

    Parameters
    ----------
    path : Path
        A run that goes on appends; half a line that a crash left is ended first.
    """

    path: Path
    file: BufferedWriter = field(init=False)

    def __post_init__(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        self.file = os.fdopen(os.open(self.path, flags, 0o666), "ab")
        if self.path.stat().st_size and not ends_line(self.path):
            self.file.write(b"\n")

    def __call__(self, event: Event) -> None:
        """Append an event; of what the filter says meanwhile the outcome without its pictures."""
        facts = dict(event.facts)
        if facts.get("provisional"):
            said = facts["provisional"]
            facts["provisional"] = {k: v for k, v in said.items() if k not in ONLY_NOW}
        self.file.write(replace(event, facts=facts).to_json().encode() + b"\n")

    def flush(self) -> None:
        """Hand what was written to the system."""
        self.file.flush()

    def close(self) -> None:
        """Close the file."""
        self.file.close()


def ends_line(path: Path) -> bool:
    """Tell whether the last byte of a file ends a line."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


@dataclass(slots=True)
class ToScheduler:
    """Logs events with the scheduler of a client, for its pages; many share a message.

    Parameters
    ----------
    client : distributed.Client
    token : str
        Of the run.
    """

    client: Client
    token: str
    lines: list[str] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Keep an event for the next message."""
        self.lines.append(event.to_json())

    def flush(self) -> None:
        """Send what there is, in messages of bounded size."""
        while self.lines:
            size, some = 0, 0
            while some < len(self.lines) and (not some or size < MOST_SENT):
                size += len(self.lines[some])
                some += 1
            message = {"token": self.token, "events": self.lines[:some]}
            self.lines = self.lines[some:]
            scheduler: Any = self.client.scheduler
            if self.client.status != "running" or scheduler is None:
                raise ConnectionError("the scheduler is gone")
            send = scheduler.log_event
            self.client.sync(send, topic=TOPIC, msg=message, callback_timeout=PATIENCE)


def memory_of(tasks: Tasks) -> dict[str, int]:
    """Return the bytes that this process holds, and the largest worker as far as was seen."""
    worker = max(tasks.memory.values(), default=0)
    here = int(psutil.Process().memory_info().rss)
    return {"client": here, "worker": worker} if worker else {"client": here}
