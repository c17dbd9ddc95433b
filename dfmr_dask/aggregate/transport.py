"""Optimal transport between two small discrete distributions: thousands of K x K problems."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.jit import compiled

MASS_LEFT = 1e-13  # what rounding leaves of a total mass of 1


@compiled()
def transport_costs(
    rows: NDArray[np.float64], columns: NDArray[np.float64], costs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Solve one transport problem for each leading index.

    Parameters
    ----------
    rows : ndarray of shape (m, K)
        Masses to be moved, each summing to 1.
    columns : ndarray of shape (m, L)
        Masses to be met, each summing to 1.
    costs : ndarray of shape (m, K, L)
        Finite and not negative.

    Returns
    -------
    ndarray of shape (m,)
        Least total costs.

    Notes
    -----
    Successive shortest augmenting paths with potentials: each round sends as much mass as fits
    along the cheapest path from a row with supply to a column with demand.
    """
    out = np.empty(len(costs))
    for i in range(len(costs)):
        out[i] = _transport_cost(rows[i], columns[i], costs[i])
    return out


@compiled()
def _transport_cost(
    rows: NDArray[np.float64], columns: NDArray[np.float64], cost: NDArray[np.float64]
) -> float:
    k, size = len(rows), len(rows) + len(columns)
    left = np.concatenate((rows, columns))
    flow = np.zeros(cost.shape)
    potential = np.zeros(size)
    for _ in range(64 * size * size):
        parent, distance, target = _cheapest_path(left, flow, cost, potential)
        if target < 0:
            break
        for node in range(size):
            potential[node] += min(distance[node], distance[target])
        mass, node = left[target], target
        while parent[node] >= 0:
            if node < k:  # the path came back along mass that moves already
                mass = min(mass, flow[node, parent[node] - k])
            node = parent[node]
        mass = min(mass, left[node])
        left[node] -= mass
        left[target] -= mass
        node = target
        while parent[node] >= 0:
            if node < k:
                flow[node, parent[node] - k] -= mass
            else:
                flow[parent[node], node - k] += mass
            node = parent[node]
    total: float = (flow * cost).sum()
    return total


@compiled()
def _cheapest_path(
    left: NDArray[np.float64],
    flow: NDArray[np.float64],
    cost: NDArray[np.float64],
    potential: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Dijkstra on reduced costs over rows (nodes 0..K-1) and columns (nodes K..)."""
    k, size = len(cost), len(left)
    distance = np.full(size, np.inf)
    parent = np.full(size, -1)
    done = np.zeros(size, dtype=np.bool_)
    for node in range(k):
        if left[node] > MASS_LEFT:
            distance[node] = 0.0
    while True:
        best = -1
        for node in range(size):
            reached = not done[node] and distance[node] < np.inf
            if reached and (best < 0 or distance[node] < distance[best]):
                best = node
        if best < 0 or (best >= k and left[best] > MASS_LEFT):
            return parent, distance, best
        done[best] = True
        for node in range(size):
            if done[node] or (node < k) == (best < k):
                continue
            if best < k:
                length = cost[best, node - k] + potential[best] - potential[node]
            elif flow[node, best - k] > 0.0:
                length = potential[best] - potential[node] - cost[node, best - k]
            else:
                continue
            through = distance[best] + max(length, 0.0)
            if through < distance[node]:
                distance[node] = through
                parent[node] = best
