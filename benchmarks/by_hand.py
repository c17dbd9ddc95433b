"""EM over a whole store as an expert would write it with Dask: each iteration is one map-reduce."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from distributed import Client, as_completed

from dfmr_dask.data.source import Source
from dfmr_dask.families.base import Family, Statistics
from dfmr_dask.kernels import expected_sums, overall_statistics, pooled
from dfmr_dask.local.climbing import maximize
from dfmr_dask.mixture import Mixture

FLOOR = 1e-6


@dataclass(slots=True)
class Rival:
    """What came of it: scores (mean log density a row) against the seconds since it began."""

    mixture: Mixture
    scores: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def time_to(self, score: float) -> float | None:
        """Seconds until the score was first reached; None if it never was."""
        reached = np.flatnonzero(np.array(self.scores) >= score)
        return self.seconds[int(reached[0])] if len(reached) else None


def fitted(client: Client, source: Source, start: Mixture, tol: float, most: int) -> Rival:
    """Iterate until an iteration gains less than ``tol``.

    Parameters
    ----------
    client : Client
    source : Source
    start : Mixture
    tol : float
        In nats a row.
    most : int
        Passes over the store at most.
    """
    began, rival, overall = time.perf_counter(), Rival(start), None
    family, weights, params = start.family, start.weights, start.params
    for number in range(most):
        answers = _pass(client, source, (family, weights, params), number)
        sums = pooled(family, [statistics for statistics, _, _ in answers])
        overall = overall or pooled(family, [one for *_, one in answers if one is not None])
        n = float(overall.count[0])
        rival.mixture = Mixture(family, weights, params)
        rival.scores.append(sum(total for _, total, _ in answers) / n)
        rival.seconds.append(time.perf_counter() - began)
        gain = rival.scores[-1] - rival.scores[-2] if number else np.inf
        if gain < tol:
            break
        pseudo_rows = family.pseudo_rows(overall, n**-0.5, FLOOR)
        weights, params = maximize(family, sums, params, pseudo_rows)
    return rival


def _pass(
    client: Client, source: Source, here: tuple[Family, Any, Any], number: int
) -> list[tuple[Statistics, float, Statistics | None]]:
    shared = client.scatter(here, broadcast=True, hash=False)
    futures = [
        client.submit(_sums, source.rows(i), shared, number == 0, pure=False)
        for i in range(len(source.plan))
    ]
    return [answer for _, answer in as_completed(futures, with_results=True)]


def _sums(
    reader: Any, here: tuple[Family, Any, Any], first: bool
) -> tuple[Statistics, float, Statistics | None]:
    family, weights, params = here
    rows = reader()
    overall = overall_statistics(family, rows) if first else None
    return *expected_sums(family, weights, params, rows), overall
