"""Counts and categories: errors against the oracle's, as ``studies.py`` has them for Gaussians."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dfmr_dask.aggregate.aggregators import aggregate
from dfmr_dask.corruption import Corruption, corrupted_message
from dfmr_dask.experiments.accuracy import error, ratio_interval
from dfmr_dask.families import Binomial, Categorical, Family, Poisson
from dfmr_dask.local import em
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator

ALPHAS = (0.1, 0.3)
FAULTS = ("mean", "wide", "shift", "component", "sign_flip")
SIZES = {"wide": 5.0, "mean": 100.0}  # deviations; 20 times that of a count is no other count
PARTITIONS = 20
LEVELS, PEAKED = 4, 0.5  # of a category; 1 draws probabilities evenly, less makes some large
FAMILIES: Mapping[str, Callable[[int], Family]] = {
    "poisson": lambda d: Poisson(),
    "categorical": lambda d: Categorical((LEVELS,) * d),
    "binomial": lambda d: Binomial(2),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """Mean errors of one fault at one share, over seeds, in units of the oracle's."""

    family: str
    n_features: int
    fault: str
    alpha: float
    dfmr: float
    high: float  # upper end of the 95 % bootstrap interval
    vanilla: float
    honest_kept: float
    byzantine_kept: float


def truth_of(family: Family, n_components: int, n_features: int, seed: int) -> Mixture:
    """Draw a mixture whose components can be told apart, by most of its features."""
    rng = generator(seed, Stage.DRAW, 7)
    weights = 0.5 / n_components + 0.5 * rng.dirichlet(np.full(n_components, 5.0))
    shape = (n_components, n_features)
    if isinstance(family, Poisson):
        return Mixture(family, weights, {"rates": rng.gamma(2.0, 3.0, shape) + 0.3})
    if isinstance(family, Binomial):
        return Mixture(family, weights, {"frequencies": rng.uniform(0.05, 0.95, shape)})
    drawn = rng.dirichlet(np.full(LEVELS, PEAKED), shape) + 0.02
    shares = drawn / drawn.sum(axis=-1, keepdims=True)
    return Mixture(family, weights, {"probabilities": shares.reshape(n_components, -1)})


def messages_of(truth: Mixture, rows: int, partitions: int, seed: int) -> list[Message]:
    """Fit every partition from the truth, as the papers do."""
    found = []
    for i in range(partitions):
        x, _ = truth.sample(rows, generator(seed, Stage.DRAW, i + 100))
        fit = em.fit(x, truth, strength=(rows * partitions) ** -0.5)
        said = Message(i, "fitted", rows, mixture=fit.mixture, converged=fit.converged)
        found.append(said)
    return found


def measured(
    messages: Sequence[Message], truth: Mixture, fault: str, alpha: float, seed: int
) -> tuple[float, float, float, float, float]:
    """Return errors of dfmr, vanilla and oracle, and shares kept of the honest and of liars."""
    count = int(alpha * len(messages))
    attack = Corruption(fault, alpha, size=SIZES.get(fault))
    said: Any = [
        corrupted_message(one, attack, seed, known=truth) if one.partition < count else one
        for one in messages
    ]
    liars = tuple(range(count))
    merge = partial(aggregate, said, byzantine=liars)
    found = merge()
    kept = set(found.verdict.kept)
    return (
        error(found.mixture, truth),
        error(merge(aggregator="vanilla").mixture, truth),
        error(merge(aggregator="oracle").mixture, truth),
        len(kept - set(liars)) / (len(said) - count),
        len(kept & set(liars)) / max(count, 1),
    )


def counts(
    families: Sequence[str] = ("poisson", "categorical"),
    features: Sequence[int] = (5, 20),
    faults: Sequence[str] = FAULTS,
    alphas: Sequence[float] = ALPHAS,
    rows: int = 1000,
    seeds: Sequence[int] = range(10),
) -> list[Cell]:
    """Compare with the oracle at n = 1000 rows a partition, K = 3, 20 partitions."""
    return list(_cells(families, features, faults, alphas, rows, seeds))


def _cells(
    families: Sequence[str],
    features: Sequence[int],
    faults: Sequence[str],
    alphas: Sequence[float],
    rows: int,
    seeds: Sequence[int],
) -> Iterator[Cell]:
    for name in families:
        for d in features:
            truths = [truth_of(FAMILIES[name](d), 3, d, seed) for seed in seeds]
            pairs = zip(truths, seeds, strict=True)
            said = [messages_of(one, rows, PARTITIONS, seed) for one, seed in pairs]
            for fault in faults:
                for alpha in alphas:
                    cell = _cell(name, d, fault, alpha, said, truths, seeds)
                    print(cell, flush=True)
                    yield cell


def _cell(
    name: str,
    d: int,
    fault: str,
    alpha: float,
    said: Sequence[Sequence[Message]],
    truths: Sequence[Mixture],
    seeds: Sequence[int],
) -> Cell:
    ones = [
        measured(messages, truth, fault, alpha, seed)
        for messages, truth, seed in zip(said, truths, seeds, strict=True)
    ]
    dfmr, vanilla, oracle, honest, byzantine = (list(column) for column in zip(*ones, strict=True))
    ratio, _, high = ratio_interval(dfmr, oracle)
    return Cell(
        name, d, fault, alpha, ratio, high, ratio_interval(vanilla, oracle)[0],
        float(np.mean(honest)), float(np.mean(byzantine)),
    )  # fmt: skip
