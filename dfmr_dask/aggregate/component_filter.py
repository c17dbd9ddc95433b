"""Each component of each machine judged on its own: for failures that hit components, not machines.

Where each component fails alone, most machines have a bad one, and no filter of whole machines has
an honest majority to keep. The honest are still the majority among the estimates of each single
component. This is an option and never the default: a whole machine that lies gives itself away in
many coordinates at once, a single component in few, and so liars who act together get through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.deviations import Coordinates
from dfmr_dask.aggregate.distances import FEWEST_ROWS, blocks_at, component_rows
from dfmr_dask.aggregate.estimates import Estimates, few
from dfmr_dask.aggregate.filtering import closest_half, copies
from dfmr_dask.aggregate.gates import FEWEST_PARTITIONS, Gate, Rule
from dfmr_dask.aggregate.majority import Majority, majority
from dfmr_dask.aggregate.medoids import medoid, medoids
from dfmr_dask.aggregate.parts import parts_of
from dfmr_dask.aggregate.reduction import reduce_aligned
from dfmr_dask.aggregate.verdict import Merged
from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.families.base import Block, Family
from dfmr_dask.mixture import Mixture

COLLUSION = "components were judged one by one: liars who act together can pass such a filter"
Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ComponentFiltered:
    """Estimates aligned to a mixture of medoids, and which of their components are kept.

    Attributes
    ----------
    estimates : Estimates
    reference : Mixture
        Each component is the one in the middle among all machines' estimates of it.
    kept : mask of shape (m, K)
    distances : ndarray of shape (m, K)
        The largest over blocks, in cut-offs: up to 1 is kept. Infinite where a component has too
        few rows to be tested.
    even : tuple of int
        Components of which two groups of about the same size disagree.
    thin : tuple of int
        Components that were too small to be tested in most machines; their medoid stands alone.
    large : mask of shape (m, K)
        Components with rows enough to be tested.
    reasons : mapping of position to text
        Why components are left out that no distance tells of.
    order : ndarray of shape (m, K)
        Which component of each message stands where in ``estimates``.
    """

    estimates: Estimates
    reference: Mixture
    kept: Mask
    distances: Array
    even: tuple[int, ...]
    thin: tuple[int, ...]
    large: Mask
    reasons: Mapping[int, str]
    order: NDArray[np.intp]


def merge_components(estimates: Estimates, rule: Rule, forced_in: Mask) -> Merged:
    """Merge what is kept of each component: an aggregator for failures of single components.

    Weak against collusion, and so never certified; see the module.

    Parameters
    ----------
    estimates : Estimates
    rule : Rule
        Whether weights are tested, and which parts of the test are left out.
    forced_in : mask of shape (m,)
        Machines all of whose components are kept.

    Returns
    -------
    Merged
        Its mask of components is in the order of the mixture's; a machine is kept when at least
        one of its components is.

    Raises
    ------
    InvalidConfiguration
        When all components share one covariance, which is no component's own, or the rule names
        gates or a rho, which are for whole machines.
    """
    found = filtered_components(estimates, rule)
    kept = found.kept | forced_in[:, None]
    reduction = reduce_aligned(found.estimates, _mass(found.estimates, kept))
    mixture = reduction.mixture
    order = mixture.canonical_order()
    parts = parts_of(found.estimates, found.order, reduction, voices=kept)
    kept = kept[:, order]
    gates = tuple(
        Gate(f"component_{k}", found.distances[:, old], 1.0, 1.0) for k, old in enumerate(order)
    )
    return Merged(
        mixture.reordered(order),
        np.asarray(kept.any(axis=1)),
        int(np.argmin(np.median(found.distances, axis=1))),
        gates,
        tuple(_doubts(found, forced_in, np.argsort(order))),
        found.reasons,
        components=kept,
        parts=parts,
    )


def filtered_components(estimates: Estimates, rule: Rule) -> ComponentFiltered:
    """Judge each component of each machine by the machines' estimates of this component alone.

    Parameters
    ----------
    estimates : Estimates
    rule : Rule

    References
    ----------
    EVIDENCE 3 for medoids and alignment; the cut is that of :mod:`dfmr_dask.aggregate.majority`,
    here on the coordinates of METHOD 12 of one component.
    """
    check_rule(estimates.family, rule)
    near, reference, order = medoids(estimates)
    repeats = copies(near) if "copies" not in rule.without else {}
    single = np.ones(len(near), dtype=bool)
    single[list(repeats)] = False
    reasons = {i: f"a copy of partition {int(near.ids[j])}" for i, j in repeats.items()}
    blocks, large = blocks_at(near, reference), component_rows(near) >= FEWEST_ROWS
    kept, distances = np.zeros(large.shape, dtype=bool), np.full(large.shape, np.inf)
    even, thin = [], []
    for k in range(large.shape[1]):
        able = single & large[:, k]
        if 2 * able.sum() <= single.sum():
            middle = medoid(near, k)
            kept[middle, k], distances[middle, k] = True, 0.0
            thin.append(k)
            continue
        agreed = _judged(near, blocks, k, able, rule)
        distances[:, k] = _in_cutoffs(agreed, large[:, k])
        kept[:, k] = agreed.kept & (distances[:, k] <= 1.0)
        if not kept[:, k].any():  # nobody passes: one has to stand for it
            kept[np.argmin(np.where(able, distances[:, k], np.inf)), k] = True
        even += [k] if agreed.even else []
        reasons |= {i: why for i, why in agreed.groups.items() if i not in reasons}
    return ComponentFiltered(
        near, reference, kept, distances, tuple(even), tuple(thin), large, reasons, order
    )


def _judged(near: Estimates, blocks: tuple[Block, ...], k: int, able: Mask, rule: Rule) -> Majority:
    """Find the machines that agree on the k-th component."""
    rows = np.where(able, component_rows(near)[:, k], 0.0)
    laid = [(block.name, block.coordinates[:, k], rows) for block in blocks]
    total = np.mean([(z**2).mean(axis=1) * rows for _, z, _ in laid], axis=0)
    trusted = closest_half(total, able)
    out = [
        Coordinates(n, z, np.repeat(r[:, None], z.shape[1], axis=1), trusted) for n, z, r in laid
    ]
    if rule.weights == "shared" and near.weights.shape[1] > 1:
        roots = 2.0 * np.sqrt(near.weights[:, [k]])
        away = np.abs(roots - np.median(roots[able]))[:, 0]
        out.append(Coordinates("weights", roots, near.rows[:, None], closest_half(away, able)))
    return majority(
        out,
        near.rows,
        able,
        split="groups" not in rule.without,
        spread="spread" not in rule.without,
    )


def _in_cutoffs(agreed: Majority, large: Mask) -> Array:
    """Return the largest distance of each machine over the blocks, in cut-offs (m,).

    Who is left out for another reason than its distance is beyond the cut-off as well.
    """
    worst = np.max([b.distances / max(b.cutoff, 1e-300) for b in agreed.blocks], axis=0)
    beyond = np.where(agreed.kept, worst, np.maximum(worst, 1.0 + 1e-6))
    return np.asarray(np.where(large, beyond, np.inf))


def _mass(estimates: Estimates, kept: Mask) -> Array:
    """Return the mass (m, K) of kept components; weights are means over those who kept them."""
    voices = np.where(kept, estimates.rows[:, None], 0.0)
    weights = (voices * estimates.weights).sum(axis=0) / voices.sum(axis=0)
    heard = voices * estimates.weights
    return np.asarray(heard / heard.sum(axis=0) * (weights / weights.sum()))


def check_rule(family: Family, rule: Rule) -> None:
    """Raise InvalidConfiguration where single components cannot be judged, or not by this rule."""
    if family.options.get("tied"):
        raise InvalidConfiguration(
            "unit='component' came with one covariance for all components, which no component "
            "can be judged by; take covariance_type='full', or unit='partition'"
        )
    if rule.gates != ("blocks",) or rule.rho is not None or rule.paper:
        came = "the method 'paper'" if rule.paper else f"gates {rule.gates} and rho {rule.rho}"
        raise InvalidConfiguration(
            f"unit='component' came with {came}; this is for whole machines: take the method "
            "'blocks' without gates and rho, or unit='partition'"
        )


def _doubts(found: ComponentFiltered, forced_in: Mask, places: NDArray[np.intp]) -> Iterator[str]:
    """Say what speaks against the result; ``places`` are the components' in the mixture."""
    yield COLLUSION
    m, passed = len(found.estimates), found.kept.sum(axis=0)
    if m < FEWEST_PARTITIONS:
        yield f"{m} usable partitions are too few to tell an outlier reliably"
    lone = [k for k in np.flatnonzero(2 * passed <= m) if k not in found.thin]
    if lone:
        told = ", ".join(f"{passed[k]} of component {places[k]}" for k in lone)
        yield f"of {m} usable partitions only {told} pass (more than half should)"
    if found.even:
        named = sorted(int(places[k]) for k in found.even)
        yield f"two groups of about the same size disagree on components {named}"
    if found.thin:
        named = sorted(int(places[k]) for k in found.thin)
        yield f"components of fewer than 20 rows in most partitions: {named}"
    if (small := ~found.large & ~found.kept).any():
        ids = few(found.estimates.ids[small.any(axis=1)].tolist())
        yield f"components of fewer than 20 rows were left out: {small.sum()} of partitions {ids}"
    if (against := forced_in & ~found.kept.all(axis=1)).any():
        ids = few(found.estimates.ids[against].tolist())
        yield f"partitions {ids} have components that fail the filter and were forced in"
