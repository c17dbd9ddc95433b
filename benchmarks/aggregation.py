"""Time the aggregation beside straightforward loops over pairs; print one JSON object.

    python benchmarks/aggregation.py                            # some minutes
    python benchmarks/aggregation.py --cases A --sizes 1000 10000 100000

What is timed. Local estimates are simulated as those of partitions whose labels are known, 30 % of
them with wild means. "everything" goes from messages to model and verdict with the default rule;
"all pairs" does so in the paper's mode, with the L2 distances of all pairs, their filter, and the
reduction. The rival does the latter with loops in Python: one call of scipy's
``multivariate_normal.pdf`` for each pair of components (the norms of the mixtures once each), and a
reduction that computes one divergence after the other with numpy. It is run on as many random pairs
of mixtures as ``--pairs`` says, and its seconds a pair are scaled to all pairs; its reduction runs
in full. Times are the least of several repetitions, ours and the rival's in turn.

Sizes are run in a process of their own each, which tells its peak memory before and after.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import multivariate_normal
from threadpoolctl import threadpool_limits

from dfmr_dask.aggregate.aggregators import Aggregation, aggregate, rule_named
from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture

WILD = 0.3  # share of partitions with wild means
MM_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Case:
    """Messages that are aggregated."""

    partitions: int
    n_components: int
    n_features: int
    rows: int
    overlap: float = 0.1


CASES: Mapping[str, Case] = {"A": Case(100, 5, 10, 1000), "B": Case(50, 10, 50, 5000)}


def simulated(case: Case, seed: int = 0) -> list[Message]:
    """Messages of partitions whose labels are known, the first ones with wild means."""
    truth = population_with_overlap(case.n_components, case.n_features, case.overlap, seed)
    rng = np.random.default_rng(seed)
    lower = np.linalg.cholesky(truth.params["covariances"])
    return [_said(i, case, truth, lower, rng) for i in range(case.partitions)]


def _said(
    i: int, case: Case, truth: Mixture, lower: NDArray[np.float64], rng: np.random.Generator
) -> Message:
    k, d = truth.params["means"].shape
    count = np.maximum(rng.multinomial(case.rows, truth.weights), d + 1)
    bartlett = np.tril(rng.standard_normal((k, d, d)), -1)
    diagonal = np.arange(d)
    bartlett[:, diagonal, diagonal] = np.sqrt(rng.chisquare(count[:, None] - 1 - diagonal))
    factor = lower @ bartlett
    noise = (lower @ rng.standard_normal((k, d, 1)))[..., 0] / np.sqrt(count)[:, None]
    wild = 100.0 * rng.standard_normal((k, d)) if i < WILD * case.partitions else 0.0
    params = {
        "means": truth.params["means"] + noise + wild,
        "covariances": factor @ factor.swapaxes(1, 2) / count[:, None, None],
    }
    order = rng.permutation(k)
    mixture = Mixture(truth.family, count / count.sum(), params).reordered(order)
    return Message(i, "fitted", case.rows, mixture=mixture)


def product(one: Mixture, other: Mixture) -> float:
    """Integral of a product of densities, one pair of components after the other."""
    total = 0.0
    mu, sigma = other.params["means"], other.params["covariances"]
    for w, mean, covariance in zip(one.weights, *one.params.values(), strict=True):
        for i, v in enumerate(other.weights):
            total += w * v * multivariate_normal.pdf(mean, mu[i], covariance + sigma[i])
    return total


def reduced(mixtures: list[Mixture], start: Mixture) -> list[float]:
    """Reduce all components with equal shares by loops; returns the objective."""
    weights = np.concatenate([one.weights for one in mixtures]) / len(mixtures)
    means = np.concatenate([one.params["means"] for one in mixtures])
    covariances = np.concatenate([one.params["covariances"] for one in mixtures])
    centers, spreads = start.params["means"].copy(), start.params["covariances"].copy()
    objective = [np.inf]
    while len(objective) < MM_STEPS:
        cost = np.array(
            [
                [
                    divergence(mean, covariance, center, spread)
                    for center, spread in zip(centers, spreads, strict=True)
                ]
                for mean, covariance in zip(means, covariances, strict=True)
            ]
        )
        nearest = cost.argmin(axis=1)
        objective.append(float(weights @ cost.min(axis=1)))
        if objective[-1] >= objective[-2] * (1.0 - 1e-12):
            break
        for k in range(len(centers)):
            mine = np.flatnonzero(nearest == k)
            share = weights[mine] / weights[mine].sum()
            centers[k] = share @ means[mine]
            spreads[k] = sum(
                s * (covariances[a] + np.outer(means[a] - centers[k], means[a] - centers[k]))
                for s, a in zip(share, mine, strict=True)
            )
    return objective[1:]


def divergence(mean: Any, covariance: Any, center: Any, spread: Any) -> float:
    """KL divergence between two Gaussians."""
    precision, offset = np.linalg.inv(spread), mean - center
    log_dets = np.linalg.slogdet(spread)[1] - np.linalg.slogdet(covariance)[1]
    trace = np.trace(precision @ covariance)
    return float(0.5 * (trace + offset @ precision @ offset + log_dets - len(mean)))


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that a call takes, and what it returns."""
    began = time.perf_counter()
    found = run()
    return time.perf_counter() - began, found


def compared(case: Case, pairs: int, repeats: int, seed: int) -> dict[str, Any]:
    """Seconds of ours and of the loops on one case."""
    messages = simulated(case, seed)
    mixtures = [message.mixture for message in messages if message.mixture is not None]
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(len(mixtures), size=2, replace=False) for _ in range(pairs)]
    paper = rule_named("paper")
    aggregate(messages), aggregate(messages, rule=paper)  # machine code is made before
    least = dict.fromkeys(("everything", "all pairs", "a pair", "norms", "reduction"), np.inf)
    ours: Aggregation = aggregate(messages)
    kept = [mixtures[i] for i in ours.verdict.kept]
    for _ in range(repeats):
        seconds = {
            "everything": timed(lambda: aggregate(messages))[0],
            "all pairs": timed(lambda: aggregate(messages, rule=paper))[0],
            "a pair": timed(lambda: [product(mixtures[i], mixtures[j]) for i, j in drawn])[0]
            / pairs,
            "norms": timed(lambda: [product(one, one) for one in mixtures[:pairs]])[0]
            * (len(mixtures) / len(mixtures[:pairs])),
            "reduction": timed(lambda: reduced(kept, ours.center))[0],
        }
        least = {name: min(least[name], seconds[name]) for name in least}
    return _said_of(case, least, pairs)


def _said_of(case: Case, least: Mapping[str, float], pairs: int) -> dict[str, Any]:
    m = case.partitions
    rival = least["a pair"] * m * (m - 1) / 2 + least["norms"] + least["reduction"]
    ours = {name: least[name] for name in ("everything", "all pairs")}
    return {
        "partitions": m,
        "n_components": case.n_components,
        "n_features": case.n_features,
        "seconds": ours,
        "loops": {
            "seconds": rival,
            "milliseconds a pair": 1e3 * least["a pair"],
            "measured on pairs": pairs,
            "scaled to pairs": m * (m - 1) // 2,
            "reduction seconds": least["reduction"],
        },
        "times faster": {name: rival / seconds for name, seconds in ours.items()},
    }


def sized(m: int, seed: int) -> dict[str, Any]:
    """Seconds and memory for m partitions, of which the machine code is there already."""
    messages = simulated(Case(m, 5, 10, 1000), seed)
    aggregate(simulated(Case(120, 5, 10, 1000), seed))
    before = peak_memory()
    seconds, found = timed(lambda: aggregate(messages))
    return {
        "partitions": m,
        "seconds": seconds,
        "peak MB before": before,
        "peak MB": peak_memory(),
        "kept": len(found.verdict.kept),
        "wild ones kept": sum(i < WILD * m for i in found.verdict.kept),
    }


def peak_memory() -> float:
    """Most memory that this process has had, in MB."""
    unit = 1.0 if sys.platform == "darwin" else 1024.0  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def in_a_process(m: int, seed: int) -> dict[str, Any]:
    """Run one size in a process of its own."""
    command = [sys.executable, __file__, "--alone", str(m), "--seed", str(seed)]
    told: dict[str, Any] = json.loads(subprocess.run(
        command, check=True, capture_output=True, text=True
    ).stdout)  # fmt: skip
    return told


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--sizes", nargs="*", type=int, default=[1000, 10_000])
    parser.add_argument("--pairs", type=int, default=20, help="pairs that the loops run on")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", type=int, help="one size, in this process")
    given = parser.parse_args()
    with threadpool_limits(1):
        if given.alone is not None:
            print(json.dumps(sized(given.alone, given.seed)))
            return
        found: dict[str, Any] = {
            name: compared(CASES[name], given.pairs, given.repeats, given.seed)
            for name in given.cases
        }
        found["sizes"] = [in_a_process(m, given.seed) for m in given.sizes]
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
