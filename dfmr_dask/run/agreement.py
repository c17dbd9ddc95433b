"""Samples and the search for a common start, as tasks (METHOD 11, steps 1 to 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dfmr_dask.aggregate.agreement import agreement
from dfmr_dask.aggregate.questions import conclude
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run import partition
from dfmr_dask.run.asking import Asking, terms_of
from dfmr_dask.run.context import Context

MOST_VOTERS = 400  # fewer are not safe when almost half of the partitions lie


@dataclass(frozen=True, slots=True, eq=False)
class Agreed:
    """Where the fits start.

    Attributes
    ----------
    start : Mixture or None
        None where each partition starts from its own pilot.
    total_rows : int or None
        N of the penalty; None where each takes its own rows.
    samples : mapping of partition to handle
        Held by whoever drew them.
    pilots : mapping of partition to handle
        Of those who proposed.
    sample_rows : int
        Rows of all samples A together.
    proposers : tuple of int
        Whose pilots are in ``pilots``. With the start and both numbers of rows it is all that
        :func:`agreed_again` needs.
    """

    start: Mixture | None
    total_rows: int | None
    samples: Mapping[int, Any] = field(default_factory=dict)
    pilots: Mapping[int, Any] = field(default_factory=dict)
    sample_rows: int = 1
    proposers: tuple[int, ...] = ()


def agree_on_start(context: Context, samples: Mapping[int, Any] | None = None) -> Agreed:
    """Draw samples if there are none, propose, score, vote, improve (METHOD 11, steps 1 to 6)."""
    samples = samples_of(context) if samples is None else samples
    given = context.settings.start
    if context.settings.method == "paper":
        return Agreed(given, None, samples)
    asking = Asking(context, samples)
    found = conclude(agreement(terms_of(context), list(samples), given), asking)
    pilots = {i: asking.pilots[i] for i in found.proposers}
    return Agreed(
        found.start, found.total_rows, samples, pilots, found.sample_rows, found.proposers
    )


def agreed_again(
    context: Context,
    start: Mixture | None,
    total_rows: int | None,
    sample_rows: int,
    proposers: Sequence[int],
    samples: Mapping[int, Any] | None = None,
) -> Agreed:
    """Return what was agreed in a run that was interrupted, without another vote.

    The pilots of those whose proposals were heard are made again; as random numbers go by
    addresses, they and the fits from there are the same bits.

    Parameters
    ----------
    context : Context
        Of the same source and settings.
    start, total_rows, sample_rows, proposers
        As they stand in :class:`Agreed`.
    samples : mapping of partition to handle, optional
        As they were; by default they are drawn again.
    """
    asking = Asking(context, samples_of(context) if samples is None else samples)
    pilots = {i: asking.pilot(i) for i in proposers}
    return Agreed(start, total_rows, asking.samples, pilots, sample_rows, tuple(proposers))


def samples_of(context: Context) -> dict[int, Any]:
    """Return the samples of the order of the fit, drawn now unless they are there."""
    drawn = draw_samples(context) if context.drawn is None else context.drawn
    if context.settings.selection is None:
        return dict(drawn)
    submit, local = context.tasks.submit, context.local
    return {
        i: one  # that killed or blocked its worker, and is not asked again
        if getattr(one, "verdict", None) is not None
        else submit("start", ("trimmed", i), partition.trimmed, one, local)
        for i, one in drawn.items()
    }


def draw_samples(context: Context) -> dict[int, Any]:
    """Draw samples (METHOD 11, step 1) in all partitions, or in 400 random ones of a larger number.

    Where each partition starts on its own, all of them need samples. Where the order is yet to be
    chosen, they are large enough for the largest one.
    """
    voters = list(range(len(context.source.plan)))
    if len(voters) > MOST_VOTERS and context.settings.method != "paper":
        rng = generator(context.settings.seed, Stage.VOTERS)
        voters = sorted(int(i) for i in rng.choice(voters, MOST_VOTERS, replace=False))
    return {i: _draw_sample(context, i) for i in voters}


def _draw_sample(context: Context, i: int) -> Any:
    source, j = context.rows_of(i, frozenset(context.byzantine))
    rows = source.plan.partitions[j].rows or 1 << 62
    wanted = sum(context.local.order.sample_sizes(rows))
    rng = generator(context.settings.seed, Stage.SAMPLE_BLOCKS, i)
    reader = source.sample_rows(j, wanted, rng)
    return context.tasks.submit("start", ("sample", i), partition.draw, i, reader, context.local)
