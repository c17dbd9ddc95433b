"""The filter on estimates of many discrete columns: no fault of genotypes is let in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dfmr_dask.aggregate.aggregators import aggregate
from dfmr_dask.aggregate.gates import Rule
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.families import Binomial, Categorical, Family, Poisson
from dfmr_dask.local import em
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture

SITES, ROWS, COLUMNS = 12, 300, 400
GENOTYPES = Binomial(2)
Generator = np.random.Generator
WEIGHTS = np.array([0.45, 0.3, 0.25])


def populations(rng: Generator, drift: float = 0.1) -> Mixture:
    """Three populations that have drifted from one ancestor."""
    ancestor = rng.uniform(0.1, 0.9, COLUMNS)
    a, b = ancestor * (1 - drift) / drift, (1 - ancestor) * (1 - drift) / drift
    frequencies = np.clip(rng.beta(a, b, (3, COLUMNS)), 0.002, 0.998)
    return Mixture(GENOTYPES, WEIGHTS, {"frequencies": frequencies})


TRUTH = populations(np.random.default_rng(0))


def genotypes(rng: Generator, truth: Mixture = TRUTH, rows: int = ROWS) -> np.ndarray:
    return truth.sample(rows, rng)[0].astype(np.int8)


def site(i: int, x: np.ndarray) -> Message:
    found = em.fit(x, TRUTH, strength=0.02, max_iter=50)
    return Message(i, "fitted", len(x), mixture=found.mixture)


def flipped(share: float) -> Callable[[Generator], np.ndarray]:
    columns = np.random.default_rng(7).random(COLUMNS) < share

    def make(rng: Generator) -> np.ndarray:
        x = genotypes(rng)
        x[:, columns] = 2 - x[:, columns]
        return x

    return make


def read_as_reference(rng: Generator) -> np.ndarray:
    x = genotypes(rng)
    x[rng.random(x.shape) < 0.2] = 0
    return x


SHUFFLED = np.random.default_rng(8).permutation(COLUMNS)
FAULTS: dict[str, Callable[[Generator], np.ndarray]] = {
    "alleles flipped": flipped(1.0),
    "one in ten flipped": flipped(0.1),
    "columns shuffled": lambda rng: genotypes(rng)[:, SHUFFLED],
    "missing read as reference": read_as_reference,
    "another population": lambda rng: genotypes(rng, populations(np.random.default_rng(9))),
    "relatives": lambda rng: np.repeat(genotypes(rng, rows=ROWS // 10), 10, axis=0),
    "random": lambda rng: rng.integers(0, 3, (ROWS, COLUMNS)).astype(np.int8),
}


@pytest.fixture(scope="module")
def honest() -> list[Message]:
    return [site(i, genotypes(np.random.default_rng(100 + i))) for i in range(SITES)]


def test_all_honest_sites_are_kept(honest: list[Message]) -> None:
    found = aggregate(honest)
    assert len(found.verdict.kept) == SITES
    assert found.verdict.certified
    distances = {gate.name: gate.distances for gate in found.verdict.gates}
    assert 0.8 < np.median(distances["frequencies"]) < 1.1


def test_sites_of_other_sizes_with_holes_are_kept_too() -> None:
    rng = np.random.default_rng(1)
    said = []
    for i, rows in enumerate(rng.integers(150, 600, SITES)):
        x = genotypes(rng, rows=int(rows))
        x[rng.random(x.shape) < rng.choice([0.0, 0.05, 0.1])] = -1
        said.append(site(i, x))
    assert len(aggregate(said).verdict.kept) == SITES


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_found(honest: list[Message], name: str) -> None:
    bad = [site(i, FAULTS[name](np.random.default_rng(200 + i))) for i in range(5)]
    found = aggregate([*bad, *honest[5:]])
    assert set(found.verdict.kept) == set(range(5, SITES))
    oracle = aggregate(honest[5:], aggregator="vanilla").mixture
    assert error(found.mixture, TRUTH) <= 1.001 * error(oracle, TRUTH)


def test_groups_of_colluders_among_more_coordinates_than_sites_are_told(
    honest: list[Message],
) -> None:
    """A step that hides within each site's noise, but is the same at three of them."""
    step = 1.0 * np.random.default_rng(3).standard_normal((3, COLUMNS))
    said = list(honest)
    for i in range(3):
        mixture = said[i].mixture
        assert mixture is not None
        z = GENOTYPES.stabilized(mixture.params["frequencies"])
        z = np.clip(z + step / np.sqrt(ROWS * mixture.weights[:, None]), 0.05, 4.3)
        moved = {"frequencies": np.sin(z / np.sqrt(8.0)) ** 2}
        said[i] = Message(i, "fitted", ROWS, mixture=Mixture(GENOTYPES, mixture.weights, moved))
    assert not set(aggregate(said).verdict.kept) & {0, 1, 2}


@pytest.mark.parametrize("gate", ["fisher", "ctd", "center", "l2"])
def test_every_gate_can_be_chosen(honest: list[Message], gate: str) -> None:
    found = aggregate(honest, rule=Rule(gates=(gate,)))
    assert len(found.verdict.kept) > SITES // 2
    assert np.isfinite(found.verdict.gates[0].distances).all()
    powerless = any("no power" in doubt for doubt in found.verdict.doubts)
    assert powerless == (gate == "l2")


@pytest.mark.parametrize("family", [Poisson(), Categorical((3,) * 12)], ids=["poisson", "levels"])
def test_other_families_are_filtered_in_their_own_coordinates(family: Family) -> None:
    rng = np.random.default_rng(4)
    rates = {"rates": rng.gamma(2.0, 3.0, (2, 12)) + 0.5}
    drawn = rng.dirichlet(np.full(3, 0.7), (2, 12)) + 0.02
    levels = {"probabilities": (drawn / drawn.sum(-1, keepdims=True)).reshape(2, -1)}
    truth = Mixture(family, [0.6, 0.4], rates if isinstance(family, Poisson) else levels)
    said = []
    for i in range(SITES):
        x, _ = truth.sample(500, np.random.default_rng(i))
        if i < 4:
            x = x[:, ::-1]
        mixture = em.fit(x, truth, strength=0.02).mixture
        labels = [0, 1] if i % 2 else [1, 0]
        said.append(Message(i, "fitted", 500, mixture=mixture.reordered(labels)))
    found = aggregate(said)
    assert set(found.verdict.kept) == set(range(4, SITES))
    everybody = aggregate(said, aggregator="vanilla").mixture
    assert error(found.mixture, truth) < 0.5 * error(everybody, truth)
