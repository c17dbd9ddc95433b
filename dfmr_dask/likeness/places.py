"""Pieces that fit better at other places than at their own (EVIDENCE 11)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.vote import LOWEST
from dfmr_dask.likeness.pieces import Array

FEWEST_PIECES = 10  # among fewer, places tell nothing
REACH = 1.5  # in pieces: neighbors touch, corners included
FEWEST_NEIGHBORS = 4
BETTER_ELSEWHERE = 0.5  # share of other places that fit better than the usual neighbor does


def misplaced(scores: Array, positions: Array, ids: Sequence[int]) -> dict[int, str]:
    """Return which pieces fit better at other places than at their own, and why.

    Parameters
    ----------
    scores : ndarray of shape (m, m)
        Mean log density in nats of the rows of piece i under the fit of piece j.
    positions : ndarray of shape (m, n_dims)
        Centers of the pieces, in units of pieces.
    ids : sequence of int
        Numbers of the pieces.
    """
    m = len(positions)
    if m < FEWEST_PIECES:
        return {}
    unlike = strangeness(scores)
    near = neighbors(positions)
    found = {}
    for i in range(m):
        elsewhere = ~near[i]
        elsewhere[i] = False
        if not elsewhere.any() or not near[i].any():
            continue
        usual = np.median(unlike[i, near[i]])
        better = float(np.mean(unlike[i, elsewhere] < usual))
        if better > BETTER_ELSEWHERE:
            found[int(ids[i])] = (
                f"{better:.0%} of the pieces that lie elsewhere are more like it than its "
                f"{int(near[i].sum())} neighbors are"
            )
    return found


def strangeness(scores: Array) -> Array:
    """Return what pieces lose under each other's fits, both ways, (m, m), in nats a row."""
    heard = np.nan_to_num(scores, nan=LOWEST, posinf=LOWEST, neginf=LOWEST)
    loss = np.diagonal(heard)[:, None] - heard
    return np.asarray(loss + loss.T)


def neighbors(positions: Array) -> NDArray[np.bool_]:
    """Return who lies next to whom, (m, m): those that touch, and at least the four nearest."""
    gaps = abs(positions[:, None] - positions).max(axis=2)
    np.fill_diagonal(gaps, np.inf)
    few = min(FEWEST_NEIGHBORS, len(gaps) - 1)
    reach = np.maximum(REACH, np.partition(gaps, few - 1, axis=1)[:, few - 1])
    return np.asarray(gaps <= reach[:, None])
