"""Count passes over the rows: plain EM, extrapolated steps, growing subsamples; print JSON.

    python benchmarks/passes.py
    python benchmarks/passes.py --rows 20000 --seeds 0

All three begin at the same pilot, made from 10 000 rows, and end when an EM step gains less than
1e-6 nats a row. Medians over seeds: passes over all rows; passes in all, where one over a subsample
counts as its share of the rows; and by how much the penalised likelihood a row is lower than the
best of the three, which is also told for the worst seed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.kernels import expected_sums
from dfmr_dask.local import climbing, em, start
from dfmr_dask.mixture import Mixture

FULL = COVARIANCE_TYPES["full"]
CASES = (  # components, features, overlap
    (5, 10, 0.01), (5, 10, 0.1), (10, 10, 0.1), (10, 10, 0.3),
    (8, 2, 0.1), (15, 2, 0.3), (12, 3, 0.3), (10, 50, 0.01),
)  # fmt: skip
TOL = 1e-6  # nats a row


def climbed(x: NDArray[Any], first: Mixture, **options: Any) -> tuple[em.Fit, dict[str, float]]:
    """Climb on all rows, further than a run would; also count what was gone through.

    Returns
    -------
    fit : Fit
    told : dict
        Passes over all rows, and those with passes over subsamples as their share of the rows.
    """
    seen: list[float] = []

    def counted(*args: Any, **given: Any) -> Any:
        seen.append(sum(len(block) for block, _ in args[3]) / len(x))
        return expected_sums(*args, **given)

    with patch.object(climbing, "expected_sums", counted):
        fit = em.fit(x, first, strength=len(x) ** -0.5, tol=TOL, max_iter=2000, **options)
    return fit, {"over all rows": sum(share == 1.0 for share in seen), "in all": sum(seen)}


def counted(case: tuple[int, int, float], rows: int, seed: int) -> dict[str, dict[str, float]]:
    """Count passes on one data set."""
    n_components, n_features, overlap = case
    truth = population_with_overlap(n_components, n_features, overlap, seed=seed)
    x, _ = truth.sample(rows, np.random.default_rng(seed))
    order = start.Order(FULL, n_components, n_features, alone=True)
    sample = start.draw_sample(x, order, np.random.default_rng(seed))
    pilot = start.propose(sample, FULL, n_components, np.random.default_rng(seed))
    fits = {"plain EM": climbed(x, pilot, accelerate=False)}
    with patch.object(em, "subsamples", lambda *_: []):
        fits["extrapolated"] = climbed(x, pilot)
    fits["extrapolated after growing subsamples"] = climbed(x, pilot)
    best = max(fit.trace[-1] for fit, _ in fits.values())
    return {
        name: told | {"ended lower by": best - fit.trace[-1]} for name, (fit, told) in fits.items()
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
        names = ("n_components", "n_features", "overlap")
        out.append(
            dict(zip(names, case, strict=True))
            | {
                method: {
                    what: float(f"{np.median([run[method][what] for run in runs]):.3g}")
                    for what in told
                }
                | {"at worst": max(run[method]["ended lower by"] for run in runs)}
                for method, told in runs[0].items()
            }
        )
    print(json.dumps(out, indent=1))
    return out


if __name__ == "__main__":
    main()
