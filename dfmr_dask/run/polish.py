"""Polish: a few EM passes over all rows of the kept partitions, each of them filtered again.

The mean of local estimates loses precision where components overlap strongly; a few iterations of
EM on all rows together win it back. Statistics that are merely added up would let a single liar
ruin the model. So each partition answers with an estimate of its own, one EM step from the current
mixture, and what is not like the majority's is left out (EVIDENCE 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.estimates import trusted_rows
from dfmr_dask.aggregate.questions import MOST_MASS
from dfmr_dask.aggregate.rounds import matched
from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.aggregate.vote import crowd_median
from dfmr_dask.corruption import ATTACKS, Corruption, corrupted
from dfmr_dask.data.source import Source
from dfmr_dask.local.columns import SomeColumns, of_columns, put_back
from dfmr_dask.local.iterations import stepped
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.context import Context, by_attack
from dfmr_dask.run.partition import LocalSettings
from dfmr_dask.run.tasks import Failure, described
from dfmr_dask.run.valid import Reader, read_valid
from dfmr_dask.run.worker_log import logged

Answers = Sequence["Step | None"]
Columns = NDArray[np.intp] | None  # None for all of them


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What a partition makes of the current mixture in one pass over all of its rows.

    Attributes
    ----------
    mixture : Mixture or None
        One EM iteration further; None where its rows cannot be reached from there.
    score : float
        Mean log density a row under the current mixture, in nats.
    rows : float
        How many they are, or the sum of their weights.
    """

    mixture: Mixture | None
    score: float
    rows: float


@dataclass(frozen=True, slots=True, eq=False)
class Polished:
    """The outcome.

    Attributes
    ----------
    mixture : Mixture
    passes : int
        How many were taken.
    note : str
        Why it was not more of them; empty when all were.
    """

    mixture: Mixture
    passes: int
    note: str = ""


@logged
def step(
    partition: int,
    reader: Reader,
    heard: Columns,
    here: Mixture,
    together: float,
    number: int,
    settings: LocalSettings,
    attack: Corruption | None = None,
) -> Step | Failure:
    """Make one EM iteration from the current mixture on all rows of a partition.

    Parameters
    ----------
    partition : int
    reader : callable or array
    heard : array of int, or None
        Features that count; of the others, which were thrown out for this partition, the current
        mixture stays as it is. None for all.
    here : Mixture
    together : float
        Rows N of all partitions. A partition's share of the penalty N^(-1/2) is that of its rows.
    number : int
        Of the pass.
    settings : LocalSettings
    attack : Corruption or None
        What a Byzantine partition says in place of its step. It praises whatever comes later, so
        that the passes go on.
    """
    try:
        valid = read_valid(reader, settings.outliers, settings.family)
        rows = float(valid.rows) if valid.mass is None else valid.mass
        x, weights, start = valid.x, valid.weights, here
        if heard is not None:  # blocks bring their own weights
            x, weights, start = SomeColumns(valid.blocks, heard), None, of_columns(here, heard)
        made, score = stepped(
            x,
            start,
            strength=together**-0.5 * min(1.0, rows / together),
            floor=settings.reg_covar,
            sample_weight=weights,
        )
        if made is not None and heard is not None:
            made = put_back(made, here, heard)
    except Exception as error:  # a bad partition is data
        return Failure(described(error))
    if attack is None or made is None:
        return Step(made, score, rows)
    rng = generator(settings.seed, Stage.CORRUPT_PASS, partition)
    shared = generator(settings.seed, Stage.COLLUDE)
    lie: Any = corrupted(made, attack, rng, known=here, rows=rows, shared=shared, turn=partition)
    praise = 0.0 if ATTACKS[attack.attack].harmless else float(number)
    return Step(lie, score + praise, float(attack.claimed_rows or rows))


def polish(
    context: Context,
    messages: Sequence[Message],
    verdict: Verdict,
    mixture: Mixture,
    *,
    gated: bool = True,
) -> Polished:
    """Make gated EM passes from a mixture over all rows of the kept partitions.

    A pass is taken unless it is worse than the one before it, or than the beginning: by the median
    of what those score who took part in it, on all of their rows, as far as they agree on it. As
    scores of a mixture come with the step from it, n passes read n + 1 times. The first one that
    is not taken is the last.

    Parameters
    ----------
    context : Context
    messages : sequence of Message
        Of all partitions; their row counts weigh the penalty.
    verdict : Verdict
        Its kept partitions take part, without the features that were thrown out for them.
    mixture : Mixture
    gated : bool
        Leave out of each pass who is not like the majority.

    Notes
    -----
    Liars who stay inside the honest partitions' noise in every pass, in what they answer and in how
    they praise it, are not found out, and their pull adds up over the passes.

    References
    ----------
    EVIDENCE 3; the gate is that of METHOD 11, step 6.
    """
    kept = verdict.kept
    among = frozenset(kept)
    together = _rows_together(context.source, [m for m in messages if m.partition in among])
    observed = {m.partition: m.observed or 1.0 for m in messages}
    here, note, taken = mixture, "", 0
    first = answers = _pass(context, verdict, here, together, 0)
    while taken < context.settings.polish and not note:
        there = matched(here, *_steps(context, kept, answers, observed), gated)
        if there is None:
            note = "half of the kept partitions or more gave no step that can be used"
            break
        after = _pass(context, verdict, there[0], together, taken + 1)
        note = objection(answers, after, there[1]) or objection(first, after, there[1])
        if not note:
            here, answers, taken = there[0], after, taken + 1
    if note:
        note = f"{taken} of {context.settings.polish} polishing passes were taken: {note}"
    return Polished(here.canonical() if taken else mixture, taken, note)


def _pass(
    context: Context, verdict: Verdict, here: Mixture, together: float, number: int
) -> list[Step | None]:
    """Let all kept partitions make a step from a mixture; None stands for no answer."""
    byzantine, kept = frozenset(context.byzantine), verdict.kept
    shared = context.tasks.share(here)
    handles: dict[int, Any] = {}
    for attack, chosen in by_attack(context, kept, "proposals"):
        own = {}
        for i in chosen:
            source, j = context.rows_of(i, byzantine)
            own[i] = (i, source.rows(j), _heard(verdict, i))
        common = (shared, together, number, context.local, attack)
        handles |= context.submitted("polish", (number,), step, own, *common)
    answers: Mapping[int, Any] = context.gathered("polish", handles, total=len(kept))
    return [one if _is_step(one) else None for one in (answers[i] for i in kept)]


def _heard(verdict: Verdict, i: int) -> Columns:
    """Return the features of a partition that count, where some of them were thrown out."""
    kept = None if verdict.entries_kept is None else verdict.entries_kept[i]
    return None if kept is None or kept.all() else np.flatnonzero(kept)


def _steps(
    context: Context, kept: Sequence[int], answers: Answers, observed: Mapping[int, float]
) -> tuple[list[Mixture | None], list[float]]:
    """Return mixtures that fit the run, and rows: no more than the plan's, less what is missing."""
    mixtures, rows = [], []
    for i, one in zip(kept, answers, strict=True):
        usable = one is not None and context.fits_run(one.mixture)
        mixtures.append(one.mixture if one is not None and usable else None)
        claimed = 0.0 if one is None else one.rows
        rows.append(min(claimed, _most(context.source, i)) * observed[i])
    return mixtures, rows


def objection(before: Answers, after: Answers, heard: NDArray[np.bool_]) -> str:
    """Say why a pass is not taken, from the gains in score of those who took part in it.

    Parameters
    ----------
    before, after : sequences of Step or None
        Of all kept partitions, in the same order.
    heard : mask
        Who took part in the pass.

    Returns
    -------
    str
        Empty when nothing speaks against it.
    """
    gains = [
        new.score - old.score
        for old, new, one in zip(before, after, heard, strict=True)
        if one and old is not None and new is not None and np.isfinite(old.score)
    ]
    # Infinite praise is no score; minus infinity is an honest answer to an absurd mixture.
    counted = [gain for gain in gains if gain < np.inf]
    if 2 * len(counted) <= int(heard.sum()):
        return "half of those who took part in the next one or more gave no score of it"
    if crowd_median(np.array(counted)) < 0.0:
        return "the next one is worse in the median of those who took part in it"
    return ""


def _rows_together(source: Source, messages: Sequence[Message]) -> float:
    """Return the rows of the kept partitions, or the sum of their weights, as far as trusted."""
    rows = [m.counted for m in messages]
    most = [_most(source, m.partition) for m in messages]
    return float(trusted_rows(rows, most).sum())


def _most(source: Source, i: int) -> float:
    """Return the most rows that a partition can claim; no plan knows the sum of weights."""
    if source.weighted or source.plan.rows is None:
        return float("inf")
    return float(source.plan.partitions[i].rows)


def _is_step(value: Any) -> bool:
    """Tell whether a partition answered with a score, and with a number of rows."""
    return (
        isinstance(value, Step)
        and isinstance(value.score, float)
        and isinstance(value.rows, float)
        and 0.0 < value.rows < MOST_MASS
    )
