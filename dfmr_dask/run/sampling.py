"""Taking rows for pictures from the samples that kept partitions drew for the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dfmr_dask.families.base import Family
from dfmr_dask.message import Message
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.agreement import Agreed
from dfmr_dask.run.context import Context, is_failed
from dfmr_dask.run.partition import Drawn
from dfmr_dask.run.sample import Sample
from dfmr_dask.run.tasks import Failure

MOST_ASKED = 100  # partitions; more would be more tasks and no better picture
VALUES = 250_000  # numbers in all: rows of very many features are fewer


def sample_rows(
    context: Context, messages: Sequence[Message], kept: Sequence[int], agreed: Agreed
) -> Sample | None:
    """Take rows from the samples that kept partitions drew for the start; nothing else is read.

    Parameters
    ----------
    context : Context
        ``settings.sample_rows`` says how many rows there are to be.
    messages : sequence of Message
        Of all partitions: the more rows one has, the more of its rows are taken.
    kept : sequence of int
    agreed : Agreed

    Returns
    -------
    Sample or None
        None where no rows were asked for, or none came.
    """
    most = min(context.settings.sample_rows, VALUES // context.source.n_features)
    asked = [i for i in kept if i in agreed.samples]
    if not most or not asked:
        return None
    family, seed = context.settings.family, context.settings.seed
    rng = generator(seed, Stage.SHOWN_ROWS)
    if len(asked) > MOST_ASKED:
        asked = sorted(int(i) for i in rng.choice(asked, MOST_ASKED, replace=False))
    size = {one.partition: one.counted for one in messages}
    shares = np.array([size[i] for i in asked], dtype=np.float64)
    counts = rng.multinomial(most, shares / shares.sum())
    handles = {
        i: context.tasks.submit(
            "check", ("rows", i), some_rows, i, agreed.samples[i], int(n), family, seed
        )
        for i, n in zip(asked, counts, strict=True)
        if n
    }
    came = {
        i: rows for i, rows in context.gathered("check", handles).items() if not is_failed(rows)
    }
    if not sum(map(len, came.values())):
        return None
    return Sample(
        np.concatenate(list(came.values())),
        np.repeat(list(came), [len(rows) for rows in came.values()]).astype(np.intp),
    )


def some_rows(partition: int, drawn: Drawn | Failure, n: int, family: Family, seed: int) -> Any:
    """Return n rows (n, d) of what a partition drew, or all of them; by weight where rows have one.

    Those that candidates were scored on come first: no proposal was fitted to them. NaN is missing.
    """
    if isinstance(drawn, Failure):
        return drawn
    one = drawn.sample
    if one.fit_weight is None or one.score_weight is None:
        few = one.score[:n], one.fit[: max(0, n - len(one.score))]
        return family.floats(np.concatenate(few))
    weights = np.concatenate([one.score_weight, one.fit_weight])
    chosen = generator(seed, Stage.SHOWN_ROWS, partition + 1).choice(
        len(weights), n, p=weights / weights.sum()
    )
    return family.floats(np.concatenate([one.score, one.fit])[chosen])
