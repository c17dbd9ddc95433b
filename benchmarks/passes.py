"""Count passes over the rows: plain EM, extrapolated steps, growing subsamples; print JSON.

    python benchmarks/passes.py
    python benchmarks/passes.py --rows 20000 --seeds 0

All three begin at the same pilot, made from 10 000 rows. A pass over a subsample counts as its
share of the rows. What is counted are passes until the penalised likelihood a row is within 1e-5 of
the best that one of them ends at.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.local import em, start
from dfmr_dask.mixture import Mixture

FULL = COVARIANCE_TYPES["full"]
CASES = (  # components, features, overlap
    (5, 10, 0.01), (5, 10, 0.1), (10, 10, 0.1), (10, 10, 0.3),
    (8, 2, 0.1), (15, 2, 0.3), (12, 3, 0.3), (10, 50, 0.01),
)  # fmt: skip
NEAR = 1e-5  # nats a row
GROWTH = 6  # times as many rows in each next subsample


def climbed(x: NDArray[Any], first: Mixture, tol: float = 1e-8, **options: Any) -> em.Fit:
    """Climb on all rows, further than a run would."""
    return em.fit(x, first, strength=len(x) ** -0.5, tol=tol, max_iter=2000, **options)


def grown(x: NDArray[Any], first: Mixture, rows: int, seed: int) -> tuple[Mixture, float]:
    """Climb on growing random subsamples; return where that ends, and the passes that it took."""
    rng, passes, size = np.random.default_rng(seed), 0.0, GROWTH * rows
    while 2 * size < len(x):
        few = x[np.sort(rng.choice(len(x), size, replace=False))]
        one = climbed(few, first, tol=0.02 * first.n_parameters / size)
        first, passes, size = one.mixture, passes + one.n_iter * size / len(x), size * GROWTH
    return first, passes


def passes_to(fit: em.Fit, goal: float) -> float:
    """Passes until the trace reaches the goal; steps that were tried in vain are spread evenly."""
    reached = int(np.argmax(np.array(fit.trace) >= goal))
    return reached * fit.n_iter / max(1, len(fit.trace) - 1)


def counted(case: tuple[int, int, float], rows: int, seed: int) -> dict[str, float]:
    """Count passes on one data set."""
    n_components, n_features, overlap = case
    truth = population_with_overlap(n_components, n_features, overlap, seed=seed)
    x, _ = truth.sample(rows, np.random.default_rng(seed))
    p = FULL.n_parameters(n_components, n_features)
    sample = start.draw_sample(x, p, np.random.default_rng(seed), alone=True)
    pilot = start.propose(sample, FULL, n_components, np.random.default_rng(seed))
    later, spent = grown(x, pilot, len(sample.fit), seed)
    fits = {
        "plain EM": (climbed(x, pilot, accelerate=False), 0.0),
        "extrapolated": (climbed(x, pilot), 0.0),
        "extrapolated after growing subsamples": (climbed(x, later), spent),
    }
    goal = max(fit.trace[-1] for fit, _ in fits.values()) - NEAR
    return {
        name: passes_to(fit, goal) + before if fit.trace[-1] >= goal else float("inf")
        for name, (fit, before) in fits.items()
    }


def main(given: Sequence[str] | None = None) -> list[Mapping[str, Any]]:
    """Measure what is asked for, and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--cases", type=int, default=len(CASES), help="how many of them")
    chosen = parser.parse_args(given)
    out: list[Mapping[str, Any]] = []
    for case in CASES[: chosen.cases]:
        runs = [counted(case, chosen.rows, seed) for seed in chosen.seeds]
        medians = {
            name: round(float(np.median([run[name] for run in runs])), 1) for name in runs[0]
        }
        elsewhere = {name: sum(not np.isfinite(run[name]) for run in runs) for name in runs[0]}
        names = ("n_components", "n_features", "overlap")
        out.append(
            dict(zip(names, case, strict=True))
            | {"passes": {k: v if np.isfinite(v) else None for k, v in medians.items()}}
            | {"ended lower": elsewhere}
        )
    print(json.dumps(out, indent=1))
    return out


if __name__ == "__main__":
    main()
