"""Studies that anybody can repeat: errors against the oracle's, scores against scikit-learn's.

    python -m dfmr_dask.experiments.studies truth
    python -m dfmr_dask.experiments.studies truth-50
    python -m dfmr_dask.experiments.studies store
    python -m dfmr_dask.experiments.studies photograph
    python -m dfmr_dask.experiments.studies adversaries
    python -m dfmr_dask.experiments.studies insiders
    python -m dfmr_dask.experiments.studies coverage 500    # data sets
    python -m dfmr_dask.experiments.studies orders
    python -m dfmr_dask.experiments.studies orders-50
    python -m dfmr_dask.experiments.studies orders-from-scores
    python -m dfmr_dask.experiments.studies orders-photograph
    python -m dfmr_dask.experiments.studies unlike-runs
    python -m dfmr_dask.experiments.studies alike-runs
    python -m dfmr_dask.experiments.studies alikeness
    python -m dfmr_dask.experiments.studies alike-attacked
    python -m dfmr_dask.experiments.studies shared-components
    python -m dfmr_dask.experiments.studies unlike
    python -m dfmr_dask.experiments.studies genotypes
    python -m dfmr_dask.experiments.studies genotypes-own
    python -m dfmr_dask.experiments.studies counts

Each prints one line a cell as soon as it is measured. Nothing here is needed by a run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfmr_dask.corruption import Corruption
from dfmr_dask.data.source import open_source
from dfmr_dask.experiments.accuracy import error, ratio_interval
from dfmr_dask.experiments.alike_stores import alike_stores
from dfmr_dask.experiments.alikeness import attacked, shared_components, significance
from dfmr_dask.experiments.counts import counts
from dfmr_dask.experiments.coverage import coverage
from dfmr_dask.experiments.genetic_faults import genetic_faults, own_faults
from dfmr_dask.experiments.insiders import insiders
from dfmr_dask.experiments.orders import (
    orders,
    orders_of_many_features,
    orders_of_photograph,
)
from dfmr_dask.experiments.orders_from_scores import orders_from_scores
from dfmr_dask.experiments.photograph import (
    FULL,
    PARTITIONS,
    Scored,
    adversaries,
    best_rival,
    photograph,
    pixels,
    scored,
)
from dfmr_dask.experiments.populations import population
from dfmr_dask.experiments.remembering import Remembering
from dfmr_dask.experiments.unlike import unlike
from dfmr_dask.experiments.unlike_pieces import unlike_pieces
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.pipeline import Settings, fit
from dfmr_dask.run.results import Result
from dfmr_dask.run.tasks import InProcess

__all__ = [
    "STUDIES",
    "Cell",
    "Measured",
    "Scored",
    "photograph",
    "pixels",
    "simulated_truth",
    "whole_store",
]

ALPHAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.45)
ATTACKS = ("mean", "covariance", "data")


@dataclass(frozen=True, slots=True)
class Cell:
    """Ratios of mean errors to the oracle's over seeds, with the upper ends of their intervals."""

    attack: str
    alpha: float
    dfmr: float
    dfmr_high: float
    vanilla: float
    honest_kept: float
    byzantine_kept: float


def simulated_truth(
    *,
    n_features: int,
    n_components: int,
    rows: int = 5000,
    scales: Sequence[float] | None = None,
    start_at_truth: bool = False,
    alphas: Sequence[float] = ALPHAS,
    attacks: Sequence[str] = ATTACKS,
    seeds: Sequence[int] = range(20),
) -> list[Cell]:
    """Measure errors of DFMR and vanilla over the oracle's, for each attack and share.

    Parameters
    ----------
    n_features, n_components : int
    rows : int
        In each of 40 partitions.
    scales : sequence of float, optional
        Factors of the components' standard deviations.
    start_at_truth : bool
        Local fits start at the true mixture, not at the common start.
    alphas, attacks, seeds : sequences
    """
    outcomes: dict[tuple[str, float], list[Measured]] = {}
    for seed in seeds:
        for attack, alpha, one in _attacked(
            n_features, n_components, rows, scales, start_at_truth, alphas, attacks, seed
        ):
            outcomes.setdefault((attack, alpha), []).append(one)
            print(f"seed {seed} {attack} {alpha}: {one}", flush=True)
    return [_cell(attack, alpha, ones) for (attack, alpha), ones in outcomes.items()]


@dataclass(frozen=True, slots=True)
class Measured:
    """Errors of one run, and what the filter kept."""

    dfmr: float
    vanilla: float
    oracle: float
    honest_kept: float
    byzantine_kept: float


def _attacked(
    n_features: int,
    n_components: int,
    rows: int,
    scales: Sequence[float] | None,
    start_at_truth: bool,
    alphas: Sequence[float],
    attacks: Sequence[str],
    seed: int,
) -> Iterator[tuple[str, float, Measured]]:
    truth = population(n_components, n_features, scales=scales, seed=seed)
    other = population(n_components, n_features, scales=scales, seed=1000 + seed)
    total = PARTITIONS * rows
    x, _ = truth.sample(total, generator(seed, Stage.DRAW))
    y, _ = other.sample(total, generator(seed, Stage.DRAW, 1))
    source = open_source(x, n_partitions=PARTITIONS, seed=seed)
    replacement = open_source(y, n_partitions=PARTITIONS, seed=seed)
    tasks = Remembering()
    for alpha in alphas:
        for attack in attacks if alpha else ("none",):
            corruption = Corruption("mean" if attack == "none" else attack, alpha)
            settings = Settings(
                family=FULL,
                n_components=n_components,
                seed=seed,
                start=truth if start_at_truth else None,
                corruption=corruption,
                compare=("vanilla", "oracle"),
            )
            result = fit(source, settings, tasks, replacement=replacement)
            yield attack, alpha, _measured(result, truth)


def _measured(result: Result, truth: Mixture) -> Measured:
    byzantine, kept = set(result.byzantine), set(result.verdict.kept)
    honest = set(range(len(result.messages))) - byzantine
    return Measured(
        error(result.mixture, truth),
        error(result.compared["vanilla"], truth),
        error(result.compared["oracle"], truth),
        len(kept & honest) / len(honest),
        len(kept & byzantine) / max(len(byzantine), 1),
    )


def _cell(attack: str, alpha: float, ones: Sequence[Measured]) -> Cell:
    oracle = [one.oracle for one in ones]
    dfmr, _, high = ratio_interval([one.dfmr for one in ones], oracle)
    vanilla, _, _ = ratio_interval([one.vanilla for one in ones], oracle)
    honest = float(np.mean([one.honest_kept for one in ones]))
    byzantine = float(np.mean([one.byzantine_kept for one in ones]))
    return Cell(attack, alpha, dfmr, high, vanilla, honest, byzantine)


def whole_store(seeds: Sequence[int] = range(5)) -> list[Scored]:
    """Compare scores on all rows of a simulated store, without corruption."""
    out = []
    for seed in seeds:
        truth = population(5, 10, separation=3.0, seed=seed)
        x, _ = truth.sample(PARTITIONS * 5000, generator(seed, Stage.DRAW))
        source = open_source(x, n_partitions=PARTITIONS, seed=seed)
        result = fit(source, Settings(family=FULL, n_components=5, seed=seed), InProcess())
        out.append(scored(f"seed {seed}", result, x, best_rival(x, 5, seed)))
        print(out[-1], flush=True)
    return out


STUDIES: Mapping[str, Callable[..., Sequence[Any]]] = {
    "truth": lambda: simulated_truth(n_features=10, n_components=5),
    "truth-50": lambda: simulated_truth(
        n_features=50, n_components=10, scales=(1.0, 1.0, 1.5, 2.0, 3.0), start_at_truth=True
    ),
    "store": whole_store,
    "photograph": photograph,
    "adversaries": adversaries,
    "insiders": insiders,
    "coverage": coverage,
    "orders": orders,
    "orders-50": orders_of_many_features,
    "orders-from-scores": orders_from_scores,
    "orders-photograph": orders_of_photograph,
    "unlike-runs": unlike_pieces,
    "alike-runs": alike_stores,
    "alikeness": significance,
    "alike-attacked": attacked,
    "shared-components": shared_components,
    "unlike": unlike,
    "genotypes": genetic_faults,
    "genotypes-own": own_faults,
    "counts": counts,
}


if __name__ == "__main__":
    for row in STUDIES[sys.argv[1]](*map(int, sys.argv[2:])):
        print(row)
