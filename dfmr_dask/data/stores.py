"""Zarr stores that we write: with checksums, no chunk left out, whole or not there at all."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr
import zarr
from zarr.abc.store import Store
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from dfmr_dask.data.files import write_bytes
from dfmr_dask.errors import InvalidSource

CODECS = (ZstdCodec(), Crc32cCodec())  # a flipped bit must not pass
TRIES, PAUSE = 20, 0.05  # to remove what was not finished; seconds between
MEANING = frozenset({"_FillValue", "dtype", "units", "calendar", "scale_factor", "add_offset"})


@contextmanager
def appearing_whole(path: Path) -> Iterator[Path]:
    """Give a temporary place beside ``path``, and rename it when all has been written.

    Raises
    ------
    InvalidSource
        When something of that name is there already.
    """
    if path.exists():
        raise InvalidSource(f"{path} is there already; remove it, or choose another path")
    path.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield workshop / path.name
        (workshop / path.name).replace(path)
    finally:
        for _ in range(TRIES):  # after an interrupt, threads of Zarr may still be writing
            shutil.rmtree(workshop, ignore_errors=True)
            if not workshop.exists():
                break
            time.sleep(PAUSE)


class LastingStore(LocalStore):
    """A folder in which every file is whole and on the disk as soon as it has its name.

    Zarr's own store renames, too, but flushes nothing: after a power cut there may be names
    without content. Here the presence of a chunk's file tells that the chunk is written.
    """

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write a file: flushed under a temporary name, then renamed."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, value.to_bytes())

    async def set(self, key: str, value: Buffer) -> None:
        """Write a file from within Zarr's event loop."""
        await asyncio.to_thread(self.set_sync, key, value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write a file unless it is there."""
        if not (self.root / key).exists():
            await self.set(key, value)


def write_template(
    store: Store, dataset: xr.Dataset, chunks: Mapping[str, tuple[int, ...]]
) -> None:
    """Write a group with all its coordinates, and of some variables everything but the values.

    Parameters
    ----------
    store : zarr Store
    dataset : xarray.Dataset
        The variables named in ``chunks`` are lazy, and stay so.
    chunks : mapping of variables to tuple of int
        Their chunks; what is missing of them reads as the ``_FillValue`` of their encoding.
    """
    encoding = {str(name): _encoding(one) for name, one in dataset.variables.items()}
    for name, sizes in chunks.items():
        encoding[name] |= {"chunks": sizes, "fill_value": encoding[name]["_FillValue"]}
    plain = dataset.drop_encoding()
    lazy = [name for name, one in dataset.coords.items() if one.chunks is not None]
    with _without_hints():
        plain.to_zarr(store, mode="w-", encoding=encoding, consolidated=False, compute=False)
        if lazy:
            values = plain.coords.to_dataset().reset_coords(lazy)[lazy].reset_coords(drop=True)
            values.drop_vars(values.coords).to_zarr(store, mode="r+", consolidated=False)


@contextmanager
def _without_hints() -> Iterator[None]:
    """Say nothing of consolidated metadata.

    xarray looks for them, and warns where there are none; Zarr warns that its specification does
    not know them yet. Readers that do not know them do without.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        yield


def finish_group(store: Store, attributes: Mapping[str, Any]) -> None:
    """Add attributes to a group that is complete, and write down its metadata in one place."""
    with _without_hints():
        zarr.open_group(store, mode="r+").attrs.update(dict(attributes))
        zarr.consolidate_metadata(store)


def write_dataset(
    path: Path, dataset: xr.Dataset, fill_values: Mapping[str, Any] | None = None
) -> None:
    """Write a dataset as a Zarr group, chunk by chunk.

    Parameters
    ----------
    path : Path
    dataset : xarray.Dataset
        What values mean (units, calendar, ...) stays as in its encoding; how the chunks of its
        source were packed does not.
    fill_values : mapping of variables to values, optional
        What a chunk that was lost later reads as.

    Raises
    ------
    InvalidSource
        When something of that name is there already.
    """
    encoding = {str(name): _encoding(one) for name, one in dataset.variables.items()}
    for name, value in (fill_values or {}).items():
        encoding[name]["fill_value"] = value
    with appearing_whole(path) as partial, _without_hints():
        dataset.drop_encoding().to_zarr(
            partial, mode="w-", encoding=encoding, consolidated=True, write_empty_chunks=True
        )


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    kept = {key: value for key, value in variable.encoding.items() if key in MEANING}
    return {**kept, "compressors": CODECS}
