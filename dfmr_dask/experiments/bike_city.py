"""A simulated city with a bike-share system, whose trips come in the operator's CSV files.

Its months are not alike, as those of a real city are not: docks open over the years, the river
draws people in summer and the university in term, and winters are quiet. One dock in front of the
railway station takes more bikes than any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dfmr_dask.randomness import Stage, generator

FIRST = np.datetime64("2020-01", "M")
NEW_COLUMNS = np.datetime64("2021-02", "M")
CENTER = (-3.0, 45.0)  # longitude and latitude: there is water only, so that it is nobody's city
SECONDS = 28 * 86_400  # of a month in which trips begin

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Quarter:
    """A part of the city.

    Attributes
    ----------
    name : str
    east, north : float
        Its middle, in kilometers from the center of the city.
    length, breadth : float
        Standard deviations in kilometers, along its axis and across.
    turn : float
        Of the axis against the east, in degrees.
    docks : int
    share : float
        Of all trips in a usual month.
    summer : float
        How many times as many trips end there in July as in January, but for the city's seasons.
    """

    name: str
    east: float
    north: float
    length: float
    breadth: float
    turn: float
    docks: int
    share: float
    summer: float = 1.0


QUARTERS = (
    Quarter("old town", 0.0, 0.0, 0.45, 0.30, 20.0, 18, 0.27),
    Quarter("riverside", 1.3, 0.2, 1.10, 0.10, 75.0, 16, 0.19, 2.5),
    Quarter("university", -1.4, 1.1, 0.35, 0.25, -30.0, 12, 0.17, 0.5),
    Quarter("station", -0.3, -1.3, 0.0, 0.0, 0.0, 1, 0.14, 0.9),
    Quarter("market", 0.5, -0.9, 0.25, 0.15, 40.0, 7, 0.12),
    Quarter("hillside", -1.5, -0.5, 0.80, 0.60, 60.0, 24, 0.11),
)


def write_city(folder: Path, *, months: int = 36, trips: int = 2000, seed: int = 0) -> list[Path]:
    """Write the trips of a simulated city, one CSV file a month.

    Parameters
    ----------
    folder : Path
    months : int
        From January 2020; files have the columns used until January 2021, then those used since.
    trips : int
        In a usual month; July has twice as many as January.
    seed : int

    Returns
    -------
    list of Path
        In order of the months.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from dfmr_dask.experiments.bike_city import write_city
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = write_city(Path(folder), months=2, trips=100)
    ...     print(files[0].name, files[0].read_text().split(",")[:2])
    202001-trips.csv ['Trip Duration', 'Start Time']
    """
    folder.mkdir(parents=True, exist_ok=True)
    docks = _docks(months, generator(seed, Stage.SIMULATE))
    files = []
    for i in range(months):
        month = FIRST + i
        table = _trips(docks, i, trips, generator(seed, Stage.SIMULATE, i + 1))
        files.append(folder / f"{str(month).replace('-', '')}-trips.csv")
        _columns(table, month).to_csv(files[-1], index=False)
    return files


@dataclass(frozen=True, slots=True, eq=False)
class Docks:
    """Where docks are (n, 2) in degrees, in which quarter, how popular, and since which month."""

    places: Array
    quarter: NDArray[np.intp]
    appeal: Array
    opened: NDArray[np.intp]


def _docks(months: int, rng: np.random.Generator) -> Docks:
    """Place the docks; a third of them opens in the course of the months."""
    quarter = np.repeat(np.arange(len(QUARTERS)), [one.docks for one in QUARTERS])
    along, across = rng.normal(size=(2, len(quarter)))
    table = {name: np.array([getattr(QUARTERS[q], name) for q in quarter])
             for name in ("east", "north", "length", "breadth", "turn")}  # fmt: skip
    turn = np.radians(table["turn"])
    u, v = along * table["length"], across * table["breadth"]
    east = table["east"] + u * np.cos(turn) - v * np.sin(turn)
    north = table["north"] + u * np.sin(turn) + v * np.cos(turn)
    opened = np.where(rng.random(len(quarter)) < 1 / 3, rng.integers(months, size=len(quarter)), 0)
    opened[np.unique(quarter, return_index=True)[1]] = 0  # each quarter has a dock from the start
    return Docks(_degrees(east, north), quarter, rng.gamma(2.0, size=len(quarter)), opened)


def _degrees(east: Array, north: Array) -> Array:
    """Turn kilometers from the center of the city into degrees, (n, 2)."""
    kilometers = 111.195
    wide = kilometers * np.cos(np.radians(CENTER[1]))
    return np.stack([CENTER[0] + east / wide, CENTER[1] + north / kilometers], axis=1)


def _trips(docks: Docks, i: int, trips: int, rng: np.random.Generator) -> dict[str, Any]:
    """Draw the trips of a month."""
    season = -np.cos(2 * np.pi * (i % 12 - 0.5) / 12)  # -1 in January, 1 in July
    n = int(rng.poisson(trips * 2.0 ** (0.5 * season)))
    ends = rng.choice(len(docks.quarter), size=(2, n), p=_shares(docks, i, season))
    began = (FIRST + i).astype("datetime64[s]") + np.sort(rng.integers(SECONDS, size=n))
    return {
        "began": began,
        "ended": began + (60 + rng.gamma(2.0, 350.0, n)).astype(np.int64),
        "start": docks.places[ends[0]],
        "end": docks.places[ends[1]],
        "start_dock": ends[0],
        "end_dock": ends[1],
        "member": rng.random(n) < 0.8,
    }


def _shares(docks: Docks, i: int, season: float) -> Array:
    """Return the share of trips that each dock gets in a month."""
    popular = np.where(docks.opened <= i, docks.appeal, 0.0)
    wanted = np.array([one.share * one.summer ** (0.5 * season) for one in QUARTERS])
    sums = np.bincount(docks.quarter, popular)
    shares = wanted[docks.quarter] * popular / sums[docks.quarter]
    return np.asarray(shares / shares.sum())


def _columns(table: dict[str, Any], month: np.datetime64) -> pd.DataFrame:
    """Return the trips in the columns that were used in a month."""
    return _old(table) if month < NEW_COLUMNS else _new(table)


def _old(table: dict[str, Any]) -> pd.DataFrame:
    seconds = (table["ended"] - table["began"]).astype(np.int64)
    columns = {"Trip Duration": seconds, "Start Time": table["began"], "Stop Time": table["ended"]}
    for end in ("start", "end"):
        word = f"{end.title()} Station"
        columns |= {
            f"{word} ID": table[f"{end}_dock"],
            f"{word} Name": _names(table[f"{end}_dock"]),
            f"{word} Latitude": table[end][:, 1],
            f"{word} Longitude": table[end][:, 0],
        }
    return pd.DataFrame({**columns, "User Type": _riders(table, ("Customer", "Subscriber"))})


def _new(table: dict[str, Any]) -> pd.DataFrame:
    columns = {
        "ride_id": [f"{i:016X}" for i in range(len(table["began"]))],
        "started_at": table["began"],
        "ended_at": table["ended"],
    }
    for end in ("start", "end"):
        columns[f"{end}_station_name"] = _names(table[f"{end}_dock"])
        columns[f"{end}_station_id"] = table[f"{end}_dock"]
    for end in ("start", "end"):
        columns |= {f"{end}_lat": table[end][:, 1], f"{end}_lng": table[end][:, 0]}
    return pd.DataFrame({**columns, "member_casual": _riders(table, ("casual", "member"))})


def _names(docks: NDArray[np.intp]) -> list[str]:
    return [f"Dock {i}" for i in docks]


def _riders(table: dict[str, Any], words: Sequence[str]) -> list[str]:
    return [words[int(one)] for one in table["member"]]
