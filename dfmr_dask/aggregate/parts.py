"""What a mixture was merged from, and the same merge without one partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.aggregate.reduction import Reduction
from dfmr_dask.families.base import OBSERVED, Family, Params, Statistics, take

MOST_GROUPS = 1000  # partitions beyond that are left out in groups, so that all stays in memory
LEAST = 1e-9  # share of a component's mass below which nothing is left of it
Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What a mixture was merged from: which components of which messages, as what.

    Attributes
    ----------
    ids : ndarray of shape (m,)
        Numbers of the partitions that were merged.
    rows : ndarray of shape (m,)
        Their trusted row counts.
    order : ndarray of shape (m, K)
        Which component of a message stands where, after the alignment.
    voices, heard : masks of shape (m, K)
        Whose weights, and whose other parameters, took part.
    nearest : ndarray of shape (m, K)
        Component of the mixture that each became part of; -1 where it was left out.
    entries : mask of shape (m, d), optional
        Which features of each message took part, where single ones were judged.
    """

    ids: NDArray[np.intp]
    rows: Array
    order: NDArray[np.intp]
    voices: Mask
    heard: Mask
    nearest: NDArray[np.intp]
    entries: Mask | None = None


def parts_of(
    estimates: Estimates,
    order: NDArray[np.intp],
    reduction: Reduction,
    voices: Mask | None = None,
) -> Parts:
    """Return what a mixture was merged from, its components in the canonical order.

    Parameters
    ----------
    estimates : Estimates
        Aligned, those that were merged.
    order : ndarray of shape (m, K)
        Which component of each message stands where in them.
    reduction : Reduction
        Of their components.
    voices : mask of shape (m, K), optional
        Whose weights took part; everybody's by default.
    """
    became = reduction.nearest.reshape(order.shape)
    heard, rank = became >= 0, np.argsort(reduction.mixture.canonical_order())
    nearest = np.where(heard, rank[became], -1)
    some = np.ones(order.shape, dtype=bool) if voices is None else voices
    return Parts(estimates.ids, estimates.rows, order, some, heard, nearest)


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """What each partition (or group of them) brings to each component of the merged mixture.

    A pair is a component of the aligned estimates with the component of the mixture that it
    became part of; most often these are the same one.
    """

    family: Family
    rows: Array  # (m,)
    votes: Array  # (m, K): rows times weights, of those whose weights take part
    voters: Array  # (m, K): their rows
    source: NDArray[np.intp]  # of each pair
    target: NDArray[np.intp]
    own: tuple[Statistics, ...]  # of each pair, m groups
    total: tuple[Statistics, ...]  # of each pair, one group
    mass: Array  # (m, pairs)

    @classmethod
    def of(cls, family: Family, weights: Array, params: Params, parts: Parts) -> Pieces:
        """Sum up aligned estimates; beyond :data:`MOST_GROUPS` of them in groups."""
        groups = _groups(len(weights))
        rows = parts.rows[:, None]
        voters = np.where(parts.voices, rows, 0.0)
        pairs = np.unique(
            np.stack([np.nonzero(parts.heard)[1], parts.nearest[parts.heard]]), axis=1
        )
        own = []
        for k, c in pairs.T:
            here = parts.heard[:, k] & (parts.nearest[:, k] == c)
            mass = np.where(here, parts.rows * weights[:, k], 0.0)
            one = family.expected_statistics(take(params, (slice(None), k)), mass)
            one = one if parts.entries is None else _observed(one, parts.entries)
            own.append(one if groups is None else family.pool(one, groups))
        kept = [parts.rows[:, None], voters * weights, voters]
        summed = kept if groups is None else [groups @ one for one in kept]
        return cls(
            family,
            summed[0][:, 0],
            summed[1],
            summed[2],
            pairs[0],
            pairs[1],
            tuple(own),
            tuple(family.pool(one, np.ones((1, len(one.count)))) for one in own),
            np.stack([one.count for one in own], axis=1),
        )

    def mixture(self, without: int | None = None) -> tuple[Array, Params]:
        """Merge all partitions, or all but one, as the reduction merged them."""
        j, total = without or 0, self.mass.sum(axis=0)
        gone = np.zeros_like(total) if without is None else self.mass[j]
        into = self.target == np.arange(self.target.max() + 1)[:, None]
        gone = np.where(self._lone(total, gone), 0.0, gone)  # nobody else stands for it
        left = _summed(self.source, total - gone)
        scale = np.divide(self._weights(without), left, out=np.zeros_like(left), where=left > 0.0)
        taken = np.divide(gone, self.mass[j], out=np.zeros_like(gone), where=gone > 0.0)
        times = np.concatenate([np.ones_like(total), -taken]) * np.tile(scale[self.source], 2)
        statistics = _together([*self.total, *(_one(own, j) for own in self.own)])
        pooled = self.family.pool(statistics, np.tile(into, 2) * times)
        return pooled.count / pooled.count.sum(), self.family.from_statistics(pooled)

    def alone(self) -> tuple[int, ...]:
        """Return components of the mixture that one partition (or group) alone stands for."""
        total = self.mass.sum(axis=0)
        lone = np.any([self._lone(total, own) for own in self.mass], axis=0)
        return tuple(int(c) for c in np.unique(self.target[lone]))

    def _lone(self, total: Array, gone: Array) -> Mask:
        """Tell which pairs go into components of which nothing is left (pairs,)."""
        left = _summed(self.target, total - gone)
        return np.asarray((left <= LEAST * _summed(self.target, total))[self.target])

    def _weights(self, without: int | None) -> Array:
        """Return the weights (K,) of the aligned estimates' components, over who has a say."""
        votes, voters = self.votes.sum(axis=0), self.voters.sum(axis=0)
        share = votes / voters
        if without is not None:
            left = voters - self.voters[without]
            some = left > LEAST * voters
            share = np.divide(votes - self.votes[without], left, out=share, where=some)
        return np.asarray(share / share.sum())


def _observed(statistics: Statistics, entries: Mask) -> Statistics:
    """Leave out features that were thrown out, as if nobody had observed them."""
    there = statistics.moments[OBSERVED] * entries
    return Statistics(statistics.count, {**statistics.moments, OBSERVED: there})


def _summed(index: NDArray[np.intp], values: Array) -> Array:
    return np.asarray(np.bincount(index, weights=values), dtype=np.float64)


def _one(statistics: Statistics, i: int) -> Statistics:
    index = slice(i, i + 1)
    return Statistics(statistics.count[index], take(statistics.moments, index))


def _together(many: Sequence[Statistics]) -> Statistics:
    moments = {
        name: np.concatenate([one.moments[name] for one in many]) for name in many[0].moments
    }
    return Statistics(np.concatenate([one.count for one in many]), moments)


def _groups(m: int) -> Array | None:
    """Return who is left out together (groups, m); None when everybody is left out alone."""
    if m <= MOST_GROUPS:
        return None
    return np.asarray(np.arange(MOST_GROUPS)[:, None] == np.arange(m) % MOST_GROUPS, dtype=float)
