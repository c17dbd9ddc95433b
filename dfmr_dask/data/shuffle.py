"""Rows dealt at random into a new store, for chunks that are not alike: bounded memory, one pass.

Every row draws a random key of 64 bits, and the new store holds the rows in the order of their
keys. That needs no room for all of them: rows are dealt to buckets by the leading bits of their
keys, files beside the new store, and then each bucket is sorted in memory and written.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from dask.utils import parse_bytes

from dfmr_dask.data import buckets
from dfmr_dask.data.buckets import SORTING, deal, record_of, sorted_rows, stream_of, tiles
from dfmr_dask.data.choosing import check_bytes
from dfmr_dask.data.cost import READING, byte_text
from dfmr_dask.data.grid import rows_of
from dfmr_dask.data.readers import WEIGHT_BYTES
from dfmr_dask.data.source import Source
from dfmr_dask.data.stores import CODECS, LastingStore, appearing_whole, finish_group
from dfmr_dask.data.streaming import Block, regrouped
from dfmr_dask.data.weights import GIVEN
from dfmr_dask.errors import InvalidSource, TooLittleMemory, UnreadableChunk

CHUNK_BYTES = 16 << 20  # of a chunk that nobody chose, at most
CHUNKS, CHUNK_ROWS = 40, 1000  # so many chunks, unless they would have fewer rows than that
WRITING = 4  # a chunk lies there at the end of a bucket, put together, as Zarr has it, encoded
SPARE = 1.1  # buckets are of random sizes
RESERVED = frozenset({"", ".", "..", "row", "zarr.json"})  # as names of variables along row

Progress = Callable[[int, int], None]


def shuffled(
    source: Source,
    path: str | os.PathLike[str],
    *,
    seed: int = 0,
    chunk_rows: int | None = None,
    memory: int | str = "512MiB",
    progress: Progress | None = None,
) -> Path:
    """Write all rows of a source in random order into a new Zarr store.

    All orders of the rows are equally likely: each row has a random key of 64 bits, drawn by its
    place in the source, and the rows are sorted by them. (Rows with the same key stay in the
    order of the source; of a billion rows, .03 pairs have one on average.) So any chunk of the
    new store is a random sample of all rows, drawn without replacement. The order follows from
    the seed, the source and its plan: neither memory nor chunks change it.

    The rows are read once, written to files beside the new store, read back and written: for a
    while the disk holds them twice. The sizes of all chunks but the last are equal, each chunk has
    a checksum, and none is left out. The dimensions of the source become one, ``row``; its
    coordinates are not kept.

    Parameters
    ----------
    source : Source
    path : path
        Of the new store, on a local disk. It appears when it is whole.
    seed : int
    chunk_rows : int, optional
        Rows of a chunk. By default chunks have at most 16 MiB, and there are at least 40 of them
        unless they would have fewer than 1000 rows.
    memory : int or str
        Bytes that rows may take at once, beside what the process holds already; more of it makes
        fewer buckets. Partitions of data in memory or of Dask are copied one by one.
    progress : callable, optional
        Told how many rows went through, of twice as many as there are: they are read and written.

    Returns
    -------
    Path
        Of an array (row, feature) where the features have no names of their own and the rows no
        weights; else of a group with a variable along ``row`` for each feature, and one for the
        weights. Values keep their dtype, and features their units.

    Raises
    ------
    InvalidSource
        When there is something at ``path``, the number of rows is unknown (``dask.dataframe``),
        or a feature has a name that no variable can have.
    TooLittleMemory
        When not even one block of the source, or one chunk of the new store, fits.
    UnreadableChunk
        With the key of a chunk of the source that is rotten: mend it or leave it out first. As
        after any error or interrupt, nothing is left behind; of a process that is killed, a
        folder whose name begins with a dot is.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.data import open_source
    >>> from dfmr_dask.data.shuffle import shuffled
    >>> source = open_source(np.arange(8000.0).reshape(-1, 2))
    >>> new = open_source(shuffled(source, "dealt.zarr", chunk_rows=1000))
    >>> len(new.plan), new.rows(0)().shape
    (4, (1000, 2))
    >>> sum(float(new.rows(i)().sum()) for i in range(4)) == float(np.arange(8000.0).sum())
    True
    """
    total, names, record = _rows_of(source), _names(source), record_of(source)
    rows = _chunk_rows(source, total, chunk_rows)
    count = _buckets(source, total, rows, record, memory)
    tell = _told(progress, 2 * total)
    with appearing_whole(Path(path)) as partial:
        folder = partial.with_name(f"{partial.name}.buckets")
        folder.mkdir()
        try:
            for tile in tiles(source, seed, record):
                deal(tile, folder, count)
                tell(len(tile))
        except UnreadableChunk as error:
            error.add_note("Nothing was written: mend the chunk, or leave it out, first.")
            raise
        _write(
            partial, source, names, regrouped(sorted_rows(folder, record, count), rows), rows, tell
        )
    return Path(path)


def _told(progress: Progress | None, total: int) -> Callable[[int], None]:
    done = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    return tell


def _rows_of(source: Source) -> int:
    if source.n_rows is None:
        raise InvalidSource(
            f"{source.location} has an unknown number of rows; wanted it to be known: turn a "
            "dask.dataframe into an array with to_dask_array(lengths=True), and open that"
        )
    return source.n_rows


def _names(source: Source) -> tuple[str, ...]:
    """Return the names of variables, the weights last; none for a plain array."""
    if not source.named and not source.weighted:
        return ()
    weight = "sample_weight" if source.weight == GIVEN else source.weight
    names = source.features if weight is None else (*source.features, weight)
    bad = [n for n in names if n in RESERVED or "/" in n or "\\" in n or names.count(n) > 1]
    if bad:
        raise InvalidSource(
            f"{', '.join(map(repr, bad))} cannot name a variable along row in a Zarr group; "
            "rename it first"
        )
    return names


def _row_bytes(source: Source) -> int:
    return source.n_features * source.dtype.itemsize + WEIGHT_BYTES * source.weighted


def _chunk_rows(source: Source, total: int, wanted: int | None) -> int:
    if wanted is not None:
        if wanted < 1:
            raise InvalidSource(f"chunk_rows={wanted}; wanted 1 or more rows in a chunk")
        return min(wanted, total)
    most = max(1, CHUNK_BYTES // _row_bytes(source))
    rows = min(most, max(CHUNK_ROWS, math.ceil(total / CHUNKS)))
    return math.ceil(total / math.ceil(total / rows))  # so that the last one is not much smaller


def _buckets(
    source: Source, total: int, chunk_rows: int, record: np.dtype[Any], memory: int | str
) -> int:
    """Return into how many buckets the rows must be dealt, so that each can be sorted in memory."""
    check_bytes("memory", memory)
    row = _row_bytes(source)
    a_row = SPARE * (record.itemsize + SORTING + 2 * row)  # this bucket's, and the last one's rows
    writing = WRITING * chunk_rows * row
    tile = min(total * record.itemsize, buckets.TILE_BYTES)
    reading = READING * _piece(source) * row + buckets.DEALING * tile
    taken = reading + writing  # what reading has freed, the allocator may keep
    least = math.ceil(taken + a_row * chunk_rows)
    given = int(parse_bytes(memory))
    if given < least:
        raise TooLittleMemory(
            f"memory: came {byte_text(given)}; wanted at least {byte_text(least)}, for what is "
            "decoded at once of the source, or for a chunk of the new store: give more, or make "
            f"chunks smaller (chunk_rows, now {chunk_rows})"
        )
    return math.ceil(total * a_row / (given - taken))


def _piece(source: Source) -> int:
    """Return the rows of the largest block that is read at once."""
    largest = max(source.plan.partitions, key=lambda partition: partition.rows)
    stream = stream_of(source.rows(largest.index))
    return largest.rows if stream is None else max(map(rows_of, stream.pieces))


def _write(
    path: Path,
    source: Source,
    names: tuple[str, ...],
    blocks: Iterable[Block],
    chunk_rows: int,
    tell: Callable[[int], None],
) -> None:
    """Write blocks of whole chunks, chunk by chunk."""
    store = LastingStore(path)
    arrays = _created(store, source, names, chunk_rows)
    start = 0
    for x, weights in blocks:
        for first in range(0, len(x), chunk_rows):
            rows = x[first : first + chunk_rows]
            columns = [rows] if not names else list(rows.T)
            if weights is not None:
                columns.append(weights[first : first + chunk_rows])
            for array, column in zip(arrays, columns, strict=True):
                array[start : start + len(rows)] = column
            start += len(rows)
            tell(len(rows))
    if names:
        finish_group(store, {})


def _created(
    store: LastingStore, source: Source, names: tuple[str, ...], chunk_rows: int
) -> list[zarr.Array[Any]]:
    """Create the arrays of the new store: one, or a variable for each name."""
    total = _rows_of(source)
    if not names:
        units = set(source.units.values()) if len(source.units) == source.n_features else set()
        shape, chunks = (total, source.n_features), (chunk_rows, source.n_features)
        return [_array(store, None, source.dtype, shape, chunks, units.pop() if units else None)]
    zarr.create_group(store, zarr_format=3)
    return [
        _array(
            store, name, source.dtype if name in source.features else np.dtype(np.float64),
            (total,), (chunk_rows,), source.units.get(name),
        )
        for name in names
    ]  # fmt: skip


def _array(
    store: LastingStore,
    name: str | None,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    unit: str | None,
) -> zarr.Array[Any]:
    return zarr.create_array(
        store,
        name=name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        compressors=CODECS,
        fill_value=np.nan if dtype.kind == "f" else 0,  # chunks lost later look like no data
        dimension_names=("row", "feature")[: len(shape)],
        attributes={} if unit is None else {"units": unit},
        config={"write_empty_chunks": True},
        zarr_format=3,
    )
