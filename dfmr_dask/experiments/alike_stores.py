"""Stores whose pieces are alike, or share components: what ``plan="auto"`` makes of them.

Rows of a simulated mixture lie in a Zarr store, one chunk a partition, and some partitions lie.
Each cell compares ``plan="auto"`` with ``plan="chunks"`` and with the oracle.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from dfmr_dask.corruption import Corruption
from dfmr_dask.data.source import Source, open_source
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.experiments.photograph import FULL
from dfmr_dask.experiments.populations import population
from dfmr_dask.experiments.worlds import Simulated
from dfmr_dask.run.pipeline import Settings, fit
from dfmr_dask.run.tasks import InProcess

ATTACKS = ("mean", "covariance", "data", "shift", "collude", "wide")
ORDER, FEATURES = 5, 10


@dataclass(frozen=True, slots=True)
class Taken:
    """The way that was taken, and errors over the oracle's; ``behind`` is in nats an honest row."""

    case: str
    route: str
    auto: float
    chunks: float
    behind: float

    def __str__(self) -> str:
        """Return one line of a table."""
        return (
            f"{self.case}: route {self.route}, err/Oracle auto {self.auto:.4f}, "
            f"chunks {self.chunks:.4f}, {self.behind:+.5f} nats below the oracle"
        )


def alike_stores(
    sizes: Sequence[tuple[int, int]] = ((20, 1000), (40, 1000), (20, 5000)),
    attacks: Sequence[str] = ATTACKS,
    alphas: Sequence[float] = (0.0, 0.3, 0.45),
    drift: float | None = None,
    seeds: Sequence[int] = range(3),
) -> list[Taken]:
    """Measure runs on stores of alike pieces, or of pieces with weights of their own.

    Parameters
    ----------
    sizes : sequence of (partitions, rows in each)
    attacks, alphas : sequences
    drift : float, optional
        The weights of each piece are drawn from Dirichlet(this times the true ones).
    seeds : sequence of int
    """
    out = []
    for case, parts, world, alpha, attack, seed in _cells(sizes, attacks, alphas, drift, seeds):
        out.append(_taken(case, parts, world, Corruption(attack, alpha), seed))
        print(out[-1], flush=True)
    return out


def _cells(
    sizes: Sequence[tuple[int, int]],
    attacks: Sequence[str],
    alphas: Sequence[float],
    drift: float | None,
    seeds: Sequence[int],
) -> Iterator[tuple[str, list[Any], Simulated, float, str, int]]:
    for seed in seeds:
        truth, other = (population(ORDER, FEATURES, seed=seed + 1000 * k) for k in range(2))
        world = Simulated(truth, other)
        for m, n in sizes:
            parts = world.honest([n] * m, seed, drift)
            for alpha in alphas:
                for attack in attacks if alpha else ("none",):
                    case = f"seed {seed} m={m} n={n} {attack} {alpha}"
                    yield case, parts, world, alpha, attack, seed


def _taken(
    case: str, parts: list[Any], world: Simulated, corruption: Corruption, seed: int
) -> Taken:
    m, n = len(parts), len(parts[0])
    alien = np.concatenate([world.alien(j, n, seed) for j in range(m)])
    settings = Settings(
        family=FULL, n_components=ORDER, seed=seed, corruption=corruption, compare=("oracle",)
    )
    with tempfile.TemporaryDirectory() as folder:
        rows = _stored(Path(folder) / "rows", np.concatenate(parts), n)
        others = _stored(Path(folder) / "others", alien, n)
        auto, chunks = (
            fit(open_source(rows, plan=plan), settings, InProcess(), replacement=_open(others))
            for plan in ("auto", "chunks")
        )
    byzantine = set(chunks.byzantine)
    honest = np.concatenate([x for j, x in enumerate(parts) if j not in byzantine])
    oracle = chunks.compared["oracle"]
    usual = error(oracle, world.truth)
    return Taken(
        case,
        "forced" if auto.way is None else auto.way.likeness.route,
        error(auto.mixture, world.truth) / usual,
        error(chunks.mixture, world.truth) / usual,
        float(oracle.score(honest)) - float(auto.mixture.score(honest)),
    )


def _stored(path: Path, rows: Any, n: int) -> Path:
    zarr.create_array(path, data=rows, chunks=(n, rows.shape[1]))
    return path


def _open(path: Path) -> Source:
    return open_source(path, plan="chunks")
