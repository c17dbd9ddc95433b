"""Tasks on a Dask cluster, or one after the other in this process, behind one small interface.

A task that fails is a value (:class:`Failure`), so that one partition that kills its worker costs
that partition and not the run: fits are futures, and the reduction is a task over what arrived.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from dask.delayed import Delayed
from distributed import Client, Future

from dfmr_dask.run.handles import (
    SHARE,
    Failure,
    Handle,
    Key,
    Several,
    called,
    described,
    itself,
    several,
    stripped,
)
from dfmr_dask.run.waiting import Stop, Waiting
from dfmr_dask.run.watching import Sent, Watch, unheard

__all__ = ["Failure", "InProcess", "Key", "OnCluster", "Several", "Tasks", "described"]

MANY = 10_000  # partitions above which several share a task: a task costs the scheduler 1 to 3 ms
TOGETHER = 20
LOST = ("error", "cancelled", "lost")


class Tasks(Protocol):
    """Where tasks run. A handle stands for a result that may still be on its way."""

    @property
    def dashboard_link(self) -> str | None:
        """Address of the Dask dashboard, if there is one."""
        ...

    @property
    def waiting(self) -> Waiting:
        """How long tasks are waited for."""
        ...

    @property
    def token(self) -> str:
        """What tells this run from all others."""
        ...

    @property
    def memory(self) -> Mapping[str, int]:
        """The most bytes that each worker was seen to hold, by address."""
        ...

    def share(self, value: Any) -> Any:
        """Put a value where tasks can get at it, once for all of them."""
        ...

    def per_task(self, partitions: int) -> int:
        """Return how many of so many partitions should share a task."""
        ...

    def submit(self, stage: str, key: Key, function: Callable[..., Any], *args: Any) -> Any:
        """Begin a task and return its handle; handles among the arguments are resolved."""
        ...

    def submit_several(
        self,
        stage: str,
        key: Key,
        function: Callable[..., Any],
        own: Mapping[int, tuple[Any, ...]],
        *common: Any,
    ) -> Any:
        """Begin one task that calls ``function(*own[i], *common)`` for several partitions.

        Its result is :class:`Several`, or, where it failed as a whole, that of each partition.
        """
        ...

    def results(
        self, handles: Mapping[int, Any], stop: Stop | None = None, sent: Sent = unheard
    ) -> Iterator[tuple[int, Any]]:
        """Yield number and result (or :class:`Failure`) of each task as it arrives.

        ``stop`` is asked again and again; once it returns a reason, that is the failure of all
        that has not arrived. ``sent`` is told the numbers of tasks that begin.
        """
        ...


@dataclass(frozen=True, slots=True)
class InProcess:
    """One task after the other, here: for data that are in memory anyway.

    A task is done when it is submitted. None can be stopped: what hangs, hangs.
    """

    dashboard_link: str | None = None
    token: str = field(default_factory=lambda: uuid4().hex)

    @property
    def waiting(self) -> Waiting:
        """Nothing is waited for."""
        return Waiting()

    @property
    def memory(self) -> Mapping[str, int]:
        """There are no workers."""
        return {}

    def share(self, value: Any) -> Any:
        """Return the value: everything is here."""
        return value

    def per_task(self, partitions: int) -> int:
        """Return 1: nothing is gained by more."""
        return 1

    def submit(self, stage: str, key: Key, function: Callable[..., Any], *args: Any) -> Any:
        """Run a task at once."""
        try:
            values = [
                arg.compute(scheduler="sync") if isinstance(arg, Delayed) else arg for arg in args
            ]
            return function(*values)
        except Exception as error:  # a failed task is a value
            return Failure(described(error))

    def submit_several(
        self,
        stage: str,
        key: Key,
        function: Callable[..., Any],
        own: Mapping[int, tuple[Any, ...]],
        *common: Any,
    ) -> Any:
        """Run the task of several partitions at once."""
        return several(function, own, *common)

    def results(
        self, handles: Mapping[int, Any], stop: Stop | None = None, sent: Sent = unheard
    ) -> Iterator[tuple[int, Any]]:
        """Yield what has been computed already."""
        yield from handles.items()


@dataclass(frozen=True, slots=True)
class OnCluster:
    """Futures of a Dask client.

    The keys carry a token of this run: asked for a key that it still holds, Dask would answer
    with the old result.

    Parameters
    ----------
    client : distributed.Client
    token : str
    waiting : Waiting
    many, together : int
        Where a run has more than ``many`` partitions, ``together`` of them share a task.
    """

    client: Client
    token: str = field(default_factory=lambda: uuid4().hex)
    waiting: Waiting = field(default_factory=Waiting)
    many: int = MANY
    together: int = TOGETHER
    layouts: dict[int, tuple[Any, Handle]] = field(default_factory=dict, repr=False)
    memory: dict[str, int] = field(default_factory=dict, repr=False)

    @property
    def dashboard_link(self) -> str | None:
        """Address of the Dask dashboard."""
        return str(self.client.dashboard_link) if self.client.dashboard_link else None

    def share(self, value: Any) -> Handle:
        """Send a value to the cluster; workers pass it on to each other.

        It is a task, not scattered data: when the worker that holds it dies, Dask makes it again.
        """
        return Handle(SHARE, (uuid4().hex,), itself, (value,))

    def per_task(self, partitions: int) -> int:
        """Return how many of so many partitions should share a task."""
        return self.together if partitions > self.many else 1

    def submit(self, stage: str, key: Key, function: Callable[..., Any], *args: Any) -> Handle:
        """Return the handle of a task, which is sent when it is waited for.

        Blocks of Dask collections become futures that are let go at once, so that the cluster
        forgets each block when its task is done.
        """
        return Handle(stage, key, function, args)

    def submit_several(
        self,
        stage: str,
        key: Key,
        function: Callable[..., Any],
        own: Mapping[int, tuple[Any, ...]],
        *common: Any,
    ) -> Handle:
        """Return the handle of one task for several partitions."""

        def apart() -> dict[int, Handle]:
            return {
                i: Handle(stage, (*key, "alone", i), function, (*args, *common))
                for i, args in own.items()
            }

        args = (function, dict(own), *common)
        return Handle(stage, (*key, "several"), several, args, apart)

    def results(
        self, handles: Mapping[int, Any], stop: Stop | None = None, sent: Sent = unheard
    ) -> Iterator[tuple[int, Any]]:
        """Yield results as they arrive; a task that killed its workers yields its reason.

        Raises
        ------
        SchedulerLost
            When the scheduler is gone.
        ClusterFailed
            When there has been no worker for too long.
        """
        watch = Watch(self, deque(handles.items()), stop or (lambda: None), sent)
        yield from watch.results()

    def send(self, handle: Handle) -> Future[Any]:
        """Send a task and what it needs to the scheduler, unless it is there."""
        if handle.future is None or handle.future.status in LOST:
            layouts: list[Any] = []
            args = [self._ready(stripped(arg, layouts)) for arg in handle.args]
            shared = [self.send(self._layout(one)) for one in layouts]
            again = ("again", handle.sent) if handle.sent else ()
            key = (f"dfmr-{handle.stage}-{self.token}", *handle.key, *again)
            handle.sent += 1
            work: Sequence[Any] = (
                (called, handle.function, len(shared), *shared) if shared else (handle.function,)
            )
            handle.future = self.client.submit(*work, *args, key=key, pure=False)
        return handle.future

    def _ready(self, arg: Any) -> Any:
        """Turn an argument into what can be sent: a future, or the value that it is."""
        if isinstance(arg, Handle):
            return self.send(arg) if arg.verdict is None else arg.verdict
        return self.client.compute(arg) if isinstance(arg, Delayed) else arg

    def _layout(self, layout: Any) -> Handle:
        """Share the layout of a source once in a run."""
        if id(layout) not in self.layouts:
            self.layouts[id(layout)] = (layout, self.share(layout))
        return self.layouts[id(layout)][1]
