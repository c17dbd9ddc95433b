"""What figures draw of the partitions of a run: arrays with one entry each, from a snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.run.events import STATES

MOST_SHOWN = 10_000  # partitions that are drawn one by one; of more, neighbors share a mark
NEAR = 2.0  # radii within which the map is true to scale
FARTHEST = 10.0  # times the largest finite distance: where infinite ones are drawn
USUAL = 6.0  # quartile ranges beyond the quartiles within which log-likelihoods are drawn
# What neighbors that share a mark show: the first of these that one of them is.
TELLING = ("failed", "dropped", "fitting", "fitted", "kept", "waiting", "empty")

Snapshot = Mapping[str, Any]
Numbers = NDArray[np.float64]
Columns = dict[str, NDArray[Any] | list[str]]


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """What the figures of a run draw.

    Attributes
    ----------
    columns : dict
        One entry a mark: ``name``, ``state``, ``rows``, ``seconds``, ``log_likelihood``,
        ``place``, ``reason``, ``partition`` (its number), ``x`` and ``y`` (on the map, see
        :func:`drawn_nearer`), ``distance``, ``rank`` by distance, and ``height``, ``level``: where
        the distance and the log-likelihood are drawn. NaN where nothing is known.
    counts : dict of states to int
        Of all partitions.
    together : int
        How many neighbors share a mark.
    gate : str
        Whose distances these are.
    cutoff : float
        Largest distance that passes; NaN before there is a filter.
    radius : float
        Of the ball on the map; NaN before there is a map.
    center : tuple of float
        Where its middle is on the map.
    farthest : float
        Largest distance from the middle, before it is drawn nearer.
    """

    columns: Columns
    counts: dict[str, int]
    together: int = 1
    gate: str = ""
    cutoff: float = float("nan")
    radius: float = float("nan")
    center: tuple[float, float] = (float("nan"), float("nan"))
    farthest: float = 0.0


def drawing(snapshot: Snapshot, gate: str | None = None, most: int = MOST_SHOWN) -> Drawing:
    """Arrange what is known of a run for figures; the cost is that of a few sorts.

    Parameters
    ----------
    snapshot : mapping
        From :meth:`~dfmr_dask.show.state.RunState.snapshot`.
    gate : str, optional
        Whose distances to show; default: those of the gate that drops most.
    most : int
        Marks at most.

    Examples
    --------
    >>> from dfmr_dask.run.events import Arrival, Event
    >>> from dfmr_dask.show.partition_columns import drawing
    >>> from dfmr_dask.show.state import RunState
    >>> state = RunState()
    >>> state.take(Event("run", 0, 3, facts={"partitions": 3}))
    >>> state.take(Event("fit", 1, 3, arrivals=(Arrival(1, "fitted", 100),)))
    >>> drawing(state.snapshot()).columns["state"]
    ['waiting', 'fitted', 'waiting']
    """
    states = fates(snapshot)
    n = len(states)
    filtered = snapshot["verdict"] or snapshot["provisional"] or {}
    test = chosen_gate(filtered.get("distances") or (), gate)
    distance = _spread(test, "distance", n)
    places = filtered.get("map") or {}
    x, y = (_spread(places, axis, n) for axis in ("x", "y"))
    center = _middle(places, x, y)
    radius = _number(places.get("radius"))
    near_x, near_y, farthest = drawn_nearer(x, y, center, radius)
    numbers = {"distance": distance, "x": near_x, "y": near_y}
    numbers |= {
        name: _numbers(snapshot["partitions"][name], n)
        for name in ("rows", "seconds", "log_likelihood")
    }
    pick, together = _chosen(states, distance, most)
    columns: Columns = {name: values[pick] for name, values in numbers.items()}
    columns |= _texts(snapshot, pick, together, states)
    columns |= _heights(columns["distance"], columns["log_likelihood"])
    columns["partition"] = pick.astype(np.float64)
    counts = dict(zip(STATES, np.bincount(states, minlength=len(STATES)).tolist(), strict=True))
    cutoff, name = _number(test.get("cutoff")), str(test.get("gate", ""))
    return Drawing(columns, counts, together, name, cutoff, radius, center, farthest)


def fates(snapshot: Snapshot) -> NDArray[np.intp]:
    """Return a code a partition, its place in ``STATES``: what the filter says so far included."""
    codes = {
        int(code): STATES.index(name) for code, name in snapshot["partitions"]["codes"].items()
    }
    table = np.zeros(max(codes, default=0) + 1, dtype=np.intp)
    table[list(codes)] = list(codes.values())
    states = table[np.asarray(snapshot["partitions"]["state"], dtype=np.intp)]
    provisional = snapshot["provisional"]
    if snapshot["verdict"] is None and provisional is not None:
        for fate in ("kept", "dropped"):
            ids = np.array([int(i) for i in provisional[fate]], dtype=np.intp)
            ids = ids[(ids >= 0) & (ids < len(states))]
            ids = ids[states[ids] == STATES.index("fitted")]
            states[ids] = STATES.index(fate)
    return states


def chosen_gate(tests: Sequence[Mapping[str, Any]], name: str | None = None) -> Mapping[str, Any]:
    """Return the gate of a name, else the one that drops most; an empty mapping of none."""
    named = [test for test in tests if test["gate"] == name]
    return (named or sorted(tests, key=_crossed, reverse=True) or [{}])[0]


def drawn_nearer(
    x: Numbers, y: Numbers, center: tuple[float, float], radius: float
) -> tuple[Numbers, Numbers, float]:
    """Move far points toward the center: beyond ``NEAR`` radii, distances are logarithmic.

    Liars may lie thousands of radii away, and honest partitions would be one dot beside them.
    Directions, and who is nearer than whom, stay as they were.

    Returns
    -------
    x, y : ndarrays
        Relative to the center.
    farthest : float
        Largest distance as it was.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.show.partition_columns import drawn_nearer
    >>> x, y, farthest = drawn_nearer(np.array([3.0, 2003.0]), np.zeros(2), (1.0, 0.0), 1.0)
    >>> x.round(1).tolist(), farthest
    ([2.0, 6.0], 2002.0)
    """
    if not np.isfinite(radius):
        return np.full_like(x, np.nan), np.full_like(y, np.nan), 0.0
    x, y = x - center[0], y - center[1]
    reach = np.hypot(x, y)
    reach[~np.isfinite(reach)] = np.nan
    farthest = float(np.nanmax(reach, initial=0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(reach > 0.0, nearer(reach, radius, farthest) / reach, 1.0)
    return x * scale, y * scale, farthest


def nearer(reach: Any, radius: float, farthest: float) -> Any:
    """Return where a distance from the center is drawn, when the largest is ``farthest``.

    What is within ``NEAR`` radii fills at least a third of the picture's radius.
    """
    edge = NEAR * radius
    if edge <= 0.0:  # all agree to the bit: nothing sets a scale
        return np.asarray(reach, dtype=np.float64)
    slope = min(1.0, 2.0 / np.log(max(farthest, 1.1 * edge) / edge))
    return np.where(
        reach > edge, edge * (1.0 + slope * np.log(np.maximum(reach, edge) / edge)), reach
    )


def grid_places(n: int, wide: float) -> tuple[Numbers, Numbers]:
    """Lay n square cells in rows that fill a rectangle ``wide`` times as wide as it is high.

    Examples
    --------
    >>> from dfmr_dask.show.partition_columns import grid_places
    >>> column, row = grid_places(5, 1.5)
    >>> column.tolist(), row.tolist()
    ([0.0, 1.0, 2.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0, 1.0])
    """
    columns = int(np.clip(np.ceil(np.sqrt(n * wide)), 1, max(n, 1)))
    index = np.arange(n, dtype=np.float64)
    return index % columns, index // columns


def _chosen(states: NDArray[np.intp], distance: Numbers, most: int) -> tuple[NDArray[Any], int]:
    """Choose whom each mark is about: of neighbors that share one, the most telling."""
    n = len(states)
    together = -(-n // most)
    if together <= 1:
        return np.arange(n), 1
    order = np.array([TELLING.index(state) for state in STATES])[states]
    group = np.arange(n) // together
    first = np.lexsort((-np.nan_to_num(distance, nan=-1.0), order, group))
    return first[np.unique(group[first], return_index=True)[1]], together


def _texts(
    snapshot: Snapshot, pick: NDArray[Any], together: int, states: NDArray[np.intp]
) -> Columns:
    """Return names, states, places and reasons of the chosen."""
    told = snapshot["partitions"]
    reasons, places = _reasons(snapshot), told["location"]
    ids = pick.tolist()
    names = [str(i) for i in ids]
    if together > 1:
        last = len(states) - 1
        ranges = ((k * together, min((k + 1) * together - 1, last)) for k in range(len(ids)))
        names = [f"{i}, for {a} to {b}" for i, (a, b) in zip(ids, ranges, strict=True)]
    return {
        "name": names,
        "state": [STATES[state] for state in states[pick]],
        "place": [str(places[i]) if i < len(places) else "" for i in ids],
        "reason": [reasons.get(i, "") for i in ids],
    }


def _reasons(snapshot: Snapshot) -> dict[int, str]:
    """Return why partitions failed, were dropped, or would be."""
    provisional = snapshot["provisional"] if snapshot["verdict"] is None else snapshot["verdict"]
    told = {} if provisional is None else provisional["dropped"]
    known = {int(i): str(reason) for i, reason in told.items()}
    return known | {int(i): str(why) for i, why in snapshot["partitions"]["reason"].items()}


def _heights(distance: Any, likelihood: Any) -> Columns:
    """Return ranks by distance, and where distances and log-likelihoods are drawn."""
    known = np.flatnonzero(~np.isnan(distance))
    rank = np.full(len(distance), np.nan)
    rank[known[np.argsort(distance[known], kind="stable")]] = np.arange(1, len(known) + 1)
    positive = distance[np.isfinite(distance) & (distance > 0.0)]
    low, high = (positive.min(), positive.max()) if len(positive) else (1.0, 1.0)
    height = np.clip(distance, low / 2.0, FARTHEST * high)  # the axis is logarithmic
    level = likelihood
    if np.isfinite(likelihood).any():
        low, high = np.nanquantile(likelihood, (0.25, 0.75))
        room = USUAL * max(high - low, 1e-3 * max(abs(low), abs(high), 1e-3))
        level = np.clip(likelihood, low - room, high + room)
    return {"rank": rank, "height": height, "level": level}


def _spread(told: Mapping[str, Any], name: str, n: int) -> Numbers:
    """Give every partition its place; a distance that is null is infinite."""
    out = np.full(n, np.nan)
    ids = np.array(told.get("partition") or (), dtype=np.intp)
    values = _numbers(told.get(name) or (), len(ids))
    there = (ids >= 0) & (ids < n)
    values[np.isnan(values)] = np.inf
    out[ids[there]] = values[there]
    return out


def _numbers(values: Sequence[Any], n: int) -> Numbers:
    """Return numbers as an array of n, NaN for null and for what is missing."""
    out = np.full(n, np.nan)
    given = np.array(values[:n], dtype=np.float64)  # None becomes NaN
    out[: len(given)] = given
    return out


def _middle(places: Mapping[str, Any], x: Numbers, y: Numbers) -> tuple[float, float]:
    center = places.get("center")
    if not isinstance(center, int) or not 0 <= center < len(x):
        return 0.0, 0.0  # where maps have their center
    return float(x[center]), float(y[center])


def _crossed(test: Mapping[str, Any]) -> int:
    """Count who a gate drops; a distance that is null is infinite."""
    cutoff = _number(test["cutoff"])
    values = _numbers(test["distance"], len(test["distance"]))
    return int(np.count_nonzero(~(values <= cutoff)))


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
