"""From boxes to rows: what a task carries, opens by itself and reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.delayed import delayed
from numpy.typing import DTypeLike, NDArray

from dfmr_dask.data.grid import Box, Grid, at_chunks, rows_of, sizes

READ_BYTES = 32 << 20  # rows are read in blocks of this size: workers stay small

Reader = Any  # a callable without arguments that returns rows, or a dask Delayed of rows


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where rows and features lie in the arrays of a source.

    Parameters
    ----------
    arrays : tuple
        Zarr arrays, lazy xarray variables, NumPy or Dask arrays; one that holds all features, or
        one for each feature.
    axes : tuple of tuple of int
        For each array, which of its dimensions is the first, second, ... sample dimension.
    n_features : int
    dtype : numpy.dtype
        In which rows are returned; native byte order.
    units : tuple of Axis
        The smallest chunks that decode alone.
    """

    arrays: tuple[Any, ...]
    axes: tuple[tuple[int, ...], ...]
    n_features: int
    dtype: np.dtype[Any]
    units: Grid

    @property
    def row_bytes(self) -> int:
        """Size of one row."""
        return self.n_features * self.dtype.itemsize

    def pick(self, number: int, box: Box) -> Any:
        """Take a box out of one of the arrays, as that array's library does it."""
        array, axes = self.arrays[number], self.axes[number]
        index = [slice(None)] * len(array.shape)
        for axis, (start, stop) in zip(axes, box, strict=True):
            index[axis] = slice(start, stop)
        return array[tuple(index)]

    def pick_all(self, box: Box) -> list[Any]:
        """Take a box out of each of the arrays."""
        return [self.pick(number, box) for number in range(len(self.arrays))]


def filled(target: NDArray[Any], blocks: Sequence[Any], axes: Sequence[tuple[int, ...]]) -> None:
    """Put blocks as the arrays hold them into a box of rows (sample dimensions..., feature)."""
    for number, (block, order) in enumerate(zip(blocks, axes, strict=True)):
        values = np.asarray(block)
        rest = [axis for axis in range(values.ndim) if axis not in order]
        turned = values.transpose(*order, *rest)
        if rest:
            target[...] = turned
        else:
            target[..., number] = turned


@dataclass(frozen=True, slots=True, eq=False)
class BoxReader:
    """Reads the rows of some boxes, block by block, each chunk once where boxes allow it.

    Returns
    -------
    ndarray of shape (rows, features), C-contiguous, in the dtype of the source
    """

    layout: Layout
    boxes: tuple[Box, ...]

    def __call__(self) -> NDArray[Any]:
        """Read the rows."""
        layout = self.layout
        out = np.empty((sum(map(rows_of, self.boxes)), layout.n_features), layout.dtype)
        start = 0
        for box in self.boxes:
            stop = start + rows_of(box)
            self._read(box, out[start:stop].reshape(*sizes(box), layout.n_features))
            start = stop
        return out

    def _read(self, box: Box, target: NDArray[Any]) -> None:
        layout = self.layout
        for piece in at_chunks(box, layout.units, READ_BYTES // layout.row_bytes):
            spans = zip(piece, box, strict=True)
            inside = tuple(slice(a - start, b - start) for (a, b), (start, _) in spans)
            filled(target[inside], layout.pick_all(piece), layout.axes)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedBoxReader:
    """The same for arrays in memory; when it travels, only its own rows do."""

    layout: Layout
    boxes: tuple[Box, ...]

    def __call__(self) -> NDArray[Any]:
        """Copy the rows out of the arrays."""
        return BoxReader(self.layout, self.boxes)()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the partition's rows alone."""
        return RowReader, (self(), None)


@dataclass(frozen=True, slots=True, eq=False)
class RowReader:
    """Rows of a NumPy array (n, d): a slice, an index, or all; only they travel."""

    array: NDArray[Any]
    index: slice | NDArray[np.intp] | None

    def __call__(self) -> NDArray[Any]:
        """Take the rows."""
        chosen = self.array if self.index is None else self.array[self.index]
        return np.ascontiguousarray(chosen, native(chosen.dtype))

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the partition's rows alone."""
        return RowReader, (self(), None)


def delayed_boxes(layout: Layout, boxes: tuple[Box, ...]) -> Any:
    """Return a Delayed of the rows of some boxes of Dask arrays."""
    blocks = [layout.pick_all(box) for box in boxes]
    shapes = [sizes(box) for box in boxes]
    # Dask names the blocks anew each time: under one key there must never be two tasks
    join = delayed(joined, pure=False)
    return join(blocks, layout.axes, shapes, layout.n_features, layout.dtype.str)


def joined(
    blocks: Sequence[Sequence[Any]],
    axes: Sequence[tuple[int, ...]],
    shapes: Sequence[tuple[int, ...]],
    n_features: int,
    dtype: str,
) -> NDArray[Any]:
    """Put computed blocks below each other as rows (n, d)."""
    counts = [math.prod(shape) for shape in shapes]
    out = np.empty((sum(counts), n_features), np.dtype(dtype))
    start = 0
    for block, shape, count in zip(blocks, shapes, counts, strict=True):
        filled(out[start : start + count].reshape(*shape, n_features), block, axes)
        start += count
    return out


def frame_rows(frame: Any, dtype: DTypeLike) -> NDArray[Any]:
    """Return the rows of a pandas frame; what is missing in nullable columns becomes NaN."""
    columns = [_column(frame.iloc[:, i]) for i in range(frame.shape[1])]
    out = np.empty((len(frame), len(columns)), dtype)
    for i, column in enumerate(columns):
        out[:, i] = column
    return out


def _column(series: Any) -> NDArray[Any]:
    if series.isna().any():
        return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
    return np.asarray(series.to_numpy())


def native(dtype: Any) -> np.dtype[Any]:
    """Return the dtype in which rows are handed on: native byte order, booleans as uint8."""
    plain = np.dtype(dtype)
    return np.dtype(np.uint8) if plain.kind == "b" else plain.newbyteorder("=")
