"""What the filter would say of the estimates that are there, while others still arrive.

It is the filter of the run itself, in a thread of the client: a verdict every few seconds, each on
a bounded sample, so that it takes a small share of the time whatever the run is like. Nothing of
it enters the result.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event as Flag
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.aggregators import aggregate
from dfmr_dask.aggregate.blockwise import size_of
from dfmr_dask.aggregate.estimates import collect
from dfmr_dask.aggregate.gates import Gate
from dfmr_dask.aggregate.map import EstimateMap, estimate_map
from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.message import Message
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.context import Context
from dfmr_dask.run.events import LONGEST_REASON, RUN, Emit, Event, ignore
from dfmr_dask.run.handles import described
from dfmr_dask.run.settings import Settings

EVERY = 3.0  # seconds between two verdicts, at least
REST = 20.0  # times what the last one took
COST = 1.0  # seconds that one should take
FEWEST, FIRST, MOST = 3, 100, 1000  # estimates that one is made of
LARGEST_MAP = 4_000_000  # numbers of all estimates that are drawn on a map

Hear = Callable[[Message], None]
log = logging.getLogger("dfmr_dask.run")


@contextmanager
def provisional_filter(
    context: Context, planned: Mapping[int, int] | None, before: Iterable[Message] = ()
) -> Iterator[Hear]:
    """Emit a verdict on the estimates so far now and then, as long as the context lasts.

    Parameters
    ----------
    context : Context
    planned : mapping of partition to rows, or None
    before : messages
        That are there already.

    Yields
    ------
    callable
        To be told of each message that arrives.
    """
    if context.emit is ignore:
        yield lambda message: None
        return
    found = Provisional(context.emit, context.settings, planned, context.byzantine)
    for message in before:
        found.hear(message)
    Thread(target=found.run, name="dfmr-provisional", daemon=True).start()
    try:
        yield found.hear
    finally:
        found.ended.set()  # a verdict under way is not waited for: the final one is next


@dataclass(slots=True)
class Provisional:
    """Estimates so far, and what the filter says of them.

    Parameters
    ----------
    emit : callable
    settings : Settings
    planned : mapping of partition to rows, or None
    byzantine : tuple of int
        Known in simulations.
    """

    emit: Emit
    settings: Settings
    planned: Mapping[int, int] | None
    byzantine: tuple[int, ...] = ()
    heard: dict[int, Message] = field(default_factory=dict)
    ended: Flag = field(default_factory=Flag)
    size: int = FIRST
    before: dict[int, tuple[float, float]] = field(default_factory=dict)

    def hear(self, message: Message) -> None:
        """Take in a message; those without an estimate change no verdict."""
        if message.mixture is not None:
            self.heard[message.partition] = message

    def run(self) -> None:
        """Judge, rest, and judge again, until the fits have ended."""
        pause, known = EVERY, 0
        while not self.ended.wait(pause):
            some = list(self.heard.copy().values())
            if len(some) < FEWEST or len(some) == known:
                continue
            began, known = time.perf_counter(), len(some)
            told = self.judged(some)
            cost = time.perf_counter() - began
            pause = max(EVERY, REST * cost)
            self.size = int(np.clip(self.size * np.clip(COST / cost, 0.25, 2.0), FEWEST, MOST))
            if told is not None and not self.ended.is_set():
                self.emit(Event(RUN, 0, 0, facts={"provisional": told}))

    def judged(self, messages: Sequence[Message]) -> dict[str, Any] | None:
        """Return the verdict on a sample of messages as plain values; None where there is none."""
        try:
            some = self.sampled(messages)
            found = aggregate(
                some,
                aggregator=self.settings.aggregator,
                rule=self.settings.rule,
                planned_rows=self.planned,
                byzantine=self.byzantine,
            ).verdict
            plane = mapped(some, found.center, self.settings, self.planned, self.before)
        except Exception as error:  # whatever liars send: the verdict at the end will tell
            log.debug("no provisional verdict: %s", described(error))
            return None
        if plane is not None:
            points = zip(plane.x.tolist(), plane.y.tolist(), strict=True)
            self.before = dict(zip(plane.partitions.tolist(), points, strict=True))
        dropped = {str(i): why[:LONGEST_REASON] for i, why in found.dropped.items()}
        return {"kept": [int(i) for i in found.kept], "dropped": dropped, **pictured(found, plane)}

    def sampled(self, messages: Sequence[Message]) -> list[Message]:
        """Choose as many as a verdict should be made of; mostly the same ones each time."""
        return chosen(messages, self.size, self.settings.seed)


def chosen(messages: Sequence[Message], most: int, seed: int) -> list[Message]:
    """Return messages in order of their partitions, or an addressed random sample of them.

    Who is in it does not change when others arrive, unless they come before in random order.
    """
    inorder = sorted(messages, key=lambda message: message.partition)
    if len(inorder) <= most:
        return inorder
    last = inorder[-1].partition + 1
    rank = _ranks(last, seed)[[message.partition for message in inorder]]
    return [inorder[i] for i in np.sort(np.argsort(rank, kind="stable")[:most])]


def _ranks(count: int, seed: int) -> NDArray[np.float64]:
    """Return a random number for each partition: the same one however many there are."""
    return generator(seed, Stage.PROVISIONAL).random(count)


def mapped(
    messages: Sequence[Message],
    center: int | None,
    settings: Settings,
    planned: Mapping[int, int] | None,
    before: Mapping[int, tuple[float, float]] | None = None,
) -> EstimateMap | None:
    """Lay the estimates of messages out on a plane, or a sample where all would take long."""
    usable = [message for message in messages if message.mixture is not None]
    if len(usable) < 2:
        return None
    estimates, _ = collect(usable, planned)
    most = max(FEWEST, LARGEST_MAP // (size_of(estimates) + estimates.weights.shape[1]))
    if len(estimates) > most:
        rank = _ranks(int(estimates.ids.max()) + 1, settings.seed)[estimates.ids]
        rank[estimates.ids == center] = -1.0
        estimates = estimates.subset(np.sort(np.argsort(rank, kind="stable")[:most]))
    shared = settings.rule.weights == "shared"
    return estimate_map(estimates, center, weights=shared, before=before or None)


def pictured(verdict: Verdict, plane: EstimateMap | None) -> dict[str, Any]:
    """Return what a page draws of a verdict, as plain values; infinite distances are null."""
    return {
        "map": None if plane is None else plane.plain(),
        "distances": [_distances(gate) for gate in verdict.gates],
        "of": len(verdict.kept) + len(verdict.dropped),
        "at": round(time.time(), 3),
    }


def _distances(gate: Gate) -> dict[str, Any]:
    known = np.flatnonzero(~np.isnan(gate.distances))
    return {
        "gate": gate.name,
        "partition": known.tolist(),
        "distance": [float(f"{gate.distances[i]:.4g}") for i in known],
        "cutoff": float(f"{gate.cutoff:.4g}"),
    }
