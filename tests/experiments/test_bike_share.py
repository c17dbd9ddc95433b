"""Trips of both layouts become a store of one partition a month; what is no such file is told."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import dfmr_dask as dfmr
from dfmr_dask.errors import InvalidSource
from dfmr_dask.experiments.bike_city import FIRST, NEW_COLUMNS, write_city
from dfmr_dask.experiments.bike_share import METERS_PER_DEGREE, layout_of, write_trips

CHANGE = int((NEW_COLUMNS - FIRST).astype(int))  # the first month of the new layout


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_city(tmp_path_factory.mktemp("city"), months=CHANGE + 2, trips=240, seed=3)


def opened(path: Path) -> xr.Dataset:
    return xr.open_zarr(path).load()


def places(path: Path, longitude: str, latitude: str) -> np.ndarray:
    table = pd.read_csv(path)
    return table[[longitude, latitude]].to_numpy()


def known(month: xr.Dataset) -> np.ndarray:
    rows = np.stack([month.longitude.values, month.latitude.values], axis=1)
    return rows[np.isfinite(rows).all(axis=1)]


def test_every_month_is_a_chunk_and_a_partition(files: list[Path], tmp_path: Path) -> None:
    store = write_trips(tmp_path / "trips.zarr", reversed(files))
    source = dfmr.open_source(store, features=["longitude", "latitude"], plan="chunks")
    assert len(source.plan) == len(files)
    assert source.units == {"longitude": "degrees_east", "latitude": "degrees_north"}
    months = opened(store).month.values.astype("datetime64[M]")
    np.testing.assert_array_equal(months, FIRST + np.arange(len(files)))


@pytest.mark.parametrize("where", ["start", "end"])
def test_places_are_those_of_the_files_in_both_layouts(
    files: list[Path], tmp_path: Path, where: str
) -> None:
    store = write_trips(tmp_path / "trips.zarr", files, where=where, blur=0.0)  # type: ignore[arg-type]
    old = [f"{where.title()} Station {one}" for one in ("Longitude", "Latitude")]
    new = [f"{where}_lng", f"{where}_lat"]
    for i, columns in ((0, old), (CHANGE - 1, old), (CHANGE, new), (len(files) - 1, new)):
        found = known(opened(store).isel(month=i))
        np.testing.assert_array_equal(found, places(files[i], *columns))


def test_blur_is_in_meters_in_both_directions(files: list[Path], tmp_path: Path) -> None:
    exact = opened(write_trips(tmp_path / "exact.zarr", files, blur=0.0))
    blurred = opened(write_trips(tmp_path / "blurred.zarr", files, blur=100.0))
    again = opened(write_trips(tmp_path / "again.zarr", files, blur=100.0))
    xr.testing.assert_identical(blurred, again)
    east = (blurred.longitude - exact.longitude) * np.cos(np.radians(exact.latitude))
    north = blurred.latitude - exact.latitude
    for moved in (east, north):
        assert float(moved.std()) * METERS_PER_DEGREE == pytest.approx(100.0, rel=0.05)


def test_months_are_put_together_from_packed_files(files: list[Path], tmp_path: Path) -> None:
    table = pd.read_csv(files[0])
    table[:60].to_csv(tmp_path / "first.csv.gz", index=False)
    table[60:].to_csv(tmp_path / "rest.csv", index=False)
    with zipfile.ZipFile(tmp_path / "rest.zip", "w") as archive:
        archive.write(tmp_path / "rest.csv", "rest.csv")
    parts = [tmp_path / "first.csv.gz", tmp_path / "rest.zip"]
    found = opened(write_trips(tmp_path / "parts.zarr", parts, blur=0.0))
    whole = opened(write_trips(tmp_path / "whole.zarr", files[:1], blur=0.0))
    xr.testing.assert_identical(found, whole)


def test_bad_rows_are_left_out_or_nan_and_counted(files: list[Path], tmp_path: Path) -> None:
    table = pd.read_csv(files[0], dtype=str)
    table.loc[3, "Start Time"] = "yesterday"
    table.loc[4, "End Station Latitude"] = "north"
    table.loc[5, "End Station Longitude"] = None
    table.loc[6, "Start Time"] = "1970-01-01 00:00:00"  # a clock that was never set
    table.to_csv(tmp_path / "bad.csv", index=False)
    found = opened(write_trips(tmp_path / "bad.zarr", [tmp_path / "bad.csv"]))
    assert (found.attrs["undated_trips"], found.attrs["stray_trips"]) == (1, 1)
    assert found.sizes["month"] == 1 and found.sizes["trip"] == len(table) - 2
    assert len(known(found.isel(month=0))) == len(table) - 4


def test_other_spellings_of_the_columns_are_known() -> None:
    words = ["tripduration", "starttime", "start station latitude", "start station longitude"]
    layout, names = layout_of([*words, "end station latitude", "End_Station_Longitude"])
    assert layout.years == "until 2021"
    assert names["End Station Longitude"] == "End_Station_Longitude"


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "file.csv").write_text(text)
    return tmp_path / "file.csv"


HEADER = "started_at,start_lat,start_lng,end_lat,end_lng\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b,c\n1,2,3\n", "its columns are a, b, c; it lacks Start Time"),
        ("started_at,start_lat,start_lng,end_lat\n", r"end_lng \(the layout since 2021\)"),
        ("", "is no CSV file of trips"),
        (HEADER, "no trip whose date can be read"),
        (HEADER + "soon,45,-3,45,-3\n", "no trip whose date can be read"),
        (HEADER + "2024-01-05 10:00:00,45,-3,45,-3\n", "no month has 100 trips; there are 1"),
    ],
)
def test_what_is_no_file_of_trips_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InvalidSource, match=told):
        write_trips(tmp_path / "trips.zarr", [written(tmp_path, text)])
    assert not (tmp_path / "trips.zarr").exists()


def test_missing_and_wrong_arguments_are_told(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidSource, match="no file of trips was given"):
        write_trips(tmp_path / "trips.zarr", [])
    with pytest.raises(InvalidSource, match=r"there is no .*nothing\.csv"):
        write_trips(tmp_path / "trips.zarr", [tmp_path / "nothing.csv"])
    with pytest.raises(ValueError, match="'start' or 'end'"):
        write_trips(tmp_path / "trips.zarr", files, where="middle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="wanted meters"):
        write_trips(tmp_path / "trips.zarr", files, blur=-1.0)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.write(files[0], "one.csv")
        archive.write(files[1], "two.csv")
    with pytest.raises(InvalidSource, match="unpack it"):
        write_trips(tmp_path / "trips.zarr", [tmp_path / "two.zip"])


def test_the_city_has_seasons_and_grows(files: list[Path]) -> None:
    rows = [len(pd.read_csv(one)) for one in files]
    assert np.mean(rows[5:8]) > 1.5 * np.mean([rows[0], rows[11], rows[12]])
    first, last = (
        set(pd.read_csv(one).filter(regex="(?i)end.station.id").iloc[:, 0])
        for one in (files[0], files[-1])
    )
    assert last - first
