"""Pieces that fit better at other places than at their own (EVIDENCE 11, and own)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.vote import LOWEST
from dfmr_dask.likeness.pieces import Array

Mask = NDArray[np.bool_]
FEWEST_PIECES = 12  # among fewer, places tell nothing
NEIGHBORS = 8  # the nearest pieces that are trusted: half of them may be bad
SMALLEST_LOSS = 0.05  # nats a row: below, a fit explains rows as well as their own does
SMALLEST_SPREAD = 0.3  # of log losses
CORE = 0.55  # of the pieces, which agree with their neighbors best: trusted at first
LENIENCE = (1.0,) * 6
TOO_NARROW = 5.0  # robust standard deviations
TOO_STRANGE = 4.0  # of both together


@dataclass(frozen=True, slots=True, eq=False)
class Suspicion:
    """How much stands against each piece, in robust standard deviations of trusted pieces, (m,).

    Attributes
    ----------
    narrow : ndarray
        How little its fit explains of its neighbors' rows.
    strange : ndarray
        How little its neighbors' fits explain of its rows.
    elsewhere : ndarray
        How much better the fit of some piece elsewhere explains them.
    """

    narrow: Array
    strange: Array
    elsewhere: Array

    @property
    def total(self) -> Array:
        """All of it; above 1 a piece is suspect."""
        return np.maximum(self.narrow / TOO_NARROW, (self.strange + self.elsewhere) / TOO_STRANGE)

    def reason(self, i: int) -> str:
        """Say what stands against a piece."""
        if self.narrow[i] / TOO_NARROW >= self.total[i]:
            return (
                "its fit explains the rows of its neighbors worse than neighbors' fits do, by "
                f"{self.narrow[i]:.2g} robust standard deviations"
            )
        return (
            f"it fits better elsewhere ({self.elsewhere[i]:.2g} robust standard deviations) than "
            f"among its neighbors ({self.strange[i]:.2g})"
        )


def misplaced(scores: Array, positions: Array, ids: Sequence[int]) -> dict[int, str]:
    """Return which pieces fit better at other places than at their own, and why.

    Each piece is compared with the eight nearest that are trusted. At first these are the 55 % that
    are left when the strangest one is taken away again and again; then whoever is not suspect.

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
    losses = log_losses(scores)
    gaps = np.sqrt(((positions[:, None] - positions) ** 2).sum(axis=2))
    np.fill_diagonal(gaps, np.inf)
    trusted = _core(losses, gaps)
    for lenience in LENIENCE:
        found = suspicion(losses, gaps, trusted)
        fine = found.total <= lenience
        if 2 * fine.sum() <= m:
            fine[np.argsort(found.total, kind="stable")[: m // 2 + 1]] = True
        trusted = fine
    return {ids[i]: found.reason(i) for i in range(m) if found.total[i] > 1.0}


def log_losses(scores: Array) -> Array:
    """Return the log of what the rows of i lose under the fit of j against their own, (m, m)."""
    heard = np.nan_to_num(scores, nan=LOWEST, posinf=LOWEST, neginf=LOWEST)
    loss = np.maximum(np.diagonal(heard)[:, None] - heard, 0.0)
    return np.asarray(np.log(loss + SMALLEST_LOSS))


def suspicion(losses: Array, gaps: Array, trusted: Mask) -> Suspicion:
    """Compare every piece with the nearest trusted ones."""
    near = nearest(gaps, trusted)
    far = ~(gaps <= np.where(near, gaps, 0.0).max(axis=1)[:, None])
    np.fill_diagonal(far, False)
    here, into = (_usual(one, near) for one in (losses, losses.T))
    best = np.where(far, losses, np.inf).min(axis=1)
    better = here - np.where(np.isfinite(best), best, here)
    return Suspicion(*(standing(one, trusted) for one in (into, here, better)))


def nearest(gaps: Array, trusted: Mask) -> Mask:
    """Mark the nearest trusted pieces of each, (m, m); ties are all in."""
    open_gaps = np.where(trusted, gaps, np.inf)
    few = min(NEIGHBORS, int(trusted.sum()) - 1)
    reach = np.partition(open_gaps, few - 1, axis=1)[:, few - 1]
    return np.asarray((open_gaps <= reach[:, None] + 1e-9) & np.isfinite(open_gaps))


def standing(values: Array, trusted: Mask) -> Array:
    """Return values in robust standard deviations from the trusted ones' median."""
    middle = np.median(values[trusted])
    spread = 1.4826 * np.median(abs(values[trusted] - middle))
    return np.asarray((values - middle) / max(float(spread), SMALLEST_SPREAD))


def _usual(losses: Array, near: Mask) -> Array:
    return np.asarray(np.nanmedian(np.where(near, losses, np.nan), axis=1))


def _core(losses: Array, gaps: Array) -> Mask:
    """Take away the strangest piece, again and again."""
    left = np.ones(len(losses), dtype=bool)
    while left.sum() > CORE * len(losses):
        near = nearest(gaps, left)
        against = np.max([standing(_usual(one, near), left) for one in (losses, losses.T)], axis=0)
        left[np.argmax(np.where(left, against, -np.inf))] = False
    return left
