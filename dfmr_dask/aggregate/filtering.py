"""Which estimates are trusted: distances to a center, a cut, the verdict (METHOD 5 and 12)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.alignment import aligned, orders
from dfmr_dask.aggregate.center import LEVEL, Ball, coat, inside, wilson_hilferty_cut
from dfmr_dask.aggregate.distances import (
    FEWEST_ROWS,
    component_rows,
    ctd,
    fisher,
    l2,
    per_row,
    studentized_block,
    studentized_weights,
)
from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.mixture import Mixture

FEWEST_PARTITIONS = 10  # below this many the cut is several times the usual distance
SMALLEST_CUT = 1e-3  # in standard errors: equal estimates differ by rounding alone
PAPER_RHO = 1.35


@dataclass(frozen=True, slots=True)
class Rule:
    """How estimates are filtered.

    Parameters
    ----------
    gates : tuple of {"blocks", "ctd", "fisher", "l2"}
        An estimate is kept when it passes all of them.
    weights : {"shared", "free"}
        Whether honest partitions share their weights; ``free`` leaves weights out of the test.
    rho : float or None
        Cut at rho times the radius of each gate's ball, instead of by the spread.
    paper : bool
        Distances as they are, whatever the sizes of the partitions; reduction from COAT.
    """

    gates: tuple[str, ...] = ("blocks",)
    weights: str = "shared"
    rho: float | None = None
    paper: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Gate:
    """One test that every estimate has to pass.

    Attributes
    ----------
    name : str
    distances : ndarray
        To the center of the gate; one entry a partition, NaN without a usable message.
    cutoff : float
        Largest distance that passes.
    radius : float
        Of the ball around the center that holds more than half of the estimates.
    """

    name: str
    distances: NDArray[np.float64]
    cutoff: float
    radius: float

    def passed(self) -> NDArray[np.bool_]:
        """Tell which partitions pass."""
        return inside(self.distances, self.cutoff)


@dataclass(frozen=True, slots=True, eq=False)
class Filtered:
    """Estimates after the filter, aligned to its center.

    Attributes
    ----------
    estimates : Estimates
    order : ndarray of shape (m, K)
        Which component of each message stands where in ``estimates``.
    center : int
        Position of the center.
    gates : tuple of Gate
        Distances in the order of the estimates.
    tested : mask of shape (m, K)
        Components whose distance was looked at; only these enter the reduction.
    doubts : tuple of str
    """

    estimates: Estimates
    order: NDArray[np.intp]
    center: int
    gates: tuple[Gate, ...]
    tested: NDArray[np.bool_]
    doubts: tuple[str, ...] = ()

    def kept(self) -> NDArray[np.bool_]:
        """Tell who passes every gate."""
        return np.asarray(np.all([gate.passed() for gate in self.gates], axis=0))


def filtered(estimates: Estimates, rule: Rule) -> Filtered:
    """Pass the estimates through the gates of a rule.

    The first gate's center is the center of the result, and every estimate is aligned to it.

    References
    ----------
    METHOD 12; Zhang, Tan & Chen (arXiv 2407.13980), section 3, for ``l2`` with ``rho``.
    """
    results = [GATES[name](estimates, rule) for name in rule.gates]
    first = results[0]
    as_sent = np.all([_as_sent(result.tested, result.order) for result in results], axis=0)
    return Filtered(
        first.estimates,
        first.order,
        first.center,
        tuple(gate for result in results for gate in result.gates),
        np.take_along_axis(as_sent, first.order, axis=1),
        tuple(doubt for result in results for doubt in result.doubts),
    )


def through_blocks(estimates: Estimates, rule: Rule) -> Filtered:
    """Studentised blocks: means, covariances and weights, each cut on its own (METHOD 12).

    The center has as many components that are large enough to be tested as more than half of the
    partitions have; the most that anybody has (METHOD 12, step 2) would let a single liar who
    inflates a thin component be the only candidate.
    """
    first = estimates.mixture(coat(ctd(estimates)).center)
    near = aligned(estimates, first)
    large = (component_rows(near) >= FEWEST_ROWS).sum(axis=1)
    usual = np.sort(large)[(len(large) - 1) // 2]
    if usual == 0:
        doubt = f"most components have fewer than {FEWEST_ROWS:.0f} rows: CTD-KL decides"
        return replace(through_ctd(estimates, rule), doubts=(doubt,))
    mean = np.sqrt(np.mean([d**2 for _, _, d in _block_distances(near, first)], axis=0))
    center = coat(mean, candidates=large >= usual).center
    order = orders(estimates, estimates.mixture(center))
    near = estimates.reordered(order)
    blocks = _block_distances(near, near.mixture(center))
    with_weights = rule.weights == "shared" and near.weights.shape[1] > 1
    level = LEVEL / (len(near) * (len(blocks) + with_weights))
    gates = [_gate(name, d, _ball(d, center), rule, level, q) for name, q, d in blocks]
    if with_weights:
        distances = studentized_weights(near)
        q = near.weights.shape[1] - 1
        gates.append(_gate("weights", distances, coat(distances), rule, level, q))
    enough = component_rows(near) >= FEWEST_ROWS
    return Filtered(near, order, center, tuple(gates), enough & enough[center])


def through_ctd(estimates: Estimates, rule: Rule) -> Filtered:
    """CTD-KL distances around their own center."""
    return _through("ctd", ctd(estimates), estimates, rule)


def through_l2(estimates: Estimates, rule: Rule) -> Filtered:
    """L² distances around their own center: the paper's filter."""
    return _through("l2", l2(estimates), estimates, rule)


def through_fisher(estimates: Estimates, rule: Rule) -> Filtered:
    """Fisher coordinates around the center of CTD-KL (around that of L² they fail with it)."""
    center = coat(ctd(estimates)).center
    near = aligned(estimates, estimates.mixture(center))
    distances = fisher(near, near.mixture(center))
    return _through("fisher", distances, estimates, rule, center)


GATES: Mapping[str, Callable[[Estimates, Rule], Filtered]] = {
    "blocks": through_blocks,
    "ctd": through_ctd,
    "fisher": through_fisher,
    "l2": through_l2,
}


def _as_sent(tested: NDArray[np.bool_], order: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Put a mask of aligned components into the order in which the messages have them."""
    out = np.empty_like(tested)
    np.put_along_axis(out, order, tested, axis=1)
    return out


def _block_distances(
    estimates: Estimates, center: Mixture
) -> list[tuple[str, int, NDArray[np.float64]]]:
    """Name, coordinates over all components, and distances (m, m) of each block."""
    blocks = estimates.family.blocks(estimates.params, center.params)
    return [
        (b.name, int(np.prod(b.coordinates.shape[1:])), studentized_block(b, estimates))
        for b in blocks
    ]


def _gate(
    name: str, distances: NDArray[np.float64], ball: Ball, rule: Rule, level: float, q: int
) -> Gate:
    """Cut one block; its spread is what theory gives for q coordinates, with a margin."""
    least = max(0.02, (6.0 * q) ** -0.5)
    to_center = distances[ball.center]
    if rule.rho is not None:
        cut = rule.rho * ball.radius
    else:
        cut = wilson_hilferty_cut(to_center, ball, level, (least, 1.5 * least))
    return Gate(name, to_center, max(cut, SMALLEST_CUT), ball.radius)


def _through(
    name: str,
    distances: NDArray[np.float64],
    estimates: Estimates,
    rule: Rule,
    center: int | None = None,
) -> Filtered:
    """Cut around one center in one distance."""
    if not rule.paper:
        distances = per_row(distances, estimates.rows)
    ball = coat(distances) if center is None else _ball(distances, center)
    if rule.rho is not None:
        cut = rule.rho * ball.radius
    else:
        cut = wilson_hilferty_cut(distances[ball.center], ball, LEVEL / len(estimates))
    gate = Gate(name, distances[ball.center], cut, ball.radius)
    order = orders(estimates, estimates.mixture(ball.center))
    tested = np.ones(order.shape, dtype=bool)
    return Filtered(estimates.reordered(order), order, ball.center, (gate,), tested)


def _ball(distances: NDArray[np.float64], center: int) -> Ball:
    return Ball(center, coat(distances, np.arange(len(distances)) == center).radius)
