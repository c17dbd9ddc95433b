"""Fit a store larger than memory beside a bare read of it and EM by hand; print one JSON object.

    python benchmarks/out_of_core.py                                # 80 MB, to see how it looks
    python benchmarks/out_of_core.py --rows 200000000 --folder DIR  # 8 GB, written first

Rows x 10 float32 of five overlapping Gaussians are written as Zarr chunks of 1 MB (zstd, crc32c).

- "sizes": a fit with the given workers, on the store and on a smaller one, each in a process of
  its own. Peak memory is that of client, scheduler, nannies and workers together (``memory.py``).
  A bare pass reads and decodes each partition with the same workers and readers, in turn with the
  fits; times are the least of ``--repeats``. Machine code is made before.
- "shares": of the workers' time while the fit ran. Reading and decoding is timed in the readers;
  fitting is the rest of what tasks of start and fit took; merging is what others took; the rest,
  no task at all, is scheduling, waiting, and what the client does.
- "by hand": EM over the whole store, one pass an iteration (``by_hand.py``), with our kernel, our
  start (its time is counted) and our reads. "to our score" is the time until its mean log density
  a row first came within 1e-4 nats of ours, "to the end" until an iteration gained less than the
  same tol. Once more with 30 % of the partitions in a wrong unit. Errors are distances from the
  truth (METHOD 10); scores are means over the rows of the honest partitions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import by_hand
import numpy as np
from distributed import Client, get_task_stream
from memory import Watch
from readings import WRONG_UNIT, seconds, timed
from scipy.optimize import linear_sum_assignment
from store import N_COMPONENTS, N_FEATURES, simulated, truth_of

from dfmr_dask.data.source import Source, open_source
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.local import em, start
from dfmr_dask.mixture import Mixture
from dfmr_dask.run import pipeline
from dfmr_dask.run.cluster import open_tasks
from dfmr_dask.run.results import Result
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import OnCluster

FULL = COVARIANCE_TYPES["full"]
NEAR = 1e-4  # nats a row below ours: as good
CORRUPTED = 0.3  # share of the partitions
SETTINGS = Settings(family=FULL, n_components=N_COMPONENTS)
LARGE, SMALL = 20_000_000, 10_000_000  # rows: a store that is large, what it is compared with


@contextmanager
def workers(n: int) -> Iterator[OnCluster]:
    """Start workers that have their machine code already."""
    with open_tasks(in_memory=False, n_workers=n) as tasks:
        assert isinstance(tasks, OnCluster)
        tasks.client.run(prepared)
        yield tasks


def prepared() -> None:
    """Compile what a fit needs, or load it."""
    rng = np.random.default_rng(0)
    x = truth_of(0.1).sample(8000, rng)[0].astype(np.float32)
    sample = start.draw_sample(x, start.Order(FULL, N_COMPONENTS, N_FEATURES), rng)
    pilot = start.propose(sample, FULL, N_COMPONENTS, rng)
    start.score(sample, [pilot])
    em.fit(x, pilot, strength=0.01)


def opened(given: argparse.Namespace, rows: int, wrong: float = 0.0) -> Source:
    """Open a store, which is written if it is not there, with readers that are timed."""
    path = simulated(given.folder, rows, given.chunk_rows, given.overlap, given.workers)
    return timed(open_source(path, plan="rows", rows_per_partition=given.partition_rows), wrong)


def size(reader: Any) -> int:
    """Read a partition, and throw it away."""
    return len(reader())


def bare_pass(client: Client, source: Source) -> float:
    """Return the seconds that it takes to read and decode all partitions."""
    began = time.perf_counter()
    parts = range(len(source.plan))
    futures = [client.submit(size, source.rows(i), pure=False) for i in parts]
    assert sum(client.gather(futures)) == source.n_rows
    return time.perf_counter() - began


def watched_fit(tasks: OnCluster, source: Source) -> tuple[Result, dict[str, Any]]:
    """Fit, and tell how long it took and where the workers' time went."""
    client = tasks.client
    before = sum(client.run(seconds).values())
    began = time.perf_counter()
    with get_task_stream(client) as stream:
        result = pipeline.fit(source, SETTINGS, OnCluster(client))
        wall = time.perf_counter() - began
    busy = {"fitting": 0.0, "merging": 0.0}
    for task in stream.data:
        kind = "fitting" if any(f"dfmr-{s}-" in str(task["key"]) for s in ("start", "fit")) else (
            "merging"
        )  # fmt: skip
        busy[kind] += sum(
            one["stop"] - one["start"] for one in task["startstops"] if one["action"] == "compute"
        )
    reading = sum(client.run(seconds).values()) - before
    total = wall * len(client.scheduler_info()["workers"])
    shares = {
        "reading and decoding": reading / total,
        "fitting": (busy["fitting"] - reading) / total,
        "merging": busy["merging"] / total,
    }
    shares["scheduling, waiting, client"] = 1.0 - sum(shares.values())
    return result, {"seconds": wall, "stages": result.seconds, "shares": shares}


def sized(given: argparse.Namespace) -> dict[str, Any]:
    """Measure one store, in this process and those that it starts."""
    source, fits, reads = opened(given, given.alone), [], []
    with Watch() as watch, workers(given.workers) as tasks:
        for _ in range(given.repeats):
            result, told = watched_fit(tasks, source)
            fits.append(told)
            peak = watch.peak  # bare passes hold less, but they shall not count
            reads.append(bare_pass(tasks.client, source))
    best = min(fits, key=lambda one: float(one["seconds"]))
    return {
        "rows": given.alone,
        "partitions": len(source.plan),
        "bytes": source.plan.bytes,
        "peak MB": peak / 1e6,
        "bare pass seconds": min(reads),
        "fit over bare pass": best["seconds"] / min(reads),
        **best,
        "EM passes": [int(np.median([m.n_iter + 1 for m in result.messages]))],
        "error": error(result.mixture, truth_of(given.overlap)),
    }


def compared(tasks: OnCluster, source: Source, given: argparse.Namespace) -> dict[str, Any]:
    """Run ours and the one written by hand on the same store with the same workers."""
    ours, told = watched_fit(tasks, source)
    assert ours.start is not None
    rival = by_hand.fitted(tasks.client, source, ours.start, SETTINGS.tol, given.passes)
    honest = [i for i in range(len(source.plan)) if source.rows(i).unit != WRONG_UNIT]
    both = scores(tasks.client, source, honest, [ours.mixture, rival.mixture])
    truth, first = truth_of(given.overlap), ours.seconds["start"]
    near = rival.time_to(both[0] - NEAR) if len(honest) == len(source.plan) else None
    total = {
        "to our score": None if near is None else first + near,
        "to the end": first + rival.seconds[-1],
    }
    return {
        "rows": source.n_rows,
        "ours": {
            "seconds": told["seconds"], "score": both[0], "error": error(ours.mixture, truth),
            "largest error of a mean": farthest(ours.mixture, truth),
            "dropped": len(ours.verdict.dropped),
        },
        "by hand": {
            "seconds": total, "score": both[1], "error": error(rival.mixture, truth),
            "largest error of a mean": farthest(rival.mixture, truth),
            "passes": len(rival.scores),
        },
        "times faster": {k: None if v is None else v / told["seconds"] for k, v in total.items()},
    }  # fmt: skip


def scores(client: Client, source: Source, parts: list[int], among: list[Mixture]) -> list[float]:
    """Return the mean log density of the rows of some partitions under each mixture."""
    futures = [client.submit(_scored, source.rows(i), among, pure=False) for i in parts]
    answers = client.gather(futures)
    return [float(v) for v in np.sum([a for a, _ in answers], 0) / sum(n for _, n in answers)]


def _scored(reader: Any, among: list[Mixture]) -> tuple[Any, int]:
    rows = reader()
    return len(rows) * np.array([one.score(rows) for one in among]), len(rows)


def farthest(estimate: Mixture, truth: Mixture) -> float:
    """Return the largest error of a mean, each estimate being matched with one of the truth."""
    apart = truth.params["means"][:, None] - estimate.params["means"]
    distance = np.linalg.norm(apart, axis=-1)
    return float(distance[linear_sum_assignment(distance)].max())


def in_a_process(rows: int) -> dict[str, Any]:
    """Measure one size in a process of its own, with the arguments of this one."""
    command = [sys.executable, __file__, *sys.argv[1:], "--alone", str(rows)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    told: dict[str, Any] = json.loads(said)
    return told


def arguments() -> argparse.Namespace:
    """Return what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--small", type=int, help="rows of the smaller store")
    parser.add_argument("--by-hand", type=int, help="rows of the store that is fitted by hand, too")
    parser.add_argument("--partition-rows", type=int, help="a million, or a tenth of the rows")
    parser.add_argument("--chunk-rows", type=int, default=25_000)
    parser.add_argument("--overlap", type=float, default=0.1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--passes", type=int, default=100, help="of EM by hand, at most")
    parser.add_argument("--folder", type=Path, default=Path(gettempdir()) / "dfmr-out-of-core")
    parser.add_argument("--alone", type=int, help="one size, in this process")
    given = parser.parse_args()
    given.small = given.small or (SMALL if given.rows > SMALL else given.rows // 4)
    given.by_hand = given.by_hand or min(given.rows, LARGE)
    given.partition_rows = given.partition_rows or min(1_000_000, given.small // 10)
    return given


def main() -> None:
    """Print what was measured."""
    given = arguments()
    if given.alone is not None:
        print(json.dumps(sized(given)))
        return
    sizes = [in_a_process(rows) for rows in (given.small, given.rows)]
    found = {
        "overlap": given.overlap,
        "sizes": sizes,
        "growth of memory": sizes[1]["peak MB"] / sizes[0]["peak MB"] - 1.0,
    }
    sources = {
        "by hand": opened(given, given.by_hand),
        "by hand, 30 % in a wrong unit": opened(given, given.by_hand, CORRUPTED),
    }
    with workers(given.workers) as tasks:
        found |= {name: compared(tasks, source, given) for name, source in sources.items()}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
