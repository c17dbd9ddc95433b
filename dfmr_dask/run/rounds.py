"""Rounds: every partition improves candidates on its sample, the results are filtered and merged.

A lucky pilot, and colluders who propose a converged bad optimum of the honest data, win a vote
over pilots from few rows; a few rounds bring every candidate to the optimum that it leads to, with
the precision of all samples together (METHOD 11, steps 6 and 8).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dfmr_dask.aggregate.rounds import gated_match
from dfmr_dask.corruption import Corruption, corrupted
from dfmr_dask.errors import DegenerateRows
from dfmr_dask.local.iterations import iterated
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.context import Context
from dfmr_dask.run.partition import Drawn, LocalSettings
from dfmr_dask.run.scoring import MOST_ROWS
from dfmr_dask.run.tasks import Failure

EM_ITERATIONS = 5  # of every partition, in a round


@dataclass(frozen=True, slots=True, eq=False)
class Improved:
    """What a partition made of each candidate, and the rows of the sample that it used.

    Attributes
    ----------
    mixtures : tuple of (Mixture or None)
        None where the partition's rows cannot be reached from a candidate.
    rows : int
    """

    mixtures: tuple[Mixture | None, ...]
    rows: int


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


def gated_round(
    context: Context,
    samples: Mapping[int, Any],
    candidates: Sequence[Mixture],
    *,
    sample_rows: int,
    key: str,
    stage: str = "start",
    iterations: int = EM_ITERATIONS,
) -> list[Mixture | None]:
    """Let all partitions improve all candidates, and merge what they answer.

    Parameters
    ----------
    context : Context
    samples : mapping of partition to handle
    candidates : sequence of Mixture
    sample_rows : int
        Rows of all samples A together: the penalty is that of a fit to all of them.
    key : str
        Names the round among the tasks of its stage.
    stage : str
    iterations : int
        EM iterations in each partition.

    Returns
    -------
    list of (Mixture or None)
        One entry a candidate; None where most partitions got nowhere from it.

    References
    ----------
    METHOD 11, steps 6 and 8.
    """
    byzantine = frozenset(context.byzantine)
    shared = context.tasks.share(tuple(candidates))
    handles = {
        i: context.tasks.submit(
            stage, (key, i), improve, i, sample, shared, sample_rows, iterations,
            context.local, context.attack("proposals") if i in byzantine else None,
        )
        for i, sample in samples.items()
    }  # fmt: skip
    answers = context.gathered(stage, handles)
    heard = [one for one in answers.values() if _is_answer(one, len(candidates))]
    rows = [one.rows for one in heard]
    return [
        gated_match(candidate, [_usable(context, one.mixtures[c]) for one in heard], rows)
        for c, candidate in enumerate(candidates)
    ]


def _is_answer(value: Any, candidates: int) -> bool:
    """Tell whether a partition answered about every candidate, with a number of rows."""
    return (
        isinstance(value, Improved)
        and isinstance(value.mixtures, tuple)
        and len(value.mixtures) == candidates
        and isinstance(value.rows, int)
        and 0 < value.rows < MOST_ROWS
    )


def _usable(context: Context, answer: Any) -> Mixture | None:
    return answer if isinstance(answer, Mixture) and context.fits_run(answer) else None
