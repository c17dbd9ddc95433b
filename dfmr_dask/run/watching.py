"""Waiting for the tasks of a stage: few at a time, the guilty apart from the innocent.

When a worker dies, Dask blames all tasks that it had been given, and gives each of them up when it
was blamed four times. Who was blamed is tried again when all others are done, alone, one after the
other: who kills its worker then is guilty.
"""

from __future__ import annotations

import time
from asyncio import CancelledError
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from distributed import Client, Future
from distributed.scheduler import KilledWorker

from dfmr_dask.errors import ClusterFailed
from dfmr_dask.run.handles import Failure, Handle, described
from dfmr_dask.run.waiting import Stop, Waiting
from dfmr_dask.run.workers import Worker, free, lost, seen

POLL = 1.0  # seconds between looks at the workers
PER_THREAD = 4  # tasks under way for each thread: enough to keep it busy, few to be blamed
FETCH = 60.0  # seconds for a result to come over; then it is waited for again
PENDING = object()

Numbered = tuple[int, Handle]
Sent = Callable[[int], None]


def unheard(number: int) -> None:
    """Tell nobody that a task begins."""


class Sender(Protocol):
    """What sends tasks to the scheduler."""

    @property
    def client(self) -> Client:
        """The client that does it."""
        ...

    @property
    def waiting(self) -> Waiting:
        """How long a task may run."""
        ...

    @property
    def memory(self) -> dict[str, int]:
        """The most bytes that each worker was seen to hold, by address."""
        ...

    def send(self, handle: Handle) -> Future[Any]:
        """Send a task and what it needs, unless it is there."""
        ...


@dataclass(slots=True)
class Watch:
    """Waits for some tasks.

    Parameters
    ----------
    sender : Sender
    left : deque of (number, handle)
        Not sent yet.
    stop : callable
        Asked again and again; returns the reason why the rest is not waited for, or None.
    told : callable
        Told the number of each task that is sent.
    """

    sender: Sender
    left: deque[Numbered]
    stop: Stop
    told: Sent = unheard
    running: dict[Any, Numbered] = field(default_factory=dict)
    suspects: deque[Numbered] = field(default_factory=deque)
    alone: bool = False
    room: int = 0
    came: SimpleQueue[Future[Any]] = field(default_factory=SimpleQueue)
    since: dict[tuple[str, Any], float] = field(default_factory=dict)
    looked: float = float("-inf")
    staffed: float = field(default_factory=time.monotonic)

    def results(self) -> Iterator[tuple[int, Any]]:
        """Yield number and result of each task as it arrives.

        Raises
        ------
        SchedulerLost
            When the scheduler is gone.
        ClusterFailed
            When there has been no worker for too long.
        """
        while self.left or self.running or self.suspects:
            if reason := self.stop():
                yield from self._abandoned(reason)
                return
            yield from self._looked()
            yield from self._sent()
            yield from self._arrived()

    def _sent(self) -> Iterator[tuple[int, Any]]:
        """Send what there is room for; when nothing else is left, one suspect."""
        while self.left and len(self.running) < self.room and not (self.alone and self.running):
            number, handle = self.left.popleft()
            if handle.verdict is not None:
                yield number, handle.verdict
                continue
            future = self.sender.send(handle)
            self.running[future.key] = (number, handle)
            self.told(number)
            future.add_done_callback(self.came.put)
        if not self.left and not self.running and self.suspects:
            self.alone = True
            self.left.append(self.suspects.popleft())
            yield from self._sent()

    def _arrived(self) -> Iterator[tuple[int, Any]]:
        """Wait a little for results, and take those that are there."""
        try:
            yield from self._taken(self.came.get(timeout=POLL if self.running else POLL / 10))
            while not self.came.empty():
                yield from self._taken(self.came.get())
        except Empty:
            return

    def _taken(self, future: Future[Any]) -> Iterator[tuple[int, Any]]:
        if future.key not in self.running or self.running[future.key][1].future is not future:
            return  # it was given up in the meantime
        number, handle = self.running[future.key]
        value = self._outcome(future)
        if value is PENDING:  # its worker died after it was done: Dask does it again
            future.add_done_callback(self.came.put)
            return
        del self.running[future.key]
        if isinstance(value, KilledWorker):
            yield from self._blamed(number, handle, value)
            return
        handle.future = None  # the cluster may forget it
        yield number, value

    def _outcome(self, future: Future[Any]) -> Any:
        """Return a result or why there is none; PENDING when it has to be waited for again."""
        try:
            return future.result(timeout=FETCH)
        except KilledWorker as error:
            return error
        except CancelledError as error:
            raise lost(self.sender.client) from error
        except Exception as error:  # a failed task is a value
            if self.sender.client.status != "running":
                raise lost(self.sender.client) from error
            if isinstance(error, TimeoutError) and future.status != "error":
                return PENDING
            return Failure(described(error))

    def _blamed(
        self, number: int, handle: Handle, error: KilledWorker
    ) -> Iterator[tuple[int, Any]]:
        """Put a task that was blamed aside; if it was alone, it is guilty."""
        if handle.apart is not None:
            self._take_apart(handle)
        elif not self.alone:
            self.suspects.append((number, handle))
        else:
            reason = Failure(killed(error.allowed_failures + 1))
            for one in handle.family():
                if one.future is not None and one.future.key == error.task:
                    one.verdict = reason
            yield number, reason

    def _take_apart(self, handle: Handle) -> None:
        """Do the partitions of a task one by one from now on."""
        handle.future = None
        if handle.apart is not None:
            self.left.extend(handle.apart().items())

    def _looked(self) -> Iterator[tuple[int, Any]]:
        """Look at the workers once in a while: how many there are, and whether one hangs."""
        now = time.monotonic()
        if now - self.looked < POLL:
            return
        workers, self.looked = seen(self.sender.client), now
        self.room = PER_THREAD * sum(worker.n_threads for worker in workers.values())
        held = self.sender.memory
        held |= {at: max(one.memory, held.get(at, 0)) for at, one in workers.items()}
        if workers:
            self.staffed = now
        elif now - self.staffed > self.sender.waiting.worker_timeout:
            raise ClusterFailed(
                f"the cluster has had no worker for {self.sender.waiting.worker_timeout:g} s; "
                "start some (a partition may have killed those without a nanny)"
            )
        busy = {(address, key) for address, one in workers.items() for key in one.running}
        self.since = {one: self.since.get(one, now) for one in busy}
        timeout = self.sender.waiting.partition_timeout
        for address, key in [one for one in busy if timeout and now - self.since[one] >= timeout]:
            yield from self._hung(key, address, workers[address], f"no answer within {timeout:g} s")

    def _hung(
        self, key: Any, address: str, worker: Worker, reason: str
    ) -> Iterator[tuple[int, Any]]:
        """Give up a task that hangs, and free its worker; what only needed it goes on without."""
        held = [
            (number, handle, one)
            for number, handle in list(self.running.values())
            for one in handle.family()
            if one.future is not None and one.future.key == key
        ]
        if not held:  # the task of somebody else
            return
        self._cancel([handle for _, handle, _ in held])
        said = free(self.sender.client, address, worker)
        verdict = Failure("; ".join(filter(None, [reason, said])))
        for number, handle, guilty in held:
            if handle.apart is not None:
                self._take_apart(handle)
                continue
            guilty.verdict = verdict
            if guilty is handle:
                yield number, verdict
            else:
                self.left.appendleft((number, handle))

    def _abandoned(self, reason: str) -> Iterator[tuple[int, Any]]:
        """Give up all that has not arrived, and stop the workers that are busy with it."""
        numbered = [*self.running.values(), *self.suspects, *self.left]
        keys = {
            one.future.key
            for _, handle in self.running.values()
            for one in handle.family()
            if one.future is not None
        }
        workers = seen(self.sender.client)
        self._cancel([handle for _, handle in self.running.values()])
        for address, worker in workers.items():
            if keys.intersection(worker.running):
                free(self.sender.client, address, worker)
        for number, handle in numbered:
            parts: Mapping[int, Any] = {number: None} if handle.apart is None else handle.apart()
            yield from ((part, Failure(reason)) for part in parts)

    def _cancel(self, handles: list[Handle]) -> None:
        """Take tasks back, with those under way that they need."""
        futures = []
        for handle in handles:
            for one in handle.family():
                if one.future is not None and (one is handle or not one.future.done()):
                    self.running.pop(one.future.key, None)
                    futures.append(one.future)
                    one.future = None
        self.sender.client.cancel(futures, reason="dfmr: no longer waited for")


def killed(times: int) -> str:
    """Say for people what it means that workers die with a task."""
    return (
        f"{times} workers died with it, one after the other, while it ran alone: mostly there was "
        "not enough memory. Make partitions smaller, or give workers more "
        "(cluster.memory_per_worker)"
    )
