"""Rounds: every partition improves candidates on its sample, the results are filtered and merged.

A lucky pilot, and colluders who propose a converged bad optimum of the honest data, win a vote
over pilots from few rows; a few rounds bring every candidate to the optimum that it leads to, with
the precision of all samples together (METHOD 11, steps 6 and 8).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dfmr_dask.aggregate.questions import Improved
from dfmr_dask.corruption import Corruption, corrupted
from dfmr_dask.errors import DegenerateRows
from dfmr_dask.local.iterations import iterated
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.partition import Drawn, LocalSettings
from dfmr_dask.run.tasks import Failure
from dfmr_dask.run.worker_log import logged


@logged
def improve(
    partition: int,
    drawn: Drawn | Failure,
    candidates: Sequence[Mixture],
    together: int,
    iterations: int,
    settings: LocalSettings,
    attack: str | Corruption | None = None,
) -> Improved | Failure:
    """Make some EM iterations from each candidate on the partition's sample A.

    Parameters
    ----------
    partition : int
    drawn : Drawn or Failure
        The partition's samples, or why it has none.
    candidates : sequence of Mixture
        All candidates of the round.
    together : int
        Rows N of all samples. The partition's share of the penalty N^(-1/2) is that of its rows:
        in full in each of m partitions, it would widen tight components m times as much.
    iterations : int
    settings : LocalSettings
    attack : str, Corruption or None
        What a Byzantine partition says in place of each result.
    """
    if isinstance(drawn, Failure):
        return drawn
    try:
        made = iterated(
            drawn.sample.fit,
            candidates,
            iterations,
            strength=together**-0.5 * min(1.0, len(drawn.sample.fit) / together),
            floor=settings.reg_covar,
            sample_weight=drawn.sample.fit_weight,
        )
    except DegenerateRows as error:  # a bad partition is data
        return Failure(str(error))
    rows = len(drawn.sample.fit)
    if attack is None:
        return Improved(tuple(made), rows)
    rng = generator(settings.seed, Stage.CORRUPT_ROUND, partition)
    shared = generator(settings.seed, Stage.COLLUDE)
    lies: list[Any] = [
        one and corrupted(one, attack, rng, known=known, rows=rows, shared=shared, turn=partition)
        for one, known in zip(made, candidates, strict=True)
    ]
    return Improved(tuple(lies), Corruption.of(attack).claimed_rows or rows)
