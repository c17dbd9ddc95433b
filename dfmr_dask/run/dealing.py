"""Samples of interleaved partitions, dealt from those of the pieces: nothing is read for them.

A sample of a few blocks would not resemble an interleaved partition, which has strips from
everywhere. The samples that the pieces have drawn do, once each piece gives as much of its own as
it has rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.questions import Score, Scores
from dfmr_dask.data.source import Source
from dfmr_dask.local.start import Sample
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.asking import Asking
from dfmr_dask.run.context import Context
from dfmr_dask.run.partition import Drawn
from dfmr_dask.run.tasks import Failure
from dfmr_dask.run.way import Shares

FEW = 0.02  # of all rows: pieces with so few may give less than their share
MOST_DEALT = 32  # interleaved partitions that get a sample: they are alike, and enough to vote


def shares(context: Context, samples: Mapping[int, Any], start: Mixture, mixed: Source) -> Shares:
    """Ask pieces for their rows, and return how much of their samples is dealt.

    Parameters
    ----------
    context : Context
        Of the pieces.
    samples : mapping of piece to handle
    start : Mixture
        What they score on the way.
    mixed : Source
        In interleaved partitions.
    """
    asking = Asking(context, samples, honest=True)
    heard: dict[int, Scores] = dict(asking(Score(list(samples), [start], "shares")).heard)
    planned = {i: context.source.plan.partitions[i].rows for i in heard}
    scale = {i: planned[i] / max(1, one.read) for i, one in heard.items()}
    rows = {i: max(1.0, scale[i] * one.rows) for i, one in heard.items()}
    masses = [scale[i] * one.mass for i, one in heard.items() if one.mass is not None]
    together, valid = max(1, sum(planned.values())), max(1.0, sum(rows.values()))
    m = len(mixed.plan)
    n = min(MOST_DEALT, m)
    order = replace(context.local.order_of(context.settings.n_components), alone=m == 1)
    each = round((mixed.plan.rows or 1) * valid / together / m)
    a, b = order.sample_sizes(each)
    return Shares(
        min(n * a / valid, _given({i: one.rows_to_fit for i, one in heard.items()}, rows)),
        min(n * b / valid, _given({i: one.rows_to_score for i, one in heard.items()}, rows)),
        valid / together,
        sum(masses) / together if masses else None,
        n,
    )


def _given(drawn: Mapping[int, int], rows: Mapping[int, float]) -> float:
    """Return how many rows for each of its own nearly every piece can give of its sample.

    Those with the smallest samples for their size give what they have, if they are few.
    """
    share = {i: drawn[i] / rows[i] for i in drawn}
    order = sorted(share, key=lambda i: share[i])
    passed = np.cumsum([rows[i] for i in order])
    return share[order[int(np.searchsorted(passed, FEW * passed[-1]))]] if order else 0.0


def deal(
    context: Context, samples: Mapping[int, Any], mixed: Context, shares: Shares
) -> dict[int, Any]:
    """Deal samples of pieces to interleaved partitions, the first 32 of them.

    Parameters
    ----------
    context, mixed : Context
        Of the pieces, and of the interleaved partitions.
    samples : mapping of piece to handle
    shares : Shares

    Returns
    -------
    dict of partition to handle
    """
    submit, planned = context.tasks.submit, context.source.plan.partitions
    portions = [
        submit("start", ("portion", i), portion, drawn, planned[i].rows, shares)
        for i, drawn in samples.items()
    ]
    parts, seed = mixed.source.plan.partitions[: shares.partitions], context.settings.seed
    return {
        one.index: submit(
            "start", ("dealt", one.index), dealt, one.index, one.rows, shares, seed, *portions
        )
        for one in parts
    }


def portion(drawn: Drawn | Failure, planned: int, shares: Shares) -> Drawn | Failure:
    """Return what a piece gives of its sample; weights are in units of the source again."""
    if isinstance(drawn, Failure):
        return drawn
    rows = planned * drawn.rows / max(1, drawn.read)
    one, unit = drawn.sample, 1.0 if drawn.mass is None else drawn.mass / drawn.rows
    a, b = (round(share * rows) for share in (shares.to_fit, shares.to_score))
    cut = Sample(
        one.fit[:a],
        one.score[:b],
        None if one.fit_weight is None else one.fit_weight[:a] * unit,
        None if one.score_weight is None else one.score_weight[:b] * unit,
    )
    return replace(drawn, sample=cut)


def dealt(
    partition: int, planned: int, shares: Shares, seed: int, *portions: Drawn | Failure
) -> Drawn | Failure:
    """Put the sample of an interleaved partition together: every so many-th row of each portion.

    Parameters
    ----------
    partition : int
    planned : int
        Its rows in the plan.
    shares : Shares
    seed : int
    *portions : Drawn or Failure
        Of all pieces.
    """
    given = [one.sample for one in portions if isinstance(one, Drawn)]
    if not given:
        return Failure("no piece could draw a sample")
    n, rng = shares.partitions, generator(seed, Stage.SAMPLE, partition)
    first = [(partition + i) % n for i in range(len(given))]  # nobody gets all of the odd rows
    pairs = list(zip(given, first, strict=True))
    fit, fit_weight = _joined([(s.fit[k::n], _part(s.fit_weight, k, n)) for s, k in pairs], rng)
    score, score_weight = _joined(
        [(s.score[k::n], _part(s.score_weight, k, n)) for s, k in pairs], rng
    )
    rows = max(1, round(shares.rows * planned))
    mass = None if shares.mass is None else shares.mass * planned
    return Drawn(Sample(fit, score, fit_weight, score_weight), rows, mass, planned)


def _part(weights: NDArray[np.float64] | None, first: int, step: int) -> Any:
    return None if weights is None else weights[first::step]


def _joined(parts: list[tuple[Any, Any]], rng: np.random.Generator) -> tuple[Any, Any]:
    """Put rows below each other in random order, with weights of mean 1."""
    x = np.concatenate([rows for rows, _ in parts])
    order = rng.permutation(len(x))
    if parts[0][1] is None:
        return x[order], None
    weights = np.concatenate([weights for _, weights in parts])[order]
    return x[order], weights / max(weights.sum(), np.finfo(float).tiny) * len(x)
