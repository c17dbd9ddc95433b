"""Grids whose pieces are not alike: routes, what is lost, and what places tell (EVIDENCE 11)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dfmr_dask.experiments.scenes import BANDS, SPOILT, TILES, Scene, ocean, photograph
from dfmr_dask.experiments.stores import Pieces, interleaved, merged
from dfmr_dask.families.base import Rows
from dfmr_dask.local import em
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator

PARTS = 40  # interleaved partitions
ROWS_TO_CLIMB = 60_000
NONE = "none"
SCENES: Mapping[str, Callable[[int], Scene]] = {
    "china tiles": lambda seed: photograph("china.jpg", "flower.jpg", TILES, seed),
    "china bands": lambda seed: photograph("china.jpg", "flower.jpg", BANDS, seed),
    "flower tiles": lambda seed: photograph("flower.jpg", "china.jpg", TILES, seed),
    "flower bands": lambda seed: photograph("flower.jpg", "china.jpg", BANDS, seed),
    "ocean": ocean,
}


@dataclass(frozen=True, slots=True)
class Unlike:
    """What was found of pieces that are not alike, and lost: nats a row below the best honest fit.

    Attributes
    ----------
    case : str
    route : str
    size : float
    groups : int
    plain, vanilla, places : float
        Of the default filter on the pieces as they are, where none is bad; of all rows,
        interleaved; and of all rows but those of pieces that are flagged by their places.
    hits, wrong, bad : int
        Bad and honest pieces that are flagged, and how many are bad.
    """

    case: str
    route: str
    size: float
    groups: int
    plain: float
    vanilla: float
    places: float
    hits: int
    wrong: int
    bad: int


def unlike(
    names: Sequence[str] = tuple(SCENES),
    orders: Sequence[int] = (4, 8),
    alphas: Sequence[float] = (0.1, 0.3),
    kinds: Sequence[str] = tuple(SPOILT),
    seeds: Sequence[int] = (0,),
) -> list[Unlike]:
    """Examine pieces of every scene, with bad ones among them, and fit them in three ways."""
    out = []
    for seed, name in ((seed, name) for seed in seeds for name in names):
        scene = SCENES[name](seed)
        for order in orders:
            for kind, bad in _cases(scene, alphas, kinds, seed):
                began = time.perf_counter()
                case = f"{name} seed={seed} K={order} {kind} {len(bad)} of {len(scene.rows)}"
                out.append(_fitted(case, scene, order, kind, bad, seed))
                print(out[-1], f"{time.perf_counter() - began:.0f} s", flush=True)
    told = [one for one in out if one.bad]
    if told:
        lost = [np.mean([getattr(one, way) for one in told]) for way in ("vanilla", "places")]
        print(f"mean loss with bad pieces: vanilla {lost[0]:.4f}, places {lost[1]:.4f}", flush=True)
    return out


def _cases(
    scene: Scene, alphas: Sequence[float], kinds: Sequence[str], seed: int
) -> Iterator[tuple[str, frozenset[int]]]:
    yield NONE, frozenset()
    order = generator(seed, Stage.BYZANTINE).permutation(len(scene.rows))
    for kind in kinds:
        for alpha in alphas:
            yield kind, frozenset(int(i) for i in order[: int(alpha * len(order))])


def _fitted(
    case: str, scene: Scene, order: int, kind: str, bad: frozenset[int], seed: int
) -> Unlike:
    rows = scene.spoilt(kind, bad, seed) if bad else scene.rows
    honest = np.concatenate([x for i, x in enumerate(rows) if i not in bad])
    pieces = Pieces(rows, order, seed, scene.positions)
    start = pieces.agreed().start
    found = pieces.examined(start)
    plain = start if bad else merged(pieces.fitted(start)).mixture
    vanilla = kept_all(pieces, seed)
    flagged = set(found.misplaced)
    dropped = kept_all(pieces.without(flagged), seed) if flagged else vanilla
    best = best_score(honest, (vanilla, dropped), order, seed)
    short = [round(best - one.score(honest), 4) for one in (plain, vanilla, dropped)]
    short[0] = float("nan") if bad else short[0]
    kinds, hits = int(found.groups.max()) + 1, len(flagged & bad)
    return Unlike(
        case,
        found.route,
        round(found.size, 1),
        kinds,
        *(short[0], short[1], short[2]),
        hits,
        len(flagged) - hits,
        len(bad),
    )


def kept_all(pieces: Pieces, seed: int) -> Mixture:
    """Fit all rows of pieces in interleaved partitions, none of which is dropped."""
    parts = interleaved(pieces, PARTS, seed)
    return merged(parts.fitted(parts.agreed().start), "vanilla").mixture


def best_score(rows: Rows, known: Collection[Mixture], order: int, seed: int) -> float:
    """Return the best score that anyone reaches on rows, from what is known or a new start."""
    parts = interleaved(Pieces((rows,), order, seed), PARTS, seed)
    own = kept_all(parts, seed)
    few = rows[generator(seed, Stage.DRAW).permutation(len(rows))[:ROWS_TO_CLIMB]]
    strength = len(few) ** -0.5
    climbed = (em.fit(few, one, strength=strength, tol=1e-6).mixture for one in (*known, own))
    return max(one.score(rows) for one in (*known, own, *climbed))
