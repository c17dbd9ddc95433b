"""Blocks of rows that are answered at once: how they are cut, and what a task does with one.

A block is one chunk of every variable that is written, and of whole chunks of the source as far as
memory allows. So no two tasks ever write into one file, and a block is done when its files are
there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from dfmr_dask.data.backends import GridBackend, RowsBackend
from dfmr_dask.data.grid import Box, sizes
from dfmr_dask.data.plan import Partition
from dfmr_dask.data.readers import Reader, WeightedRows
from dfmr_dask.data.source import Source
from dfmr_dask.data.stores import LastingStore
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.labelling import Question, answered
from dfmr_dask.run.tasks import described

WRITTEN_EMPTY: Any = {"write_empty_chunks": True}  # all -1, too, or it is never there


@dataclass(frozen=True, slots=True)
class Blocks:
    """A grid cut into blocks that are all alike, but for what the edges leave.

    Parameters
    ----------
    shape : tuple of int
        Of the source's sample dimensions.
    lengths : tuple of int
        Of a block.

    Examples
    --------
    >>> from dfmr_dask.run.label_blocks import Blocks
    >>> blocks = Blocks((5, 4), (3, 4))
    >>> [(place, blocks.box(place)) for place in blocks]
    [((0, 0), ((0, 3), (0, 4))), ((1, 0), ((3, 5), (0, 4)))]
    """

    shape: tuple[int, ...]
    lengths: tuple[int, ...]

    def __len__(self) -> int:
        return math.prod(self._counts())

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return product(*map(range, self._counts()))

    def _counts(self) -> list[int]:
        return [math.ceil(n / m) for n, m in zip(self.shape, self.lengths, strict=True)]

    def box(self, place: tuple[int, ...]) -> Box:
        """Return the rows of a block."""
        each = zip(place, self.lengths, self.shape, strict=True)
        return tuple((i * m, min((i + 1) * m, n)) for i, m, n in each)


def answer_bytes(questions: Sequence[Question], n_components: int) -> int:
    """Return the bytes of all answers about one row."""
    return sum(np.dtype(q.dtype).itemsize * (n_components if q.wide else 1) for q in questions)


def blocks_of(source: Source, view: xr.DataArray, out_bytes: int, block_bytes: int) -> Blocks:
    """Cut a source into blocks of so many bytes at most, if its chunks allow.

    Parameters
    ----------
    source : Source
    view : DataArray
        Of the source; its chunks are those of the store (or shards).
    out_bytes : int
        Of the answers about a row.
    block_bytes : int
        Of rows, and of answers. A chunk that has more and cannot be decoded in parts makes a
        larger block.
    """
    limit = max(1, block_bytes // max(source.n_features * source.dtype.itemsize, out_bytes))
    whole = tuple(max(along) for along in (view.chunks or ())[:-1])
    if math.prod(whole) > limit:
        # shards are cut where they decode alone, arrays in memory anywhere
        single = source.in_memory or not isinstance(source.backend, GridBackend)
        units = [1 if single else axis.longest for axis in _units(source)]
        whole = tuple(map(min, _lengthened(units, whole, limit), whole))
    lengths = _lengthened(whole, source.shape, limit)
    return Blocks(source.shape, tuple(map(min, lengths, source.shape)))


def _units(source: Source) -> tuple[Any, ...]:
    backend = source.backend
    return backend.layout.units if isinstance(backend, GridBackend) else source.shape


def _lengthened(lengths: Sequence[int], bounds: Sequence[int], limit: int) -> list[int]:
    """Multiply lengths by whole numbers, the last one first, up to a number of rows."""
    out = list(lengths)
    for dim in reversed(range(len(out))):
        most = math.ceil(bounds[dim] / out[dim])
        out[dim] *= max(1, min(most, limit // math.prod(out)))
        if out[dim] < bounds[dim]:
            break
    return out


def box_reader(source: Source, box: Box) -> Reader:
    """Return what reads the rows of a box, in the source's own order and without weights."""
    backend = source.backend
    if isinstance(backend, RowsBackend):
        backend = replace(backend, order=None, weights=None)
    elif isinstance(backend, GridBackend):
        backend = replace(backend, layout=replace(backend.layout, weight=None))
    return backend.reader(Partition(0, (box,)))


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """What tasks have in common.

    Attributes
    ----------
    mixture : Mixture
    questions : tuple of Question
    folder : Path
        Of the Zarr group.
    """

    mixture: Mixture
    questions: tuple[Question, ...]
    folder: Path

    def write(self, question: Question, box: Box, values: NDArray[Any]) -> None:
        """Write the answers of a block, a whole chunk."""
        there = zarr.open_array(LastingStore(self.folder), path=question.name, mode="r+")
        # how an array is opened tells nothing of empty chunks, in old versions of Zarr
        bare: Any = zarr.AsyncArray(there.metadata, there.store_path, WRITTEN_EMPTY)
        zarr.Array(bare)[tuple(slice(*span) for span in box)] = values

    def is_done(self, place: tuple[int, ...]) -> bool:
        """Tell whether all answers of a block are written."""
        # the names of chunks in version 3 of Zarr; answers for each component are one chunk wide
        return all(
            self.folder.joinpath(one.name, "c", *map(str, place), *["0"] * one.wide).exists()
            for one in self.questions
        )


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a block: why it could not be read, or not be written; else it is done."""

    unread: str = ""
    unwritten: str = ""


def answer_blocks(job: Job, boxes: Sequence[Box], *readers: Any) -> list[Answered]:
    """Answer one block after the other: one task."""
    return [_answered(job, box, reader) for box, reader in zip(boxes, readers, strict=True)]


def _answered(job: Job, box: Box, reader: Any) -> Answered:
    """Read a block, answer every question about it, write the answers.

    A block that cannot be read is data, and costs no other one anything. A disk that takes no more
    concerns all of them.
    """
    try:
        came = reader() if callable(reader) else reader
        rows = came.rows if isinstance(came, WeightedRows) else came
    except Exception as error:  # what readers raise is theirs: codecs, file systems, networks
        return Answered(unread=described(error))
    found = answered(job.questions, job.mixture, rows)
    del rows
    try:
        for question, values in zip(job.questions, found, strict=True):
            job.write(question, box, values.reshape(*sizes(box), *values.shape[1:]))
    except OSError as error:
        return Answered(unwritten=described(error))
    return Answered()
