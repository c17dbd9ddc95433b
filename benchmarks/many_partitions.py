"""Fit very many tiny partitions on two workers: seconds by stage, memory by process; print JSON.

    python benchmarks/many_partitions.py
    python benchmarks/many_partitions.py --partitions 20000

Scheduler, client and workers are processes of their own, so that each one's memory is seen apart.
Their resident memory is read ten times a second; growth is from when the workers were there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import zarr
from distributed import Client

from dfmr_dask.data.source import open_source
from dfmr_dask.experiments.populations import population
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.cluster import connected
from dfmr_dask.run.pipeline import fit
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import MANY, TOGETHER, OnCluster

ROWS = 50  # in each partition
PER_SHARD = 1000
TRUTH = population(2, 2, separation=6.0, seed=1)
SETTINGS = Settings(family=COVARIANCE_TYPES["full"], n_components=2, seed=1)
SCHEDULER = ["distributed.cli.dask_scheduler", "--port", "0", "--dashboard-address", "127.0.0.1:0"]
WORKER = ["distributed.cli.dask_worker", "--nworkers", "2", "--nthreads", "1", "--no-dashboard"]


def write_rows(path: Path, partitions: int) -> Path:
    """Write rows of a mixture, one chunk a partition, a thousand chunks in a file."""
    shape, per_shard = (ROWS * partitions, 2), min(PER_SHARD, partitions) * ROWS
    target = zarr.create_array(
        path, shape=shape, chunks=(ROWS, 2), shards=(per_shard, 2), dtype="float64"
    )
    rng = generator(1, Stage.SIMULATE)
    for start in range(0, shape[0], per_shard):
        stop = min(start + per_shard, shape[0])
        target[start:stop] = TRUTH.sample(stop - start, rng)[0]
    return path


@contextmanager
def processes(folder: Path) -> Iterator[tuple[Client, Mapping[str, list[psutil.Process]]]]:
    """Start a scheduler and two workers, and yield a client and the processes of each."""
    place = folder / "scheduler.json"
    common = ["--host", "127.0.0.1", "--scheduler-file", str(place)]
    with started([*SCHEDULER, *common], folder) as scheduler:
        while not (place.is_file() and place.stat().st_size):
            time.sleep(0.1)
        with (
            started([*WORKER, *common], folder) as workers,
            connected(scheduler_file=str(place)) as client,
        ):
            client.wait_for_workers(2, timeout=120)
            pids = client.run(lambda dask_worker: psutil.Process().pid)
            yield (
                client,
                {
                    "scheduler": [psutil.Process(scheduler.pid)],
                    "client": [psutil.Process()],
                    "workers": [psutil.Process(pid) for pid in pids.values()],
                },
            )
            client.shutdown()
            workers.wait(60)


@contextmanager
def started(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a module in a process of its own."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    one = subprocess.Popen([sys.executable, "-m", *command], cwd=folder, **quiet)  # type: ignore[call-overload]
    try:
        yield one
    finally:
        one.terminate()
        one.wait(60)


@contextmanager
def peaks(watched: Mapping[str, list[psutil.Process]]) -> Iterator[dict[str, int]]:
    """Note the most memory that each kind of process has had."""
    most = {name: memory(them) for name, them in watched.items()}
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.1):
            for name, them in watched.items():
                most[name] = max(most[name], memory(them))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def memory(processes: list[psutil.Process]) -> int:
    """Return the resident bytes of processes together."""
    return sum(one.memory_info().rss for one in processes if one.is_running())


def measured(partitions: int, many: int, together: int) -> dict[str, Any]:
    """Fit so many partitions, and say what it took."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_rows(folder / "rows.zarr", partitions)
        with processes(folder) as (client, watched):
            before = {name: memory(them) for name, them in watched.items()}
            with peaks(watched) as most:
                source = open_source(path, rows_per_partition=ROWS)
                result = fit(source, SETTINGS, OnCluster(client, many=many, together=together))
    return {
        "partitions": len(result.messages),
        "kept": len(result.verdict.kept),
        "failed": len(result.verdict.failed),
        "partitions a task": together if partitions > many else 1,
        "seconds": {stage: round(value, 1) for stage, value in result.seconds.items()},
        "peak MB": {name: round(value / 1e6) for name, value in most.items()},
        "growth MB": {name: round((most[name] - before[name]) / 1e6) for name in most},
    }


def main() -> None:
    """Read the command line, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--partitions", type=int, default=100_000)
    parser.add_argument("--many", type=int, default=MANY)
    parser.add_argument("--together", type=int, default=TOGETHER)
    asked = parser.parse_args()
    print(json.dumps(measured(asked.partitions, asked.many, asked.together), indent=2))


if __name__ == "__main__":
    main()
