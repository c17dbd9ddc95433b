"""Optimal transport between two small discrete distributions: millions of K x K problems."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.jit import compiled

MASS_LEFT = 1e-13  # what rounding leaves of a total mass of 1
Array = NDArray[np.float64]
Links = NDArray[np.int64]


class Room(NamedTuple):
    """What a solver works on, made once for many problems of K rows and L columns.

    Attributes
    ----------
    supply, demand : ndarrays of shape (K,) and (L,)
        Masses that are left.
    high, low : ndarrays of shape (K,) and (L,)
        Potentials: cost - high - low is the reduced cost.
    to_row, to_column : ndarrays of shape (K,) and (L,)
        Lengths of the cheapest paths.
    from_column, from_row : ndarrays of shape (K,) and (L,)
        Where these come from; -1 where a path begins.
    done : ndarray of shape (L,)
    """

    supply: Array
    demand: Array
    high: Array
    low: Array
    to_row: Array
    to_column: Array
    from_column: Links
    from_row: Links
    done: Links


@compiled()
def transport_costs(rows: Array, columns: Array, costs: Array) -> Array:
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
    Each row, then each column gives up its least cost; mass moves where nothing is left to pay.
    Successive shortest augmenting paths move the rest: each round sends as much mass as fits along
    the cheapest path from a row with supply to a column with demand (Jonker & Volgenant, 1987, for
    the assignment).
    """
    out = np.empty(len(costs))
    room = _room(rows.shape[1], columns.shape[1])
    flow = np.empty(costs.shape[1:])
    for i in range(len(costs)):
        out[i] = _transport_cost(rows[i], columns[i], costs[i], flow, room)
    return out


@compiled()
def transport_table(rows: Array, columns: Array, costs: Array) -> Array:
    """Solve the problems of all pairs of masses (a, K) and (b, L), at costs (a, K, b, L): (a, b).

    See :func:`transport_costs`.
    """
    out = np.empty((len(rows), len(columns)))
    room = _room(rows.shape[1], columns.shape[1])
    flow = np.empty((rows.shape[1], columns.shape[1]))
    cost = np.empty(flow.shape)
    for i in range(len(rows)):
        for j in range(len(columns)):
            for k in range(len(cost)):
                for l in range(cost.shape[1]):  # noqa: E741
                    cost[k, l] = costs[i, k, j, l]
            out[i, j] = _transport_cost(rows[i], columns[j], cost, flow, room)
    return out


@compiled()
def _room(k: int, j: int) -> Room:
    return Room(
        np.empty(k), np.empty(j), np.empty(k), np.empty(j), np.empty(k), np.empty(j),
        np.empty(k, dtype=np.int64), np.empty(j, dtype=np.int64), np.empty(j, dtype=np.int64),
    )  # fmt: skip


@compiled()
def _transport_cost(rows: Array, columns: Array, cost: Array, flow: Array, room: Room) -> float:
    n_rows, n_columns = cost.shape
    for k in range(n_rows):  # an array in a slice's place would bring a text for its error along
        room.supply[k] = rows[k]
    for j in range(n_columns):
        room.demand[j] = columns[j]
    _move_what_is_free(cost, flow, room)
    for _ in range(64 * (n_rows + n_columns) ** 2):
        target = _cheapest_path(cost, flow, room)
        if target < 0:
            break
        mass, column = room.demand[target], target
        while True:  # back along the path, to the row that has supply
            row = room.from_row[column]
            column = room.from_column[row]
            if column < 0:
                break
            mass = min(mass, flow[row, column])
        mass, column = min(mass, room.supply[row]), target
        room.supply[row] -= mass
        room.demand[target] -= mass
        while column >= 0:
            row = room.from_row[column]
            flow[row, column] += mass
            column = room.from_column[row]
            if column >= 0:
                flow[row, column] -= mass
    total = 0.0
    for k in range(n_rows):
        for j in range(n_columns):
            total += flow[k, j] * cost[k, j]
    return total


@compiled()
def _move_what_is_free(cost: Array, flow: Array, room: Room) -> None:
    """Reduce costs by rows (``high``), then by columns (``low``); move mass where they are 0."""
    n_rows, n_columns = cost.shape
    for k in range(n_rows):
        room.high[k] = cost[k, 0]
        for j in range(1, n_columns):
            room.high[k] = min(room.high[k], cost[k, j])
    for j in range(n_columns):
        room.low[j] = cost[0, j] - room.high[0]
        for k in range(1, n_rows):
            room.low[j] = min(room.low[j], cost[k, j] - room.high[k])
    for k in range(n_rows):
        for j in range(n_columns):
            flow[k, j] = 0.0
            if cost[k, j] - room.high[k] <= room.low[j]:
                flow[k, j] = min(room.supply[k], room.demand[j])
                room.supply[k] -= flow[k, j]
                room.demand[j] -= flow[k, j]


@compiled()
def _cheapest_path(cost: Array, flow: Array, room: Room) -> int:
    """Find the column with demand that is reached most cheaply, by Dijkstra on reduced costs.

    Potentials are brought up to date, so that reduced costs stay at 0 where mass moves and above
    elsewhere. Returns -1 when nothing is left to move.
    """
    n_rows, n_columns = cost.shape
    for j in range(n_columns):
        room.to_column[j], room.done[j] = np.inf, 0
    for k in range(n_rows):
        room.from_column[k] = -1
        room.to_row[k] = 0.0 if room.supply[k] > MASS_LEFT else np.inf
        if room.supply[k] > MASS_LEFT:
            _look_around(k, cost, room)
    while True:
        best = _nearest(room)
        if best < 0:
            return -1
        room.done[best] = 1
        if room.demand[best] > MASS_LEFT:
            break
        for k in range(n_rows):
            if flow[k, best] > 0.0 and room.to_row[k] == np.inf:
                room.to_row[k], room.from_column[k] = room.to_column[best], best
                _look_around(k, cost, room)
    _update_potentials(best, room)
    return best


@compiled()
def _nearest(room: Room) -> int:
    """Return the nearest column that has been reached and is not done, or -1."""
    best, length = -1, np.inf
    for j in range(len(room.to_column)):
        if not room.done[j] and room.to_column[j] < length:
            best, length = j, room.to_column[j]
    return best


@compiled()
def _update_potentials(target: int, room: Room) -> None:
    length = room.to_column[target]
    for k in range(len(room.high)):
        if room.to_row[k] < np.inf:
            room.high[k] += length - room.to_row[k]
    for j in range(len(room.low)):
        if room.done[j]:
            room.low[j] += room.to_column[j] - length


@compiled()
def _look_around(row: int, cost: Array, room: Room) -> None:
    """Note which columns are reached more cheaply through a row."""
    begun, high = room.to_row[row], room.high[row]
    for j in range(cost.shape[1]):
        length = begun + max(cost[row, j] - high - room.low[j], 0.0)
        if length < room.to_column[j]:
            room.to_column[j] = length
            room.from_row[j] = row
