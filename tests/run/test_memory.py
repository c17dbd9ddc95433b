"""What a worker process takes at most is what the plan promised."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import xarray as xr
from distributed import Client, LocalCluster

from dfmr_dask import GaussianMixture, open_source
from dfmr_dask.errors import TooLittleMemory
from dfmr_dask.run.cluster import LOOPBACK
from tests.repeating import repeating

N, D = 3_000_000, 8


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 200 MB in inner chunks of 6 MB, with weights and rows of NaN."""
    path, rng = tmp_path_factory.mktemp("memory") / "a.zarr", np.random.default_rng(0)
    x = rng.standard_normal((N, D)) + 4.0 * rng.integers(2, size=N)[:, None]
    x[::50] = np.nan
    weights = ("row", rng.integers(0, 3, N).astype(float))
    dataset = xr.Dataset({"x": (("row", "feature"), x), "w": weights})
    encoding = {
        "x": {"chunks": (100_000, D), "shards": (1_500_000, D)},
        "w": {"chunks": (100_000,)},
    }
    dataset.to_zarr(path, encoding=encoding, consolidated=False)
    return path


@contextmanager
def watched(peak: list[int]) -> Iterator[Client]:
    """Start a fresh worker process, and note the most memory that it ever takes."""
    options: dict[str, Any] = {"threads_per_worker": 1, "dashboard_address": f"{LOOPBACK}:0"}
    with (
        LocalCluster(n_workers=1, host=LOOPBACK, memory_limit="4GiB", **options) as cluster,
        Client(cluster) as client,
    ):
        (pid,) = client.run(os.getpid).values()
        worker = psutil.Process(pid)

        def look() -> None:
            peak[0] = max(peak[0], worker.memory_info().rss)

        with repeating(look, every=0.01):
            yield client


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "weighted", "streamed"),
    [
        ({"rows_per_partition": 300_000}, False, 0),
        ({"plan": "rows", "n_partitions": 1}, True, 0),
        ({"plan": "rows", "n_partitions": 1, "memory_per_worker": "1000MiB"}, True, 1),
    ],
)
def test_a_worker_keeps_the_promise_of_the_plan(
    store: Path, sizes: dict[str, Any], weighted: bool, streamed: int
) -> None:
    weight = "w" if weighted else None
    source = open_source(store, features="feature", sample_weight=weight, **sizes)
    assert len(source.plan.streamed) == streamed
    peak = [0]
    with watched(peak):
        GaussianMixture(2, random_state=0, outliers=100.0, max_iter=8).fit(source)
    assert source.plan.memory is not None
    assert 100 << 20 < peak[0] <= source.plan.memory


def test_a_plan_that_cannot_fit_is_refused_before_anything_runs(store: Path) -> None:
    source = open_source(store, features="feature", memory_per_worker="100MiB")
    with pytest.raises(TooLittleMemory, match=r"memory_per_worker: came 100.0 MiB"):
        GaussianMixture(2).fit(source)
