"""Two groups where there should be one: colluders lie on one side, honest partitions on all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.deviations import Array, Coordinates, Mask, residuals, spread_of

APART, FEW_APART = 4.3, 50.0  # spreads between honest groups: below 4.3 + 50/m, nearly always
FEWEST_IN_GROUP, SMALLEST_GROUP = 2, 0.02  # partitions, share: single ones are the cut's business
FEWEST_TO_SPLIT = 8
FEWEST_LEFT = 0.45  # share of all that a split must leave: honest partitions, but for a few
NARROW = 0.65  # share of all on the larger side, up to which it may be the wrong one
POWER_STEPS = 30
ELEMENTS = 1 << 21  # of a temporary array
ONE_APART, FEW_ONE_APART = 4.5, 60.0  # the same for the best of some hundred single coordinates
HUNDREDS, EACH_TENFOLD = 300, 0.15  # and so much more, for ten times as many
SMALLEST_IN_ONE, FEWEST_IN_ONE = 0.1, 15  # share, partitions: fewer tell nothing of hundreds
Apart = Callable[[Coordinates, Mask], tuple[Array, float, int] | None]


def split_off(
    blocks: Sequence[Coordinates], passed: Mask, candidates: Mask, *, single: bool = False
) -> tuple[dict[int, str], bool]:
    """Tell who stands apart with others, until nobody does; and whether a split was about even.

    Two groups are looked for along the direction of the widest spread of each block or, with
    ``single``, along single coordinates: there a step along one of them does not stand out, since
    the spread that it makes is the coordinate's unit. The side goes that fewer candidates are on;
    who was dropped in another block has a vote here.

    Parameters
    ----------
    blocks : sequence of Coordinates
    passed, candidates : masks of shape (m,)
    single : bool
    """
    left, said, even = passed.copy(), dict[int, str](), False
    find: Apart = _in_one_coordinate if single else _along_the_widest
    found = True
    while found:
        found = False
        for block in blocks:
            number = int(left.sum())
            apart = find(block, left) if number >= FEWEST_TO_SPLIT else None
            if apart is None:
                continue
            along, distance, size = apart
            ordered = np.sort(along[left])
            upper = along > 0.5 * (ordered[size - 1] + ordered[size])
            above = float(upper[candidates].mean())
            members = np.flatnonzero(left & (upper if above < 0.5 else ~upper))
            if number - len(members) < FEWEST_LEFT * candidates.sum():
                even = True
                continue
            even |= max(above, 1.0 - above) <= NARROW
            left[members] = False
            text = f"one of {len(members)} that stand {distance:.1f} spreads apart in {block.name}"
            said |= {int(i): text for i in members}
            found = True
    return said, even


def _along_the_widest(block: Coordinates, left: Mask) -> tuple[Array, float, int] | None:
    """Return where everybody lies along the widest spread of those left, if they are two groups.

    And how far apart they are in spreads, and how many of those left are in the lower one.
    """
    number = int(left.sum())
    deviations = residuals(block, left)
    deviations /= spread_of(deviations, block.rows, left, False)
    if block.independent and block.degrees > number:
        along = _with_others(deviations, left)
    else:
        along = deviations @ _widest(deviations[left] - deviations[left].mean(axis=0))
    fewest = max(FEWEST_IN_GROUP, int(SMALLEST_GROUP * number))
    distances, sizes = _best_splits(along[left, None], fewest)
    if distances[0] <= APART + FEW_APART / number:
        return None
    return along, float(distances[0]), int(sizes[0])


def _in_one_coordinate(block: Coordinates, left: Mask) -> tuple[Array, float, int] | None:
    """Return the same along the coordinate that falls apart most."""
    number = int(left.sum())
    if number < FEWEST_IN_ONE:
        return None
    deviations = residuals(block, left)
    fewest = max(FEWEST_IN_GROUP, int(SMALLEST_IN_ONE * number))
    step = max(1, ELEMENTS // number)  # columns at a time: temporary arrays stay small
    parts = [
        _best_splits(deviations[left, first : first + step], fewest, float(block.independent))
        for first in range(0, block.degrees, step)
    ]
    distances, sizes = (np.concatenate(part) for part in zip(*parts, strict=True))
    best = int(np.argmax(distances))
    more = 1.0 + EACH_TENFOLD * max(0.0, float(np.log10(block.degrees / HUNDREDS)))
    if distances[best] <= more * (ONE_APART + FEW_ONE_APART / number):
        return None
    return deviations[:, best], float(distances[best]), int(sizes[best])


def _with_others(deviations: Array, left: Mask) -> Array:
    """Return where everybody lies along what those left have in common with each other.

    Of far more coordinates than partitions each partition has a direction of its own, along which
    it stands alone, and the widest spread is but the largest of these. What tells groups are the
    products of different partitions: without the squares, noise has no direction.
    """
    middle = deviations[left].mean(axis=0)
    some = deviations[left] - middle
    products = some @ some.T
    np.fill_diagonal(products, 0.0)
    shared = np.linalg.eigh(products)[1][:, -1]
    out = np.empty(len(deviations))
    out[left] = shared
    out[~left] = (deviations[~left] - middle) @ some.T @ shared / max(abs(products).max(), 1e-300)
    return out


def _widest(centered: Array) -> Array:
    """Direction of the widest spread, by the power method: it need only be close."""
    longest = centered[np.argmax(np.einsum("ij,ij->i", centered, centered))]
    wide = centered.shape[0] < centered.shape[1]  # the smaller of the two products is taken
    products = centered @ centered.T if wide else centered.T @ centered
    direction = centered @ longest if wide else longest
    for _ in range(POWER_STEPS):
        turned = products @ direction
        direction = turned / max(float(np.linalg.norm(turned)), 1e-300)
    direction = centered.T @ direction if wide else direction
    return np.asarray(direction / max(float(np.linalg.norm(direction)), 1e-300))


def _best_splits(values: Array, fewest: int, least: float = 0.0) -> tuple[Array, NDArray[np.intp]]:
    """For each column (m, q) the two groups that are farthest apart, in pooled spreads.

    A spread below ``least`` is not believed: of rare levels and alleles all but a few partitions
    have none, and agree to the bit.

    Returns distances (q,) and sizes (q,) of the lower groups.
    """
    m = len(values)
    below = np.arange(fewest, m - fewest + 1)[:, None]
    ordered = np.sort(values, axis=0)
    sums, squares = np.cumsum(ordered, axis=0), np.cumsum(ordered**2, axis=0)
    low = sums[below[:, 0] - 1] / below
    high = (sums[-1] - sums[below[:, 0] - 1]) / (m - below)
    within = squares[-1] - below * low**2 - (m - below) * high**2
    floor = np.maximum(1e-12 * squares[-1], 1e-300)  # what rounding leaves where all agree
    spread = np.sqrt(np.maximum(within, floor) / (m - 2))
    distances = (high - low) / np.maximum(spread, least)
    best = np.argmax(distances, axis=0)
    return distances[best, np.arange(values.shape[1])], below[best, 0]
