"""Who belongs to the majority: the default filter, block by block (METHOD 12, and own).

Distances to one partition in the middle carry that partition's own sampling noise, and a cut-off
that takes its spread from theory drops honest partitions where components overlap. So the ball
around the center of attention is a start only. From there, until nothing changes:

 1. the trusted estimates' mean is the center, and where they spread wider about it than theory has
    it, in a coordinate, that is the unit of this coordinate;
 2. each block is cut at a quantile of the chi-squared distribution, with the level and the degrees
    of freedom that the inner part of the trusted shows;
 3. what then falls into two groups along the direction of its widest spread is two opinions, and
    the smaller group goes: colluders lie on one side, honest partitions on all.

Weights have few coordinates, and a liar's can hide among honest ones' spread: they start from a
ball of their own, and their level is not believed to be much above the other blocks'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from dfmr_dask.aggregate.center import LEVEL, inside
from dfmr_dask.aggregate.deviations import (
    Array,
    Coordinates,
    Mask,
    mean_squares,
    residuals,
    spread_of,
)
from dfmr_dask.aggregate.groups import split_off

MARGIN = 1.2  # of a cut-off over the quantile: a quantile of estimated level and freedom is one
INNER, INNER_OF_MANY, MANY = 0.25, 0.5, 30  # quantile that tells the level, by coordinates
LARGEST_LEVEL = 20.0
FEWER_DEGREES = {"weights": 1.5, "": 3.0}  # how much wider than theory the inner part may be
WEIGHTS_OVER_OTHERS = 1.3  # times the level of the other blocks
ROUNDS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """How far everybody lies from the trusted in one block, and how far is too far.

    Attributes
    ----------
    name : str
    distances : ndarray of shape (m,)
        Root mean square over the tested coordinates, in units of the spread; infinite where
        nothing could be tested.
    cutoff : float
    level : float
        Mean square of the trusted in standard errors: 1 where theory holds.
    """

    name: str
    distances: Array
    cutoff: float
    level: float


@dataclass(frozen=True, slots=True, eq=False)
class Majority:
    """The outcome: who is trusted, by which blocks, and who stood apart as a group.

    Attributes
    ----------
    kept : mask of shape (m,)
    blocks : tuple of Block
    groups : mapping of position to text
        What is said of those who pass every block, but stood apart with others.
    even : bool
        Some split on the way left no large majority on one side.
    """

    kept: Mask
    blocks: tuple[Block, ...]
    groups: dict[int, str]
    even: bool

    def middle(self) -> int:
        """Position of the kept partition that lies closest to what all agree on, block by block."""
        worst = np.max([b.distances / max(b.cutoff, 1e-300) for b in self.blocks], axis=0)
        return int(np.argmin(np.where(self.kept, worst, np.inf)))


def majority(
    blocks: Sequence[Coordinates],
    rows: Array,
    candidates: Mask,
    *,
    split: bool = True,
    spread: bool = True,
) -> Majority:
    """Find the partitions that agree with each other.

    Parameters
    ----------
    blocks : sequence of Coordinates
    rows : ndarray of shape (m,)
        Trusted row counts.
    candidates : mask of shape (m,)
        Who may be kept at all; the others are measured, and count for nothing.
    split : bool
        Look for groups.
    spread : bool
        Let the trusted's own spread be the unit where it is wider than theory's.

    References
    ----------
    METHOD 12 for the coordinates; the steps are own.
    """
    voices = np.minimum(rows, np.median(rows))  # nobody gets more of a say by claiming rows
    level = LEVEL / (len(rows) * len(blocks))
    usual = max((_level(b, b.trusted, candidates, voices) for b in blocks if _large(b)), default=1)

    def measured(trusted: Mask | None) -> tuple[Block, ...]:
        return tuple(
            _measured(block, trusted, candidates, voices, level, usual, spread) for block in blocks
        )

    found, trusted, seen = measured(None), None, set[bytes]()
    groups, even = dict[int, str](), False
    for _ in range(ROUNDS):
        kept = _more_than_half(found, candidates)
        if split:
            groups, narrow = split_off(blocks, kept, candidates)
            even |= narrow  # who was recruited on the way is not seen at the end
            kept[list(groups)] = False
        if kept.tobytes() in seen:
            break
        seen.add(kept.tobytes())
        found, trusted = measured(kept), kept
    if split and trusted is not None:
        last, uneven = split_off(blocks, kept, candidates, single=True)
        kept[list(last)] = False
        found, groups, even = measured(kept), groups | last, even or uneven
    return Majority(kept, found, groups, even)


def _more_than_half(measured: Sequence[Block], candidates: Mask) -> Mask:
    """Tell who passes; or who comes closest to it, so that no minority is ever left to judge."""
    worst = np.max([b.distances / max(b.cutoff, 1e-300) for b in measured], axis=0)
    passed = candidates & inside(worst, 1.0)
    half = int(candidates.sum()) // 2 + 1
    if passed.sum() >= half:
        return passed
    order = np.argsort(np.where(candidates, worst, np.inf), kind="stable")
    closest = np.zeros_like(candidates)
    closest[order[:half]] = True
    return closest


def _large(block: Coordinates) -> bool:
    return block.name != "weights"


def _level(block: Coordinates, trusted: Mask, candidates: Mask, voices: Array) -> float:
    """How many times theory's the squared distances are, at least 1."""
    squares = mean_squares(residuals(block, trusted), block.rows)[candidates]
    return max(1.0, _inner(squares, voices[candidates], block.degrees, block.degrees))


def _inner(squares: Array, voices: Array, degrees: float, q: int) -> float:
    """Ratio of a quantile of mean squares to that of chi² / degrees.

    Liars far outside can only push the quantile towards honest partitions' largest, and liars who
    keep together in the middle only towards their smallest. Of many coordinates, these are close
    to each other, and the median is safe from both; of few, only the former is unsafe, since no
    level below theory's is believed. Liars who claim few rows, and liars with large partitions,
    fool one of the two ways to count.
    """
    share = INNER_OF_MANY if q >= MANY else INNER
    each, by_rows = (_quantile(squares, v, share) for v in (np.ones_like(voices), voices))
    return min(each, by_rows) * degrees / _chi2(share, degrees)


def _measured(
    block: Coordinates,
    trusted: Mask | None,
    candidates: Mask,
    voices: Array,
    level: float,
    usual: float,
    spread: bool,
) -> Block:
    """Measure everybody in one block, and find the cut-off; at first nobody is trusted."""
    first = trusted is None
    members = candidates if trusted is None else trusted
    deviations = residuals(block, block.trusted if trusted is None else trusted)
    plain = mean_squares(deviations, block.rows)
    lowest, highest = 1.0, LARGEST_LEVEL
    if not _large(block):
        highest = WEIGHTS_OVER_OTHERS * usual
    elif spread:
        units = spread_of(deviations, block.rows, members, first)
        deviations /= units
        lowest = float(np.mean(units**-2.0))  # what theory's level is in these units
    squares = mean_squares(deviations, block.rows)
    heard = members & np.isfinite(squares)
    if not heard.any():
        return Block(block.name, np.sqrt(squares), 0.0, float("inf"))
    degrees = _degrees(squares[heard], voices[heard], block)
    inner = _inner(squares[heard], voices[heard], degrees, block.degrees)
    cut = MARGIN * np.clip(inner, lowest, highest) * _chi2(1.0 - level, degrees) / degrees
    within = heard & (squares <= cut)
    level_seen = float(plain[within if within.any() else heard].mean())
    return Block(block.name, np.sqrt(squares), float(np.sqrt(cut)), level_seen)


def _degrees(squares: Array, voices: Array, block: Coordinates) -> float:
    """Degrees of freedom that the spread below the median of cube roots shows.

    The cube root of chi² / q is close to normal with variance 2 / (9 q) (Wilson & Hilferty).
    """
    roots = np.cbrt(squares)
    middle = _quantile(roots, voices, 0.5)
    low = roots <= middle
    spread = np.sqrt(np.average((roots[low] - middle) ** 2, weights=voices[low]))
    wider = spread / max(middle, 1e-300) / np.sqrt(2.0 / (9.0 * block.degrees))
    most = FEWER_DEGREES.get(block.name, FEWER_DEGREES[""])
    return float(block.degrees / np.clip(wider, 1.0, most) ** 2)


def _quantile(values: Array, voices: Array, share: float) -> float:
    """Weighted quantile."""
    order = np.argsort(values, kind="stable")
    before = np.cumsum(voices[order]) - 0.5 * voices[order]
    return float(np.interp(share, before / voices.sum(), values[order]))


def _chi2(share: float, degrees: float) -> float:
    return float(stats.chi2.ppf(share, degrees))
