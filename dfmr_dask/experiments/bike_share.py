"""Trips of a bike-share system: the operator's CSV files as a Zarr store with one chunk a month.

Citi Bike's files came in two layouts, one until January 2021 and one since; both are read, packed
(``.zip``, ``.csv.gz``) or not. Trips of a month may lie in several files, and a file may hold those
of several months. A simulated city, :mod:`dfmr_dask.experiments.bike_city`, writes files of the
same columns.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from dfmr_dask.data.stores import write_dataset
from dfmr_dask.errors import InvalidSource
from dfmr_dask.randomness import Stage, generator

FEATURES = ("longitude", "latitude")
UNITS = {"longitude": "degrees_east", "latitude": "degrees_north"}
METERS_PER_DEGREE = 111_195.0  # of latitude, on a sphere of the Earth's mean radius
BYTES = 16  # of a trip
ROWS_AT_A_TIME = 200_000  # of a file in memory
SHOWN = 8  # columns of a file that is of neither layout


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a file says when a trip began and where its ends are, (longitude, latitude).

    Names are compared without spaces, underscores and capitals, as they differ between years.
    """

    years: str
    time: str
    start: tuple[str, str]
    end: tuple[str, str]


LAYOUTS = (
    Layout(
        "until 2021",
        "Start Time",
        ("Start Station Longitude", "Start Station Latitude"),
        ("End Station Longitude", "End Station Latitude"),
    ),
    Layout("since 2021", "started_at", ("start_lng", "start_lat"), ("end_lng", "end_lat")),
)


def write_trips(
    path: Path,
    files: Iterable[str | os.PathLike[str]],
    *,
    where: Literal["start", "end"] = "end",
    blur: float = 100.0,
    least: int = 100,
    seed: int = 0,
) -> Path:
    """Write where trips start or end as a Zarr group, one chunk a month.

    Parameters
    ----------
    path : Path
        Of the new store: variables ``longitude`` and ``latitude`` in degrees along ``month`` and
        ``trip``. Months with fewer trips than the longest end in NaN.
    files : iterable of paths
        CSV files in any order.
    where : {"start", "end"}
        Which end of a trip is its place; the month is that of its start in either case.
    blur : float
        Standard deviation in meters of the noise that is added to each place. Bikes stand in a few
        dozen docks, each a single point, and a component that collapses on a point has no density.
        A dock stands for the streets around it: about half the way to the next one is a good size.
    least : int
        Months with fewer trips are left out: a file ends with some that go on into the next month.
    seed : int
        Of the noise.

    Returns
    -------
    Path

    Raises
    ------
    InvalidSource
        When there is no file, one cannot be read, is of neither layout or has no date that could
        be read, no month has enough trips, or something lies at ``path`` already.
    ValueError
        When ``where`` or ``blur`` is something else.

    Notes
    -----
    Trips that are left out are counted in the attributes ``undated_trips`` and ``stray_trips``;
    places that are no numbers become NaN. Places are not checked otherwise: a month that lies
    somewhere else is for the filter to find. In memory are some rows of a file, then a few months.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import xarray as xr
    >>> from dfmr_dask.experiments.bike_city import write_city
    >>> from dfmr_dask.experiments.bike_share import write_trips
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = write_city(Path(folder) / "files", months=15, trips=200)
    ...     store = write_trips(Path(folder) / "trips.zarr", files)
    ...     xr.open_zarr(store).longitude.sizes["month"]
    15
    """
    if where not in ("start", "end"):
        raise ValueError(f"where {where!r}; wanted 'start' or 'end'")
    if not 0.0 <= blur < np.inf:
        raise ValueError(f"blur {blur!r}; wanted meters, not negative")
    with tempfile.TemporaryDirectory() as folder:
        months, undated = _sorted_out(files, where, Path(folder))
        counts = {month: file.stat().st_size // BYTES for month, file in months.items()}
        full = {month: months[month] for month, n in counts.items() if n >= least}
        if not full:
            raise InvalidSource(f"no month has {least} trips; there are {sum(counts.values())}")
        dataset = _dataset(full, max(counts.values()), blur, seed)
        stray = sum(n for month, n in counts.items() if month not in full)
        dataset.attrs |= {"where": where, "blur_meters": float(blur)}
        dataset.attrs |= {"undated_trips": undated, "stray_trips": stray}
        write_dataset(path, dataset, dict.fromkeys(FEATURES, np.nan))
    return path


def layout_of(columns: Iterable[str]) -> tuple[Layout, dict[str, str]]:
    """Return the layout that columns follow, and what the file itself calls each of its names.

    Raises
    ------
    InvalidSource
        When they follow none; it names the columns that are missing.

    Examples
    --------
    >>> from dfmr_dask.experiments.bike_share import layout_of
    >>> layout, names = layout_of(["starttime", "start station longitude", "End Station Latitude",
    ...                            "Start Station Latitude", "end station longitude", "gender"])
    >>> layout.years, names["Start Time"]
    ('until 2021', 'starttime')
    """
    there = {_bare(name): name for name in columns}
    missing = []
    for layout in LAYOUTS:
        wanted = (layout.time, *layout.start, *layout.end)
        lacks = [name for name in wanted if _bare(name) not in there]
        if not lacks:
            return layout, {name: there[_bare(name)] for name in wanted}
        missing.append(f"{', '.join(lacks)} (the layout {layout.years})")
    shown = ", ".join(list(there.values())[:SHOWN]) + (", ..." if len(there) > SHOWN else "")
    raise InvalidSource(f"its columns are {shown}; it lacks {' or '.join(missing)}")


def _bare(name: str) -> str:
    return str(name).replace(" ", "").replace("_", "").lower()


def _sorted_out(
    files: Iterable[str | os.PathLike[str]], where: str, folder: Path
) -> tuple[dict[np.datetime64, Path], int]:
    """Write the places of each month into a file of its own, as they come; count the undated."""
    months: dict[np.datetime64, Path] = {}
    undated, given = 0, [Path(one).expanduser() for one in files]
    for file in given:
        dated = 0
        for month, places in _places(file, where):
            good = ~np.isnat(month)
            dated, undated = dated + int(good.sum()), undated + int((~good).sum())
            for one in np.unique(month[good]):
                with months.setdefault(one, folder / f"{one}.f8").open("ab") as out:
                    places[month == one].tofile(out)
        if not dated:
            raise InvalidSource(f"{file} holds no trip whose date can be read; leave it out")
    if not given:
        raise InvalidSource("no file of trips was given; name at least one CSV file")
    return dict(sorted(months.items())), undated


def _places(file: Path, where: str) -> Iterator[tuple[NDArray[np.datetime64], NDArray[np.float64]]]:
    """Yield the months and places (n, 2) of a file's trips, some rows at a time."""
    with _explained(file):
        layout, names = layout_of(pd.read_csv(file, nrows=0).columns)
        columns = [names[one] for one in (layout.time, *getattr(layout, where))]
        with pd.read_csv(file, usecols=columns, dtype=str, chunksize=ROWS_AT_A_TIME) as parts:
            for part in parts:
                time = pd.to_datetime(part[columns[0]], format="mixed", errors="coerce")
                numbers = [pd.to_numeric(part[one], errors="coerce") for one in columns[1:]]
                yield time.to_numpy("datetime64[M]"), np.stack(numbers, axis=1).astype(np.float64)


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    """Say which file cannot be read, and why."""
    try:
        yield
    except FileNotFoundError as error:
        raise InvalidSource(f"there is no {file}; name CSV files of trips") from error
    except (OSError, ValueError, EOFError) as error:  # pandas' errors are ValueErrors
        advice = "; unpack it, and name the files in it" if file.suffix == ".zip" else ""
        raise InvalidSource(f"{file} is no CSV file of trips: {error}{advice}") from error


def _dataset(months: Mapping[np.datetime64, Path], most: int, blur: float, seed: int) -> xr.Dataset:
    """Return the months as a lazy dataset, a block of so many trips each."""
    blocks = [
        da.from_delayed(delayed(_month)(file, most, blur, seed, i), (2, 1, most), np.float64)
        for i, file in enumerate(months.values())
    ]
    both = da.concatenate(blocks, axis=1)
    starts = np.array(list(months), dtype="datetime64[ns]")
    variables = {
        name: (("month", "trip"), both[i], {"units": UNITS[name]})
        for i, name in enumerate(FEATURES)
    }
    return xr.Dataset(variables, coords={"month": starts})


def _month(file: Path, most: int, blur: float, seed: int, i: int) -> NDArray[np.float64]:
    """Return the blurred places of a month, (2, 1, most), NaN at the end."""
    places = np.fromfile(file).reshape(-1, 2)
    noise = generator(seed, Stage.SIMULATE, i).normal(scale=blur, size=places.shape)
    shrinking = np.cos(np.radians(np.nanmedian(places[:, 1]))) if len(places) else 1.0
    noise /= METERS_PER_DEGREE * np.array([shrinking, 1.0])
    out = np.full((2, 1, most), np.nan)
    out[:, 0, : len(places)] = (places + noise).T
    return out
