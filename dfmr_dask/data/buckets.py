"""Rows with random keys, dealt to files by the leading bits of their keys, and sorted in each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from dask.base import is_dask_collection
from numpy.typing import NDArray

from dfmr_dask.data.readers import BoxReader, WeightedRows
from dfmr_dask.data.source import Source
from dfmr_dask.data.streaming import Block, Stream, regrouped
from dfmr_dask.randomness import Stage, generator

TILE_BYTES = 8 << 20  # rows with their keys that are dealt at once
DEALING = 4  # a tile lies there as it is collected, made, and in the order of its buckets
SORTING = 16  # bytes a row of a bucket: its key and its place


def record_of(source: Source) -> np.dtype[Any]:
    """Return how a row lies in the file of a bucket."""
    fields: list[Any] = [("key", "u8"), ("row", source.dtype, (source.n_features,))]
    return np.dtype(fields + [("weight", "f8")] * source.weighted)


def stream_of(reader: Any) -> Stream | None:
    """Return what reads rows block by block; None for a reader that gives them whole."""
    if isinstance(reader, Stream):
        return reader
    return Stream(reader, held=False) if isinstance(reader, BoxReader) else None


def _blocks(reader: Any) -> Iterator[Block]:
    stream = stream_of(reader)
    if stream is not None:
        yield from stream
        return
    # one partition at a time, and in this process, whose memory was promised
    came = reader.compute(scheduler="sync") if is_dask_collection(reader) else reader()
    yield came if isinstance(came, WeightedRows) else (came, None)


def tiles(source: Source, seed: int, record: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Yield all rows with their keys, in the order of the source, in tiles of one size."""
    rows = max(1, TILE_BYTES // record.itemsize)
    pieces = ((piece, None) for piece in _keyed(source, seed, record, rows))
    for block, _ in regrouped(pieces, rows):  # small chunks together: few files are opened
        yield from (block[start : start + rows] for start in range(0, len(block), rows))


def _keyed(source: Source, seed: int, record: np.dtype[Any], rows: int) -> Iterator[NDArray[Any]]:
    for index in range(len(source.plan)):
        # raw bits one after the other: it does not matter where blocks end
        bits: Any = generator(seed, Stage.SHUFFLE, index).bit_generator
        for x, weights in _blocks(source.rows(index)):
            for start in range(0, len(x), rows):
                part = slice(start, start + rows)
                piece = np.empty(len(x[part]), record)
                piece["key"], piece["row"] = bits.random_raw(len(piece)), x[part]
                if weights is not None:
                    piece["weight"] = weights[part]
                yield piece


def deal(tile: NDArray[Any], folder: Path, count: int) -> None:
    """Append the rows of a tile to the files of their buckets, which are spans of keys."""
    half = np.uint64(32)
    bucket = ((tile["key"] >> half) * np.uint64(count)) >> half
    order = np.argsort(bucket, kind="stable")
    ordered = tile[order]
    numbers, starts = np.unique(bucket[order], return_index=True)
    for number, rows in zip(numbers, np.split(ordered, starts[1:]), strict=True):
        # opened anew each time: there may be more buckets than files that may be open
        with (folder / str(number)).open("ab") as file:
            rows.tofile(file)


def sorted_rows(folder: Path, record: np.dtype[Any], count: int) -> Iterator[Block]:
    """Yield bucket after bucket in the order of keys, and remove its file."""
    for number in range(count):
        file = folder / str(number)
        if file.exists():
            yield sorted_bucket(file, record)


def sorted_bucket(file: Path, record: np.dtype[Any]) -> Block:
    """Return the rows of a bucket in the order of their keys; its file is gone then."""
    records = np.fromfile(file, record)
    file.unlink()
    order = np.argsort(records["key"], kind="stable")
    weighted = "weight" in (record.names or ())
    return records["row"][order], records["weight"][order] if weighted else None
