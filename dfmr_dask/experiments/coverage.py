"""How often 95 % intervals cover the truth: simulated data sets, each merged and jackknifed.

One population for each number of features; local fits start at the truth, which saves their time
and leaves their sampling noise. Smaller numbers of partitions are the first of the same data set,
so that cells of one number of features and rows are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.aggregators import Aggregation, aggregate
from dfmr_dask.aggregate.alignment import like
from dfmr_dask.aggregate.rounds import matched
from dfmr_dask.aggregate.uncertainty import StandardErrors, standard_errors
from dfmr_dask.corruption import Corruption, byzantine_partitions, lies
from dfmr_dask.experiments.cells import Design, Fits
from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.experiments.worlds import Simulated
from dfmr_dask.families.base import Params, Rows
from dfmr_dask.local.iterations import stepped
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture

N_COMPONENTS, OVERLAP, POPULATION = 5, 0.05, 700  # moderate overlap; seed of the populations
PLACES = 20  # where log densities are looked at, drawn once from each population
EVERY = 50  # data sets after which lines are printed
FLOOR = 1e-6
QUANTITIES = ("weights", "means", "variances", "log_densities")


@dataclass(frozen=True, slots=True)
class Combination:
    """One cell: how many partitions of how many rows, and what is done with them."""

    n_features: int
    rows: int
    m: int
    alpha: float = 0.0
    polish: int = 0


COMBINATIONS = (
    *(
        Combination(d, n, m, alpha)
        for d in (2, 10)
        for n in (1000, 5000)
        for m in (20, 50)
        for alpha in (0.0, 0.3)
    ),
    *(Combination(d, 1000, 200, 0.0, polish) for d in (2, 10) for polish in (0, 1)),
)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of intervals that cover the truth, over all parameters of a kind and all data sets.

    Attributes
    ----------
    combination : Combination
    data_sets : int
    weights, means, variances, log_densities : float
    uncertain : float
        Largest standard error of these shares, over data sets.
    honest_kept, liars_kept : float
    """

    combination: Combination
    data_sets: int
    weights: float
    means: float
    variances: float
    log_densities: float
    uncertain: float
    honest_kept: float
    liars_kept: float

    def __str__(self) -> str:
        """Say it in a line."""
        c = self.combination
        shares = ", ".join(f"{name} {getattr(self, name):.3f}" for name in QUANTITIES)
        return (
            f"d = {c.n_features}, n = {c.rows}, m = {c.m}, alpha = {c.alpha}, polish = {c.polish}: "
            f"{shares} (± {self.uncertain:.3f}; {self.data_sets} data sets; honest kept "
            f"{self.honest_kept:.3f}, liars {self.liars_kept:.3f})"
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Tally:
    """What was covered in each data set."""

    shares: list[tuple[float, ...]] = field(default_factory=list)
    kept: list[tuple[float, float]] = field(default_factory=list)

    def coverage(self, combination: Combination) -> Coverage:
        shares, kept = np.array(self.shares), np.mean(self.kept, axis=0)
        means = dict(zip(QUANTITIES, map(float, shares.mean(axis=0)), strict=True))
        return Coverage(
            combination,
            len(shares),
            **means,
            uncertain=float(shares.std(axis=0).max() / np.sqrt(len(shares))),
            honest_kept=float(kept[0]),
            liars_kept=float(kept[1]),
        )


def coverage(
    data_sets: int = 500,
    combinations: Sequence[Combination] = COMBINATIONS,
    *,
    overlap: float = OVERLAP,
    attack: Corruption | None = None,
) -> list[Coverage]:
    """Measure how often nominal 95 % intervals cover the truth.

    Parameters
    ----------
    data_sets : int
        Of each combination.
    combinations : sequence of Combination
    overlap : float
        Of the two components that overlap most, see
        :func:`~dfmr_dask.experiments.overlap.population_with_overlap`.
    attack : Corruption, optional
        Where alpha is above 0; by default each liar is shifted by 10 standard errors its own way.

    References
    ----------
    EVIDENCE 10.
    """
    tallies = {one: _Tally() for one in combinations}
    for seed in range(data_sets):
        for group in _groups(combinations):
            for one, covered, kept in _data_set(group, seed, overlap, attack):
                tallies[one].shares.append(covered)
                tallies[one].kept.append(kept)
        if (seed + 1) % EVERY == 0 and seed + 1 < data_sets:
            for one, tally in tallies.items():
                print(tally.coverage(one), flush=True)
    return [tally.coverage(one) for one, tally in tallies.items()]


def _groups(combinations: Sequence[Combination]) -> Iterator[list[Combination]]:
    """Put together what comes from the same local fits."""
    for key in dict.fromkeys((one.n_features, one.rows) for one in combinations):
        yield [one for one in combinations if (one.n_features, one.rows) == key]


def _data_set(
    group: Sequence[Combination], seed: int, overlap: float, attack: Corruption | None
) -> Iterator[tuple[Combination, tuple[float, ...], tuple[float, float]]]:
    """Draw and fit one data set, and say for each combination what its intervals cover."""
    d, n, most = group[0].n_features, group[0].rows, max(one.m for one in group)
    truth = _population(d, overlap)
    places = truth.sample(PLACES, np.random.default_rng(POPULATION))[0]
    world = Simulated(truth, truth)
    rows = world.honest([n] * most, seed)
    design = Design(attacks=(), alphas=(), contenders=(), rows=n)
    fits = Fits(world, design, seed, n * most)
    honest = [fits.message(j, x, truth) for j, x in enumerate(rows)]
    for m, alpha in dict.fromkeys((one.m, one.alpha) for one in group):
        corruption = attack or Corruption("shift", alpha, size=10.0)
        byzantine = byzantine_partitions(corruption, m, seed) if alpha else ()
        told = lies(honest[:m], corruption, byzantine, known=truth, seed=seed)
        found = aggregate(told)
        kept = set(found.verdict.kept)
        liars = len(kept & set(byzantine)) / max(1, len(byzantine))
        shares = len(kept - set(byzantine)) / (m - len(byzantine)), liars
        for one in group:
            if (one.m, one.alpha) == (m, alpha):
                errors = _errors(found, told, rows, one)
                yield one, covered(errors, truth, places), shares


@cache
def _population(n_features: int, overlap: float) -> Mixture:
    seed = POPULATION + n_features
    return population_with_overlap(N_COMPONENTS, n_features, overlap, seed=seed)


def _errors(
    found: Aggregation, told: Sequence[Message], rows: Sequence[Rows], one: Combination
) -> StandardErrors:
    """Return the errors of the aggregate, or of what polishing passes make of it."""
    here = found.mixture
    for _ in range(one.polish):
        here = _pass(here, [rows[j] for j in found.verdict.kept], one.rows)
    moved = like(here, found.mixture) if one.polish else None
    return standard_errors(told, found.parts, moved)


def _pass(here: Mixture, rows: Sequence[Rows], n: int) -> Mixture:
    """Make one gated EM pass over the rows of all kept partitions."""
    strength = (n * len(rows)) ** -0.5 / len(rows)
    steps = [stepped(x, here, strength=strength, floor=FLOOR)[0] for x in rows]
    made = matched(here, steps, [float(n)] * len(rows))
    return here if made is None else made[0]


def covered(
    errors: StandardErrors, truth: Mixture, places: NDArray[np.float64]
) -> tuple[float, ...]:
    """Return the share of intervals that cover the truth: weights, means, variances, log densities.

    Parameters
    ----------
    errors : StandardErrors
    truth : Mixture
    places : ndarray of shape (n, d)
        Where log densities are looked at.
    """
    known = like(truth, errors.mixture)
    found = errors.parameters()
    density = errors.of(lambda mixture: mixture.log_density(places))
    cases = [
        (found["weights"].lower, found["weights"].upper, known.weights),
        (found["means"].lower, found["means"].upper, known.params["means"]),
        (
            _variances({name: one.lower for name, one in found.items()}),
            _variances({name: one.upper for name, one in found.items()}),
            _variances(known.params),
        ),
        (density.lower, density.upper, known.log_density(places)),
    ]
    return tuple(float(((low <= true) & (true <= high)).mean()) for low, high, true in cases)


def _variances(params: Params) -> NDArray[np.float64]:
    if "variances" in params:
        return params["variances"]
    return np.diagonal(params["covariances"], axis1=1, axis2=2)
