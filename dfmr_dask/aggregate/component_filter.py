"""Each component of each machine judged on its own: for failures that hit components, not machines.

Where each component fails alone, most machines have a bad one, and no filter of whole machines has
an honest majority to keep. The honest are still the majority among the estimates of each single
component. This is an option and never the default: a whole machine that lies gives itself away in
many coordinates at once, a single component in few, and so liars who act together get through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.alignment import orders
from dfmr_dask.aggregate.center import attention
from dfmr_dask.aggregate.deviations import Coordinates
from dfmr_dask.aggregate.distances import FEWEST_ROWS, blocks_at, component_rows
from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.aggregate.filtering import closest_half, copies
from dfmr_dask.aggregate.gates import FEWEST_PARTITIONS, Gate, Rule
from dfmr_dask.aggregate.majority import Majority, majority
from dfmr_dask.aggregate.pairs import divergences, prepared
from dfmr_dask.aggregate.reduction import reduce_aligned
from dfmr_dask.aggregate.verdict import Merged
from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.families.base import Block, Family, Params, flatten, take
from dfmr_dask.mixture import Mixture

REALIGNMENTS = 5  # of all to the medoids; honest components settle after one or two
SEEDS, FEWEST_SEEDS = (
    2000,
    20,
)  # components, and machines, among which to look for a first reference
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
        The largest over blocks, in cut-offs: up to 1 is kept.
    even : tuple of int
        Components of which two groups of about the same size disagree.
    thin : tuple of int
        Components that were too small to be tested in most machines; their medoid stands alone.
    """

    estimates: Estimates
    reference: Mixture
    kept: Mask
    distances: Array
    even: tuple[int, ...]
    thin: tuple[int, ...]


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
    mixture = reduce_aligned(found.estimates, _mass(found.estimates, kept)).mixture
    order = _heaviest_first(mixture)
    kept = kept[:, order]
    gates = tuple(
        Gate(f"component_{k}", found.distances[:, old], 1.0, 1.0) for k, old in enumerate(order)
    )
    return Merged(
        mixture.reordered(order),
        np.asarray(kept.any(axis=1)),
        int(np.argmin(np.median(found.distances, axis=1))),
        gates,
        tuple(_doubts(found, kept, np.argsort(order))),
        components=kept,
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
    near, reference = medoids(estimates)
    single = np.ones(len(near), dtype=bool)
    if "copies" not in rule.without:
        single[list(copies(near))] = False
    blocks, large = blocks_at(near, reference), component_rows(near) >= FEWEST_ROWS
    kept, distances = np.zeros(large.shape, dtype=bool), np.full(large.shape, np.inf)
    even, thin = [], []
    for k in range(large.shape[1]):
        able = single & large[:, k]
        if 2 * able.sum() <= single.sum():
            middle = _medoid(near, k)
            kept[middle, k], distances[middle, k] = True, 0.0
            thin.append(k)
            continue
        agreed = _judged(near, blocks, k, able, rule)
        kept[:, k], distances[:, k] = agreed.kept, _in_cutoffs(agreed)
        even += [k] if agreed.even else []
    return ComponentFiltered(near, reference, kept, distances, tuple(even), tuple(thin))


def medoids(estimates: Estimates) -> tuple[Estimates, Mixture]:
    """Align estimates to a mixture each of whose components is a medoid.

    No machine can be what all are aligned to first: where it has a bad component, the others' bad
    ones would gather there, and their medoid would be bad as well. What most machines have
    something close to is found among all components instead. From there each is replaced by its
    center of attention over all machines, and all are aligned anew, until nothing changes.

    Returns
    -------
    estimates : Estimates
        Aligned.
    reference : Mixture
        With the median weights.
    """
    reference = _shared_by_most(estimates)
    chosen: list[int] = []
    for _ in range(REALIGNMENTS):
        near = estimates.reordered(orders(estimates, reference))
        found = [_medoid(near, k) for k in range(near.weights.shape[1])]
        weights = np.median(near.weights, axis=0)
        params = take(near.params, (np.array(found), np.arange(len(found))))
        reference = Mixture(near.family, weights / weights.sum(), params)
        if found == chosen:
            break
        chosen = found
    return near, reference


def _shared_by_most(estimates: Estimates) -> Mixture:
    """Return the K components, one after the other, that most machines have something close to.

    Every machine counts by its closest component; those of the closer half are then taken.
    """
    m, order = estimates.weights.shape
    count = min(m, max(FEWEST_SEEDS, SEEDS // order))
    some = estimates.subset(np.linspace(0, m - 1, count).astype(np.intp))
    many = flatten(some.params)
    far, alive = _divergence(estimates.family, many, many), np.ones(count * order, dtype=bool)
    chosen = []
    for _ in range(order):
        left = np.where(alive, far, np.inf).reshape(-1, count, order)
        nearest = left.min(axis=2)
        radii = np.where(alive, np.partition(nearest, count // 2, axis=1)[:, count // 2], np.inf)
        first = int(np.argmin(radii)) if np.isfinite(radii).any() else int(np.argmax(alive))
        taken = np.argsort(nearest[first], kind="stable")[: count // 2 + 1]
        alive[taken * order + left[first, taken].argmin(axis=1)] = False
        alive[first] = False
        chosen.append(first)
    params = take(many, np.array(chosen))
    return Mixture(estimates.family, np.full(order, 1.0 / order), params)


def _divergence(family: Family, one: Params, other: Params) -> Array:
    """Symmetrised KL of all pairs; infinite where it overflows."""
    here, there = prepared(family, one), prepared(family, other)
    with np.errstate(over="ignore", invalid="ignore"):
        both = divergences(here, there) + divergences(there, here).T
    return np.nan_to_num(both, nan=np.inf, posinf=np.inf)


def _medoid(estimates: Estimates, k: int) -> int:
    """Find the machine whose k-th component has more than half of the others' closest around it."""
    many = take(estimates.params, (slice(None), k))

    def columns(to: NDArray[np.intp] | None) -> Array:
        return _divergence(estimates.family, many, many if to is None else take(many, to))

    return attention(columns, len(estimates))[0].center


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


def _in_cutoffs(agreed: Majority) -> Array:
    """Return the largest distance of each machine over the blocks, in cut-offs (m,)."""
    worst = np.max([b.distances / max(b.cutoff, 1e-300) for b in agreed.blocks], axis=0)
    stood_apart = np.isin(np.arange(len(worst)), list(agreed.groups))
    closest = np.where(agreed.kept, np.minimum(worst, 1.0), np.maximum(worst, 1.0 + 1e-6))
    return np.asarray(np.where(stood_apart, np.inf, closest))


def _mass(estimates: Estimates, kept: Mask) -> Array:
    """Return the mass (m, K) of kept components; weights are means over those who kept them."""
    voices = np.where(kept, estimates.rows[:, None], 0.0)
    weights = (voices * estimates.weights).sum(axis=0) / voices.sum(axis=0)
    heard = voices * estimates.weights
    return np.asarray(heard / heard.sum(axis=0) * (weights / weights.sum()))


def _heaviest_first(mixture: Mixture) -> NDArray[np.intp]:
    """Return the order that :meth:`Mixture.canonical` brings components into."""
    flat = [array.reshape(mixture.n_components, -1) for array in mixture.params.values()]
    return np.lexsort((*np.hstack(flat).T[::-1], -mixture.weights))


def check_rule(family: Family, rule: Rule) -> None:
    """Raise InvalidConfiguration where single components cannot be judged, or not by this rule."""
    if family.options.get("tied"):
        raise InvalidConfiguration(
            "unit='component' came with one covariance for all components, which no component "
            "can be judged by; take covariance_type='full', or unit='partition'"
        )
    if rule.gates != ("blocks",) or rule.rho is not None or rule.paper:
        raise InvalidConfiguration(
            f"unit='component' came with gates {rule.gates} and rho {rule.rho}; these are for "
            "whole machines: take the method 'blocks' without gates and rho, or unit='partition'"
        )


def _doubts(found: ComponentFiltered, kept: Mask, places: NDArray[np.intp]) -> Iterator[str]:
    """Say what speaks against the result; ``places`` are the components' in the mixture."""
    yield COLLUSION
    m = len(found.estimates)
    if m < FEWEST_PARTITIONS:
        yield f"{m} usable partitions are too few to tell an outlier reliably"
    if len(few := np.flatnonzero(2 * kept.sum(axis=0) <= m)):
        yield f"half of the usable partitions or more do not agree on components {few.tolist()}"
    if found.even:
        named = sorted(int(places[k]) for k in found.even)
        yield f"two groups of about the same size disagree on components {named}"
    if found.thin:
        named = sorted(int(places[k]) for k in found.thin)
        yield f"components of fewer than 20 rows in most partitions: {named}"
