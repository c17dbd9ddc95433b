"""A map of local estimates: points on a plane, as far from each other as they differ (own).

Coordinates are those of the filter, METHOD 12: each component's means, log covariances and weights
in units of standard errors, at the center, whose labels everybody takes over. Each usual partition
is as far from the center in them as the blocks' distances say. The plane is spanned by the two
directions in which most partitions differ most, and not by the few that lie furthest away: lengths
beyond the usual one count no more than it does, as in spherical principal components.

References
----------
Locantore et al., *Robust principal component analysis for functional data*, Test 8 (1999).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.alignment import aligned
from dfmr_dask.aggregate.distances import FEWEST_ROWS, blocks_at, component_rows
from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.aggregate.gates import rough_center
from dfmr_dask.mixture import Mixture

MOST_DIRECTING = 1000  # estimates that the directions are chosen from
FURTHEST = 1e12  # standard errors; what lies beyond is drawn there

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class EstimateMap:
    """Where local estimates lie on a plane.

    Attributes
    ----------
    partitions : ndarray of shape (m,)
        Their numbers.
    x, y : ndarrays of shape (m,)
        In units of the filter's distances; the center is at (0, 0).
    center : int
        The partition in the middle.
    radius : float
        Of the circle around it that holds more than half of the points.
    """

    partitions: NDArray[np.intp]
    x: Array
    y: Array
    center: int
    radius: float

    def plain(self) -> dict[str, Any]:
        """Return lists and numbers, of four digits."""
        return {
            "partition": self.partitions.tolist(),
            "x": [float(f"{value:.4g}") for value in self.x],
            "y": [float(f"{value:.4g}") for value in self.y],
            "center": self.center,
            "radius": float(f"{self.radius:.4g}"),
        }


def estimate_map(
    estimates: Estimates,
    center: int | None = None,
    *,
    weights: bool = True,
    before: Mapping[int, tuple[float, float]] | None = None,
) -> EstimateMap:
    """Lay local estimates out on a plane.

    Parameters
    ----------
    estimates : Estimates
        Of the usable messages, from :func:`~dfmr_dask.aggregate.estimates.collect`.
    center : int, optional
        The partition in the middle, as in a verdict; by default the one in the middle by CTD-KL.
    weights : bool
        Whether differences between weights are differences.
    before : mapping of partition to (x, y), optional
        An earlier map: the new one is turned, or mirrored, to look like it.

    Returns
    -------
    EstimateMap

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.aggregate.estimates import Estimates
    >>> from dfmr_dask.aggregate.map import estimate_map
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> means = np.array([0.0, 0.1, -0.1, 0.0, 5.0]).reshape(5, 1, 1)
    >>> params = {"means": means, "variances": np.ones((5, 1, 1))}
    >>> rows, weights = np.full(5, 100.0), np.ones((5, 1))
    >>> five = Estimates(DiagonalGaussian(), np.arange(5), weights, params, rows)
    >>> estimate_map(five, center=0).x.round(1)
    array([ 0. ,  0.5, -0.5,  0. , 25. ])
    """
    found = np.flatnonzero(estimates.ids == center)
    middle = int(found[0]) if len(found) else rough_center(estimates)
    reference = estimates.mixture(middle)
    offsets = _coordinates(aligned(estimates, reference), reference, weights)
    offsets -= offsets[middle].copy()
    plane = offsets @ _directions(offsets[_spread(len(estimates))]).T
    plane = plane @ (_upright(plane) if before is None else _turn(estimates.ids, plane, before))
    length = np.sort(np.hypot(plane[:, 0], plane[:, 1]))
    radius = float(length[len(length) // 2])
    return EstimateMap(estimates.ids, plane[:, 0], plane[:, 1], int(estimates.ids[middle]), radius)


def _spread(m: int) -> NDArray[np.intp]:
    """Choose positions from everywhere."""
    return np.unique(np.linspace(0, m - 1, min(m, MOST_DIRECTING)).astype(np.intp))


def _coordinates(near: Estimates, reference: Mixture, weights: bool) -> Array:
    """Return coordinates (m, q) whose squared distances are the mean of the blocks' ones.

    Rows are those of a usual partition. Components that are too thin to be tested are not drawn,
    unless all are.
    """
    m, order = near.weights.shape
    counts, partition = np.median(component_rows(near), axis=0), float(np.median(near.rows))
    tested = counts >= FEWEST_ROWS
    component = np.where(tested | ~tested.any(), counts, 0.0)
    parts = []
    for block in blocks_at(near, reference):
        rows = np.array([partition]) if block.shared else component
        each = rows / (2.0 * block.coordinates.shape[-1] * np.count_nonzero(rows))
        parts.append((block.coordinates * np.sqrt(each)[:, None]).reshape(m, -1))
    if weights and order > 1:
        parts.append(2.0 * np.sqrt(near.weights * partition / (2.0 * (order - 1))))
    values: Array = np.concatenate(parts, axis=1) / np.sqrt(len(parts))
    return np.clip(np.nan_to_num(values), -FURTHEST, FURTHEST)


def _directions(offsets: Array) -> Array:
    """Return two orthonormal directions (2, q) in which most of the offsets differ most."""
    lengths = np.linalg.norm(offsets, axis=1)
    usual = float(np.median(lengths)) or float(lengths.max()) or 1.0
    bounded = offsets / np.maximum(lengths, usual)[:, None]
    _, _, directions = np.linalg.svd(bounded, full_matrices=False)
    out = np.zeros((2, offsets.shape[1]))
    out[: min(2, len(directions))] = directions[:2]
    return out


def _upright(plane: Array) -> Array:
    """Return signs (2, 2) by which more lies on the positive side of each axis."""
    bounded = plane / np.maximum(np.hypot(*plane.T), _usual(plane))[:, None]
    return np.asarray(np.diag(np.where(bounded.sum(axis=0) < 0.0, -1.0, 1.0)))


def _turn(ids: NDArray[np.intp], plane: Array, before: Mapping[int, tuple[float, float]]) -> Array:
    """Return the rotation or reflection (2, 2) that takes points next to where they were before.

    Those that lie far away must not decide alone, so that lengths are bounded as above.
    """
    known = [i for i, partition in enumerate(ids) if int(partition) in before]
    if not known:
        return _upright(plane)
    here, there = plane[known], np.array([before[int(ids[i])] for i in known])
    sides = [one / np.maximum(np.hypot(*one.T), _usual(one))[:, None] for one in (here, there)]
    u, _, v = np.linalg.svd(sides[0].T @ sides[1])
    return np.asarray(u @ v)


def _usual(points: Array) -> float:
    return float(np.median(np.hypot(*points.T))) or 1.0
