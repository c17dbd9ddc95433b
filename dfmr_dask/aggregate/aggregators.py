"""Messages to one mixture, by name of the aggregator (METHOD 6, 7 and 12)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.alignment import aligned
from dfmr_dask.aggregate.center import coat
from dfmr_dask.aggregate.distances import ctd
from dfmr_dask.aggregate.estimates import Estimates, collect
from dfmr_dask.aggregate.filtering import (
    PAPER_RHO,
    Filtered,
    Rule,
    filtered,
)
from dfmr_dask.aggregate.reduction import reduce_aligned
from dfmr_dask.aggregate.verdict import Merged, Verdict, verdict_on
from dfmr_dask.errors import TooFewMessages
from dfmr_dask.families.base import take
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture

TRIMMED_SHARE = 0.5
STUDENTIZED = ("means", "covariances", "weights")  # gates whose distances are standard errors
UNLIKE = 10.0  # honest partitions were seen to lie up to 3 apart, where components overlap


@dataclass(frozen=True, slots=True, eq=False)
class Aggregation:
    """The outcome of an aggregation.

    Attributes
    ----------
    mixture : Mixture
    verdict : Verdict
    center : Mixture
        The estimate in the middle.
    """

    mixture: Mixture
    verdict: Verdict
    center: Mixture


def rule_named(
    method: str = "blocks",
    weights: str = "shared",
    gates: tuple[str, ...] | None = None,
    rho: float | None = None,
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
    """
    if method == "paper":
        return Rule(gates or ("l2",), weights, PAPER_RHO if rho is None else rho, paper=True)
    return Rule(gates or ("blocks",), weights, rho)


def aggregate(
    messages: Sequence[Message],
    *,
    aggregator: str = "dfmr",
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
    aggregator : str
        A name in :data:`AGGREGATORS`.
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
        When a partition that is forced in or out has no usable estimate.

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
    >>> aggregate([*honest, said(11, 50.0)]).verdict.dropped
    {11: 'means 353 > 1.12'}
    """
    usable, failed = collect(messages, planned_rows)
    _check_forced(usable, keep, drop)
    empty = tuple(m.partition for m in messages if m.status == "empty")
    out = np.isin(usable.ids, list(drop))
    reasons = {int(i): "forced out" for i in usable.ids[out]}
    estimates = usable.subset(~out)
    merged = AGGREGATORS[aggregator](
        estimates,
        rule or Rule(),
        np.isin(estimates.ids, list(byzantine)),
        np.isin(estimates.ids, list(keep)),
    )
    n_partitions = 1 + max(m.partition for m in messages)
    verdict = verdict_on(estimates, merged, n_partitions, reasons, failed, empty)
    return Aggregation(merged.mixture.canonical(), verdict, estimates.mixture(merged.center))


Mask = NDArray[np.bool_]


def dfmr(estimates: Estimates, rule: Rule, byzantine: Mask, forced_in: Mask) -> Merged:
    """Distance filtered mixture reduction: filter, then merge the trusted ones."""
    if len(estimates) < 3:
        doubt = f"no outlier can be told among {len(estimates)} usable partitions"
        one = vanilla(estimates, rule, byzantine, forced_in)
        return Merged(one.mixture, one.kept, one.center, doubts=(doubt,))
    result = filtered(estimates, rule)
    kept = result.kept() | forced_in
    if not kept.any():
        kept[result.center] = True
    mass, thin = trusted_mass(result, kept)
    start = take(result.estimates.params, result.center) if rule.paper else None
    mixture = reduce_aligned(result.estimates.subset(kept), mass, start=start).mixture
    doubts = (*result.doubts, *_doubts(result, rule, forced_in, thin))
    return Merged(mixture, kept, result.center, result.gates, doubts)


def vanilla(estimates: Estimates, rule: Rule, byzantine: Mask, forced_in: Mask) -> Merged:
    """Mixture reduction over everybody."""
    center = coat(ctd(estimates)).center
    near = aligned(estimates, estimates.mixture(center))
    mixture = reduce_aligned(near, _mass(near)).mixture
    return Merged(mixture, np.ones(len(near), dtype=bool), center)


def oracle(estimates: Estimates, rule: Rule, byzantine: Mask, forced_in: Mask) -> Merged:
    """Mixture reduction over the partitions that a simulation left honest."""
    honest = np.flatnonzero(~byzantine)
    if not len(honest):
        raise TooFewMessages("no honest partition gave a usable fit for the oracle to merge")
    merged = vanilla(estimates.subset(honest), rule, byzantine[honest], forced_in[honest])
    return Merged(merged.mixture, ~byzantine, int(honest[merged.center]))


def coat_alone(estimates: Estimates, rule: Rule, byzantine: Mask, forced_in: Mask) -> Merged:
    """Return the center of attention and nothing else."""
    center = coat(ctd(estimates)).center
    return Merged(estimates.mixture(center), np.arange(len(estimates)) == center, center)


def trim(estimates: Estimates, rule: Rule, byzantine: Mask, forced_in: Mask) -> Merged:
    """Partial reduction: half of the component mass is left out (del Barrio et al., 2019)."""
    center = coat(ctd(estimates)).center
    near = aligned(estimates, estimates.mixture(center))
    start = take(near.params, center)
    flat_mass = _mass(near)
    mixture = reduce_aligned(near, flat_mass, start=start, share=TRIMMED_SHARE).mixture
    return Merged(mixture, np.ones(len(near), dtype=bool), center)


AGGREGATORS: Mapping[str, Callable[[Estimates, Rule, Mask, Mask], Merged]] = {
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
    divergence = estimates.family.kl(params, params)
    return coat(divergence + divergence.T).center


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


def _doubts(result: Filtered, rule: Rule, forced_in: Mask, thin: Sequence[int]) -> Iterator[str]:
    """Say what speaks against trusting what was kept."""
    estimates, passed = result.estimates, result.kept()
    if passed.sum() <= len(estimates) // 2:
        yield _too_few_kept(result)
    for gate in result.gates:
        if not rule.paper and gate.name in STUDENTIZED and gate.radius > UNLIKE:
            yield (
                f"half of the partitions lie {gate.radius:.0f} standard errors or more from the "
                f"center in their {gate.name}: they may be no samples of one population"
            )
    if (against := forced_in & ~passed).any():
        yield f"partitions {estimates.ids[against].tolist()} fail the filter and were forced in"
    if thin:
        yield f"components of fewer than 20 rows in every kept partition: {thin}"
    if len(same := duplicates(estimates)):
        yield f"partitions {same} sent estimates that are equal to the last bit: copies?"


def duplicates(estimates: Estimates) -> list[int]:
    """Return the partitions whose estimate, relabelled or not, somebody else has sent too."""
    sent: dict[bytes, list[int]] = {}
    for i, number in enumerate(estimates.ids):
        arrays = (estimates.weights[i], *take(estimates.params, i).values())
        said = b"".join(np.sort(array, axis=None).tobytes() for array in arrays)
        sent.setdefault(said, []).append(int(number))
    return sorted(i for ids in sent.values() if len(ids) > 1 for i in ids)


def _too_few_kept(result: Filtered) -> str:
    strictest = min(result.gates, key=lambda gate: int(gate.passed().sum()))
    kept, m = int(result.kept().sum()), len(result.estimates)
    return (
        f"only {kept} of {m} usable partitions pass (more than half should); "
        f"the strictest gate is {strictest.name!r}"
    )
