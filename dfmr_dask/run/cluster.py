"""Which Dask client a run uses, and whether its workers can do the work."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import current_process

from distributed import Client, LocalCluster, get_client

from dfmr_dask.errors import ClusterFailed, WorkersDiffer
from dfmr_dask.run.tasks import InProcess, OnCluster, Tasks

LOOPBACK = "127.0.0.1"
DASHBOARD_PORT = 8787


Say = Callable[[str], None]

MAIN_GUARD = (
    "processes of a local cluster start by importing the main script. Put what it does under "
    "`if __name__ == '__main__':`, or start a dask.distributed.Client there first"
)


def silent(text: str) -> None:
    """Say nothing."""


@contextmanager
def open_tasks(
    *,
    in_memory: bool,
    address: str | None = None,
    n_workers: int | None = None,
    memory_per_worker: int | str | None = None,
    say: Say = silent,
) -> Iterator[Tasks]:
    """Choose where a run's tasks run.

    Parameters
    ----------
    in_memory : bool
        The data are in this process already: no cluster is used, none is started.
    address : str, optional
        Scheduler to connect to, when there is no client yet.
    n_workers : int, optional
        Processes of a local cluster, one thread each; one a core unless given.
    memory_per_worker : int or str, optional
        Memory limit of each of them, as Dask writes it (``"2 GiB"``).
    say : callable
        Told where the dashboard of a client is that was not there before.

    Yields
    ------
    Tasks

    Raises
    ------
    WorkersDiffer
        When workers lack the package or hold another version.
    ClusterFailed
        When a local cluster does not start.
    """
    if in_memory:
        yield InProcess()
        return
    with _client(address, n_workers, memory_per_worker, say) as client:
        check_workers(client)
        yield OnCluster(client)


@contextmanager
def _client(
    address: str | None, n_workers: int | None, memory: int | str | None, say: Say
) -> Iterator[Client]:
    """Use the client that is there, else the address, else a local cluster."""
    try:
        current: Client | None = get_client()
    except ValueError:  # there is none
        current = None
    if current is not None:
        yield current
    elif address is not None:
        with Client(address) as client:
            say(f"dashboard: {client.dashboard_link}")
            yield client
    else:
        with local_cluster(n_workers, memory) as cluster, Client(cluster) as client:
            say(f"dashboard: {client.dashboard_link}")
            yield client


def local_cluster(
    n_workers: int | None = None, memory_per_worker: int | str | None = None
) -> LocalCluster:
    """Start processes with one thread each; dashboard and scheduler on the loopback only.

    Raises
    ------
    ClusterFailed
        When its processes do not start, mostly since the main script has no main guard.
    """
    if getattr(current_process(), "_inheriting", False):  # a worker that imports the main script
        sys.exit(f"dfmr_dask: {MAIN_GUARD}")
    options = {} if memory_per_worker is None else {"memory_limit": memory_per_worker}
    with warnings.catch_warnings():
        # the port may be taken by another run: any free one will do, and its link is printed
        warnings.filterwarnings("ignore", message="(?s)Port .* is already in use")
        try:
            return LocalCluster(
                n_workers=n_workers or os.cpu_count() or 1,
                threads_per_worker=1,
                processes=True,
                host=LOOPBACK,
                dashboard_address=f"{LOOPBACK}:{DASHBOARD_PORT}",
                **options,
            )
        except RuntimeError as error:
            raise ClusterFailed(
                f"the local cluster did not start ({error}): {MAIN_GUARD}"
            ) from None


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
