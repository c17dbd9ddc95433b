"""What the workers of a cluster are doing, how one is freed, and who may join."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from distributed import Client, WorkerPlugin

from dfmr_dask.errors import SchedulerLost, WorkersDiffer


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker.

    Attributes
    ----------
    n_threads : int
    nanny : bool
        Whether something can restart it.
    running : tuple
        Keys of the tasks that it executes now, not of those that wait.
    memory : int
        Bytes that its process holds, as its last heartbeat told.
    """

    n_threads: int
    nanny: bool
    running: tuple[Any, ...]
    memory: int = 0


def seen(client: Client) -> dict[str, Worker]:
    """Ask the scheduler what every worker is doing, by address.

    Workers tell what they execute with every heartbeat. Threads of which nothing is known (a task
    has just begun, or holds the interpreter and silences its worker) are taken to be busy with the
    first of what the worker was given.

    Raises
    ------
    SchedulerLost
        When there is no answer.
    """
    told = asked(client, _look())
    return {
        address: Worker(n_threads, nanny, tuple(running), memory)
        for address, (n_threads, nanny, running, memory) in told.items()
    }


def asked(client: Client, function: Any) -> Any:
    """Run a function on the scheduler; it is sent by value, for there may be no such package."""
    if client.status not in ("running", "connecting"):
        raise lost(client)
    try:
        return client.run_on_scheduler(function)
    except (OSError, TimeoutError) as error:
        raise lost(client) from error


def _look() -> Any:
    def look(dask_scheduler: Any) -> dict[str, tuple[int, bool, list[Any], int]]:
        out = {}
        for address, one in dask_scheduler.workers.items():
            running = [task for task in one.executing if task in one.processing]
            others = sorted(
                (task for task in one.processing if task not in running),
                key=lambda task: task.priority,
            )
            running += others[: max(0, one.nthreads - len(running))]
            keys, memory = [task.key for task in running], (one.metrics or {}).get("memory", 0)
            out[address] = (one.nthreads, bool(one.nanny), keys, int(memory or 0))
        return out

    return look


def lost(client: Client) -> SchedulerLost:
    """Return the error that says that the scheduler is gone."""
    address = client.scheduler.address if client.scheduler is not None else "its address"
    return SchedulerLost(
        f"the scheduler at {address} is gone, or has forgotten this run. What arrived before is in "
        "the run folder, if there is one; when the cluster is back, the same command goes on"
    )


def free(client: Client, address: str, worker: Worker) -> str:
    """Stop whatever a worker is doing: restart it, or let it go where nothing can restart it.

    Returns
    -------
    str
        What is to be said of it; empty when it was restarted.
    """
    try:
        if worker.nanny:
            client.run(_kill(), workers=[address], nanny=True, on_error="ignore")
            return ""
        client.retire_workers([address], close_workers=True)
    except (OSError, TimeoutError, KeyError, ValueError):  # it is gone already
        return ""
    return "its worker has no nanny that could restart it, and was let go"


def _kill() -> Any:
    def kill(dask_worker: Any) -> None:
        """Kill the process that a nanny watches over, which the nanny then starts anew.

        Asked politely, a process that hangs takes four seconds, and may not be started again.
        """
        import psutil  # noqa: PLC0415  (sent by value)

        psutil.Process(dask_worker.pid).kill()

    return kill


def check_workers(client: Client) -> None:
    """Raise unless every worker holds this version of the package, naming those that don't."""
    from dfmr_dask import __version__  # noqa: PLC0415  (the package imports this module)

    def version() -> str | None:  # sent by value: a worker may have no such module
        try:
            import dfmr_dask  # noqa: PLC0415
        except ImportError:
            return None
        return dfmr_dask.__version__

    found: dict[str, str | None] = client.run(version)
    wrong = {address: there for address, there in found.items() if there != __version__}
    if wrong:
        told = ", ".join(f"{address} has {there or 'none'}" for address, there in wrong.items())
        raise WorkersDiffer(
            f"every worker needs dfmr-dask {__version__}; {told}. Install it there, for instance "
            "with client.register_plugin(distributed.PipInstall(['dfmr-dask']))."
        )


@contextmanager
def guarded_entrance(client: Client) -> Iterator[None]:
    """Let workers join only with this version of the package, as long as the context lasts.

    A worker sets up plugins before it takes its first task. One that lacks the package, or holds
    another version, closes itself there and says so in its log, so that it cannot fail a task.
    """
    from dfmr_dask import __version__  # noqa: PLC0415  (the package imports this module)

    name = f"dfmr-entrance-{uuid4().hex}"
    client.register_plugin(_entrance(__version__), name=name)
    try:
        yield
    finally:
        if client.status == "running":
            client.unregister_worker_plugin(name)


def _entrance(wanted: str) -> WorkerPlugin:
    class Entrance(WorkerPlugin):  # in here, so that it is sent by value
        """Closes a worker that cannot do the work."""

        async def setup(self, worker: Any) -> None:
            import logging  # noqa: PLC0415

            try:
                from dfmr_dask import __version__ as there  # noqa: PLC0415
            except ImportError:
                there = "none"
            if there != wanted:
                told = f"this run needs dfmr-dask {wanted}; this worker has {there}, and leaves"
                logging.getLogger("distributed.worker").error(told)
                await worker.close(nanny=True, reason=told)

    return Entrance()
