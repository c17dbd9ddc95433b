"""Real stores whose pieces are not alike: whole runs with ``plan="auto"`` beside ``"chunks"``.

Each cell tells by how many nats a row runs fall short of the best fit to all honest rows; what is
known of the pieces alone is the study of :mod:`dfmr_dask.experiments.unlike` (EVIDENCE 11).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from dfmr_dask.data.source import Source, open_source
from dfmr_dask.experiments.photograph import FULL
from dfmr_dask.experiments.scenes import SPOILT, Scene
from dfmr_dask.experiments.stores import Pieces
from dfmr_dask.experiments.unlike import SCENES, best_score, kept_all
from dfmr_dask.families.base import Rows
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.pipeline import Settings, fit
from dfmr_dask.run.results import Result
from dfmr_dask.run.tasks import InProcess

DIMS = ("row", "column", "pixel", "feature")


@dataclass(frozen=True, slots=True)
class Loss:
    """Nats a row below the best fit to all honest rows; negative is better than anyone found.

    ``auto``, ``places`` (dropped by their places) and ``chunks`` are runs on the store; ``vanilla``
    keeps all rows, dealt at random to partitions.
    """

    case: str
    route: str
    auto: float
    places: float
    vanilla: float
    chunks: float
    seconds: float

    def __str__(self) -> str:
        """Return one line of a table."""
        return (
            f"{self.case}: route {self.route}, auto {self.auto:+.4f}, places {self.places:+.4f}, "
            f"vanilla {self.vanilla:+.4f}, chunks {self.chunks:+.4f} ({self.seconds:.0f} s)"
        )


def unlike_pieces(
    names: Sequence[str] = tuple(SCENES),
    orders: Sequence[int] = (4, 8),
    kinds: Sequence[str] = tuple(SPOILT),
    alphas: Sequence[float] = (0.0, 0.1, 0.3),
    seeds: Sequence[int] = (0,),
) -> list[Loss]:
    """Measure runs on stores of every scene, with good pieces only and with bad ones."""
    out = []
    for case, scene, kind, bad, order, seed in _cells(names, orders, kinds, alphas, seeds):
        out.append(_lost(case, scene, kind, bad, order, seed))
        print(out[-1], flush=True)
    return out


def _cells(
    names: Sequence[str],
    orders: Sequence[int],
    kinds: Sequence[str],
    alphas: Sequence[float],
    seeds: Sequence[int],
) -> Iterator[tuple[str, Scene, str, frozenset[int], int, int]]:
    for seed, name in ((seed, name) for seed in seeds for name in names):
        scene = SCENES[name](seed)
        chosen = generator(seed, Stage.BYZANTINE).permutation(len(scene.rows))
        for order in orders:
            for alpha in alphas:
                bad = frozenset(int(i) for i in chosen[: int(alpha * len(chosen))])
                for kind in kinds if bad else ("none",):
                    case = f"{name} seed={seed} K={order} {kind} {len(bad)} of {len(chosen)}"
                    yield case, scene, kind, bad, order, seed


def _lost(case: str, scene: Scene, kind: str, bad: frozenset[int], order: int, seed: int) -> Loss:
    began = time.perf_counter()
    rows = scene.spoilt(kind, bad, seed) if bad else scene.rows
    honest = np.concatenate([x for i, x in enumerate(rows) if i not in bad])
    with tempfile.TemporaryDirectory() as folder:
        path = stored(Path(folder) / "pieces.zarr", scene, rows)
        auto = _run(opened(path), order, seed)
        mixtures = {
            "auto": auto.mixture,
            "places": _run(opened(path), order, seed, places="drop").mixture,
            "vanilla": kept_all(Pieces(rows, order, seed, scene.positions), seed),
            "chunks": _run(opened(path, "chunks"), order, seed).mixture,
        }
    best = best_score(honest, list(mixtures.values()), order, seed)
    short = {name: float(best - one.score(honest)) for name, one in mixtures.items()}
    route = "forced" if auto.way is None else auto.way.likeness.route
    return Loss(case, route, **short, seconds=time.perf_counter() - began)


def stored(path: Path, scene: Scene, rows: Sequence[Rows]) -> Path:
    """Write the pieces of a scene to a Zarr array, a chunk each; what is short ends in NaN."""
    at = scene.positions.astype(np.intp)
    most, d = max(map(len, rows)), rows[0].shape[1]
    grid = np.full((*at.max(axis=0) + 1, most, d), np.nan, dtype=rows[0].dtype)
    for place, x in zip(at, rows, strict=True):
        grid[tuple(place)][: len(x)] = x
    zarr.create_array(path, data=grid, chunks=(1, 1, most, d), dimension_names=DIMS)
    return path


def opened(path: Path, plan: str | None = None) -> Source:
    """Open the pieces of a scene."""
    return open_source(path, features=DIMS[-1], plan=plan)


def _run(source: Source, order: int, seed: int, **more: Any) -> Result:
    return fit(source, Settings(family=FULL, n_components=order, seed=seed, **more), InProcess())
