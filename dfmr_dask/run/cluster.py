"""Which Dask client a run uses, and whether its workers can do the work."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import current_process
from pathlib import Path
from typing import Any

import dask.config
from dask.utils import parse_timedelta
from distributed import Client, LocalCluster, Security, get_client, rpc
from distributed.core import Status

from dfmr_dask.errors import ClusterFailed
from dfmr_dask.run.tasks import InProcess, OnCluster, Tasks, described
from dfmr_dask.run.waiting import Waiting
from dfmr_dask.run.workers import check_workers, guarded_entrance

__all__ = ["PATIENT", "check_workers", "connected", "local_cluster", "open_tasks"]

LOOPBACK = "127.0.0.1"
DASHBOARD_PORT = 8787
PATIENT = Waiting()
# A worker that dies is started anew, which takes long on a busy machine: a cluster that looks after
# 15 seconds, as is usual, and finds that worker missing would give its place up for good.
PATIENT_CLUSTER = {"distributed.deploy.lost-worker-timeout": "1h"}
SETTLING = 20.0  # seconds for a worker that is being started when its cluster closes

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
    scheduler_file: str | None = None,
    tls: Mapping[str, str] | None = None,
    n_workers: int | None = None,
    memory_per_worker: int | str | None = None,
    waiting: Waiting = PATIENT,
    say: Say = silent,
) -> Iterator[Tasks]:
    """Choose where a run's tasks run.

    Parameters
    ----------
    in_memory : bool
        The data are in this process already: no cluster is used, none is started.
    address : str, optional
        Scheduler to connect to, when there is no client yet.
    scheduler_file : str, optional
        File in which a scheduler wrote its address, in place of ``address``.
    tls : mapping, optional
        Paths of certificates, by ``ca``, ``cert`` and ``key``, for a scheduler at ``tls://``.
    n_workers : int, optional
        Processes of a local cluster, one thread each; one a core unless given.
    memory_per_worker : str, optional
        Memory of each of them, as Dask writes it (``"2 GiB"``).
    waiting : Waiting
        How long tasks on a cluster are waited for.
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
        When a local cluster does not start, or a scheduler cannot be reached.
    """
    if in_memory:
        yield InProcess()
        return
    with _client(address, scheduler_file, tls, n_workers, memory_per_worker, say) as client:
        check_workers(client)
        with guarded_entrance(client):
            yield OnCluster(client, waiting=waiting)


@contextmanager
def _client(
    address: str | None,
    scheduler_file: str | None,
    tls: Mapping[str, str] | None,
    n_workers: int | None,
    memory_per_worker: int | str | None,
    say: Say,
) -> Iterator[Client]:
    """Use the client that is there, else the scheduler told of, else a local cluster."""
    try:
        current: Client | None = get_client()
    except ValueError:  # there is none
        current = None
    if current is not None:
        yield current
    elif address is not None or scheduler_file is not None:
        with connected(address, scheduler_file, tls) as client:
            say(f"dashboard: {client.dashboard_link}")
            yield client
    else:
        with local_cluster(n_workers, memory_per_worker) as cluster, Client(cluster) as client:
            say(f"dashboard: {client.dashboard_link}")
            yield client


def connected(
    address: str | None = None,
    scheduler_file: str | None = None,
    tls: Mapping[str, str] | None = None,
) -> Client:
    """Connect to a scheduler that is running.

    Raises
    ------
    ClusterFailed
        When nothing answers there, or certificates are refused.
    """
    security = _security(tls)
    where = address
    try:
        where = address or _told_in(scheduler_file)
        # A client waits long for a scheduler that does not trust it: one question tells
        with ThreadPoolExecutor(1) as aside:  # here there may be an event loop already
            aside.submit(asyncio.run, _answered(where, security)).result()
        return Client(where, security=security)
    except (OSError, TimeoutError, TypeError, ValueError, KeyError) as error:
        raise ClusterFailed(
            f"no scheduler can be reached at {where or scheduler_file}: {described(error)}. Is it "
            "running, and do the certificates (tls: ca, cert, key) belong to it?"
        ) from error


def _told_in(scheduler_file: str | None) -> str:
    """Return the address that a scheduler wrote down."""
    told = json.loads(Path(str(scheduler_file)).read_text(encoding="utf-8"))
    return str(told["address"])


async def _answered(address: str, security: Security | None) -> None:
    """Ask a scheduler who it is; raise when it does not answer."""
    secure = (security or Security()).get_connection_args("client")
    timeout = parse_timedelta(dask.config.get("distributed.comm.timeouts.connect"))
    async with rpc(address, connection_args=secure, timeout=timeout) as scheduler:
        await asyncio.wait_for(scheduler.identity(), timeout)


def _security(tls: Mapping[str, str] | None) -> Security | None:
    """Return the certificates as Dask wants them; nothing goes over the wire in plain then."""
    if tls is None:
        return None
    return Security(
        tls_ca_file=str(tls["ca"]),
        tls_client_cert=str(tls["cert"]),
        tls_client_key=str(tls["key"]),
        require_encryption=True,
    )


@contextmanager
def local_cluster(
    n_workers: int | None = None, memory_per_worker: int | str | None = None
) -> Iterator[LocalCluster]:
    """Start processes with one thread each; dashboard and scheduler on the loopback only.

    Raises
    ------
    ClusterFailed
        When its processes do not start, mostly since the main script has no main guard.
    """
    with dask.config.set(PATIENT_CLUSTER):
        cluster = _started(n_workers, memory_per_worker)
        try:
            yield cluster
        finally:
            _settle(cluster)
            with suppress(AssertionError):  # of Dask, where a worker dies while it is closed
                cluster.close()


def _started(n_workers: int | None, memory_per_worker: int | str | None) -> LocalCluster:
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


def _settle(cluster: LocalCluster) -> None:
    """Wait until no worker is being started in place of one that died.

    A process that is closed while it starts cannot be joined: Dask raises then, and what the
    cluster was used for would be lost.
    """
    deadline = time.monotonic() + SETTLING
    while time.monotonic() < deadline and any(map(_is_starting, cluster.workers.values())):
        time.sleep(0.02)


def _is_starting(nanny: Any) -> bool:
    process = nanny.process
    return process is not None and process.status is Status.starting
