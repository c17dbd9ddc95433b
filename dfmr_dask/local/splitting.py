"""Groups of rows of many columns: the most spread one is cut in two, until there are enough.

Where columns are many and rows few, distances between rows are nearly all alike, and starts from
rows drawn at random lead to poor optima. What tells groups apart is the leading principal
component: a group of two kinds of rows has one that stands out of the noise.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Rows

SMALL = 600  # rows or columns up to which all principal components are computed
ITERATIONS, DIRECTIONS = 8, 6  # of the power method beyond
FEWEST = 4  # rows of a group that may be cut
OF_NOISE = 2.0 / np.pi  # of a normal variable's sum of squares, that a cut in the middle explains
TINY = 1e-300
Array = NDArray[Any]
Mask = NDArray[np.bool_]


class Cut(NamedTuple):
    """A group of rows and how it would be cut."""

    members: NDArray[np.intp]
    above: Mask
    gain: float  # of the sum of squares, by the best cut along the leading direction


def split(
    x: Rows, n_groups: int, rng: np.random.Generator, weight: NDArray[np.float64] | None = None
) -> NDArray[np.intp]:
    """Cut rows into groups, always the one whose cut explains most.

    Parameters
    ----------
    x : array of shape (n, q), finite
        Centered, 0 where an entry is missing.
    n_groups : int
    rng : Generator
        Draws the directions that the power method begins with.
    weight : array of shape (n,), optional
        How often each row counts.

    Returns
    -------
    ndarray of shape (n,)
        Number of each row's group.

    References
    ----------
    EVIDENCE 8; Boley (1998), Principal direction divisive partitioning.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.local.splitting import split
    >>> rng = np.random.default_rng(0)
    >>> middles = np.repeat([[0.0, 0.0], [9.0, 0.0], [0.0, 5.0]], 4, axis=0)
    >>> rows = np.repeat(middles, 50, axis=1) + rng.standard_normal((12, 100))
    >>> split(rows - rows.mean(axis=0), 3, rng).reshape(3, 4).std(axis=1)
    array([0., 0., 0.])
    """
    mass = np.ones(len(x)) if weight is None else weight
    cuts = [_cut(x, np.arange(len(x)), mass, rng)]
    while len(cuts) < n_groups:
        most = int(np.argmax([cut.gain for cut in cuts]))
        whole = cuts.pop(most)
        for half in (whole.members[whole.above], whole.members[~whole.above]):
            cuts.append(_cut(x, half, mass, rng))
    labels = np.empty(len(x), dtype=np.intp)
    for number, cut in enumerate(cuts):
        labels[cut.members] = number
    return labels


def _cut(x: Array, members: NDArray[np.intp], mass: Array, rng: np.random.Generator) -> Cut:
    """Cut a group along its leading principal component; noise alone explains that much, too."""
    n, d = len(members), x.shape[1]
    if n < FEWEST:
        return Cut(members, np.zeros(n, dtype=bool), -np.inf)
    m = mass[members]
    rows = x[members]
    rows -= ((m @ rows) / max(m.sum(), TINY)).astype(rows.dtype)
    above, gain = best_cut(rows @ leading_direction(rows, m, rng), m)
    variance = float(m @ np.einsum("ij,ij->i", rows, rows)) / (n * d)
    noise = (
        variance * (np.sqrt(n) + np.sqrt(d)) ** 2
    )  # of the leading component: its sum of squares
    return Cut(members, above, gain - OF_NOISE * noise)


def leading_direction(rows: Array, mass: Array, rng: np.random.Generator) -> Array:
    """Return the leading principal direction (q,) of centered rows (n, q)."""
    weighted = rows * np.sqrt(mass)[:, None].astype(rows.dtype)
    n, d = weighted.shape
    if n <= min(d, SMALL):
        vectors = np.linalg.eigh(weighted @ weighted.T)[1]
        direction = weighted.T @ vectors[:, -1]
    elif d <= SMALL:
        direction = np.linalg.eigh(weighted.T @ weighted)[1][:, -1]
    else:
        block = rng.standard_normal((d, DIRECTIONS)).astype(rows.dtype)
        for _ in range(ITERATIONS):
            block = np.linalg.qr(weighted.T @ (weighted @ block))[0]
        direction = block @ np.linalg.svd(weighted @ block, full_matrices=False)[2][0]
    return np.asarray(direction / max(float(np.linalg.norm(direction)), TINY))


def best_cut(scores: Array, mass: Array) -> tuple[Mask, float]:
    """Cut scores (n,) in two so that both halves are as compact as can be.

    Returns
    -------
    above : mask of shape (n,)
    gain : float
        What the cut takes off the sum of squares.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.local.splitting import best_cut
    >>> above, gain = best_cut(np.array([1.0, -1.0, 1.0]), np.ones(3))
    >>> above.tolist(), round(gain, 3)
    ([True, False, True], 2.667)
    """
    order = np.argsort(scores, kind="stable")
    values, m = scores[order].astype(np.float64), mass[order]
    left, sums = np.cumsum(m)[:-1], np.cumsum(m * values)
    whole, total = float(m.sum()), float(sums[-1])
    below, rest = np.maximum(left, TINY), np.maximum(whole - left, TINY)
    gains = sums[:-1] ** 2 / below + (total - sums[:-1]) ** 2 / rest - total**2 / max(whole, TINY)
    place = int(np.argmax(gains))
    above = np.zeros(len(scores), dtype=bool)
    above[order[place + 1 :]] = True
    return above, float(gains[place])
