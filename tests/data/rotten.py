"""Small stores of each kind, and what may happen to one of their chunks."""

from __future__ import annotations

from pathlib import Path

import numcodecs
import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

ROWS, PARTS = 120, 5  # rows in a partition, and partitions
KINDS = ("array v2", "array v3", "array sharded", "group v2", "group v3", "group sharded")
BAD = 2  # the partition whose chunk is rotten


def clusters(n: int, seed: int = 0) -> np.ndarray:
    """Rows (n, 2) of two clusters that are far from each other."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)) + np.where(rng.random((n, 1)) < 0.4, -4.0, 4.0)


def written(path: Path, kind: str, values: np.ndarray, empty: bool = True) -> Path:
    """Write rows (n, 2) as an array, or as a group of two variables; with checksums."""
    shape, form = kind.split()
    columns = {"": values} if shape == "array" else {"temp": values[:, 0], "salt": values[:, 1]}
    if shape == "group":
        zarr.create_group(path, zarr_format=2 if form == "v2" else 3)
    for name, column in columns.items():
        _write(path, name, form, column, empty)
    return path


def _write(path: Path, name: str, form: str, values: np.ndarray, empty: bool) -> None:
    dims = ("row", "feature")[: values.ndim]
    options: dict = {"zarr_format": 3, "dimension_names": dims}
    options["compressors"] = (ZstdCodec(), Crc32cCodec())
    if form == "v2":
        options = {"zarr_format": 2, "attributes": {"_ARRAY_DIMENSIONS": dims}}
        options["compressors"] = numcodecs.Zstd(checksum=True)
    chunk = ROWS // 3 if form == "sharded" else ROWS
    if form == "sharded":
        options["shards"] = (ROWS, 2)[: values.ndim]
    array = zarr.create_array(
        store=str(path),
        name=name or None,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(chunk, 2)[: values.ndim],
        fill_value=0.0,
        config={"write_empty_chunks": empty},
        **options,
    )
    array[...] = values


def chunk_file(path: Path, kind: str, number: int = BAD) -> tuple[Path, str]:
    """Return the file of a partition's chunk, of the variable salt in a group, and its key."""
    shape, form = kind.split()
    parts = (number, 0) if shape == "array" else (number,)
    key = ".".join(map(str, parts)) if form == "v2" else "/".join(map(str, ("c", *parts)))
    return (path if shape == "array" else path / "salt") / key, key


def removed(file: Path) -> None:
    file.unlink()


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def beheaded(file: Path) -> None:
    file.write_bytes(file.read_bytes()[7:])


def longer(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"seven b")


def flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 0x10
    file.write_bytes(bytes(data))


def scrambled(file: Path) -> None:
    file.write_bytes(np.random.default_rng(1).bytes(file.stat().st_size))


def forbidden(file: Path) -> None:
    file.unlink()
    file.mkdir()  # a folder in its place: for root, too, nothing that can be read


FAULTS = (removed, emptied, cut, beheaded, longer, flipped, scrambled, forbidden)
