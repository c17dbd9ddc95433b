"""The photograph: a real population without a true order, where EM has many optima."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture as Rival

from dfmr_dask.corruption import Corruption, byzantine_partitions
from dfmr_dask.data.source import Source, open_source
from dfmr_dask.experiments.adversaries import ADVERSARIES, OTHER_ROWS, Attacked, Knowledge
from dfmr_dask.experiments.populations import dithered
from dfmr_dask.experiments.remembering import Remembering
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.local import em
from dfmr_dask.local.start import Order, first_guess
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.pipeline import Settings, fit
from dfmr_dask.run.results import Result
from dfmr_dask.run.tasks import InProcess

PARTITIONS = 40
FULL = COVARIANCE_TYPES["full"]
SAMPLE_ROWS = 30_000  # that the starts of the references are found on
REFERENCES = 10  # starts of each kind
CLEARLY_WORSE = 0.01  # nats a row


@dataclass(frozen=True, slots=True)
class Scored:
    """Mean log density a row of ours, of scikit-learn's best of several starts, and of the best.

    In nats. ``best`` is the highest that anyone found on these rows, NaN where nobody searched.
    """

    case: str
    ours: float
    rival: float
    honest_kept: float
    byzantine_kept: float
    best: float = float("nan")

    @property
    def ahead(self) -> float:
        """Nats a row by which ours is ahead of scikit-learn's."""
        return self.ours - self.rival

    @property
    def short(self) -> float:
        """Nats a row by which ours is short of the best."""
        return self.best - self.ours

    def __str__(self) -> str:
        """Return one line of a table."""
        return (
            f"{self.case}: ours {self.ours:.5f}, short {self.short:+.5f}, "
            f"ahead {self.ahead:+.5f}, kept {self.honest_kept:.3f} honest, "
            f"{self.byzantine_kept:.3f} Byzantine"
        )


def pixels(name: str, seed: int, which: int) -> NDArray[np.float32]:
    """Return the pixels (n, 3) of a photograph as they stand in a simulated store.

    Parameters
    ----------
    name : {"china.jpg", "flower.jpg"}
    seed : int
        Of the store.
    which : int
        0 for the photograph, 1 for the flower: each has a dither of its own.
    """
    return dithered(name, 1, generator(seed, Stage.SIMULATE, which)).reshape(-1, 3)


def best_rival(rows: Any, n_components: int, seed: int) -> float:
    """Score the best of five k-means starts of scikit-learn's, on all of the rows."""
    fits = (Rival(n_components, random_state=10 * seed + i).fit(rows) for i in range(5))
    return max(float(one.score(rows)) for one in fits)


def scored(case: str, result: Result, rows: Any, rival: float, best: float = np.nan) -> Scored:
    """Compare the result of a run with what others reach on the same rows."""
    byzantine, kept = set(result.byzantine), set(result.verdict.kept)
    parties = len(result.messages) - len(byzantine)
    return Scored(
        case,
        result.mixture.score(rows),
        rival,
        len(kept - byzantine) / parties,
        len(kept & byzantine) / max(len(byzantine), 1),
        best,
    )


@dataclass(slots=True, eq=False)
class Reference:
    """Optima of all honest rows, best first, and scikit-learn's score there.

    It is made once for a set of rows, and told of what runs find there.
    """

    rows: NDArray[np.float32]
    rival: float
    optima: list[em.Fit]

    @classmethod
    def of(cls, rows: NDArray[np.float32], n_components: int, seed: int) -> Reference:
        """Climb on all rows from starts that were found on large samples."""
        starts = (
            _start(rows, n_components, seed, number, name)
            for number in range(REFERENCES)
            for name in ("overfit", "random")
        )
        found = cls(rows, best_rival(rows, n_components, seed), [])
        found.tell(*starts)
        return found

    def tell(self, *starts: Mixture) -> None:
        """Climb from more starts."""
        more = (climbed(self.rows, start) for start in starts)
        self.optima = sorted([*self.optima, *more], key=lambda one: -one.log_likelihood)

    @property
    def best(self) -> float:
        """The highest score that anyone reached."""
        return max(self.rival, self.optima[0].log_likelihood)

    @property
    def bad(self) -> tuple[Mixture, ...]:
        """Optima that are clearly worse than the best; better ones first."""
        limit = self.optima[0].log_likelihood - CLEARLY_WORSE
        bad = tuple(one.mixture for one in self.optima if one.log_likelihood < limit)
        return bad or (self.optima[-1].mixture,)


def climbed(rows: NDArray[np.float32], start: Mixture) -> em.Fit:
    """Climb from a start on all of the rows."""
    return em.fit(rows, start, strength=len(rows) ** -0.5, tol=1e-7, max_iter=1000)


def _start(
    rows: NDArray[np.float32], n_components: int, seed: int, number: int, name: str
) -> Mixture:
    """Find a start on a large sample."""
    rng = generator(seed, Stage.DRAW, number)
    few = rows[rng.permutation(len(rows))[:SAMPLE_ROWS]]
    strength = len(few) ** -0.5
    first = first_guess(
        few, FULL, n_components, rng, init_params=name, strength=strength, floor=1e-6
    )
    return em.fit(few, first, strength=strength, max_iter=100).mixture


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """The photograph's and the flower's pixels in partitions, and references once they are made."""

    seed: int
    source: Source
    flower: Source
    references: dict[tuple[int, tuple[int, ...]], Reference] = field(default_factory=dict)

    @classmethod
    def of(cls, seed: int) -> Photograph:
        """Deal the pixels of both photographs out to 40 partitions each."""
        china, flower = (
            open_source(pixels(name, seed, which), n_partitions=PARTITIONS, seed=seed)
            for which, name in enumerate(("china.jpg", "flower.jpg"))
        )
        return cls(seed, china, flower)

    def reference(self, order: int, byzantine: tuple[int, ...]) -> Reference:
        """Return the reference for an order on the pixels of the honest partitions."""
        key = order, byzantine
        if key not in self.references:
            parts = [self.source.rows(i) for i in range(PARTITIONS) if i not in byzantine]
            rows = np.concatenate([reader() for reader in parts])
            self.references[key] = Reference.of(rows, order, self.seed)
        return self.references[key]

    def run(
        self,
        case: str,
        order: int,
        byzantine: tuple[int, ...],
        tasks: InProcess,
        corruption: Corruption | None = None,
    ) -> Scored:
        """Fit, and compare with what others reach on the pixels of the honest partitions."""
        settings = Settings(family=FULL, n_components=order, seed=self.seed, corruption=corruption)
        result = fit(self.source, settings, tasks, replacement=self.flower)
        result = replace(result, byzantine=byzantine)
        reference = self.reference(order, byzantine)
        reference.tell(result.mixture, *([result.start] if result.start else []))
        out = scored(case, result, reference.rows, reference.rival, reference.best)
        print(out, flush=True)
        return out

    def knowledge(self, order: int, byzantine: tuple[int, ...]) -> Knowledge:
        """Return what adversaries know: bad optima of the honest rows, and one of the flower's."""
        bad = self.reference(order, byzantine).bad
        wanted = Order(bad[0].family, order, bad[0].n_features)
        rows, _ = wanted.sample_sizes(self.source.plan.partitions[0].rows or 0)
        flower = np.concatenate([self.flower.rows(i)() for i in range(PARTITIONS)])
        return Knowledge(bad[-1], bad[0], _start(flower, order, self.seed, 0, "overfit"), rows)


def photograph(
    orders: Sequence[int] = (4, 8, 12),
    alphas: Sequence[float] = (0.0, 0.3, 0.45),
    seeds: Sequence[int] = range(5),
) -> list[Scored]:
    """Compare scores on all honest pixels of china.jpg, with pixels of flower.jpg mixed in."""
    return [
        scene.run(case, order, liars, tasks, corruption)
        for case, scene, order, tasks, corruption, liars in _cells(orders, alphas, seeds)
    ]


def adversaries(
    orders: Sequence[int] = (8, 12),
    alphas: Sequence[float] = (0.45,),
    seeds: Sequence[int] = (0,),
    names: Sequence[str] = tuple(ADVERSARIES),
) -> list[Scored]:
    """Compare scores on all honest pixels of china.jpg, with colluders who know the optima."""
    out = []
    for case, scene, order, truthful, corruption, liars in _cells(orders, alphas, seeds):
        known = scene.knowledge(order, liars)
        for name in names:
            lies = ADVERSARIES[name](known)
            tasks = Attacked(liars=frozenset(liars), lies=lies, truthful=truthful)
            rows = corruption if name in OTHER_ROWS else None
            out.append(scene.run(f"{case} {name}", order, liars, tasks, rows))
    return out


def _cells(
    orders: Sequence[int], alphas: Sequence[float], seeds: Sequence[int]
) -> Iterator[tuple[str, Photograph, int, Remembering, Corruption, tuple[int, ...]]]:
    """Yield the cells of a study; runs of one order remember each other's honest fits."""
    for seed in seeds:
        scene = Photograph.of(seed)
        for order in orders:
            tasks = Remembering()
            for alpha in alphas:
                corruption = Corruption("data", alpha)
                liars = byzantine_partitions(corruption, PARTITIONS, seed)
                case = f"seed {seed} K={order} alpha={alpha}"
                yield case, scene, order, tasks, corruption, liars
