"""Attacks on the default filter by insiders: they know the honest estimates, the truth, the rule.

Colluders choose a way (a direction in the space of all parameters, in standard errors), a layout
(who of them goes how far along it, and with how much noise of their own), and row counts to claim.
How far they go is searched: the harm is largest where most of them are just still kept. What is
found is the worst that these searches find, and no bound on what others could.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dfmr_dask.aggregate.aggregators import aggregate
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.experiments.insider_lies import CLAIMS, LAYOUTS, Insider, Vector, insider
from dfmr_dask.experiments.insider_ways import ways
from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.local.em import fit
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator

LENGTHS = (2.0, 4.0, 7.0, 10.0, 14.0, 20.0)  # standard errors along a way
HALVINGS = 2
FIRST_LAYOUTS = ("spread .5", "fan 1", "disguised")
BEST_WAYS, BEST_LIES = 3, 3  # for which the other layouts, and other claims of rows, are tried
SEEDS, SIZES, ALPHAS = (200, 201, 202), (20, 50), (0.1, 0.3, 0.45)
N_COMPONENTS, N_FEATURES, OVERLAP, ROWS = 5, 10, 0.1, 1000


@dataclass(frozen=True, slots=True)
class Harm:
    """The worst that was found of one attack.

    Attributes
    ----------
    way, layout, claim : str
    alpha : float
    m, seed : int
    length : float
        Along the way, in standard errors of one partition.
    harm, vanilla : float
        Error over the oracle's, of the default rule and of keeping everybody, for the same lie.
    liars_kept, honest_kept : float
        Shares.
    certified : bool
    """

    way: str
    layout: str
    claim: str
    alpha: float
    m: int
    seed: int
    length: float
    harm: float
    vanilla: float
    liars_kept: float
    honest_kept: float
    certified: bool

    def __str__(self) -> str:
        return (
            f"alpha {self.alpha:.2f} m {self.m} seed {self.seed} | {self.layout} | {self.way} | "
            f"rows {self.claim} | length {self.length:.1f} | harm {self.harm:.3f} | "
            f"vanilla {self.vanilla:.3f} | liars kept {self.liars_kept:.2f} | "
            f"honest kept {self.honest_kept:.2f} | {'certified' if self.certified else 'doubted'}"
        )


def insiders(
    *,
    seeds: Sequence[int] = SEEDS,
    sizes: Sequence[int] = SIZES,
    alphas: Sequence[float] = ALPHAS,
) -> list[Harm]:
    """Search for the most harmful lies, and return the worst of each layout in each cell.

    Parameters
    ----------
    seeds : sequence of int
        Of the populations, none of which chose a constant of the rule.
    sizes : sequence of int
        Numbers of partitions.
    alphas : sequence of float
        Shares of liars, below one half.

    Returns
    -------
    list of Harm
        One for each layout, share, number of partitions and verdict (certified or not): the
        worst over the populations, the least harmful first.
    """
    worst: dict[tuple[str, str, float, int, bool], Harm] = {}
    for seed in seeds:
        for m in sizes:
            truth, fits = local_fits(m, seed)
            for alpha in alphas:
                for one in attacked(truth, fits, alpha, seed):
                    key = (one.layout, one.claim, alpha, m, one.certified)
                    if key not in worst or one.harm > worst[key].harm:
                        worst[key] = one
                        print(one, flush=True)
    return sorted(worst.values(), key=lambda one: one.harm)


def local_fits(
    m: int,
    seed: int,
    *,
    n_components: int = N_COMPONENTS,
    n_features: int = N_FEATURES,
    rows: int = ROWS,
) -> tuple[Mixture, list[Mixture]]:
    """Draw a population of overlap .1, and fit m partitions of its rows from the truth."""
    truth = population_with_overlap(n_components, n_features, OVERLAP, seed)
    x, _ = truth.sample(m * rows, generator(seed, Stage.DRAW, m))
    strength = float((m * rows) ** -0.5)
    return truth, [fit(part, truth, strength=strength).mixture for part in np.split(x, m)]


def attacked(truth: Mixture, fits: Sequence[Mixture], alpha: float, seed: int) -> list[Harm]:
    """Return the worst of each way, and of each layout and claim, that a search finds in one cell.

    A few layouts are tried along all ways, all layouts along the best ways, and claims of other
    row counts for the best lies.

    Parameters
    ----------
    truth : Mixture
    fits : sequence of Mixture
        Of all partitions; the last ones, a share alpha of all, are liars.
    alpha : float
    seed : int
    """
    inside = insider(truth, fits, int(alpha * len(fits) + 1e-9), ROWS)
    all_ways = ways(inside, generator(seed, Stage.COLLUDE, len(fits)))
    search = Search(inside, all_ways, alpha, seed)
    found = search.all_of((way, layout, "true") for way in all_ways for layout in FIRST_LAYOUTS)
    leading = list(dict.fromkeys(one.way for one in _by_harm(found)))[:BEST_WAYS]
    others = [layout for layout in LAYOUTS if layout not in FIRST_LAYOUTS]
    found += search.all_of((way, layout, "true") for way in leading for layout in others)
    lies = list(dict.fromkeys((one.way, one.layout) for one in _by_harm(found)))[:BEST_LIES]
    found += search.all_of((*lie, claim) for lie in lies for claim in CLAIMS if claim != "true")
    worst = {(one.layout, one.claim, one.certified): one for one in reversed(_by_harm(found))}
    worst |= {(one.way, "", one.certified): one for one in reversed(_by_harm(found))}
    return [replace(one, vanilla=search.vanilla(one)) for one in dict.fromkeys(worst.values())]


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """One cell: who lies about what."""

    inside: Insider
    ways: Mapping[str, Vector]
    alpha: float
    seed: int

    def all_of(self, lies: Iterable[tuple[str, str, str]]) -> list[Harm]:
        """Search every way, layout and claim."""
        return [one for lie in lies for one in self.worst(*lie)]

    def worst(self, way: str, layout: str, claim: str = "true") -> list[Harm]:
        """Search the length: along a grid, then between kept and no longer kept.

        Returns the worst that was certified, and the worst that was not.
        """
        tried = [self.tried(way, layout, claim, length) for length in LENGTHS]
        below = max((one.length for one in tried if one.liars_kept > 0.5), default=0.0)
        above = min((length for length in LENGTHS if length > below), default=below)
        for _ in range(HALVINGS if above > below else 0):
            middle = 0.5 * (below + above)
            tried.append(self.tried(way, layout, claim, middle))
            if tried[-1].liars_kept > 0.5:
                below = middle
            else:
                above = middle
        verdicts = {one.certified: one for one in reversed(_by_harm(tried))}
        return list(verdicts.values())

    def tried(self, way: str, layout: str, claim: str, length: float) -> Harm:
        """Tell one lie to the default rule."""
        inside = self.inside
        messages = self.messages(way, layout, claim, length)
        found = aggregate(messages)
        kept = np.isin(np.arange(inside.m), found.verdict.kept)
        return Harm(
            way,
            layout,
            claim,
            self.alpha,
            inside.m,
            self.seed,
            length,
            error(found.mixture, inside.truth) / inside.oracle,
            float("nan"),
            float(kept[inside.honest :].mean()),
            float(kept[: inside.honest].mean()),
            found.verdict.certified,
        )

    def vanilla(self, lie: Harm) -> float:
        """Return the harm of the same lie where everybody is kept."""
        messages = self.messages(lie.way, lie.layout, lie.claim, lie.length)
        mixture = aggregate(messages, aggregator="vanilla").mixture
        return error(mixture, self.inside.truth) / self.inside.oracle

    def messages(self, way: str, layout: str, claim: str, length: float) -> list[Message]:
        """Return what everybody says: honest partitions their estimates, and liars the lie."""
        inside = self.inside
        told = LAYOUTS[layout](inside, self.ways[way], length)
        lies = inside.chart.mixtures(told)
        rows = CLAIMS[claim](inside.liars, ROWS)
        honest = list(_fitted(inside.estimates, [ROWS] * inside.honest, 0))
        return honest + list(_fitted(lies, rows, inside.honest))


def _fitted(mixtures: Sequence[Mixture], rows: Sequence[int], first: int) -> Iterator[Message]:
    for i, (mixture, count) in enumerate(zip(mixtures, rows, strict=True)):
        yield Message(first + i, "fitted", count, mixture=mixture)


def _by_harm(found: Sequence[Harm]) -> list[Harm]:
    return sorted(found, key=lambda one: -one.harm)
