"""Groups of pieces by likeness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from dfmr_dask.likeness.pieces import Array

MOST_GROUPS = 8  # that people care to read
LEVEL = 0.05  # chance that alike pieces fall apart


def groups(distances: Array, coordinates: int) -> NDArray[np.intp]:
    """Return the group of each piece, 0 for the largest; equal ones by their first piece.

    Average linkage of distances in standard errors, cut where sampling noise ends, or where eight
    groups are left.

    Parameters
    ----------
    distances : ndarray of shape (m, m)
        Root mean squares over the coordinates.
    coordinates : int

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.likeness.groups import groups
    >>> x = np.array([0.0, 90.0, 0.5, 91.0, 0.2])
    >>> groups(abs(x[:, None] - x), 1)
    array([0, 1, 0, 1, 0])
    """
    m = len(distances)
    if m < 2:
        return np.zeros(m, dtype=np.intp)
    tree = linkage(squareform(distances, checks=False), method="average")
    pairs = m * (m - 1) / 2
    noise = float(np.sqrt(stats.chi2.ppf(1.0 - LEVEL / pairs, coordinates) / coordinates))
    labels = fcluster(tree, noise, criterion="distance")
    if labels.max() > MOST_GROUPS:
        labels = fcluster(tree, MOST_GROUPS, criterion="maxclust")
    return _by_size(labels)


def _by_size(labels: NDArray[np.intp]) -> NDArray[np.intp]:
    """Number groups by size, then by who comes first."""
    _, first, inverse, counts = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -counts))
    number = np.empty(len(order), dtype=np.intp)
    number[order] = np.arange(len(order))
    return np.asarray(number[inverse])
