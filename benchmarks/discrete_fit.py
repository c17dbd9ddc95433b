"""Local fits of genotypes beside NumPy in float64, and end to end beside scikit-learn's clustering.

    python benchmarks/discrete_fit.py             # 8000 people, 5000 variants, K = 5
    python benchmarks/discrete_fit.py 2000 1000

Times are processor times of one thread, the best of several.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit, logsumexp
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from dfmr_dask import BinomialMixture
from dfmr_dask.families import Binomial
from dfmr_dask.kernels import expected_sums
from dfmr_dask.mixture import Mixture

K, REPEATS, MISSING = 5, 5, 0.03
SHARES = np.array([0.3, 0.2, 0.2, 0.15, 0.15])
FAMILY = Binomial(2)


def populations(n_variants: int, rng: np.random.Generator) -> Mixture:
    """Five populations: one apart, and two pairs that have parted lately."""

    def drifted(p: Any, share: float) -> Any:
        a = (1.0 - share) / share
        return np.clip(rng.beta(p * a, (1.0 - p) * a), 0.002, 0.998)

    ancestor = rng.uniform(0.1, 0.9, n_variants)
    out = drifted(ancestor, 0.1)
    west, east = drifted(out, 0.04), drifted(out, 0.06)
    five = [drifted(ancestor, 0.08)]
    five += [drifted(one, 0.006) for one in (west, west, east, east)]
    return Mixture(FAMILY, SHARES, {"frequencies": np.array(five)})


def best_of(function: Callable[[], Any], repeats: int = REPEATS) -> tuple[float, Any]:
    """Return the shortest processor time, in seconds, and what came out.

    Of one thread that is the time on an idle machine, and hardly depends on who else is on it.
    """
    found, times = function(), []
    for _ in range(repeats):
        began = time.process_time()
        found = function()
        times.append(time.process_time() - began)
    return min(times), found


def iteration_by_numpy(g: Mixture, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """One E- and M-step on rows in float64."""
    p = g.params["frequencies"]
    joint = x @ logit(p).T + 2.0 * np.log1p(-p).sum(axis=1) + np.log(g.weights)
    r = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    return np.asarray(r.T @ x)


def iterations(g: Mixture, x: NDArray[np.int8], rng: np.random.Generator) -> dict[str, float]:
    """Return nanoseconds a genotype and iteration."""
    found = {}
    holed = x.copy()
    holed[rng.random(x.shape) < MISSING] = -1
    wide = x.astype(np.float64)
    for name, run in (
        ("NumPy, float64", lambda: iteration_by_numpy(g, wide)),
        ("int8", lambda: expected_sums(FAMILY, g.weights, g.params, x)),
        (f"int8, {MISSING:.0%} missing", lambda: expected_sums(FAMILY, g.weights, g.params, holed)),
    ):
        seconds, _ = best_of(run)
        found[name] = round(seconds / x.size * 1e9, 2)
    return found


def ours(x: NDArray[np.int8]) -> NDArray[np.intp]:
    """The estimator, on one partition, from int8 rows to labels."""
    return np.asarray(BinomialMixture(K, random_state=0).fit_predict(x))


def theirs(x: NDArray[np.int8]) -> NDArray[np.intp]:
    """Scikit-learn's principal components and k-means, in float64."""
    scores = PCA(K - 1, random_state=0).fit_transform(x.astype(np.float64))
    return np.asarray(KMeans(K, n_init=10, random_state=0).fit_predict(scores))


def main(n: int = 8000, n_variants: int = 5000) -> None:
    """Print both comparisons as JSON."""
    rng = np.random.default_rng(0)
    g = populations(n_variants, rng)
    drawn, labels = g.sample(n, rng)
    x = drawn.astype(np.int8)
    del drawn
    with threadpool_limits(1):
        told: dict[str, Any] = {"ns_a_genotype": iterations(g, x[: min(n, 4000)], rng)}
        for name, run in (("dfmr_dask", ours), ("PCA + KMeans, float64", theirs)):
            seconds, found = best_of(lambda run=run: run(x), 2)  # type: ignore[misc]
            rand = adjusted_rand_score(labels, found)
            told[name] = {"seconds": round(seconds, 2), "adjusted_rand": round(rand, 3)}
    print(json.dumps(told))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
