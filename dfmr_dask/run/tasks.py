"""Tasks on a Dask cluster, or one after the other in this process, behind one small interface.

A task that fails is a value (:class:`Failure`), so that one partition that kills its worker costs
that partition and not the run: fits are futures, and the reduction is a task over what arrived.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

from dask.delayed import Delayed
from distributed import Client, Future, as_completed

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a task gave no result."""

    reason: str


class Tasks(Protocol):
    """Where tasks run. A handle stands for a result that may still be on its way."""

    @property
    def dashboard_link(self) -> str | None:
        """Address of the Dask dashboard, if there is one."""
        ...

    def share(self, value: Any) -> Any:
        """Put a value where tasks can get at it, once for all of them."""
        ...

    def submit(self, stage: str, key: Key, function: Callable[..., Any], *args: Any) -> Any:
        """Begin a task and return its handle; handles among the arguments are resolved."""
        ...

    def results(self, handles: Mapping[int, Any]) -> Iterator[tuple[int, Any]]:
        """Yield number and result (or :class:`Failure`) of each task as it arrives."""
        ...


@dataclass(frozen=True, slots=True)
class InProcess:
    """One task after the other, here: for data that are in memory anyway."""

    dashboard_link: str | None = None

    def share(self, value: Any) -> Any:
        """Return the value: everything is here."""
        return value

    def submit(self, stage: str, key: Key, function: Callable[..., Any], *args: Any) -> Any:
        """Run a task at once."""
        try:
            values = [
                arg.compute(scheduler="sync") if isinstance(arg, Delayed) else arg for arg in args
            ]
            return function(*values)
        except Exception as error:  # a failed task is a value
            return Failure(described(error))

    def results(self, handles: Mapping[int, Any]) -> Iterator[tuple[int, Any]]:
        """Yield what has been computed already."""
        yield from handles.items()


@dataclass(frozen=True, slots=True)
class OnCluster:
    """Futures of a Dask client.

    The keys carry a token of this run: asked for a key that it still holds, Dask would answer
    with the old result.
    """

    client: Client
    token: str = field(default_factory=lambda: uuid4().hex)

    @property
    def dashboard_link(self) -> str | None:
        """Address of the Dask dashboard."""
        return str(self.client.dashboard_link) if self.client.dashboard_link else None

    def share(self, value: Any) -> Any:
        """Send a value to the cluster; workers pass it on to each other.

        It is a task, not scattered data: when the worker that holds it dies, Dask makes it again.
        """
        key = (f"dfmr-share-{self.token}", uuid4().hex)
        return self.client.submit(_itself, value, key=key, pure=False)

    def submit(self, stage: str, key: Key, function: Callable[..., Any], *args: Any) -> Any:
        """Send a task to the scheduler.

        Blocks of Dask collections become futures that are let go at once, so that the cluster
        forgets each block when its task is done.
        """
        ready = [self.client.compute(a) if isinstance(a, Delayed) else a for a in args]
        name = f"dfmr-{stage}-{self.token}"
        return self.client.submit(function, *ready, key=(name, *key), pure=False)

    def results(self, handles: Mapping[int, Any]) -> Iterator[tuple[int, Any]]:
        """Yield results as they arrive; a task whose worker died yields its reason."""
        numbers: dict[Future[Any], int] = {future: number for number, future in handles.items()}
        for future in as_completed(numbers, loop=self.client.loop):
            yield numbers[future], _arrived(future)


def described(error: BaseException) -> str:
    """Return an exception as one line for a ledger."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _arrived(future: Future[Any]) -> Any:
    """Return a result, or why there is none.

    The status is not asked: a worker may die after its task is done, and then Dask does it again.
    Values are validated when they arrive; one that cannot be rebuilt is no result.
    """
    try:
        return future.result()
    except (Exception, CancelledError) as error:  # a failed task is a value
        return Failure(described(error))


def _itself(value: Any) -> Any:
    return value
