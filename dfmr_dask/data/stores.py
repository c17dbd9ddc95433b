"""Zarr stores that we write: with checksums, no chunk left out, whole or not there at all."""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr
from zarr.codecs import Crc32cCodec, ZstdCodec

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
    with appearing_whole(path) as partial, warnings.catch_warnings():
        # xarray looks for consolidated metadata, and warns where there are none; Zarr warns that
        # its specification does not know them yet. Readers that do not know them do without.
        warnings.filterwarnings("ignore", message="Consolidated metadata", category=UserWarning)
        dataset.drop_encoding().to_zarr(
            partial, mode="w-", encoding=encoding, consolidated=True, write_empty_chunks=True
        )


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    kept = {key: value for key, value in variable.encoding.items() if key in MEANING}
    return {**kept, "compressors": CODECS}
