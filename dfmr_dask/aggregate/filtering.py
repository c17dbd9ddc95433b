"""Which estimates are trusted: the gates that each has to pass (METHOD 5 and 12)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from dfmr_dask.aggregate.alignment import orders
from dfmr_dask.aggregate.center import attention
from dfmr_dask.aggregate.deviations import Coordinates
from dfmr_dask.aggregate.distances import (
    FEWEST_ROWS,
    blocks_at,
    component_rows,
    studentized_block,
    studentized_weights,
)
from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.aggregate.gates import (
    FEWEST_PARTITIONS,
    Filtered,
    Gate,
    Rule,
    block_center,
    through_center,
    through_ctd,
    through_fisher,
    through_l2,
    without_blocks,
)
from dfmr_dask.aggregate.majority import majority
from dfmr_dask.aggregate.medoids import most_told
from dfmr_dask.families.base import take
from dfmr_dask.mixture import Mixture

DISAGREE = "two groups disagree, and the smaller one is no small minority: it may be the honest one"
FEWEST_DISTINCT = 3  # estimates: among fewer no outlier can be told
ROWS_A_FEATURE, ALIGNMENTS = 3.0, 2  # where partitions have weights of their own
MORE_FROM_FEW = 0.7  # of the parameters: how much less the rows of a small partition tell


def filtered(estimates: Estimates, rule: Rule) -> Filtered:
    """Pass the estimates through the gates of a rule.

    The first gate's center is the center of the result, and every estimate is aligned to it.

    References
    ----------
    METHOD 12; Zhang, Tan & Chen (arXiv 2407.13980), section 3, for ``l2`` with ``rho``.
    """
    repeats = copies(estimates)
    too_few = len(estimates) - len(repeats) < FEWEST_DISTINCT
    if not repeats or too_few or rule.paper or "copies" in rule.without:
        return replace(_through_all(estimates, rule), copies=repeats)
    single = np.delete(np.arange(len(estimates)), list(repeats))
    return _with_copies(_through_all(estimates.subset(single), rule), estimates, single, repeats)


def _through_all(estimates: Estimates, rule: Rule) -> Filtered:
    """Pass estimates through the gates, one after the other."""
    results = [GATES[name](estimates, rule) for name in rule.gates]
    first = results[0]
    as_sent = np.all([_as_sent(result.tested, result.order) for result in results], axis=0)
    return Filtered(
        first.estimates,
        first.order,
        first.center,
        tuple(
            gate if i == 0 or gate.name == name else replace(gate, name=f"{name}_{gate.name}")
            for i, (name, result) in enumerate(zip(rule.gates, results, strict=True))
            for gate in result.gates
        ),
        np.take_along_axis(as_sent, first.order, axis=1),
        tuple(doubt for result in results for doubt in result.doubts),
        {i: why for result in reversed(results) for i, why in result.reasons.items()},
    )


def _with_copies(
    result: Filtered,
    estimates: Estimates,
    single: NDArray[np.intp],
    repeats: Mapping[int, int],
) -> Filtered:
    """Give who repeats another one a place in the result: its fate and its reason."""
    m, center = len(estimates), result.estimates.mixture(result.center)
    order = orders(estimates, center)
    order[single] = result.order
    near = estimates.reordered(order)
    tested = np.zeros((m, result.tested.shape[1]), dtype=bool)
    tested[single] = result.tested
    tested[list(repeats)] = tested[list(repeats.values())]
    gates = []
    for gate in result.gates:
        distances = np.full(m, np.nan)
        distances[single] = gate.distances
        distances[list(repeats)] = distances[list(repeats.values())]
        gates.append(replace(gate, distances=distances))
    reasons = {int(single[i]): why for i, why in result.reasons.items()}
    reasons |= {i: f"a copy of partition {int(estimates.ids[j])}" for i, j in repeats.items()}
    where = int(single[result.center])
    return Filtered(near, order, where, tuple(gates), tested, result.doubts, reasons, repeats)


def through_blocks(estimates: Estimates, rule: Rule) -> Filtered:
    """Studentised blocks around what the majority agrees on, each cut on its own.

    The center has as many components that are large enough to be tested as more than half of the
    partitions have; the most that anybody has (METHOD 12, step 2) would let a single liar who
    inflates a thin component be the only candidate. With fewer than ten partitions, or a fixed
    rho, everybody is compared with the center alone.

    References
    ----------
    METHOD 12, and :mod:`dfmr_dask.aggregate.majority`.
    """
    if rule.rho is not None or len(estimates) < FEWEST_PARTITIONS:
        return through_center(estimates, rule)
    found = block_center(estimates)
    if found is None:
        return without_blocks(estimates, rule)
    near, order, center = found
    if rule.weights == "free":
        near, order, reference, large = _around_most_told(estimates, near)
        tested = large
    else:
        reference, large = near.mixture(center), component_rows(near) >= FEWEST_ROWS
        tested = large & large[center]
    blocks = _coordinates(near, center, reference, large, rule)
    agreed = majority(
        blocks,
        near.rows,
        np.ones(len(near), dtype=bool),
        split="groups" not in rule.without,
        spread="spread" not in rule.without,
    )
    gates = tuple(Gate(b.name, b.distances, b.cutoff, b.cutoff, b.level) for b in agreed.blocks)
    doubts = (DISAGREE,) if agreed.even else ()
    middle = agreed.middle()
    return Filtered(near, order, middle, gates, tested, doubts, agreed.groups)


def _around_most_told(
    estimates: Estimates, near: Estimates
) -> tuple[Estimates, NDArray[np.intp], Mixture, NDArray[np.bool_]]:
    """Align estimates of partitions with weights of their own, none of which may know everything.

    Each component is compared where it is best told, and among those who have rows of it.
    Logarithms of covariances of fewer than a few rows a feature are far from normal.
    """
    many = near.family.n_features(take(near.params, 0)) if near.family.needs_spread else 0
    fewest = max(FEWEST_ROWS, ROWS_A_FEATURE * many)
    for _ in range(ALIGNMENTS):
        reference = most_told(near, component_rows(near) >= fewest)
        order = orders(estimates, reference)
        near = estimates.reordered(order)
    return near, order, reference, component_rows(near) >= fewest


def _coordinates(
    near: Estimates, center: int, reference: Mixture, large: NDArray[np.bool_], rule: Rule
) -> list[Coordinates]:
    """Lay the blocks flat, each with the ball of those who are trusted at first."""
    blocks = blocks_at(near, reference)
    counts = component_rows(near)
    coupled = sum(b.coordinates[0].size for b in blocks if not b.independent)
    told = counts * _told_by_sizes(near.rows, coupled)[:, None]
    total = np.mean([studentized_block(b, near, [center])[:, 0] ** 2 for b in blocks], axis=0)
    everybody = np.ones(len(near), dtype=bool)
    trusted = closest_half(total, everybody)
    out = []
    for block in blocks:
        m, _, p = block.coordinates.shape
        rows = near.rows[:, None] if block.shared else np.where(large, told, 0.0)
        values = block.coordinates.reshape(m, -1)
        each = np.repeat(rows, p, axis=1)
        out.append(Coordinates(block.name, values, each, trusted, block.independent))
    if rule.weights == "shared" and near.weights.shape[1] > 1:
        columns = partial(studentized_weights, near)
        ball, distances = attention(columns, len(near))
        roots = 2.0 * np.sqrt(near.weights)
        middle = roots[ball.center] / np.linalg.norm(roots[ball.center])
        values = roots @ linalg.null_space(middle[None])  # what is left is constant, or of order 2
        rows = np.repeat(near.rows[:, None], values.shape[1], axis=1)
        out.append(Coordinates("weights", values, rows, closest_half(distances, everybody)))
    return out


def _told_by_sizes(rows: NDArray[np.float64], parameters: int) -> NDArray[np.float64]:
    """How much a row tells in each partition, next to those of the partition in the middle, (m,).

    Variances of estimates are 1/n in the limit only: from n rows and p parameters they were seen to
    be about 1 + .7 p/n times that (K = 5, d = 10, n of 300 to 6000); parameters of columns that are
    estimated independently of each other do not count. Where all have the same rows,
    the level of the trusted says so.
    """
    more = 1.0 + MORE_FROM_FEW * parameters / rows
    return np.asarray(np.median(more) / more)


def closest_half(distances: NDArray[np.float64], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark the more than half of some partitions that are closest."""
    order = np.argsort(np.where(among, distances, np.inf), kind="stable")
    out = np.zeros(len(distances), dtype=bool)
    out[order[: int(among.sum()) // 2 + 1]] = True
    return out


def copies(estimates: Estimates) -> dict[int, int]:
    """Return who repeats another one's estimate, by position, and whom; relabelled or not.

    A copy has no rows of its own to speak for, so that it counts once.
    """
    weights = np.sort(estimates.weights, axis=1)
    _, number, count = np.unique(weights, axis=0, return_inverse=True, return_counts=True)
    first: dict[bytes, int] = {}
    found: dict[int, int] = {}
    for i in np.flatnonzero(count[number.ravel()] > 1):  # few, unless somebody copies
        arrays = (estimates.weights[i], *take(estimates.params, i).values())
        said = b"".join(np.sort(array, axis=None).tobytes() for array in arrays)
        if (original := first.setdefault(said, int(i))) != i:
            found[int(i)] = original
    return found


GATES: Mapping[str, Callable[[Estimates, Rule], Filtered]] = {
    "blocks": through_blocks,
    "center": through_center,
    "ctd": through_ctd,
    "fisher": through_fisher,
    "l2": through_l2,
}


def _as_sent(tested: NDArray[np.bool_], order: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Put a mask of aligned components into the order in which the messages have them."""
    out = np.empty_like(tested)
    np.put_along_axis(out, order, tested, axis=1)
    return out
