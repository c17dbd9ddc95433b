"""The stream of a run's events, from whoever makes them to all who read them.

A thread of its own hands them on, so that no reader slows a run down, whatever it does with them:
what happens within a second travels together. Readers are functions of one event; one that raises
is told nothing more, and the run goes on without it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from threading import Event as Flag
from threading import Thread
from typing import Any

from dfmr_dask.run.events import RUN, Emit, Event
from dfmr_dask.run.handles import described

EVERY = 1.0  # seconds that events are collected for before they travel

log = logging.getLogger("dfmr_dask.run")
Memory = Callable[[], Mapping[str, int]]


@contextmanager
def streaming(*readers: Emit | None, memory: Memory = dict, every: float = EVERY) -> Iterator[Emit]:
    """Hand events on to readers, and close the stream with how the run ended.

    Parameters
    ----------
    *readers : callables
        Each is called with one event after the other, in a thread of the stream.
    memory : callable
        Returns bytes by place; told now and then.
    every : float
        Seconds within which events travel together.

    Yields
    ------
    callable
        To be called with each event, from any thread.

    Examples
    --------
    >>> from dfmr_dask.run.events import Event
    >>> from dfmr_dask.run.stream import streaming
    >>> seen = []
    >>> with streaming(seen.append) as emit:
    ...     emit(Event("fit", 1, 40))
    >>> [(event.stage, event.done, dict(event.facts)) for event in seen]
    [('fit', 1, {}), ('run', 0, {'finished': True, 'failed_with': None})]
    """
    stream = Stream([one for one in readers if one is not None], memory, every)
    stream.thread.start()
    try:
        yield stream.queue.put
    except BaseException as error:
        cut = isinstance(error, KeyboardInterrupt)
        stream.close("an interrupt (Ctrl-C)" if cut else described(error))
        raise
    stream.close(None)


@dataclass(slots=True)
class Stream:
    """Events on their way.

    Parameters
    ----------
    readers : list of callables
        Those that have not failed.
    memory : callable
    every : float
    """

    readers: list[Emit]
    memory: Memory
    every: float
    queue: SimpleQueue[Event | None] = field(default_factory=SimpleQueue)
    thread: Thread = field(init=False)
    told: dict[str, int] = field(default_factory=dict)
    closing: Flag = field(default_factory=Flag)

    def __post_init__(self) -> None:
        self.thread = Thread(target=self._run, name="dfmr-events", daemon=True)

    def close(self, failed_with: str | None) -> None:
        """Say how it ended, and wait until all has been read."""
        facts = {"finished": True, "failed_with": failed_with}
        self.queue.put(Event(RUN, 0, 0, facts=facts))
        self.queue.put(None)
        self.closing.set()
        self.thread.join()

    def _run(self) -> None:
        """Hand on what happens: the first event at once, later ones together, now and then."""
        ended = False
        while not ended:
            events = [self.queue.get(), *drained(self.queue)]
            while events:
                ended = None in events
                self._hand_on(coalesced([event for event in events if event is not None]))
                events = [] if ended else self._collected()

    def _collected(self) -> list[Event | None]:
        """Return what happens within a while, or sooner where that is the end."""
        self.closing.wait(self.every)
        return drained(self.queue)

    def _hand_on(self, events: list[Event]) -> None:
        if not events:
            return
        events[-1] = self._with_memory(events[-1])
        for reader in list(self.readers):
            try:
                for event in events:
                    reader(event)
                if flush := getattr(reader, "flush", None):
                    flush()
            except Exception as error:  # whoever watches must not end a run
                self.readers.remove(reader)
                log.warning("a reader of the run's events failed: %s", described(error))

    def _with_memory(self, event: Event) -> Event:
        """Add how much memory is used, where that has grown."""
        try:
            now = {place: int(size) for place, size in self.memory().items()}
        except Exception:  # nobody is sure to know
            return event
        more = {place: n for place, n in now.items() if n > 1.02 * self.told.get(place, 0)}
        self.told |= more
        return replace(event, facts={**event.facts, "memory": more}) if more else event


def drained(queue: SimpleQueue[Any]) -> list[Any]:
    """Return what is in a queue, without waiting."""
    found = []
    while True:
        try:
            found.append(queue.get_nowait())
        except Empty:
            return found


def coalesced(events: Sequence[Event]) -> list[Event]:
    """Join events that follow each other in a stage; nothing is lost but steps between.

    The first event of a stage stays apart: it says when the stage began.

    Examples
    --------
    >>> from dfmr_dask.run.events import Arrival, Event
    >>> from dfmr_dask.run.stream import coalesced
    >>> fits = [Event("fit", i + 1, 9, arrivals=(Arrival(i, "fitted"),)) for i in range(3)]
    >>> [(event.done, len(event.arrivals)) for event in coalesced([Event("fit", 0, 9), *fits])]
    [(0, 0), (3, 3)]
    """
    joined: list[list[Event]] = []
    for event in events:
        if joined and _continues(joined[-1][-1], event):
            joined[-1].append(event)
        else:
            joined.append([event])
    return [_as_one(some) for some in joined]


def _continues(before: Event, event: Event) -> bool:
    same = before.stage == event.stage != RUN and before.total == event.total
    begins = not before.done and not before.arrivals
    return same and not begins and before.done <= event.done and not before.text


def _as_one(events: Sequence[Event]) -> Event:
    if len(events) == 1:
        return events[0]
    facts = {name: value for event in events for name, value in event.facts.items()}
    arrivals = [one for event in events for one in event.arrivals]
    last = {one.partition: n for n, one in enumerate(arrivals)}
    kept = (
        one for n, one in enumerate(arrivals) if one.state != "fitting" or last[one.partition] == n
    )
    return replace(events[-1], at=events[-1].at, arrivals=tuple(kept), facts=facts)
