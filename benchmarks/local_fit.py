"""Time local fits beside scikit-learn's, in one process, one thread each; print one JSON object.

    python benchmarks/local_fit.py                      # all cases, an hour or more
    python benchmarks/local_fit.py --cases A B --seeds 0 1
    python benchmarks/local_fit.py --share 0.01         # smaller data, to see how it looks

What is timed. Every fit leaves a trace of (seconds since it began, mean log density a row). A fit
is done when its trace first reaches the reference less 1e-4 nats a row; the reference is the best
score that a fit from the truth and both of our fits reach on that data, frozen before scikit-learn
begins, which is stopped when it is done, or when an iteration gains less than 1e-6, or after 100.
Both start once from the same means, weights and precisions (moments of k-means clusters of 20 000
rows), and once each from a start of its own, whose making is part of its time. An iteration is the
median time between two entries of a trace. Machine code is made before anything is timed; how long
that takes in a fresh process is told apart. A median over seeds counts fits that never got there as
infinitely slow.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.families.covariance_types import params_of, precisions_cholesky_of
from dfmr_dask.kernels import expected_sums
from dfmr_dask.local import em, start
from dfmr_dask.mixture import Mixture

NEAR = 1e-4  # nats a row below the reference: there
PASSES = 6  # that an iteration's time is the median of
SCORED = 200_000  # rows that scratch memory is measured on


@dataclass(frozen=True, slots=True)
class Case:
    """Simulated data, and what is fitted to them."""

    rows: int
    n_features: int
    n_components: int
    covariance_type: str = "full"
    dtype: str = "float64"
    overlap: float = 0.05
    work: str = "float64"


CASES: Mapping[str, Case] = {
    "A": Case(1_000_000, 10, 5),
    "A float32": Case(1_000_000, 10, 5, dtype="float32"),
    "A float32 work": Case(1_000_000, 10, 5, dtype="float32", work="float32"),
    "B": Case(200_000, 50, 10),
    "C": Case(2_000_000, 2, 8),
    "A diag": Case(1_000_000, 10, 5, covariance_type="diag"),
}


@dataclass(slots=True)
class Trace:
    """Scores of a fit against the seconds since it began."""

    began: float = field(default_factory=time.perf_counter)
    seconds: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def add(self, score: float) -> None:
        """Note a score that has just been reached."""
        self.seconds.append(time.perf_counter() - self.began)
        self.scores.append(score)

    def time_to(self, score: float) -> float:
        """Seconds until the score was first reached; infinity if it never was."""
        return next(
            (t for t, s in zip(self.seconds, self.scores, strict=True) if s >= score), np.inf
        )

    def iteration(self) -> float:
        """Median seconds of an iteration."""
        return float(np.median(np.diff(self.seconds))) if len(self.seconds) > 1 else np.nan


class Reached(Exception):
    """Raised to stop a fit that has nothing more to show."""


class Traced(GaussianMixture):
    """scikit-learn's estimator, with a trace of its own scores."""

    def watch(self, goal: float) -> Trace:
        """Return the trace that the next fit fills; the fit stops once it reaches the goal."""
        self.goal_, self.trace_ = goal, Trace()
        return self.trace_

    def _e_step(self, X: Any, **options: Any) -> Any:
        out = super()._e_step(X, **options)
        self.trace_.add(float(out[0]))
        if out[0] >= self.goal_:
            raise Reached
        return out


def ours(x: NDArray[Any], case: Case, first: Mixture | None, seed: int) -> Trace:
    """Fit as ``GaussianMixture.fit`` does with one partition; without a start, from its own."""
    trace = Trace()
    if first is None:
        family = COVARIANCE_TYPES[case.covariance_type]
        rng = np.random.default_rng(seed)
        order = start.Order(family, case.n_components, case.n_features, alone=True)
        sample = start.draw_sample(x, order, rng)
        first = start.propose(sample, family, case.n_components, rng)
    em.fit(
        x, first, strength=len(x) ** -0.5, dtype_work=case.work,
        report=lambda _, score: trace.add(score),
    )  # fmt: skip
    return trace


def theirs(x: NDArray[Any], case: Case, first: Mixture | None, seed: int, goal: float) -> Trace:
    """Fit with scikit-learn until the goal is reached, or nothing is gained any more."""
    given: dict[str, Any] = {}
    if first is not None:
        given = {"weights_init": first.weights, "means_init": first.params["means"]}
        given["precisions_init"] = (
            np.linalg.inv(first.params["covariances"])
            if "covariances" in first.params
            else 1.0 / first.params["variances"]
        )
    given = {name: value.astype(case.dtype) for name, value in given.items()}
    rival = Traced(
        case.n_components, covariance_type=case.covariance_type,
        tol=1e-6, max_iter=100, random_state=seed, **given,
    )  # fmt: skip
    trace = rival.watch(goal)
    with contextlib.suppress(Reached):
        rival.fit(x)
    return trace


def common_start(x: NDArray[Any], case: Case, seed: int) -> Mixture:
    """Moments of the k-means clusters of some rows."""
    few = x[:20_000].astype(np.float64)
    labels = KMeans(case.n_components, n_init=1, random_state=seed).fit_predict(few)
    groups = [few[labels == k] for k in range(case.n_components)]
    covariances = np.stack([np.cov(rows.T, bias=True).reshape(x.shape[1], -1) for rows in groups])
    if case.covariance_type == "diag":
        covariances = np.diagonal(covariances, axis1=1, axis2=2)
    params = params_of(case.covariance_type, [rows.mean(axis=0) for rows in groups], covariances)
    shares = np.array([len(rows) for rows in groups]) / len(few)
    return Mixture(COVARIANCE_TYPES[case.covariance_type], shares, params)


def truth_of(case: Case, seed: int) -> Mixture:
    """The population; for diagonal covariances one of that kind."""
    truth = population_with_overlap(case.n_components, case.n_features, case.overlap, seed=seed)
    if case.covariance_type != "diag":
        return truth
    variances = np.diagonal(truth.params["covariances"], axis1=1, axis2=2)
    params = {"means": truth.params["means"], "variances": variances}
    return Mixture(COVARIANCE_TYPES["diag"], truth.weights, params)


def measured(case: Case, seed: int) -> dict[str, Any]:
    """Time both on one data set."""
    truth = truth_of(case, seed)
    x = truth.sample(case.rows, np.random.default_rng(seed))[0].astype(case.dtype)
    first = common_start(x, case, seed)
    best = em.fit(x, truth, strength=len(x) ** -0.5, tol=1e-8)
    mine = {"same start": ours(x, case, first, seed), "own start": ours(x, case, None, seed)}
    reference = max(best.log_likelihood, *(max(trace.scores) for trace in mine.values()))
    out: dict[str, Any] = {"seed": seed, "reference": reference}
    for name, given in (("same start", first), ("own start", None)):
        other = theirs(x, case, given, seed, reference - NEAR)
        out[name] = {
            "ours": mine[name].time_to(reference - NEAR),
            "scikit-learn": other.time_to(reference - NEAR),
            "our shortfall": reference - max(mine[name].scores),
            "their shortfall": reference - max(other.scores),
            "our passes": len(mine[name].scores),
            "their passes": len(other.scores),
        }
        if given is not None:
            iteration = {"ours": plain_iteration(x, case, first), "scikit-learn": other.iteration()}
            out["iteration"] = {k: 1e9 * v / len(x) for k, v in iteration.items()}
    return out


def plain_iteration(x: NDArray[Any], case: Case, first: Mixture) -> float:
    """Median seconds of an EM iteration of ours, without extrapolation, in the case's precision.

    A fit in single precision ends in double precision: only its first passes count.
    """
    trace = Trace()
    em.fit(
        x, first, strength=len(x) ** -0.5, tol=0.0, max_iter=2 * PASSES, accelerate=False,
        dtype_work=case.work, report=lambda _, score: trace.add(score),
    )  # fmt: skip
    trace.seconds = trace.seconds[:PASSES]
    return trace.iteration()


def summary(
    case: Case, runs: Sequence[Mapping[str, Any]], peak: Mapping[str, float]
) -> dict[str, Any]:
    """Medians over seeds, their ratios, and how far the kernel is from the machine's limit."""
    out: dict[str, Any] = {"case": vars_of(case), "seeds": [run["seed"] for run in runs]}
    for name in ("same start", "own start"):
        sides = {
            side: float(np.median([run[name][side] for run in runs]))
            for side in ("ours", "scikit-learn")
        }
        got_there = {
            side: sum(np.isfinite(run[name][side]) for run in runs)
            for side in ("ours", "scikit-learn")
        }
        ratios = [run[name]["scikit-learn"] / run[name]["ours"] for run in runs]
        out[name] = {
            "seconds": sides, "reached": got_there, "times faster": float(np.median(ratios)),
        }  # fmt: skip
    ns = {
        side: float(np.median([run["iteration"][side] for run in runs]))
        for side in ("ours", "scikit-learn")
    }
    ratio = float(
        np.median([r["iteration"]["scikit-learn"] / r["iteration"]["ours"] for r in runs])
    )
    flops = operations(case)
    out["iteration"] = {
        "ns a row": ns, "times faster": ratio, "flops a row": flops,
        "bytes a row": case.n_features * np.dtype(case.dtype).itemsize,
        "GF/s": flops / ns["ours"], "share of GEMM peak": flops / ns["ours"] / peak[case.work],
    }  # fmt: skip
    return out


def operations(case: Case) -> int:
    """Multiplications and additions of a row that cannot be avoided, exponentials left out."""
    d, k = case.n_features, case.n_components
    if case.covariance_type == "diag":
        return k * (3 * d + 4 * d)
    return k * 2 * (d * (d + 1) // 2) * 2 + k * 4 * d


def gemm_peak(work: str) -> float:
    """GF/s of a product of matrices, on one thread."""
    a = np.random.default_rng(0).normal(size=(1000, 1000)).astype(work)
    return 2.0 / min(seconds(lambda: a @ a) for _ in range(7))


def prediction(seeds: Sequence[int], share: float) -> dict[str, Any]:
    """Rows a second of ``predict`` on case B: ours, and scikit-learn's in chunks of 4096 rows.

    Chunks are scikit-learn's fastest way, all rows at once are ours.
    """
    case = replace(CASES["B"], rows=max(8192, int(100_000 * share)))
    runs = [_predicted(case, seed) for seed in seeds]
    rows = {side: float(np.median([run[side] for run in runs])) for side in runs[0]}
    return {"rows a second": rows, "times faster": rows["ours"] / rows["scikit-learn"]}


def _predicted(case: Case, seed: int) -> dict[str, float]:
    truth = truth_of(case, seed)
    x = truth.sample(case.rows, np.random.default_rng(seed))[0]
    rival = GaussianMixture(case.n_components)
    rival.weights_, rival.means_ = truth.weights, truth.params["means"]
    rival.precisions_cholesky_ = precisions_cholesky_of("full", truth.params["covariances"])
    chunks = [x[i : i + 4096] for i in range(0, len(x), 4096)]
    answers = {
        "ours": lambda: [truth.labels(x)],
        "scikit-learn": lambda: [rival.predict(chunk) for chunk in chunks],
    }
    one, other = (np.concatenate(answer()) for answer in answers.values())
    assert (one == other).mean() > 0.9999
    return {side: len(x) / seconds(answer) for side, answer in answers.items()}


def scratch(case: Case, share: float) -> dict[str, float]:
    """Memory in MB that a fit needs beside its rows."""
    truth = truth_of(case, 0)
    n = int(min(case.rows, SCORED) * min(1.0, 10 * share))
    x = truth.sample(n, np.random.default_rng(0))[0].astype(case.dtype)
    rival = GaussianMixture(
        case.n_components, covariance_type=case.covariance_type, max_iter=2, tol=0.0,
        init_params="random_from_data", random_state=0,
    )  # fmt: skip
    fits = {
        "ours": lambda: em.fit(x, truth, strength=0.01, tol=0.0, max_iter=12),
        "scikit-learn": lambda: rival.fit(x),
    }
    return {"rows": n} | {side: peak_memory(fit) / 1e6 for side, fit in fits.items()}


def peak_memory(function: Callable[[], Any]) -> int:
    """Bytes that are allocated at most."""
    tracemalloc.start()
    function()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def two_threads(share: float) -> dict[str, float]:
    """How much faster two threads fit two partitions than one thread does."""
    out = {}
    for name in ("A", "B", "C"):
        case = replace(CASES[name], rows=max(2000, int(CASES[name].rows // 4 * share)))
        truth = truth_of(case, 0)
        x = truth.sample(case.rows, np.random.default_rng(0))[0]

        def fit(_: int, x: NDArray[Any] = x, truth: Mixture = truth) -> None:
            em.fit(x, truth, strength=0.01, tol=0.0, max_iter=8, accelerate=False)

        ratios = []
        with ThreadPoolExecutor(2) as pool:
            for _ in range(5):
                alone = seconds(lambda: [fit(0), fit(1)])
                ratios.append(alone / seconds(lambda: list(pool.map(fit, range(2)))))
        out[name] = float(np.median(ratios))
    return out


def compilation() -> dict[str, float]:
    """Seconds that a fresh process needs for its first sums: compiled anew, and compiled before."""
    program = (
        "import time, numpy as np\n"
        "from dfmr_dask.kernels import expected_sums\n"
        "from dfmr_dask.families import Gaussian\n"
        "one = {'means': np.zeros((1, 2)), 'covariances': np.eye(2)[None]}\n"
        "began = time.perf_counter()\n"
        "expected_sums(Gaussian(), np.ones(1), one, np.zeros((3, 2)))\n"
        "print(time.perf_counter() - began)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}
        times = [
            float(
                subprocess.run(
                    [sys.executable, "-c", program],
                    env=environment, capture_output=True, text=True, check=True,
                ).stdout
            )
            for _ in range(2)
        ]  # fmt: skip
    return {"first process": times[0], "second process": times[1]}


def warm_up() -> None:
    """Have the machine code made, or read from disk, before anything is timed."""
    rng = np.random.default_rng(0)
    sizes = sorted({case.n_features for case in CASES.values()})
    for kind, d in itertools.product(("full", "diag"), sizes):
        case = Case(300, d, 2, covariance_type=kind)
        for dtype in ("float64", "float32"):
            x = rng.normal(size=(300, d)).astype(dtype)
            first = common_start(x, case, 0)
            for work in ("float64", "float32"):
                expected_sums(first.family, first.weights, first.params, x, work=work)
            first.labels(x)


def seconds(function: Callable[[], Any]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def vars_of(case: Case) -> dict[str, Any]:
    """Fields of a case by name."""
    return {name: getattr(case, name) for name in case.__slots__}


def finite(value: Any) -> Any:
    """Make values fit for JSON: infinity, where a fit never got there, becomes null."""
    if isinstance(value, Mapping):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [finite(one) for one in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--share", type=float, default=1.0, help="share of the rows")
    parser.add_argument("--only-cases", action="store_true", help="leave out what is not a fit")
    return parser.parse_args(given)


def sections(chosen: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    """Measure one section after the other."""
    peak = {work: gemm_peak(work) for work in ("float64", "float32")}
    yield "machine", {
        "python": platform.python_version(), "numpy": np.__version__,
        "scikit-learn": sklearn.__version__, "processor": platform.machine(),
        "GEMM GF/s": peak,
    }  # fmt: skip
    if not chosen.only_cases:
        yield "seconds to compile", compilation()
    for name in chosen.cases:
        case = replace(CASES[name], rows=max(2000, int(CASES[name].rows * chosen.share)))
        runs = []
        for seed in chosen.seeds:
            runs.append(measured(case, seed))
            print(name, json.dumps(finite(runs[-1])), file=sys.stderr, flush=True)
        yield name, summary(case, runs, peak) | {"scratch MB": scratch(case, chosen.share)}
    if not chosen.only_cases:
        yield "predict B", prediction(chosen.seeds, chosen.share)
        yield "two threads over one", two_threads(chosen.share)


def main(given: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure what is asked for, and print it."""
    chosen = arguments(given)
    with threadpool_limits(1):
        warm_up()
        found = {name: finite(value) for name, value in sections(chosen)}
    print(json.dumps(found, indent=1))
    return found


if __name__ == "__main__":
    main()
