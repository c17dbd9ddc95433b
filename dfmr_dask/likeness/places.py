"""Pieces that fit better at other places than at their own (EVIDENCE 11, and own).

Every piece is compared with the nearest ones that are trusted. Three things stand against it:

- a *twin*: some piece elsewhere explains its rows as well as its own fit does, where its neighbors
  do not by far (noise; rows that were written to several places);
- its rows *hardly vary* in some feature, where those of its neighbors do (a sensor that is stuck);
- it is a *stranger*: its neighbors are alike each other, and not like it. At the border of two
  regions, its neighbors are not alike each other either.
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
STRANGER = 1.4  # in logs: how much more it and its neighbors lose than these among each other
AT_THE_RIM = 1.0  # more, for each unit of leaning: at a rim, what goes on beyond has no neighbors
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
    for _ in range(ROUNDS):
        trusted = ~np.isin(np.arange(m), list(found))
        more = {i: why for i, why in _suspects(losses, logs, gaps, trusted).items() if trusted[i]}
        if not more or 2 * (trusted.sum() - len(more)) <= m:
            break
        found |= more
    found |= _strangers(losses, np.asarray(positions, dtype=np.float64), gaps, found)
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


def contrasts(losses: Array, near: Mask) -> Array:
    """Return how much less alike pieces are to their neighbors than these to each other, (m,).

    In logs of what fits lose, both ways.
    """
    both = np.logaddexp(losses, losses.T)
    out = np.empty(len(losses))
    for i, mask in enumerate(near):
        others = np.flatnonzero(mask)
        among = both[np.ix_(others, others)][np.triu_indices(len(others), 1)]
        out[i] = np.median(both[i, others]) - np.median(among)
    return out


def leaning(positions: Array, near: Mask) -> Array:
    """Return how far the neighbors lie to one side, (m,): 0 amidst them, 1 beside them all."""
    out = np.empty(len(positions))
    for i, mask in enumerate(near):
        away = positions[mask] - positions[i]
        out[i] = np.linalg.norm(away.mean(axis=0)) / np.linalg.norm(away, axis=1).mean()
    return out


def _strangers(
    losses: Array, positions: Array, gaps: Array, found: dict[int, str]
) -> dict[int, str]:
    """Take the greatest stranger away, again and again, while half of the pieces are left."""
    trusted, out = ~np.isin(np.arange(len(losses)), list(found)), dict[int, str]()
    while 2 * trusted.sum() > len(losses) + 1:
        near = nearest(gaps, trusted)
        contrast = contrasts(losses, near)
        beyond = contrast - STRANGER - AT_THE_RIM * leaning(positions, near)
        worst = int(np.argmax(np.where(trusted, beyond, -np.inf)))
        if beyond[worst] <= 0.0:
            break
        trusted[worst] = False
        out[worst] = (
            "it and its neighbors lose under each other's fits "
            f"{np.exp(contrast[worst]):.2g} times what these lose among themselves"
        )
    return out


def _suspects(losses: Array, logs: Array, gaps: Array, trusted: Mask) -> dict[int, str]:
    """Return who is suspect next to the trusted, by position."""
    near = nearest(gaps, trusted)
    far = gaps > np.where(near, gaps, 0.0).max(axis=1)[:, None]
    np.fill_diagonal(far, False)
    lost = np.where(far, losses, np.inf).min(axis=1)
    here = _usual(losses, near)
    narrower = np.max(
        [logs[i] - np.median(logs[near[i]], axis=0) for i in range(len(logs))], axis=1
    )
    as_well = np.log(TWIN_LOSS + SMALLEST_LOSS)
    out = {}
    for i in range(len(losses)):
        if lost[i] < as_well and here[i] - lost[i] > TWIN_FACTOR:
            loss = np.exp(here[i]) - SMALLEST_LOSS
            out[i] = (
                f"a piece elsewhere explains its rows as well as its own fit does, and its "
                f"neighbors' fits lose {loss:.2g} nats a row"
            )
        elif narrower[i] < -HARDLY_VARIES:
            out[i] = f"its rows vary {np.exp(narrower[i]):.2g} times as much as its neighbors' do"
    return out


def _usual(losses: Array, near: Mask) -> Array:
    return np.asarray(np.nanmedian(np.where(near, losses, np.nan), axis=1))
