"""How often the number of components is found from messages and scores alone.

    python -m dfmr_dask.experiments.studies orders-from-scores

Every order is fitted and filtered by a run of its own, as parties do who show no rows; then each
partition scores the aggregates on its sample B. Liars lie in every message, and each adds what it
likes to its scores of orders beyond the true one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.corruption import Corruption
from dfmr_dask.data.source import Source, open_source
from dfmr_dask.experiments.orders import OVERLAP, Case, Ordered, cases_of, told
from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.experiments.photograph import FULL
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run import partition
from dfmr_dask.run.context import Context
from dfmr_dask.run.events import ignore
from dfmr_dask.run.partition import Drawn
from dfmr_dask.run.pipeline import fit
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import InProcess
from dfmr_dask.selection.scores import from_scores

MORE = 3  # orders beyond the true one that are tried
LIE = 0.05  # nats a row that a liar adds to its score, order by order, at most


def orders_from_scores(
    components: Sequence[int] = (3, 5, 8),
    features: Sequence[int] = (2, 10),
    rows: Sequence[int] = (1000, 5000),
    partitions: Sequence[int] = (20, 50),
    attacks: Sequence[str] = ("mean", "wide", "data"),
    alphas: Sequence[float] = (0.0, 0.45),
    seeds: Sequence[int] = (3000,),
) -> list[Ordered]:
    """Choose the order in every cell of the grid; print a line a case, and a table at the end."""
    out: list[Ordered] = []
    for case in cases_of(components, features, rows, partitions, attacks, alphas, seeds):
        out.append(_ordered(case))
        print(out[-1], flush=True)
    print(*told(out), sep="\n", flush=True)
    return out


def _ordered(case: Case) -> Ordered:
    began = time.perf_counter()
    truth = population_with_overlap(case.n_components, case.n_features, OVERLAP, case.seed)
    other = population_with_overlap(case.n_components, case.n_features, OVERLAP, case.seed + 5000)
    total, m = case.rows * case.partitions, case.partitions
    source, replacement = (
        open_source(
            mixture.sample(total, generator(case.seed, Stage.DRAW, i))[0],
            n_partitions=m, seed=case.seed,
        )
        for i, mixture in enumerate((truth, other))
    )  # fmt: skip
    corruption = None if case.attack == "none" else Corruption(case.attack, case.alpha)
    settings = Settings(family=FULL, n_components=1, seed=case.seed, corruption=corruption)
    orders = list(range(1, case.n_components + MORE + 1))
    kept, scores, parameters = {}, {}, []
    for order in orders:
        asked = replace(settings, n_components=order)
        result = fit(source, asked, InProcess(), replacement=replacement)
        parameters.append(result.mixture.n_parameters)
        kept[order] = set(result.verdict.kept)
        samples = _samples(source, replacement, asked)
        scores[order] = {i: result.mixture.score(b) for i, b in samples.items() if i in kept[order]}
    rows = {i: float(len(b)) for i, b in samples.items()}
    liars = set(result.byzantine)
    scores = {k: _lied(some, liars, k - case.n_components, case.seed) for k, some in scores.items()}
    found = from_scores(orders, kept, scores, rows, parameters)
    heard = len(liars & set(found.partitions))
    return Ordered(case, found.n_components, 0, time.perf_counter() - began, 0.0, 0.0, heard)


def _samples(
    source: Source, replacement: Source | None, settings: Settings
) -> dict[int, NDArray[np.float64]]:
    """Return the rows that each partition scores on."""
    context = Context(source, settings, InProcess(), ignore, replacement=replacement)
    liars = frozenset(context.byzantine)
    out = {}
    for i in range(len(source.plan)):
        place, j = context.rows_of(i, liars)
        drawn = partition.draw(i, place.rows(j), context.local)
        if isinstance(drawn, Drawn):
            out[i] = drawn.sample.score
    return out


def _lied(scores: dict[int, float], liars: set[int], beyond: int, seed: int) -> dict[int, float]:
    """Return scores in which liars praise orders beyond the true one, each as far as it likes."""
    far = {i: LIE * generator(seed, Stage.CORRUPT_SCORES, i).random() for i in liars}
    return {i: one + max(0, beyond) * far.get(i, 0.0) for i, one in scores.items()}
