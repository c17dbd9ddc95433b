"""Five populations out of Africa, simulated: their history, SNPs' frequencies, and people.

The history is that of Gutenkunst, Hernandez, Williamson & Bustamante (PLoS Genetics 5, e1000695,
2009), table 1, of people in Africa, Europe and East Asia. That Europe and East Asia are two
populations each, which split 200 and 300 generations ago and differ by an F_ST of about .006, is
added here. Needs msprime: ``pip install 'dfmr-dask[genetics]'``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families import Binomial
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator

POPULATIONS = ("Africa", "Europe 1", "Europe 2", "East Asia 1", "East Asia 2")
KEYS = tuple(name.replace(" ", "_") for name in POPULATIONS)  # as msprime has them
AFRICA, EUROPE, ASIA = KEYS[0], KEYS[1:3], KEYS[3:]
SPLITS = 200.0, 300.0  # generations ago, within Europe and within East Asia
T_AFRICA, T_OUT, T_EURASIA = 8800.0, 5600.0, 848.0  # generations of 25 years
N_ANCESTRAL, N_AFRICA, N_OUT = 7300, 12300, 2100
N_EUROPE, GROWTH_EUROPE = 1000, 0.004  # when Europe and East Asia split, and a generation
N_ASIA, GROWTH_ASIA = 510, 0.0055
AFRICA_OUT, AFRICA_EUROPE, AFRICA_ASIA, EUROPE_ASIA = 25e-5, 3e-5, 1.9e-5, 9.6e-5  # migrants
RAREST = 0.05  # of the rarer allele, among all people, of the SNPs that are looked at
MANY = 1e-4  # mutations a generation, of which one is taken
DRIFT = 0.1  # F_ST of other populations to these
Array = NDArray[np.float64]


def history(splits: tuple[float, float] = SPLITS) -> Any:
    """Return the demography, as msprime has it.

    Parameters
    ----------
    splits : (float, float)
        Generations since Europe and East Asia became two populations each, the former later.

    Raises
    ------
    ValueError
        When that was before Europe and East Asia split, or in the other order.
    """
    if not 0.0 < splits[0] < splits[1] < T_EURASIA:
        raise ValueError(f"splits={splits}; wanted generations below {T_EURASIA:.0f}, in order")
    import msprime  # noqa: PLC0415  # an extra

    now = {"Europe": N_EUROPE * np.exp(GROWTH_EUROPE * T_EURASIA)}
    now["Asia"] = N_ASIA * np.exp(GROWTH_ASIA * T_EURASIA)
    told = msprime.Demography()
    told.add_population(name=AFRICA, initial_size=N_AFRICA)
    growing = {"Europe": GROWTH_EUROPE, "Asia": GROWTH_ASIA}
    for name in (*EUROPE, *ASIA, "Europe", "Asia"):  # the five come first, by number
        kind = "Europe" if "Europe" in name else "Asia"
        told.add_population(name=name, initial_size=now[kind], growth_rate=growing[kind])
    told.add_population(name="Out", initial_size=N_OUT)
    told.add_population(name="Ancestors", initial_size=N_AFRICA)
    for one, other, rate in _migrants(EUROPE, ASIA):
        told.set_symmetric_migration_rate([one, other], rate)
    told.add_population_split(time=splits[0], derived=list(EUROPE), ancestral="Europe")
    told.add_population_split(time=splits[1], derived=list(ASIA), ancestral="Asia")
    for since, europe, asia in (
        (splits[0], ("Europe",), ASIA),
        (splits[1], ("Europe",), ("Asia",)),
    ):
        for one, other, rate in _migrants(europe, asia):
            told.add_symmetric_migration_rate_change(since, [one, other], rate)
    told.add_population_split(time=T_EURASIA, derived=["Europe", "Asia"], ancestral="Out")
    told.add_symmetric_migration_rate_change(T_EURASIA, [AFRICA, "Out"], AFRICA_OUT)
    told.add_population_split(time=T_OUT, derived=[AFRICA, "Out"], ancestral="Ancestors")
    told.add_population_parameters_change(
        time=T_AFRICA, population="Ancestors", initial_size=N_ANCESTRAL
    )
    told.sort_events()
    return told


def _migrants(europe: tuple[str, ...], asia: tuple[str, ...]) -> Iterator[tuple[str, str, float]]:
    for one in europe:
        yield AFRICA, one, AFRICA_EUROPE
        yield from ((one, other, EUROPE_ASIA) for other in asia)
    yield from ((AFRICA, other, AFRICA_ASIA) for other in asia)


def frequencies(n_snps: int, seed: int, people: int = 100) -> Array:
    """Simulate unlinked SNPs, each on a tree of its own, and count them in so many people.

    Parameters
    ----------
    n_snps : int
    seed : int
    people : int
        Of each population.

    Returns
    -------
    ndarray of shape (5, n_snps)
        Frequencies of the newer allele, none of them 0 or 1: half of it is added to both counts.
        Over all people the rarer allele has 5 % at least.
    """
    import msprime  # noqa: PLC0415  # an extra

    rng = generator(seed, Stage.SIMULATE)
    trees = msprime.sim_ancestry(
        dict.fromkeys(KEYS, people),
        demography=history(),
        sequence_length=1,
        discrete_genome=False,
        num_replicates=100 * n_snps,
        random_seed=int(rng.integers(1, 2**31)),
    )
    found: list[Array] = []
    for tree in trees:
        many = msprime.sim_mutations(
            tree, rate=MANY, discrete_genome=False, random_seed=int(rng.integers(1, 2**31))
        )
        alleles = many.genotype_matrix()
        common = np.flatnonzero(_rarer(alleles) >= RAREST)
        if len(common):  # of one tree one SNP, so that SNPs are not linked
            chosen = alleles[rng.choice(common)].reshape(len(KEYS), 2 * people)
            found.append((chosen.sum(axis=1) + 0.5) / (2.0 * people + 1.0))
        if len(found) == n_snps:
            break
    return np.array(found).T


def _rarer(alleles: NDArray[np.integer]) -> Array:
    share = alleles.mean(axis=1)
    return np.asarray(np.minimum(share, 1.0 - share))


def drifted(start: Array, seed: int, distance: float = DRIFT) -> Array:
    """Return frequencies of populations that drifted away from others (Balding & Nichols 1995)."""
    rng, spread = generator(seed, Stage.ALIEN_ROWS), (1.0 - distance) / distance
    least = 1e-3
    return np.asarray(np.clip(rng.beta(spread * start, spread * (1 - start)), least, 1 - least))


def as_mixture(found: Array, weights: Array | None = None) -> Mixture:
    """Return populations as a mixture of genotypes; equally many people of each by default."""
    shares = np.full(len(found), 1.0 / len(found)) if weights is None else weights
    return Mixture(Binomial(2), shares, {"frequencies": found})


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """People of simulated populations, site by site.

    Attributes
    ----------
    calls : ndarray of int8, (variants, people, 2)
    population : ndarray of int, (people,)
        Its number in :data:`POPULATIONS`.
    contig : ndarray of int, (variants,)
    position : ndarray of int, (variants,)
    """

    calls: NDArray[np.int8]
    population: NDArray[np.intp]
    contig: NDArray[np.intp]
    position: NDArray[np.intp]


def people(
    each: int,
    seed: int,
    *,
    contigs: int = 100,
    length: int = 100_000,
    rate: float = 1.44e-8,
    splits: tuple[float, float] = SPLITS,
) -> People:
    """Simulate people of each population, with recombination and mutation along many contigs.

    Parameters
    ----------
    each : int
        People of each population; they come in a random order.
    seed : int
    contigs, length : int
        Pieces of the genome, and their bases.
    rate : float
        Mutations, and crossings, a base and generation.
    splits : (float, float)
        As for :func:`history`.
    """
    import msprime  # noqa: PLC0415  # an extra

    rng = generator(seed, Stage.SIMULATE)
    made = msprime.sim_ancestry(
        dict.fromkeys(KEYS, each),
        demography=history(splits),
        sequence_length=length,
        recombination_rate=rate,
        num_replicates=contigs,
        random_seed=int(rng.integers(1, 2**31)),
    )
    parts, contig, position = [], [], []
    for number, ancestry in enumerate(made):
        sequence = msprime.sim_mutations(
            ancestry, rate=rate, random_seed=int(rng.integers(1, 2**31)), model="binary"
        )
        alleles = sequence.genotype_matrix().astype(np.int8)
        kept = np.flatnonzero(_rarer(alleles) >= RAREST)
        parts.append(alleles[kept].reshape(len(kept), each * len(KEYS), 2))
        contig.append(np.full(len(kept), number + 1))
        position.append(sequence.sites_position[kept].astype(np.intp) + 1)
    order = rng.permutation(each * len(KEYS))
    return People(
        np.concatenate(parts)[:, order],
        np.repeat(np.arange(len(KEYS)), each)[order],
        np.concatenate(contig),
        np.concatenate(position),
    )
