"""Zarr stores that we write are whole, checked, and carry every chunk."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from dfmr_dask.data.stores import LastingStore, write_dataset
from dfmr_dask.errors import InvalidSource


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
