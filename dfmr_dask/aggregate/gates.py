"""What a filter is asked for and answers, and the gates around one partition (METHOD 5 and 12)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.alignment import aligned, orders
from dfmr_dask.aggregate.center import (
    LEVEL,
    Ball,
    attention,
    ball_around,
    inside,
    wilson_hilferty_cut,
)
from dfmr_dask.aggregate.distances import (
    FEWEST_ROWS,
    blocks_at,
    component_rows,
    ctd,
    fisher,
    l2,
    per_row,
    studentized_block,
    studentized_weights,
)
from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.families.base import Block, take

PARTS = ("copies", "groups", "spread")  # of the blocks, which a comparison can leave out
FEWEST_PARTITIONS = 10  # below this many the cut is several times the usual distance
MOST_IN_L2 = 200  # discrete columns, of which L2 distances still tell something
SMALLEST_CUT = 1e-3  # in standard errors: equal estimates differ by rounding alone
PAPER_RHO = 1.35
UNITS = ("partition", "component", "entry")
FIRST_CENTER, FIRST_REFERENCES = 100, 40  # the first center only tells where to whiten
Positions = NDArray[np.intp] | None
Columns = Callable[[Positions], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Rule:
    """How estimates are filtered.

    Parameters
    ----------
    gates : tuple of {"blocks", "center", "ctd", "fisher", "l2"}
        An estimate is kept when it passes all of them; ``center`` is ``blocks`` around one
        partition, and cut by theory's spread, as METHOD 12 has it.
    weights : {"shared", "free"}
        Whether honest partitions share their weights; ``free`` leaves weights out of the test.
    rho : float or None
        Cut at rho times the radius of each gate's ball, instead of by the spread.
    paper : bool
        Distances as they are, whatever the sizes of the partitions; reduction from COAT.
    without : tuple of {"copies", "groups", "spread"}
        Parts of ``blocks`` to leave out, to see what each is good for.
    unit : {"partition", "component", "entry"}
        What is judged: whole estimates, each component of each on its own, see
        :mod:`dfmr_dask.aggregate.component_filter`, or each feature of each before its rest, see
        :mod:`dfmr_dask.aggregate.entry_filter`.
    """

    gates: tuple[str, ...] = ("blocks",)
    weights: str = "shared"
    rho: float | None = None
    paper: bool = False
    without: tuple[str, ...] = ()
    unit: str = "partition"


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
    level : float
        Mean square of the distances of the trusted, in standard errors: 1 is sampling noise; NaN
        where a gate knows no standard errors.
    """

    name: str
    distances: NDArray[np.float64]
    cutoff: float
    radius: float
    level: float = float("nan")

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
    reasons : mapping of position to text
        Why somebody is left out who passes every gate.
    copies : mapping of position to position
        Who repeats whose estimate.
    """

    estimates: Estimates
    order: NDArray[np.intp]
    center: int
    gates: tuple[Gate, ...]
    tested: NDArray[np.bool_]
    doubts: tuple[str, ...] = ()
    reasons: Mapping[int, str] = field(default_factory=dict)
    copies: Mapping[int, int] = field(default_factory=dict)

    def kept(self) -> NDArray[np.bool_]:
        """Tell who passes every gate, and is not left out for another reason."""
        passed = np.all([gate.passed() for gate in self.gates], axis=0)
        passed[list(self.reasons)] = False
        return np.asarray(passed)


def through_center(estimates: Estimates, rule: Rule) -> Filtered:
    """Studentised blocks around one partition in the middle, cut by theory's spread (METHOD 12)."""
    found = block_center(estimates)
    if found is None:
        return without_blocks(estimates, rule)
    near, order, center = found
    blocks = blocks_at(near, near.mixture(center))
    with_weights = rule.weights == "shared" and near.weights.shape[1] > 1
    level = LEVEL / (len(near) * (len(blocks) + with_weights))
    gates = []
    for block in blocks:
        distances = studentized_block(block, near, [center])[:, 0]
        q = int(np.prod(block.coordinates.shape[1:]))
        gates.append(_gate(block.name, distances, ball_around(distances, center), rule, level, q))
    if with_weights:
        ball, distances = attention(partial(studentized_weights, near), len(near))
        gates.append(_gate("weights", distances, ball, rule, level, near.weights.shape[1] - 1))
    large = component_rows(near) >= FEWEST_ROWS
    return Filtered(near, order, center, tuple(gates), large & large[center])


def through_ctd(estimates: Estimates, rule: Rule) -> Filtered:
    """CTD-KL distances around their own center."""
    return _through("ctd", partial(ctd, estimates), estimates, rule)


def through_l2(estimates: Estimates, rule: Rule) -> Filtered:
    """L² distances around their own center: the paper's filter.

    Densities of many discrete columns are all but orthogonal, and nothing is left to compare but
    their norms (EVIDENCE 8): that is said.
    """
    found = _through("l2", partial(l2, estimates), estimates, rule)
    many = found.estimates.family.n_features(take(found.estimates.params, 0))
    if found.estimates.family.needs_spread or many <= MOST_IN_L2:
        return found
    doubt = f"L2 distances of {many} discrete columns have no power: choose gates='blocks'"
    return replace(found, doubts=(doubt,))


def through_fisher(estimates: Estimates, rule: Rule) -> Filtered:
    """Fisher coordinates around the center of CTD-KL (around that of L² they fail with it)."""
    center = attention(partial(ctd, estimates), len(estimates))[0].center
    near = aligned(estimates, estimates.mixture(center))
    middle = near.mixture(center)
    return _through("fisher", partial(fisher, near, middle), estimates, rule, center)


def rough_center(estimates: Estimates) -> int:
    """Return the center of CTD-KL, which only has to tell where to align and to whiten.

    Exact for up to 100 estimates; beyond, a few random references cost less than all pairs.
    """
    return attention(
        partial(ctd, estimates), len(estimates), all_pairs=FIRST_CENTER, references=FIRST_REFERENCES
    )[0].center


def without_blocks(estimates: Estimates, rule: Rule) -> Filtered:
    """Fall back on CTD-KL, and say so: no component is large enough to be tested."""
    doubt = f"most components have fewer than {FEWEST_ROWS:.0f} rows: CTD-KL decides"
    return replace(through_ctd(estimates, rule), doubts=(doubt,))


def block_center(
    estimates: Estimates,
) -> tuple[Estimates, NDArray[np.intp], int] | None:
    """Return the estimates aligned to the center of their blocks, their order, and its position.

    None where most partitions have no component that is large enough to be tested.
    """
    first = estimates.mixture(rough_center(estimates))
    near = aligned(estimates, first)
    large = (component_rows(near) >= FEWEST_ROWS).sum(axis=1)
    usual = np.sort(large)[(len(large) - 1) // 2]
    if usual == 0:
        return None
    mean = _mean_distances(blocks_at(near, first), near)
    center = attention(mean, len(near), candidates=large >= usual)[0].center
    order = orders(estimates, estimates.mixture(center))
    return estimates.reordered(order), order, center


def _mean_distances(blocks: tuple[Block, ...], estimates: Estimates) -> Columns:
    """Roots of the mean of the blocks' squared distances."""

    def columns(to: Positions) -> NDArray[np.float64]:
        squares = [studentized_block(block, estimates, to) ** 2 for block in blocks]
        return np.asarray(np.sqrt(np.mean(squares, axis=0)))

    return columns


def _gate(
    name: str, to_center: NDArray[np.float64], ball: Ball, rule: Rule, level: float, q: int
) -> Gate:
    """Cut one block; its spread is what theory gives for q coordinates, with a margin."""
    least = max(0.02, (6.0 * q) ** -0.5)
    if rule.rho is not None:
        cut = rule.rho * ball.radius
    else:
        cut = wilson_hilferty_cut(to_center, ball, level, (least, 1.5 * least))
    return Gate(name, to_center, max(cut, SMALLEST_CUT), ball.radius)


def _through(
    name: str, columns: Columns, estimates: Estimates, rule: Rule, center: int | None = None
) -> Filtered:
    """Cut around one center in one distance."""

    def scaled(to: Positions) -> NDArray[np.float64]:
        distances = columns(to)
        return distances if rule.paper else per_row(distances, estimates.rows, to)

    if center is None:
        ball, to_center = attention(scaled, len(estimates))
    else:
        to_center = scaled(np.array([center]))[:, 0]
        ball = ball_around(to_center, center)
    if rule.rho is not None:
        cut = rule.rho * ball.radius
    else:
        cut = wilson_hilferty_cut(to_center, ball, LEVEL / len(estimates))
    gate = Gate(name, to_center, cut, ball.radius)
    order = orders(estimates, estimates.mixture(ball.center))
    tested = np.ones(order.shape, dtype=bool)
    return Filtered(estimates.reordered(order), order, ball.center, (gate,), tested)
