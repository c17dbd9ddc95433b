"""Distances between all pairs of estimates, or of some of them, in the order of their verdict."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.alignment import aligned
from dfmr_dask.aggregate.distances import (
    blocks_at,
    ctd,
    studentized_block,
    studentized_weights,
)
from dfmr_dask.aggregate.estimates import Estimates

MOST, FEWEST = 200, 12  # estimates that are compared
VALUES = 20_000_000  # numbers of coordinates, which are held at once
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class DistanceMatrix:
    """Distances between pairs of estimates, the one in the middle first.

    Attributes
    ----------
    ids : ndarray of shape (m,)
        Numbers of the partitions, by their distance from the first one.
    distances : ndarray of shape (m, m)
    unit : str
        ``"standard errors"``, where about 1 is usual, or ``"CTD-KL"``.
    left_out : int
        Estimates that are not among them, since they were too many.
    """

    ids: NDArray[np.intp]
    distances: Array
    unit: str
    left_out: int = 0


def distance_matrix(
    estimates: Estimates, center: int, dropped: Collection[int] = (), most: int = MOST
) -> DistanceMatrix:
    """Return the distances between estimates, as the filter sees them, ordered from a center.

    Parameters
    ----------
    estimates : Estimates
    center : int
        Number of the partition in the middle.
    dropped : collection of int
        Partitions that are shown rather than others where all would be too many.
    most : int
        How many at most; fewer of estimates that are very large.

    Returns
    -------
    DistanceMatrix

    References
    ----------
    METHOD 12: the root of the mean square over the blocks of coordinates, aligned to the center.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.aggregate.estimates import Estimates
    >>> from dfmr_dask.aggregate.matrix import distance_matrix
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> params = {"means": np.array([[[0.0]], [[5.0]], [[0.1]]]), "variances": np.ones((3, 1, 1))}
    >>> rows, weights = np.full(3, 200.0), np.ones((3, 1))
    >>> said = Estimates(DiagonalGaussian(), np.arange(3), weights, params, rows)
    >>> found = distance_matrix(said, center=0)
    >>> found.ids, found.distances.round(1)[0]
    (array([0, 2, 1]), array([ 0. ,  0.7, 35.4]))
    """
    here = _chosen(estimates, center, frozenset(dropped), most)
    some = estimates.subset(here)
    first = int(np.flatnonzero(some.ids == center)[0])
    distances, unit = _distances(some, first)
    order = np.argsort(distances[first], kind="stable")
    order = np.concatenate([[first], order[order != first]]).astype(np.intp)
    return DistanceMatrix(
        some.ids[order], distances[np.ix_(order, order)], unit, len(estimates) - len(some)
    )


def _distances(estimates: Estimates, center: int) -> tuple[Array, str]:
    middle = estimates.mixture(center)
    if not callable(getattr(estimates.family, "blocks", None)):
        return ctd(estimates), "CTD-KL"
    near = aligned(estimates, middle)
    squares = [studentized_block(block, near) ** 2 for block in blocks_at(near, middle)]
    if near.weights.shape[1] > 1:
        squares.append(studentized_weights(near) ** 2)
    found = np.sqrt(np.mean(squares, axis=0))
    if not np.isfinite(found[~np.eye(len(found), dtype=bool)]).any():  # no component is tested
        return ctd(estimates), "CTD-KL"
    return np.asarray(found), "standard errors"


def _chosen(
    estimates: Estimates, center: int, dropped: frozenset[int], most: int
) -> NDArray[np.intp]:
    """Choose positions evenly, those of the dropped first; up to half of them, if need be."""
    size = sum(array[0].size for array in estimates.params.values())
    most = min(most, max(FEWEST, VALUES // max(size, 1)))
    bad = np.isin(estimates.ids, list(dropped))
    middle = estimates.ids == center
    if len(estimates) <= most:
        return np.arange(len(estimates))
    others = np.flatnonzero(~bad & ~middle)
    shown = _some(np.flatnonzero(bad & ~middle), max(most // 2, most - 1 - len(others)))
    rest = _some(others, most - 1 - len(shown))
    return np.sort(np.concatenate([np.flatnonzero(middle), shown, rest])).astype(np.intp)


def _some(positions: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Take some of many, evenly."""
    if len(positions) <= most:
        return positions
    return positions[np.linspace(0, len(positions) - 1, most).round().astype(np.intp)]
