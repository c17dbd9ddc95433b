"""The kinds of data behind a source: how each is read, shown as one array, and told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.delayed import delayed
from numpy.typing import NDArray

from dfmr_dask.data.cost import Cost
from dfmr_dask.data.grid import BLOCKS_READ, Box, Grid, random_units, rows_of
from dfmr_dask.data.plan import Partition
from dfmr_dask.data.readers import (
    READ_BYTES,
    BoxReader,
    Layout,
    LoadedBoxReader,
    Reader,
    RowReader,
    delayed_boxes,
    frame_rows,
)
from dfmr_dask.errors import InvalidSource

SMALL_BYTES = 4 << 20  # a partition of so many is read whole for its sample


class Backend(Protocol):
    """What a source asks of the data behind it."""

    def reader(self, partition: Partition) -> Reader:
        """Return what reads all rows of a partition."""
        ...

    def sampler(self, partition: Partition, n: int, rng: np.random.Generator) -> Reader:
        """Return what reads at least n rows of a partition, or all that it has."""
        ...

    def where(self, partition: Partition) -> str:
        """Say where the rows of a partition lie; empty when the boxes tell it."""
        ...

    def dataarray(self) -> xr.DataArray:
        """Return a lazy array with the features as its last dimension."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return plain values that differ when the data differ."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class GridBackend:
    """Arrays with sample dimensions: Zarr, xarray, Dask."""

    layout: Layout
    make: Callable[[Layout, tuple[Box, ...]], Reader]
    view: Callable[[], xr.DataArray]
    told: Callable[[], dict[str, Any]]

    def reader(self, partition: Partition) -> Reader:  # noqa: D102
        return self.make(self.layout, partition.boxes)

    def sampler(  # noqa: D102
        self, partition: Partition, n: int, rng: np.random.Generator
    ) -> Reader:
        if partition.rows * self.layout.row_bytes <= SMALL_BYTES:
            return self.reader(partition)
        most = max(1, READ_BYTES // BLOCKS_READ // self.layout.row_bytes)
        units = random_units(partition.boxes, self.layout.units, n, rng, most)
        held = partition.rows * self.layout.row_bytes <= READ_BYTES
        if held and 2 * sum(map(rows_of, units)) > partition.rows:
            return self.reader(partition)
        return self.make(self.layout, units)

    def where(self, partition: Partition) -> str:  # noqa: D102
        return ""

    def dataarray(self) -> xr.DataArray:  # noqa: D102
        return self.view()

    def identity(self) -> dict[str, Any]:  # noqa: D102
        return self.told()


def from_store(layout: Layout, boxes: tuple[Box, ...]) -> Reader:
    """Read inside the task, from arrays that open by themselves."""
    return BoxReader(layout, boxes)


def from_memory(layout: Layout, boxes: tuple[Box, ...]) -> Reader:
    """Read from arrays in memory, and let only the partition's rows travel."""
    return LoadedBoxReader(layout, boxes)


def from_dask(layout: Layout, boxes: tuple[Box, ...]) -> Reader:
    """Let Dask compute its own blocks, and join them in a task."""
    return delayed_boxes(layout, boxes)


@dataclass(frozen=True, slots=True, eq=False)
class RowsBackend:
    """A table (n, d) in memory, its partitions maybe runs of a permuted order."""

    array: NDArray[Any]
    features: tuple[str, ...]
    order: NDArray[np.intp] | None
    weights: NDArray[np.float64] | None = None

    def reader(self, partition: Partition) -> Reader:  # noqa: D102
        return RowReader(self.array, self._index(partition), self.weights)

    def sampler(  # noqa: D102
        self, partition: Partition, n: int, rng: np.random.Generator
    ) -> Reader:
        if partition.rows * self.array.itemsize * self.array.shape[1] <= READ_BYTES:
            return self.reader(partition)
        start = partition.boxes[0][0][0]  # random rows cost no more here than random blocks
        chosen = start + rng.choice(partition.rows, min(2 * n, partition.rows), replace=False)
        index = chosen if self.order is None else self.order[chosen]
        return RowReader(self.array, index, self.weights)

    def _index(self, partition: Partition) -> slice | NDArray[np.intp]:
        ((span,),) = partition.boxes
        return slice(*span) if self.order is None else self.order[slice(*span)]

    def where(self, partition: Partition) -> str:  # noqa: D102
        return "" if self.order is None else "random rows"

    def dataarray(self) -> xr.DataArray:  # noqa: D102
        array = xr.DataArray(self.array, dims=("row", "feature"))
        return array.assign_coords(feature=list(self.features)).chunk(feature=-1, row="auto")

    def identity(self) -> dict[str, Any]:  # noqa: D102
        values = [self.array] if self.weights is None else [self.array, self.weights]
        return {"kind": "memory", "sha256": content_hash(values)}


@dataclass(frozen=True, slots=True, eq=False)
class FrameBackend:
    """A ``dask.dataframe``: each of its partitions is one of ours, of unknown size.

    Its partitions are those after Dask has optimized it, which may read small files together.
    """

    frame: Any
    dtype: np.dtype[Any]
    parts: list[Any] = field(default_factory=list)
    weight: Any = None

    def reader(self, partition: Partition) -> Reader:  # noqa: D102
        rows = delayed(frame_rows, pure=True)
        return rows(self.parts[partition.index], self.dtype.str, self.weight)

    def sampler(  # noqa: D102
        self, partition: Partition, n: int, rng: np.random.Generator
    ) -> Reader:
        return self.reader(partition)

    def where(self, partition: Partition) -> str:  # noqa: D102
        return f"dask partition {partition.index}"

    def dataarray(self) -> xr.DataArray:  # noqa: D102
        raise InvalidSource(
            "a dask.dataframe is no array, since the lengths of its partitions are unknown; "
            "label it partition by partition (predict does), or turn it into an array with "
            "to_dask_array(lengths=True)"
        )

    def identity(self) -> dict[str, Any]:  # noqa: D102
        return {"kind": "dask.dataframe", "token": str(tokenize(self.frame))}


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """Data that were opened, before it is planned who reads what.

    ``grid`` are the chunks that partitions are made of, None where rows are unknown; the units
    that decode alone (inner chunks of shards) are those of the backend's layout. ``named`` tells
    whether the features have names of their own; ``weight`` what the weights of rows are called.
    """

    features: tuple[str, ...]
    sample_dims: tuple[str, ...]
    dtype: np.dtype[Any]
    grid: Grid | None
    cost: Cost | None
    location: str
    backend: Backend
    feature_units: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    in_memory: bool = False
    named: bool = True
    weight: str | None = None


def content_hash(arrays: list[NDArray[Any]]) -> str:
    """Return the SHA-256 of arrays' shapes, dtypes and values, dates and text among them."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        step = max(1, READ_BYTES // max(1, array[:1].nbytes))
        for start in range(0, len(array), step):
            piece = array[start : start + step]
            if piece.dtype.kind in "OT":  # what lies in memory there are addresses
                piece = np.array(list(map(str, piece.ravel().tolist())), dtype=np.str_)
            digest.update(piece.tobytes())
    return digest.hexdigest()
