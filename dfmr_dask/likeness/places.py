"""Pieces that fit better at other places than at their own (EVIDENCE 11, and own).

Every piece is compared with the nearest ones that are trusted. Three things stand against it:

- a *twin*: some piece elsewhere explains its rows as well as its own fit does, where its neighbors
  do not by far (noise; rows that were written to several places);
- its rows *hardly vary* in some feature, where those of its neighbors do (a sensor that is stuck);
- it is *strange*: neither do its neighbors explain its rows, nor does it explain theirs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.vote import LOWEST
from dfmr_dask.likeness.pieces import Array

Mask = NDArray[np.bool_]
FEWEST_PIECES = 12  # among fewer, places tell nothing
NEIGHBORS = 8  # the nearest pieces that are trusted: half of them may be bad
SMALLEST_LOSS = 0.05  # nats a row: below, a fit explains rows as well as their own does
TWIN_LOSS = 0.1  # nats a row at most that the twin's fit loses
TWIN_FACTOR = 2.0  # in logs: how many times as much the neighbors' fits lose
HARDLY_VARIES = 2.0  # in logs of standard deviations
STRANGE, STRANGE_AT_FIRST = 2.5, 4.0  # robust standard deviations; the core's are too narrow
SMALLEST_SPREAD = 0.3  # of log losses
CORE = 0.55  # of the pieces, which agree with their neighbors best: trusted at first
ROUNDS = 5


def misplaced(scores: Array, widths: Array, positions: Array, ids: Sequence[int]) -> dict[int, str]:
    """Return which pieces fit better at other places than at their own, and why.

    Parameters
    ----------
    scores : ndarray of shape (m, m)
        Mean log density in nats of the rows of piece i under the fit of piece j.
    widths : ndarray of shape (m, d)
        Standard deviation of each feature in each piece.
    positions : ndarray of shape (m, n_dims)
        Centers of the pieces, in units of pieces.
    ids : sequence of int
        Numbers of the pieces.
    """
    m = len(positions)
    if m < FEWEST_PIECES:
        return {}
    losses = log_losses(scores)
    logs = np.log(np.maximum(widths, np.finfo(np.float64).tiny))
    gaps = np.sqrt(((positions[:, None] - positions) ** 2).sum(axis=2))
    np.fill_diagonal(gaps, np.inf)
    found: dict[int, str] = {}
    core = _core(losses, gaps)
    trusted = strangeness(losses, nearest(gaps, core), core) <= STRANGE_AT_FIRST
    for _ in range(ROUNDS):
        found = _suspects(losses, logs, gaps, trusted)
        fine = ~np.isin(np.arange(m), list(found))
        if 2 * fine.sum() <= m or np.array_equal(fine, trusted):
            break
        trusted = fine
    return {ids[i]: reason for i, reason in sorted(found.items())}


def log_losses(scores: Array) -> Array:
    """Return the log of what the rows of i lose under the fit of j against their own, (m, m)."""
    heard = np.nan_to_num(scores, nan=LOWEST, posinf=LOWEST, neginf=LOWEST)
    loss = np.maximum(np.diagonal(heard)[:, None] - heard, 0.0)
    return np.asarray(np.log(loss + SMALLEST_LOSS))


def nearest(gaps: Array, trusted: Mask) -> Mask:
    """Mark the nearest trusted pieces of each, (m, m); ties are all in."""
    open_gaps = np.where(trusted, gaps, np.inf)
    few = min(NEIGHBORS, int(trusted.sum()) - 1)
    reach = np.partition(open_gaps, few - 1, axis=1)[:, few - 1]
    return np.asarray((open_gaps <= reach[:, None] + 1e-9) & np.isfinite(open_gaps))


def strangeness(losses: Array, near: Mask, trusted: Mask) -> Array:
    """Return how little pieces and their neighbors explain of each other, whichever is more, (m,).

    In robust standard deviations of the trusted ones.
    """
    ways = [_standing(_usual(one, near), trusted) for one in (losses, losses.T)]
    return np.asarray(np.min(ways, axis=0))


def _suspects(losses: Array, logs: Array, gaps: Array, trusted: Mask) -> dict[int, str]:
    """Return who is suspect next to the trusted, by position."""
    near = nearest(gaps, trusted)
    far = gaps > np.where(near, gaps, 0.0).max(axis=1)[:, None]
    np.fill_diagonal(far, False)
    elsewhere = np.where(far, losses, np.inf)
    twin, lost = elsewhere.argmin(axis=1), elsewhere.min(axis=1)
    here, strange = _usual(losses, near), strangeness(losses, near, trusted)
    narrower = np.max(
        [logs[i] - np.median(logs[near[i]], axis=0) for i in range(len(logs))], axis=1
    )
    out = {}
    for i in range(len(losses)):
        if lost[i] < np.log(TWIN_LOSS + SMALLEST_LOSS) and here[i] - lost[i] > TWIN_FACTOR:
            loss = np.exp(here[i]) - SMALLEST_LOSS
            out[i] = (
                f"a piece elsewhere explains its rows as well as its own fit does, and its "
                f"neighbors' fits lose {loss:.2g} nats a row"
            )
        elif narrower[i] < -HARDLY_VARIES:
            out[i] = f"its rows vary {np.exp(narrower[i]):.2g} times as much as its neighbors' do"
        elif strange[i] > STRANGE:
            out[i] = (
                "neither do its neighbors explain its rows, nor does it explain theirs: by "
                f"{strange[i]:.2g} robust standard deviations"
            )
    return out


def _standing(values: Array, trusted: Mask) -> Array:
    """Return values in robust standard deviations from the trusted ones' median."""
    middle = np.median(values[trusted])
    spread = 1.4826 * np.median(abs(values[trusted] - middle))
    return np.asarray((values - middle) / max(float(spread), SMALLEST_SPREAD))


def _usual(losses: Array, near: Mask) -> Array:
    return np.asarray(np.nanmedian(np.where(near, losses, np.nan), axis=1))


def _core(losses: Array, gaps: Array) -> Mask:
    """Take away the piece that stands out most in either way, again and again."""
    left = np.ones(len(losses), dtype=bool)
    while left.sum() > CORE * len(losses):
        near = nearest(gaps, left)
        ways = [_standing(_usual(one, near), left) for one in (losses, losses.T)]
        left[np.argmax(np.where(left, np.max(ways, axis=0), -np.inf))] = False
    return left
