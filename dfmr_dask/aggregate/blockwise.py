"""Tables of distances, made block by block so that temporary arrays stay small."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.estimates import Estimates

ELEMENTS = 1 << 21  # of a temporary array: 16 MiB
FEWEST_AT_ONCE = 16
Array = NDArray[np.float64]
Positions = Sequence[int] | NDArray[np.intp]
Index = slice | NDArray[np.intp]


def runs(estimates: Estimates, elements: int) -> Iterator[tuple[int, Estimates]]:
    """Cut estimates into runs whose temporaries of so many elements each stay small.

    Yields the position of the first estimate of each run, and the run.
    """
    step = max(1, ELEMENTS // max(elements, 1))
    for first in range(0, len(estimates), step):
        yield first, estimates.subset(slice(first, first + step))


def size_of(estimates: Estimates) -> int:
    """Return how many numbers the parameters of one estimate are."""
    return max(1, sum(int(array[0].size) for array in estimates.params.values()))


def in_blocks(
    m: int, to: Positions | None, block: Callable[[Index, Index], Array], elements: int
) -> Array:
    """Fill a symmetric table (m, m), or its columns ``to``, from blocks (rows, columns).

    Parameters
    ----------
    m : int
    to : positions, optional
    block : callable
        Returns the entries for all pairs of two lots of positions.
    elements : int
        Size of the block's temporary arrays for each pair.
    """
    if to is not None:
        some = np.asarray(to, dtype=np.intp)
        step = max(1, ELEMENTS // (elements * max(len(some), 1)))
        return np.concatenate([block(slice(i, i + step), some) for i in range(0, m, step)])
    out = np.empty((m, m))
    first = 0
    while first < m:  # the upper triangle, by rows
        step = min(ELEMENTS // (elements * (m - first)), max(FEWEST_AT_ONCE, -(-m // 8)))
        last = first + max(1, step)
        part = block(slice(first, last), slice(first, m))
        square = part[:, : len(part)]
        part[:, : len(part)] = 0.5 * (square + square.T)
        out[first:last, first:], out[first:, first:last] = part, part.T
        first = last
    return out


def squared_distances(points: Array, to: Positions | None = None) -> Array:
    """Squared Euclidean distances between points (m, q), as one matrix product, (m, m) or (m, c).

    Count coordinates from a center: far from 0, lengths lose the digits of small differences.
    """
    there = slice(None) if to is None else np.asarray(to, dtype=np.intp)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.einsum("ij,ij->i", points, points)
        out: Array = points @ points[there].T
        out *= -2.0
        out += lengths[:, None]
        out += lengths[there]
    out[np.isnan(out)] = np.inf
    return without_self(np.maximum(out, 0.0, out=out), to)


def without_self(distances: Array, to: Positions | None) -> Array:
    """Return the distances, with 0 where an estimate meets itself; the array is changed."""
    columns = np.arange(distances.shape[1])
    distances[columns if to is None else np.asarray(to, dtype=np.intp), columns] = 0.0
    return distances


def log_of_sums(terms: Array) -> Array:
    """Log of the sum over both inner indices of exp of terms (a, K, b, L), shape (a, b)."""
    top = terms.max(axis=(1, 3))
    shifted = np.exp(terms - top[:, None, :, None])
    return np.asarray(top + np.log(shifted.sum(axis=(1, 3))))
