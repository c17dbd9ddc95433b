"""The number of components, chosen from the samples that the start needs anyway (EVIDENCE 9).

Each partition sends some random rows of its samples, one task judges and fits them, and what comes
back is a curve: no row is in any file of a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dfmr_dask.corruption import Corruption, corrupted
from dfmr_dask.errors import DfmrError, TooFewMessages
from dfmr_dask.families.base import Family
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.agreement import draw_samples
from dfmr_dask.run.context import Context
from dfmr_dask.run.partition import Drawn, LocalSettings
from dfmr_dask.run.settings import OrderSettings
from dfmr_dask.run.tasks import Failure
from dfmr_dask.selection.curve import Selection
from dfmr_dask.selection.hearing import Sample, one_component
from dfmr_dask.selection.pooled import pooled, rows_wanted


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """What a partition sends: random rows, and how many valid ones it has."""

    sample: Sample
    rows: int


def choose_order(context: Context) -> tuple[Context, Selection]:
    """Choose the number of components, or take the one that a run had before it was cut.

    Returns
    -------
    context : Context
        With the order in its settings, and the samples that have been drawn.
    selection : Selection

    Raises
    ------
    TooFewMessages
        When no partition, or less than half of those that have rows, sent a usable sample.
    """
    asked = context.settings.selection or OrderSettings()
    found = None if context.ledger is None else context.ledger.selection()
    if found is None:
        context = replace(context, drawn=draw_samples(context))
        found = _selection(context, asked)
        if context.ledger is not None:
            context.ledger.record_selection(found)
    return replace(
        context, settings=replace(context.settings, n_components=found.n_components)
    ), found


def _selection(context: Context, asked: OrderSettings) -> Selection:
    """Gather rows of all samples, and fit every order in one task."""
    sent, silent = _gathered(context, asked)
    most, notes = _most(context, asked, sent)
    handle = context.tasks.submit(
        "select", ("pooled",), select, context.tasks.share(sent), context.local, most, asked,
        _rows(context, asked, len(sent)), context.settings.weights == "shared",
    )  # fmt: skip
    found = context.gathered("select", {0: handle})[0]
    if isinstance(found, DfmrError):
        raise found
    if not isinstance(found, Selection):
        raise TooFewMessages(f"the number of components could not be chosen: {found.reason}")
    left_out = dict(sorted({**silent, **found.left_out}.items()))
    return replace(found, left_out=left_out, notes=(*notes, *found.notes))


def _gathered(context: Context, asked: OrderSettings) -> tuple[dict[int, Sent], dict[int, str]]:
    """Return what partitions sent, and why others sent nothing."""
    drawn, byzantine = context.drawn or {}, frozenset(context.byzantine)
    attack, local = context.attack("proposals"), context.local
    rows = _rows(context, asked, len(drawn))
    handles = {
        i: context.tasks.submit(
            "select", ("sent", i), send, i, one, rows, local, attack if i in byzantine else None
        )
        for i, one in drawn.items()
    }
    came = context.gathered("select", handles)
    sent = {i: one for i, one in came.items() if _is_sent(one)}
    silent = {
        i: one.reason if isinstance(one, Failure) else "it sent something else than rows"
        for i, one in came.items()
        if i not in sent
    }
    if not sent:
        raise TooFewMessages(
            f"no partition sent a sample to choose n_components from: "
            f"{next(iter(silent.values()), 'there is none')}"
        )
    return sent, silent


def _rows(context: Context, asked: OrderSettings, partitions: int) -> int:
    family, d = context.settings.family, context.source.n_features
    return rows_wanted(family, asked.max_components, d, partitions)


def _is_sent(value: Any) -> bool:
    return isinstance(value, Sent) and isinstance(value.rows, int) and value.rows > 0


def _most(
    context: Context, asked: OrderSettings, sent: Mapping[int, Sent]
) -> tuple[int, tuple[str, ...]]:
    """Return the largest order that more than half of the partitions have rows for."""
    middle = int(np.quantile([one.rows for one in sent.values()], 0.5, method="lower"))
    able = largest_order(
        context.settings.family, context.source.n_features, middle, asked.max_components
    )
    if able == asked.max_components:
        return able, ()
    return able, (
        f"max_components was lowered from {asked.max_components} to {able}: half of the "
        f"partitions have {middle} rows or fewer. Make partitions larger to try more",
    )


def largest_order(family: Family, n_features: int, rows: int, wanted: int) -> int:
    """Return the largest order, at most the wanted one, that so many rows can carry.

    Examples
    --------
    >>> from dfmr_dask.families import Gaussian
    >>> from dfmr_dask.run.selection import largest_order
    >>> largest_order(Gaussian(), 2, 20, 10)
    6
    """
    orders = range(wanted, 1, -1)
    return next((k for k in orders if family.min_rows(k, n_features) <= rows), 1)


def send(
    partition: int,
    drawn: Drawn | Failure,
    rows: int,
    settings: LocalSettings,
    attack: Corruption | None = None,
) -> Sent | Failure:
    """Return random rows of a partition: of its sample A, and of B where A has too few."""
    if isinstance(drawn, Failure):
        return drawn
    one = drawn.sample
    x = np.concatenate([one.fit, one.score])[: rows if not settings.alone else len(one.fit)]
    weights = None
    if one.fit_weight is not None and one.score_weight is not None:
        weights = np.concatenate([one.fit_weight, one.score_weight])[: len(x)]
    sent = Sent(Sample(x, weights), drawn.rows)
    return sent if attack is None else _lie(partition, sent, settings, attack)


def _lie(partition: int, sent: Sent, settings: LocalSettings, attack: Corruption) -> Sent:
    """Return rows drawn from what an attack makes of the mean and covariance of the rows."""
    x = sent.sample.rows
    rng = generator(settings.seed, Stage.CORRUPT_SAMPLE, partition)
    truth = one_component(settings.family, x, None, settings.reg_covar)
    plain = replace(attack, component=None)  # one component is all that there is
    lie = corrupted(
        truth, plain, rng, rows=len(x), shared=generator(settings.seed, Stage.COLLUDE),
        turn=partition,
    )  # fmt: skip
    poisoned = lie.sample(len(x), rng)[0] if isinstance(lie, Mixture) else np.full_like(x, np.nan)
    return Sent(Sample(poisoned), attack.claimed_rows or sent.rows)


def select(
    sent: Mapping[int, Sent],
    settings: LocalSettings,
    most: int,
    asked: OrderSettings,
    rows: int,
    shared_weights: bool,
) -> Selection | DfmrError:
    """Judge the samples and fit every order; too few of them is an answer, too."""
    try:
        return pooled(
            {i: one.sample for i, one in sent.items()},
            settings.family,
            len(settings.features),
            most,
            generator(settings.seed, Stage.SELECT),
            min_gain=asked.min_gain,
            rows=rows if not settings.alone else max(len(one.sample) for one in sent.values()),
            floor=settings.reg_covar,
            shared_weights=shared_weights,
        )
    except DfmrError as error:
        return error
