"""Zarr stores that we write are whole, checked, and carry every chunk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from dfmr_dask.data.source import open_source
from dfmr_dask.data.stores import LastingStore, write_dataset
from dfmr_dask.errors import InvalidSource, SourceChanged, UnreadableChunk
from dfmr_dask.experiments.populations import population, write_gaussians, write_photographs


def test_a_dataset_appears_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: xr.Dataset, path: Path, **_: object) -> None:
        path.mkdir()
        (path / "half").write_text("")
        raise OSError("no space left on device")

    write_dataset(tmp_path / "a.zarr", xr.Dataset({"a": ("x", [1])}))
    with pytest.raises(InvalidSource, match="is there already"):
        write_dataset(tmp_path / "a.zarr", xr.Dataset({"a": ("x", [2])}))
    monkeypatch.setattr(xr.Dataset, "to_zarr", broken)
    with pytest.raises(OSError, match="no space"):
        write_dataset(tmp_path / "b.zarr", xr.Dataset({"a": ("x", [2])}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr"]
    assert xr.open_zarr(tmp_path / "a.zarr")["a"].values.tolist() == [1]


def test_chunks_of_nothing_but_the_fill_value_are_written_and_flipped_bits_are_found(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.zarr"
    dataset = xr.Dataset({"label": ("x", np.full(100, -1, dtype=np.int16))}).chunk(x=25)
    write_dataset(path, dataset, fill_values={"label": -1})
    chunks = sorted((path / "label" / "c").iterdir())
    assert len(chunks) == 4
    damaged = bytearray(chunks[2].read_bytes())
    damaged[5] ^= 0x01
    chunks[2].write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match=r"(?i)checksum"):
        xr.open_zarr(path, consolidated=False)["label"].load()


def _written_by_us(folder: Path) -> Iterator[tuple[Path, str | None]]:
    truth = population(2, 2, separation=4.0, seed=1)
    yield write_gaussians(folder / "rows.zarr", truth, 60, chunk_rows=20), None
    photographs = write_photographs(folder / "colors.zarr", chunk_rows=2000, stride=8)
    yield photographs, "rows"
    yield photographs, "photograph"
    grid = xr.Dataset(
        {"temp": (("time", "lat"), np.zeros((4, 6)))},
        coords={"time": np.arange(4.0), "lat": ("lat", list("abcdef"))},
    )
    write_dataset(folder / "grid.zarr", grid.chunk(time=2))
    yield folder / "grid.zarr", None


def _read(path: Path, group: str | None) -> list[bytes]:
    source = open_source(path, group=group, features="channel" if group else None)
    labels = str(source.as_dataarray().coords).encode()
    return [labels, *(source.rows(i)().tobytes() for i in range(len(source.plan)))]


def test_one_flipped_bit_in_any_file_of_a_chunk_is_noticed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flipped = 0
    for path, group in _written_by_us(tmp_path):
        place = path / group if group else path
        _read(path, group)
        for file in sorted(place.rglob("*")):
            if not file.is_file() or file.name == "zarr.json":
                continue
            whole = file.read_bytes()
            for _ in range(3):
                data = bytearray(whole)
                data[rng.integers(len(data))] ^= 1 << rng.integers(8)
                file.write_bytes(bytes(data))
                with pytest.raises((UnreadableChunk, InvalidSource), match=r"(?i)checksum"):
                    _read(path, group)
                flipped += 1
            file.write_bytes(whole)
        _read(path, group)
    assert flipped > 30


def test_one_flipped_bit_in_metadata_changes_no_row_in_silence(tmp_path: Path) -> None:
    truth = population(2, 2, separation=4.0, seed=1)
    path = write_gaussians(tmp_path / "rows.zarr", truth, 60, chunk_rows=20)
    source = open_source(path)
    rows, file = source.rows(0)(), path / "zarr.json"
    whole = file.read_bytes()
    noticed = 0
    for place in range(0, len(whole), 3):
        data = bytearray(whole)
        data[place] ^= 0x02
        file.write_bytes(bytes(data))
        try:
            assert np.array_equal(source.rows(0)(), rows)
        except SourceChanged:
            noticed += 1
    assert noticed > len(whole) // 10


def test_a_chunk_gets_its_name_after_it_was_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = zarr.create_array(LastingStore(tmp_path), shape=4, chunks=2, dtype="i2", fill_value=0)
    array[:2] = 7
    flushed: list[list[str]] = []

    def full(descriptor: int) -> None:
        flushed.append([path.name for path in (tmp_path / "c").iterdir()])
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        array[2:] = 8
    ((*names,),) = flushed
    assert len(names) == 2  # what was there, and a temporary name
    assert "1" not in names
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["0"]
    monkeypatch.undo()
    array[2:] = 8
    assert array[:].tolist() == [7, 7, 8, 8]
