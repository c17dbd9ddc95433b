"""Time labels of a Zarr store beside scikit-learn's predict, block by block; print one JSON object.

    python benchmarks/labelling.py
    python benchmarks/labelling.py --rows 200000 --cases A --repeats 1

Both have the same mixture, the same workers of one thread each, the same reads of the same blocks,
and write the same labels in the same way (flushed, with checksums). ``reading`` reads and decodes
the blocks, and does nothing with them. The three take turns; told is the least of each one's times,
and how often they end with the same label.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from distributed import Client
from sklearn.mixture import GaussianMixture

from dfmr_dask.data.grid import Box, sizes
from dfmr_dask.data.source import Source, open_source
from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.families.covariance_types import precisions_cholesky_of
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.cluster import local_cluster
from dfmr_dask.run.label_blocks import Blocks, Job, blocks_of, box_reader
from dfmr_dask.run.label_store import write_answers
from dfmr_dask.run.labelling import LABEL
from dfmr_dask.run.tasks import Failure, OnCluster

CASES: Mapping[str, tuple[int, int, int]] = {  # rows, features, components
    "A": (8_000_000, 10, 5),
    "B": (1_500_000, 50, 10),
    "C": (16_000_000, 2, 8),
}
CHUNK_BYTES = 4 << 20


def written_rows(path: Path, truth: Mixture, rows: int, dtype: str) -> Source:
    """Write rows of a mixture to a Zarr array, a chunk at a time."""
    d = truth.n_features
    length = max(1, min(rows, CHUNK_BYTES // (d * np.dtype(dtype).itemsize)))
    array = zarr.create_array(path, shape=(rows, d), chunks=(length, d), dtype=dtype)
    for number, first in enumerate(range(0, rows, length)):
        n = min(length, rows - first)
        array[first : first + n] = truth.sample(n, np.random.default_rng(number))[0].astype(dtype)
    return open_source(path)


def scikit_learn_of(mixture: Mixture) -> GaussianMixture:
    """Return scikit-learn's mixture with the same parameters."""
    means, covariances = mixture.params["means"], mixture.params["covariances"]
    theirs = GaussianMixture(mixture.n_components)
    theirs.weights_, theirs.means_, theirs.covariances_ = mixture.weights, means, covariances
    theirs.precisions_cholesky_ = precisions_cholesky_of("full", covariances)
    return theirs


def predict_block(job: Job, theirs: GaussianMixture, box: Box, reader: Any) -> None:
    """Read, predict and write a block with scikit-learn."""
    job.write(LABEL, box, theirs.predict(reader()).astype(LABEL.dtype).reshape(sizes(box)))


def read_block(reader: Any) -> int:
    """Read a block."""
    return len(reader())


def run_all(tasks: OnCluster, source: Source, blocks: Blocks, function: Any, *before: Any) -> None:
    """Do something with every block."""
    handles = {}
    key = str(time.perf_counter_ns())
    for number, place in enumerate(blocks):
        box = blocks.box(place)
        own = (box,) if before else ()
        reader = box_reader(source, box)
        handles[number] = tasks.submit("label", (key, number), function, *before, *own, reader)
    for _, came in tasks.results(handles):
        if isinstance(came, Failure):
            raise RuntimeError(came.reason)


def timed(function: Any, *args: Any) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    function(*args)
    return time.perf_counter() - began


def compared(
    folder: Path, case: tuple[int, int, int], dtype: str, repeats: int, tasks: OnCluster
) -> dict[str, Any]:
    """Time one case."""
    rows, d, k = case
    mixture = population_with_overlap(k, d, 0.05, seed=0)
    source = written_rows(folder / "rows.zarr", mixture, rows, dtype)
    blocks = blocks_of(source, source.as_dataarray(), 2, 32 << 20)
    ours, theirs = folder / "ours.zarr", folder / "theirs.zarr"
    write_answers(ours, mixture, source, tasks)  # machine code is made, files are in memory
    write_answers(theirs, mixture, source, tasks)
    job, other = Job(mixture, (LABEL,), theirs), scikit_learn_of(mixture)
    ways = {
        "ours": lambda: write_answers(ours, mixture, source, tasks, overwrite=True),
        "scikit-learn": lambda: run_all(
            tasks, source, blocks, predict_block, tasks.share(job), tasks.share(other)
        ),
        "reading": lambda: run_all(tasks, source, blocks, read_block),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            seconds[name].append(timed(way))
    least = {name: min(times) for name, times in seconds.items()}
    labels = [zarr.open_group(path, mode="r")["label"] for path in (ours, theirs)]
    return {
        "rows": rows, "n_features": d, "n_components": k, "dtype": dtype, "blocks": len(blocks),
        "seconds": {name: round(value, 3) for name, value in least.items()},
        "times faster": round(least["scikit-learn"] / least["ours"], 2),
        "times reading": round(least["ours"] / least["reading"], 2),
        "same labels": float(np.mean(np.asarray(labels[0]) == np.asarray(labels[1]))),
    }  # fmt: skip


def main(given: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--rows", type=int, help="in place of those of the case")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args(given)
    out = {}
    with local_cluster(chosen.workers) as cluster, Client(cluster) as client:
        for name in chosen.cases:
            rows, d, k = CASES[name]
            with tempfile.TemporaryDirectory() as folder:
                case = (chosen.rows or rows, d, k)
                place, tasks = Path(folder), OnCluster(client)
                out[name] = compared(place, case, chosen.dtype, chosen.repeats, tasks)
    print(json.dumps(out, indent=1))
    return out


if __name__ == "__main__":
    main()
