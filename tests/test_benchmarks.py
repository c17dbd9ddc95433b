"""The benchmarks run, and print one JSON value: on data so small that their figures say nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def printed(name: str, tmp_path: Path, *arguments: str) -> Any:
    """Run a benchmark in a process of its own, and read what it prints."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / name), *arguments],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_local_fits_are_timed_beside_those_of_scikit_learn(tmp_path: Path) -> None:
    found = printed(
        "local_fit.py", tmp_path, "--share", "0.002", "--seeds", "0", "1", "--cases", "A diag",
        "--only-cases",
    )["A diag"]  # fmt: skip
    assert found["seeds"] == [0, 1]
    for start in ("same start", "own start"):
        assert set(found[start]) == {"seconds", "reached", "times faster"}
    assert found["iteration"]["times faster"] > 0
    assert found["iteration"]["share of GEMM peak"] > 0
    assert found["scratch MB"]["ours"] < 32


@pytest.mark.slow
def test_passes_are_counted(tmp_path: Path) -> None:
    found = printed("passes.py", tmp_path, "--rows", "1500", "--seeds", "0", "--cases", "2")
    assert len(found) == 2
    methods = {"plain EM", "extrapolated", "extrapolated after growing subsamples"}
    assert {"n_components", "n_features", "overlap"} | methods == set(found[0])
    for case in found:
        assert case["extrapolated"]["over all rows"] == case["extrapolated"]["in all"]
        assert 0 <= min(case[method]["ended lower by"] for method in methods) < 1e-9


def test_starts_are_compared(tmp_path: Path) -> None:
    found = printed(
        "starts.py", tmp_path, "--cells", "d2", "--problems", "0", "--starts", "2",
        "--rows", "3000",
    )  # fmt: skip
    text = json.dumps(found)
    assert "d2" in text
    assert "ours" in text


def test_the_aggregation_is_timed_beside_loops_over_pairs(tmp_path: Path) -> None:
    found = printed(
        "aggregation.py", tmp_path, "--cases", "A", "--pairs", "2", "--repeats", "1",
        "--sizes", "150",
    )  # fmt: skip
    assert found["A"]["loops"]["scaled to pairs"] == 4950
    assert found["A"]["loops"]["measured on pairs"] == 2
    assert set(found["A"]["times faster"]) == {"everything", "all pairs"}
    (size,) = found["sizes"]
    assert size["wild ones kept"] == 0
    assert size["kept"] > 75
    assert size["peak MB"] >= size["peak MB before"]


@pytest.mark.slow
def test_many_partitions_share_tasks(tmp_path: Path) -> None:
    found = printed(
        "many_partitions.py", tmp_path, "--partitions", "120", "--many", "100", "--together", "30"
    )
    assert (found["partitions"], found["failed"], found["partitions a task"]) == (120, 0, 30)
    assert set(found["peak MB"]) == {"scheduler", "client", "workers"}


@pytest.mark.slow
def test_the_scheduler_stays_small_with_a_hundred_thousand_partitions(tmp_path: Path) -> None:
    found = printed("many_partitions.py", tmp_path)
    assert found["partitions"] == 100_000
    assert found["growth MB"]["scheduler"] < 1000


@pytest.mark.slow
def test_a_store_is_fitted_beside_a_bare_read_and_em_by_hand(tmp_path: Path) -> None:
    found = printed(
        "out_of_core.py", tmp_path, "--rows", "60000", "--small", "30000", "--passes", "3",
        "--partition-rows", "3000", "--chunk-rows", "1000", "--workers", "1",
        "--folder", str(tmp_path),
    )  # fmt: skip
    small, large = found["sizes"]
    assert (small["partitions"], large["partitions"]) == (10, 20)
    assert large["bytes"] == 60_000 * 10 * 4
    for size in found["sizes"]:
        assert size["peak MB"] > 100  # that of several processes
        assert sum(size["shares"].values()) == pytest.approx(1.0)
        assert min(size["shares"].values()) > 0.0
    clean, corrupted = found["by hand"], found["by hand, 30 % in a wrong unit"]
    assert clean["by hand"]["score"] == pytest.approx(clean["ours"]["score"], abs=0.05)
    assert corrupted["ours"]["dropped"] == 6
    assert corrupted["by hand"]["error"] > 100 * corrupted["ours"]["error"]


@pytest.mark.slow
def test_labels_are_timed_beside_those_of_scikit_learn(tmp_path: Path) -> None:
    found = printed(
        "labelling.py", tmp_path, "--rows", "3000", "--cases", "A", "--repeats", "1",
        "--workers", "1",
    )["A"]  # fmt: skip
    assert set(found["seconds"]) == {"ours", "scikit-learn", "reading"}
    assert found["times faster"] > 0
    assert found["same labels"] > 0.999


@pytest.mark.slow
def test_fits_of_genotypes_are_timed_beside_numpy_and_scikit_learn(tmp_path: Path) -> None:
    told = printed("discrete_fit.py", tmp_path, "400", "300")
    assert set(told["ns_a_genotype"]) == {"NumPy, float64", "int8", "int8, 3% missing"}
    assert 0.0 < told["dfmr_dask"]["adjusted_rand"] <= 1.0
