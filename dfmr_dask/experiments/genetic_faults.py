"""Faults of genotypes against what the honest sites find: five populations, twenty sites.

Frequencies of unlinked SNPs come from a coalescent simulation (``ancestry.py``), people are drawn
at them. Local fits start at the truth, so that what is measured is the filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.aggregators import aggregate
from dfmr_dask.aggregate.gates import Rule
from dfmr_dask.corruption import Corruption, corrupted_rows
from dfmr_dask.experiments.accuracy import error, ratio_interval
from dfmr_dask.experiments.ancestry import as_mixture, drifted, frequencies
from dfmr_dask.experiments.cells import Attack, Cell, Design, Fits, measured
from dfmr_dask.experiments.judging import EVERYBODY, ORACLE, Contender
from dfmr_dask.experiments.worlds import Labels, Simulated
from dfmr_dask.families.base import Rows
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator

SNPS, SITES, PEOPLE, FRESH = 5000, 20, 500, 1000
ALPHAS = (0.1, 0.3, 0.45)
OWN_SHARES = (0.02, 0.05, 0.1)
FAULTS = (
    Attack("all alleles flipped", "flipped_alleles"),
    Attack("10 % flipped", "flipped_alleles", {"size": 0.1}),
    Attack("1 % flipped", "flipped_alleles", {"size": 0.01}),
    Attack("SNPs shuffled", "shuffled_snps"),
    Attack("30 % read as reference", "missing_as_reference"),
    Attack("5 % read as reference", "missing_as_reference", {"size": 0.05}),
    Attack("other populations", "data"),
    Attack("relatives x 10", "relatives"),
    Attack("samples x 10", "repeated_samples"),
    Attack("random frequencies", "random_frequencies"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fault: errors over the oracle's, with the upper end of their interval.

    ``ari`` is the largest difference of adjusted Rand indices to the oracle's, over seeds.
    """

    fault: str
    alpha: float
    ratio: float
    ratio_high: float
    vanilla: float
    ari: float
    honest_kept: float
    byzantine_kept: float


class Genotypes(Simulated):
    """People drawn from populations, as int8."""

    __slots__ = ()

    def honest(self, sizes: Sequence[int], seed: int, drift: float | None = None) -> list[Rows]:
        """Draw the people of honest sites."""
        return [_small(x) for x in Simulated.honest(self, sizes, seed, drift)]

    def alien(self, partition: int, size: int, seed: int) -> Rows:
        """Draw people of other populations."""
        return _small(Simulated.alien(self, partition, size, seed))

    def fresh(self, size: int, seed: int) -> tuple[Rows, Labels | None]:
        """Draw people of no site, and their populations."""
        x, labels = Simulated.fresh(self, size, seed)
        return _small(x), labels


def _small(x: Rows) -> Rows:
    return x.astype(np.int8)


def world_of(n_snps: int, seed: int) -> Genotypes:
    """Simulate the populations of a seed, and others that drifted away from them."""
    found = frequencies(n_snps, seed)
    return Genotypes(as_mixture(found), as_mixture(drifted(found, seed)))


def genetic_faults(
    *,
    seeds: Sequence[int] = range(10),
    alphas: Sequence[float] = ALPHAS,
    faults: Sequence[Attack] = FAULTS,
    n_snps: int = SNPS,
    sites: int = SITES,
    people: int = PEOPLE,
) -> list[Outcome]:
    """Measure every fault at every share of bad sites, and none."""
    design = Design(
        attacks=tuple(faults),
        alphas=(0.0, *alphas),
        contenders=(Contender("dfmr"), EVERYBODY),
        rows=people,
        fresh_rows=FRESH,
    )
    records: dict[tuple[str, float], dict[str, list[dict[str, Any]]]] = {}
    for seed in seeds:
        cell = Cell("out of Africa", 0, sites, seed)
        for one in measured(cell, world_of(n_snps, seed), design):
            case = records.setdefault((one["attack"], one["alpha"]), {})
            case.setdefault(one["aggregator"], []).append(one)
        for key, case in records.items():
            print(f"seeds up to {seed}: {_outcome(*key, case)}", flush=True)
    return [_outcome(*key, case) for key, case in records.items()]


def _outcome(fault: str, alpha: float, case: dict[str, list[dict[str, Any]]]) -> Outcome:
    dfmr, oracle = case["dfmr"], case[ORACLE]
    errors = {name: [one["error"] for one in some] for name, some in case.items()}
    ratio, _, high = ratio_interval(errors["dfmr"], errors[ORACLE])
    ari = max(abs(a["ari"] - b["ari"]) for a, b in zip(dfmr, oracle, strict=True))
    kept = [float(np.mean([one[f"{who}_kept"] for one in dfmr])) for who in ("honest", "byzantine")]
    return Outcome(
        fault, alpha, ratio, high, ratio_interval(errors["vanilla"], errors[ORACLE])[0], ari, *kept
    )


@dataclass(frozen=True, slots=True)
class Own:
    """What came of flips that every site has of its own, and of sites that lack a population."""

    what: str
    ratio: float
    ratio_high: float
    vanilla: float
    kept: float
    thrown_out: float


def own_faults(
    *,
    seeds: Sequence[int] = range(10),
    shares: Sequence[float] = OWN_SHARES,
    n_snps: int = SNPS,
    sites: int = SITES,
    people: int = PEOPLE,
) -> list[Own]:
    """Measure flips of each site's own, judged SNP by SNP, and sites that lack a population.

    The oracle of flips are the same people with nothing flipped; that of lacking populations is
    who merges all sites knowing the populations of everybody.
    """
    outcomes: dict[str, list[tuple[float, float, float, float, float]]] = {}
    for seed in seeds:
        world = world_of(n_snps, seed)
        for what, one in _own(world, seed, shares, sites, people):
            outcomes.setdefault(what, []).append(one)
            print(f"seed {seed} {what}: {_summed(what, outcomes[what])}", flush=True)
    return [_summed(what, many) for what, many in outcomes.items()]


def _summed(what: str, many: list[tuple[float, float, float, float, float]]) -> Own:
    found, oracle, vanilla, kept, thrown = (list(column) for column in zip(*many, strict=True))
    ratio, _, high = ratio_interval(found, oracle)
    everybody = ratio_interval(vanilla, oracle)[0]
    return Own(what, ratio, high, everybody, float(np.mean(kept)), float(np.mean(thrown)))


def _own(
    world: Genotypes, seed: int, shares: Sequence[float], sites: int, people: int
) -> Iterator[tuple[str, tuple[float, float, float, float, float]]]:
    design = Design(attacks=(), alphas=(), contenders=(), rows=people)
    fits = Fits(world, design, seed, sites * people)
    rows = world.honest([people] * sites, seed)
    clean = [fits.message(j, x, world.truth) for j, x in enumerate(rows)]
    oracle = error(aggregate(clean, aggregator="vanilla").mixture, world.truth)
    for share in shares:
        flips = Corruption("own_flipped_alleles", 0.0, size=share)
        told = [
            fits.message(j, corrupted_rows(x, flips, seed, j), world.truth)
            for j, x in enumerate(rows)
        ]
        yield f"own flips {share:.0%}", _judged(told, Rule(unit="entry"), world.truth, oracle)
    lacking, labels = _lacking(world.truth, sites, people, seed)
    told = [fits.message(j, x, world.truth) for j, x in enumerate(lacking)]
    best = error(_counted(lacking, labels, world.truth), world.truth)
    yield "half lack one", _judged(told, Rule(weights="free"), world.truth, best)


def _judged(
    told: list[Message], rule: Rule, truth: Mixture, oracle: float
) -> tuple[float, float, float, float, float]:
    found = aggregate(told, rule=rule)
    everybody = error(aggregate(told, aggregator="vanilla").mixture, truth)
    entries = found.verdict.entries_kept
    thrown = 0.0 if entries is None else float(1.0 - entries.mean())
    kept = len(found.verdict.kept) / len(told)
    return error(found.mixture, truth), oracle, everybody, kept, thrown


def _lacking(
    truth: Mixture, sites: int, people: int, seed: int
) -> tuple[list[Rows], list[NDArray[np.intp]]]:
    """Draw sites of which every second one has nobody of one population, each of another."""
    rows, labels = [], []
    for j in range(sites):
        weights = truth.weights.copy()
        if j % 2:
            weights[(j // 2) % len(weights)] = 1e-12
        one = Mixture(truth.family, weights / weights.sum(), truth.params)
        x, own = one.sample(people, generator(seed, Stage.DRAW, j))
        rows.append(_small(x))
        labels.append(own)
    return rows, labels


def _counted(rows: list[Rows], labels: list[NDArray[np.intp]], truth: Mixture) -> Mixture:
    """Return what is found where everybody's population is known."""
    x, known = np.concatenate(rows), np.concatenate(labels)
    ploidy = truth.family.options["n_trials"]
    counts = np.array([(known == k).sum() for k in range(truth.n_components)])
    sums = np.array([x[known == k].sum(axis=0) for k in range(truth.n_components)])
    found = (sums + 0.5) / (ploidy * counts[:, None] + 1.0)
    return Mixture(truth.family, counts / counts.sum(), {"frequencies": found})
