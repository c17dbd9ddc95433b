"""The command as tests call it: in this process, on configurations made small."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfmr_dask.command.cli import main

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = {
    "quickstart": (
        "simulate.stride=5",
        "simulate.chunk_rows=600",
        "mixture.n_components=4",
    ),
    "out-of-core": (
        "simulate.rows=12000",
        "simulate.chunk_rows=1000",
        "simulate.n_features=3",
        "simulate.separation=8",
        "source.rows_per_partition=1000",
        "mixture.n_components=5",
        "cluster.memory_per_worker=2GiB",
        "run.report=false",
    ),
    "paper-simulation": (
        "simulate.rows=24000",
        "simulate.chunk_rows=2000",
        "simulate.n_features=3",
        "simulate.separation=8",
        "aggregate.rho=3",
        "run.report=false",
    ),
}


def dfmr(*args: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(args)
    return int(left.value.code or 0)


def run_small(name: str, *args: str) -> int:
    sets = [part for value in SMALL[name] for part in ("--set", value)]
    return dfmr("run", str(CONFIGS / f"{name}.yaml"), *sets, *args)
