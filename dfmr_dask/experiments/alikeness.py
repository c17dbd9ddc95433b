"""Are pieces taken for what they are? Type I, power, attacks, shared components (EVIDENCE 11)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfmr_dask.aggregate.aggregators import Aggregation
from dfmr_dask.corruption import Corruption, byzantine_partitions
from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.experiments.stores import Pieces, merged
from dfmr_dask.experiments.worlds import Simulated
from dfmr_dask.families.base import Rows
from dfmr_dask.likeness import Likeness
from dfmr_dask.message import Message

OVERLAP = 0.1  # of the two components that overlap most
OTHER = 5000  # added to the seed of the population that bad rows come from
ATTACKS: Sequence[tuple[str, Mapping[str, Any]]] = (
    *((name, {}) for name in ("mean", "covariance", "weight", "data", "sign_flip")),
    *(
        (name, {"size": size})
        for name in ("shift", "collude", "imitate", "huddle")
        for size in (5, 10)
    ),
    *((name, {}) for name in ("wide", "shrink", "needle", "sneak", "component")),
    *((name, {}) for name in ("duplicate", "permute", "malformed")),
    ("weight", {"claimed_rows": 1_000_000_000}),
    ("weight", {"claimed_rows": 5}),
    ("wide", {"claimed_rows": 5}),
    ("component", {"claimed_rows": 1_000_000_000}),
    ("imitate", {"size": 10, "claimed_rows": 5}),
    ("imitate", {"size": 10, "claimed_rows": 1_000_000_000}),
)
SHARED_ATTACKS: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("shift", {}),
    ("collude", {}),
    ("data", {}),
    ("wide", {}),
)


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found of one set of pieces.

    Attributes
    ----------
    case : str
    route : str
    p_value, size : float
    off : int
        Pieces that stand apart.
    """

    case: str
    route: str
    p_value: float
    size: float
    off: int

    @classmethod
    def of(cls, case: str, found: Likeness) -> Examined:
        """Take what is counted from the answer."""
        return cls(case, found.route, found.p_value, found.size, len(found.off))


def world(order: int, d: int, seed: int) -> Simulated:
    """Return a population, and another one that bad rows come from."""
    mine, theirs = (population_with_overlap(order, d, OVERLAP, s) for s in (seed, OTHER + seed))
    return Simulated(mine, theirs)


def drawn(
    here: Simulated, order: int, n: int, m: int, seed: int, drift: float | None = None
) -> Pieces:
    """Draw pieces of n rows, each with weights of its own where they drift."""
    return Pieces(tuple(here.honest([n] * m, seed, drift)), order, seed)


def significance(
    orders: Sequence[int] = (3, 5, 8),
    features: Sequence[int] = (2, 10),
    rows: Sequence[int] = (1000, 5000),
    sizes: Sequence[int] = (20, 50),
    drifts: Sequence[float | None] = (None, 5000.0, 1000.0, 200.0),
    seeds: Sequence[int] = range(1000, 1025),
) -> list[Examined]:
    """Test pieces that are alike, and pieces whose weights drift, from starts that they agree on.

    Prints for each cell the share of p-values below .05, and the shares of routes.
    """
    out = []
    for drift in drifts:
        of_drift = []
        for d, order, n, m in (
            (d, k, n, m) for d in features for k in orders for n in rows for m in sizes
        ):
            cell = []
            for seed in seeds:
                pieces = drawn(world(order, d, seed), order, n, m, seed, drift)
                case = f"drift={drift} d={d} K={order} n={n} m={m}"
                cell.append(Examined.of(case, pieces.examined(pieces.agreed().start)))
            print(told(cell), flush=True)
            of_drift += cell
        print(f"ALL drift={drift}: {told(of_drift)}", flush=True)
        out += of_drift
    return out


def told(cell: Sequence[Examined]) -> str:
    """Return one line about a cell."""
    below = np.mean([one.p_value < 0.05 for one in cell])
    sizes = np.quantile([one.size for one in cell], [0.5, 1.0])
    routes = [one.route for one in cell]
    shares = ", ".join(f"{routes.count(r) / len(cell):.3f} {r}" for r in dict.fromkeys(routes))
    return (
        f"{cell[0].case}: {len(cell)} cases, p < .05 in {below:.3f}, size {sizes[0]:.2f} "
        f"(largest {sizes[1]:.2f}), route {shares}"
    )


def attacked(
    alphas: Sequence[float] = (0.3, 0.45),
    sizes: Sequence[int] = (20, 50),
    seeds: Sequence[int] = range(1000, 1003),
    attacks: Sequence[tuple[str, Mapping[str, Any]]] = ATTACKS,
) -> list[Examined]:
    """Examine alike pieces of 1000 rows (K = 5, d = 10) under every attack."""
    out: list[Examined] = []
    for seed, m in ((seed, m) for seed in seeds for m in sizes):
        here = world(5, 10, seed)
        honest = drawn(here, 5, 1000, m, seed)
        out.append(Examined.of(f"none m={m}", honest.examined(honest.agreed().start)))
        for alpha, (name, options) in ((a, one) for a in alphas for one in attacks):
            pieces, _ = spoilt(honest, here, Corruption(name, alpha, **options))
            found = Examined.of(
                f"{name} {dict(options)} alpha={alpha} m={m}",
                pieces.examined(pieces.agreed().start),
            )
            out.append(found)
            if found.route != "alike":
                print(found, flush=True)
        share = np.mean([one.route == "alike" for one in out])
        print(f"seed {seed} m={m}: {share:.4f} of {len(out)} cases so far alike", flush=True)
    return out


def spoilt(
    honest: Pieces, here: Simulated, corruption: Corruption
) -> tuple[Pieces, tuple[int, ...]]:
    """Return the pieces with liars among them, or with rows of the other population; and who."""
    m, seed = len(honest), honest.seed
    byzantine = byzantine_partitions(corruption, m, seed)
    if "rows" not in corruption.stages:
        return honest.lying(byzantine, corruption), byzantine
    rows: list[Rows] = list(honest.rows)
    for j in byzantine:
        rows[j] = here.alien(j, len(rows[j]), seed)
    return Pieces(tuple(rows), honest.n_components, seed), byzantine


@dataclass(frozen=True, slots=True)
class Shared:
    """A fit to pieces that share components: nats a row below the oracle, and who was kept."""

    case: str
    route: str
    free: float
    shared: float
    vanilla: float
    honest_kept: float
    byzantine_kept: float


def shared_components(
    drifts: Sequence[float] = (5.0, 1.0),
    alphas: Sequence[float] = (0.0, 0.1, 0.3, 0.45),
    seeds: Sequence[int] = range(1000, 1005),
    m: int = 50,
    n: int = 1000,
) -> list[Shared]:
    """Fit pieces with weights of their own (K = 5, d = 10), and compare with the oracle's scores.

    The oracle merges all honest messages.
    """
    out = []
    for drift, seed in ((drift, seed) for drift in drifts for seed in seeds):
        here = world(5, 10, seed)
        honest = drawn(here, 5, n, m, seed, drift)
        for corruption in _shared_cases(alphas):
            began = time.perf_counter()
            out.append(_shared(f"Dirichlet {drift:g}", honest, here, corruption))
            print(out[-1], f"{time.perf_counter() - began:.0f} s", flush=True)
    return out


def _shared_cases(alphas: Sequence[float]) -> Iterator[Corruption]:
    if 0.0 in alphas:
        yield Corruption("mean", 0.0)
    for alpha in alphas:
        if alpha:
            for name, options in SHARED_ATTACKS:
                yield Corruption(name, alpha, **options)


def _shared(case: str, honest: Pieces, here: Simulated, corruption: Corruption) -> Shared:
    pieces, byzantine = spoilt(honest, here, corruption)
    start = pieces.agreed().start
    found = pieces.examined(start)
    messages = pieces.told(pieces.fitted(start, shared_components=True), here.truth)
    good = [one for one in messages if one.partition not in byzantine]
    rows = np.concatenate([x for j, x in enumerate(honest.rows) if j not in byzantine])
    best = merged(good, "vanilla").mixture.score(rows)
    free = merged(messages, "dfmr", "free")
    others = merged(messages), merged(messages, "vanilla")
    short, plain, all_of_them = (
        round(best - one.mixture.score(rows), 5) for one in (free, *others)
    )
    return Shared(
        f"{case} seed={honest.seed} {corruption.attack} {corruption.fraction:g}",
        found.route,
        short,
        plain,
        all_of_them,
        *kept(free, messages, byzantine),
    )


def kept(
    found: Aggregation, messages: Sequence[Message], byzantine: Sequence[int]
) -> tuple[float, float]:
    """Return the shares of honest and of Byzantine pieces that were kept."""
    among, bad = set(found.verdict.kept), set(byzantine)
    good = {one.partition for one in messages} - bad
    return len(among & good) / len(good), len(among & bad) / max(1, len(bad))
