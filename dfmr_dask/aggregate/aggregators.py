"""Messages to one mixture, by name of the aggregator (METHOD 6, 7 and 12)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.alignment import aligned, orders
from dfmr_dask.aggregate.center import attention
from dfmr_dask.aggregate.certificate import doubts
from dfmr_dask.aggregate.component_filter import merge_components
from dfmr_dask.aggregate.entry_filter import Entries, check_entries, filtered_entries
from dfmr_dask.aggregate.estimates import Estimates, collect, few
from dfmr_dask.aggregate.explanations import deviations
from dfmr_dask.aggregate.filtering import filtered
from dfmr_dask.aggregate.gates import PAPER_RHO, Filtered, Rule, rough_center
from dfmr_dask.aggregate.parts import Parts, parts_of
from dfmr_dask.aggregate.reduction import reduce_aligned
from dfmr_dask.aggregate.verdict import Merged, Verdict, verdict_on
from dfmr_dask.errors import TooFewMessages
from dfmr_dask.families.base import take
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture

TRIMMED_SHARE = 0.5
SPARSE, SPARSER = 1000, 10  # numbers of partitions go up to 1000 and ten times the messages
Mask = NDArray[np.bool_]
Aggregator = Callable[[Estimates, Rule, Mask, Mask], Merged]


@dataclass(frozen=True, slots=True, eq=False)
class Aggregation:
    """The outcome of an aggregation.

    Attributes
    ----------
    mixture : Mixture
    verdict : Verdict
    center : Mixture
        The estimate in the middle.
    parts : Parts or None
        What the mixture was merged from, for :func:`~dfmr_dask.aggregate.uncertainty.errors_of`;
        None where it is no average of what partitions say.
    """

    mixture: Mixture
    verdict: Verdict
    center: Mixture
    parts: Parts | None = None


def rule_named(
    method: str = "blocks",
    weights: str = "shared",
    gates: tuple[str, ...] | None = None,
    rho: float | None = None,
    without: tuple[str, ...] = (),
) -> Rule:
    """Return the rule for the settings that users give.

    Parameters
    ----------
    method : {"blocks", "paper"}
        The default filter (METHOD 12), or L² with ``rho`` to the letter.
    weights : {"shared", "free"}
    gates : tuple of str, optional
        Other gates than the method's own.
    rho : float, optional
        1.35 in ``paper``; elsewhere the cut is found without it.
    without : tuple of {"copies", "groups", "spread"}
        Parts of ``blocks`` to leave out, for comparisons.
    """
    if method == "paper":
        return Rule(gates or ("l2",), weights, PAPER_RHO if rho is None else rho, paper=True)
    return Rule(gates or ("blocks",), weights, rho, without=without)


def aggregate(
    messages: Sequence[Message],
    *,
    aggregator: str | Aggregator = "dfmr",
    rule: Rule | None = None,
    planned_rows: Mapping[int, int] | None = None,
    byzantine: Collection[int] = (),
    keep: Collection[int] = (),
    drop: Collection[int] = (),
) -> Aggregation:
    """Merge the messages of all partitions into one mixture.

    Parameters
    ----------
    messages : sequence of Message
        One a partition, numbered from 0.
    aggregator : str or callable
        A name in :data:`AGGREGATORS`, or a function with the signature of those there.
    rule : Rule
        How ``dfmr`` filters.
    planned_rows : mapping of partition to rows, optional
        Caps what partitions claim.
    byzantine : collection of int
        Known in simulations; only ``oracle`` looks at it.
    keep, drop : collections of int
        Partitions that the user forces in or out.

    Raises
    ------
    TooFewMessages
        When half or more of the non-empty partitions gave nothing usable.
    ValueError
        When a partition that is forced in or out has no usable estimate, or two messages have the
        same number.

    Examples
    --------
    >>> from dfmr_dask.aggregate.aggregators import aggregate
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.message import Message
    >>> from dfmr_dask.mixture import Mixture
    >>> def said(i, mean):
    ...     one = {"means": [[mean]], "variances": [[1.0]]}
    ...     return Message(i, "fitted", 100, mixture=Mixture(DiagonalGaussian(), [1.0], one))
    >>> honest = [said(i, 0.01 * i) for i in range(11)]
    >>> aggregate([*honest, said(11, 50.0)]).verdict.dropped[11]
    'means 478 > 3.61 (mean of component 0 along feature 0 +499 standard errors)'
    """
    last = _last_number(messages, planned_rows)
    strange = {m.partition: f"there is no partition {m.partition}" for m in messages
               if m.partition > last}  # fmt: skip
    usable, failed = collect([m for m in messages if m.partition <= last], planned_rows)
    failed |= strange
    _check_forced(usable, keep, drop)
    empty = tuple(m.partition for m in messages if m.status == "empty")
    out = np.isin(usable.ids, list(drop))
    reasons = {int(i): "forced out" for i in usable.ids[out]}
    estimates = usable.subset(~out)
    merge = AGGREGATORS[aggregator] if isinstance(aggregator, str) else aggregator
    merged = merge(
        estimates,
        rule or Rule(),
        np.isin(estimates.ids, list(byzantine)),
        np.isin(estimates.ids, list(keep)),
    )
    mixture = merged.mixture.canonical()
    found = deviations(estimates, mixture)
    verdict = verdict_on(estimates, merged, found, last + 1, reasons, failed, empty)
    return Aggregation(mixture, verdict, estimates.mixture(merged.center), merged.parts)


def dfmr(estimates: Estimates, rule: Rule, byzantine: Mask, forced_in: Mask) -> Merged:
    """Distance filtered mixture reduction: filter, then merge the trusted ones."""
    if len(estimates) < 3:
        nobody = f"no outlier can be told among {len(estimates)} usable partitions"
        one = vanilla(estimates, rule, byzantine, forced_in)
        return replace(one, doubts=(nobody,))
    if rule.unit == "component":
        return merge_components(estimates, rule, forced_in)
    if rule.unit == "entry":
        return _without_entries(estimates, rule, byzantine, forced_in)
    result = filtered(estimates, rule)
    kept = result.kept() | forced_in
    if not kept.any():
        kept[result.center] = True
    mass, thin = trusted_mass(result, kept)
    start = take(result.estimates.params, result.center) if rule.paper else None
    reduction = reduce_aligned(result.estimates.subset(kept), mass, start=start)
    mixture = reduction.mixture
    order = mixture.canonical_order()  # doubts name components as users will see them
    named = replace(result, tested=result.tested[:, order])
    labels = sorted(int(np.flatnonzero(order == k)[0]) for k in thin)
    said = tuple(doubts(named, rule, kept, forced_in, labels))
    parts = parts_of(result.estimates.subset(kept), result.order[kept], reduction)
    return Merged(mixture, kept, result.center, result.gates, said, result.reasons, parts=parts)


def _without_entries(estimates: Estimates, rule: Rule, byzantine: Mask, forced_in: Mask) -> Merged:
    """Throw out single features of partitions, and merge what the others say as ever."""
    check_entries(estimates.family, rule, estimates.mixture(0).n_features)
    found, whole = filtered_entries(estimates), replace(rule, unit="partition")
    first = dfmr(found.estimates, whole, byzantine, forced_in)
    found = found.without(first.kept)  # who is left out fills no gaps
    merged = dfmr(found.estimates, whole, byzantine, forced_in)
    doubts = (*merged.doubts, *found.doubts(merged.kept))
    return replace(merged, doubts=doubts, parts=_entries_of(merged, found), entries=found.kept)


def _entries_of(merged: Merged, found: Entries) -> Parts | None:
    """Return what was merged, less the features that were thrown out."""
    if merged.parts is None:
        return None
    there = found.kept[np.isin(found.sent.ids, merged.parts.ids)]
    lone = there.sum(axis=0) < 2  # nobody is left to compare them with: all of them are shown
    return replace(merged.parts, entries=there | lone)


def vanilla(estimates: Estimates, rule: Rule, byzantine: Mask, forced_in: Mask) -> Merged:
    """Mixture reduction over everybody."""
    center = rough_center(estimates)
    order = orders(estimates, estimates.mixture(center))
    near = estimates.reordered(order)
    reduction = reduce_aligned(near, _mass(near))
    everybody, parts = np.ones(len(near), dtype=bool), parts_of(near, order, reduction)
    return Merged(reduction.mixture, everybody, center, parts=parts)


def oracle(estimates: Estimates, rule: Rule, byzantine: Mask, forced_in: Mask) -> Merged:
    """Mixture reduction over the partitions that a simulation left honest."""
    honest = np.flatnonzero(~byzantine)
    if not len(honest):
        raise TooFewMessages("no honest partition gave a usable fit for the oracle to merge")
    merged = vanilla(estimates.subset(honest), rule, byzantine[honest], forced_in[honest])
    return Merged(merged.mixture, ~byzantine, int(honest[merged.center]), parts=merged.parts)


def coat_alone(estimates: Estimates, rule: Rule, byzantine: Mask, forced_in: Mask) -> Merged:
    """Return the center of attention and nothing else."""
    center = rough_center(estimates)
    return Merged(estimates.mixture(center), np.arange(len(estimates)) == center, center)


def trim(estimates: Estimates, rule: Rule, byzantine: Mask, forced_in: Mask) -> Merged:
    """Partial reduction: half of the component mass is left out (del Barrio et al., 2019)."""
    center = rough_center(estimates)
    near = aligned(estimates, estimates.mixture(center))
    start = take(near.params, center)
    flat_mass = _mass(near)
    mixture = reduce_aligned(near, flat_mass, start=start, share=TRIMMED_SHARE).mixture
    return Merged(mixture, np.ones(len(near), dtype=bool), center)


AGGREGATORS: Mapping[str, Aggregator] = {
    "dfmr": dfmr,
    "vanilla": vanilla,
    "oracle": oracle,
    "coat": coat_alone,
    "trim": trim,
}


def trusted_mass(result: Filtered, kept: Mask) -> tuple[NDArray[np.float64], list[int]]:
    """Return the mass (kept, K) that each component brings, and the components too thin to test.

    What is left out of the distance is left out of the reduction; the weight of a component is
    still that of all kept partitions, so its tested estimates carry the mass of the untested.
    A component that was tested nowhere comes from its medoid, which no minority can move.
    """
    estimates = result.estimates.subset(kept)
    mass = _mass(estimates)
    tested = result.tested[kept]
    heard = np.where(tested, mass, 0.0)
    thin = [k for k in range(mass.shape[1]) if heard[:, k].sum() == 0.0]
    for k in thin:
        heard[_medoid(estimates, k), k] = 1.0
    return heard * (mass.sum(axis=0) / heard.sum(axis=0)), thin


def _medoid(estimates: Estimates, k: int) -> int:
    """Find the partition whose k-th component is closest to the other partitions' ones."""
    params = {name: array[:, k] for name, array in estimates.params.items()}

    def columns(to: NDArray[np.intp] | None) -> NDArray[np.float64]:
        others = params if to is None else take(params, to)
        kl = estimates.family.kl
        return np.asarray(kl(params, others) + kl(others, params).T)

    return attention(columns, len(estimates))[0].center


def _last_number(messages: Sequence[Message], planned_rows: Mapping[int, int] | None) -> int:
    """Return the last number of a partition: arrays have a row for each, so that it is bounded."""
    numbers = [message.partition for message in messages]
    twice = [i for i, count in Counter(numbers).items() if count > 1]
    if twice:
        raise ValueError(f"more than one message came from each of partitions {few(twice)}")
    if planned_rows is not None:
        return max(planned_rows, default=-1)
    most = SPARSE + SPARSER * len(messages)
    return max((number for number in numbers if number <= most), default=-1)


def _check_forced(estimates: Estimates, keep: Collection[int], drop: Collection[int]) -> None:
    known = {int(i) for i in estimates.ids}
    unknown = sorted((set(keep) | set(drop)) - known)
    if unknown:
        raise ValueError(
            f"partitions {unknown} have no usable estimate that could be forced in or out"
        )
    if set(keep) & set(drop):
        raise ValueError(f"partitions {sorted(set(keep) & set(drop))} are forced both in and out")
    if known <= set(drop):
        raise ValueError("every usable partition is forced out; nothing is left to merge")


def _mass(estimates: Estimates) -> NDArray[np.float64]:
    return np.asarray(estimates.weights * (estimates.rows / estimates.rows.sum())[:, None])
