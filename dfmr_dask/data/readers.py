"""From boxes to rows: what a task carries, opens by itself and reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from dask.delayed import delayed
from numpy.typing import DTypeLike, NDArray

from dfmr_dask.data.grid import Axes, Box, Grid, at_chunks, rows_of, sizes
from dfmr_dask.data.integrity import check_unchanged, watched

READ_BYTES = 32 << 20  # rows are read in blocks of this size: workers stay small
WEIGHT_BYTES = 8

Reader = Any  # a callable without arguments that returns rows, or a dask Delayed of rows


class WeightedRows(NamedTuple):
    """Rows (n, d) in the dtype of the source, and how often each of them counts, (n,) float64."""

    rows: NDArray[Any]
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class WeightArray:
    """Where the weights of rows lie.

    Parameters
    ----------
    array : array of any library
    axes : tuple of int or None
        Which of its dimensions is the first, second, ... sample dimension; None where weights do
        not change along it.
    """

    array: Any
    axes: Axes

    def pick(self, box: Box) -> Any:
        """Take a box out of the array."""
        return picked(self.array, self.axes, box)

    def put(self, target: NDArray[np.float64], block: Any) -> None:
        """Put a block as the array holds it into a box of weights (sample dimensions...)."""
        values = np.asarray(block)
        turned = values.transpose([axis for axis in self.axes if axis is not None])
        spread = tuple(np.newaxis if axis is None else slice(None) for axis in self.axes)
        target[...] = turned[spread]


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
    weight : WeightArray, optional
        What weighs the rows.
    """

    arrays: tuple[Any, ...]
    axes: tuple[tuple[int, ...], ...]
    n_features: int
    dtype: np.dtype[Any]
    units: Grid
    weight: WeightArray | None = None

    @property
    def row_bytes(self) -> int:
        """Size of one row, with its weight."""
        return self.n_features * self.dtype.itemsize + (0 if self.weight is None else WEIGHT_BYTES)

    @property
    def facts(self) -> dict[str, Any]:
        """Plain values that tell what is read of the arrays, beside where it lies in them."""
        return {}

    def pick_all(self, box: Box) -> list[Any]:
        """Take a box out of each of the arrays."""
        pairs = zip(self.arrays, self.axes, strict=True)
        return [picked(array, axes, box) for array, axes in pairs]

    def read(self, piece: Box, target: NDArray[Any]) -> None:
        """Read a piece of a box, small enough for memory, into rows (sample dimensions..., d).

        Raises
        ------
        UnreadableChunk
            With the key of a chunk that is missing, cut short or cannot be decoded.
        """
        with watched(self.arrays, self.axes, piece):
            filled(target, self.pick_all(piece), self.axes)

    def read_weights(self, box: Box, target: NDArray[np.float64]) -> None:
        """Read the weights of a box, if rows have some, into an array (sample dimensions...)."""
        if self.weight is not None:
            with watched((self.weight.array,), (self.weight.axes,), box):
                self.weight.put(target, self.weight.pick(box))

    def check_unchanged(self) -> None:
        """Compare the arrays in the store with those that were planned, once before reading.

        Raises
        ------
        SourceChanged
        """
        check_unchanged(self.arrays if self.weight is None else (*self.arrays, self.weight.array))


def picked(array: Any, axes: Axes, box: Box) -> Any:
    """Take a box out of an array, as that array's library does it."""
    index = [slice(None)] * len(array.shape)
    for axis, (start, stop) in zip(axes, box, strict=True):
        if axis is not None:
            index[axis] = slice(start, stop)
    return array[tuple(index)]


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

    Where it ``skips``, who takes the rows as a stream is told which blocks cannot be read, and
    gets the others.

    Returns
    -------
    ndarray of shape (rows, features), C-contiguous, in the dtype of the source; or WeightedRows
    """

    layout: Layout
    boxes: tuple[Box, ...]
    skips: bool = False

    def __call__(self) -> NDArray[Any] | WeightedRows:
        """Read the rows."""
        layout, n_rows = self.layout, sum(map(rows_of, self.boxes))
        layout.check_unchanged()
        out = np.empty((n_rows, layout.n_features), layout.dtype)
        weights = np.empty(0 if layout.weight is None else n_rows)
        start = 0
        for box in self.boxes:
            span, shape = slice(start, start + rows_of(box)), sizes(box)
            self._read(box, out[span].reshape(*shape, layout.n_features))
            if layout.weight is not None:
                layout.read_weights(box, weights[span].reshape(shape))
            start = span.stop
        return out if layout.weight is None else WeightedRows(out, weights)

    def _read(self, box: Box, target: NDArray[Any]) -> None:
        layout = self.layout
        for piece in at_chunks(box, layout.units, READ_BYTES // layout.row_bytes):
            spans = zip(piece, box, strict=True)
            inside = tuple(slice(a - start, b - start) for (a, b), (start, _) in spans)
            layout.read(piece, target[inside])


@dataclass(frozen=True, slots=True, eq=False)
class LoadedBoxReader:
    """The same for arrays in memory; when it travels, only its own rows do."""

    layout: Layout
    boxes: tuple[Box, ...]

    def __call__(self) -> NDArray[Any] | WeightedRows:
        """Copy the rows out of the arrays."""
        return BoxReader(self.layout, self.boxes)()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the partition's rows alone."""
        return _traveling(self())


@dataclass(frozen=True, slots=True, eq=False)
class RowReader:
    """Rows of a NumPy array (n, d): a slice, an index, or all; only they travel."""

    array: NDArray[Any]
    index: slice | NDArray[np.intp] | None
    weights: NDArray[np.float64] | None = None

    def __call__(self) -> NDArray[Any] | WeightedRows:
        """Take the rows."""
        index = slice(None) if self.index is None else self.index
        chosen = self.array[index]
        rows = np.ascontiguousarray(chosen, native(chosen.dtype))
        return rows if self.weights is None else WeightedRows(rows, self.weights[index])

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the partition's rows alone."""
        return _traveling(self())


def _traveling(came: NDArray[Any] | WeightedRows) -> tuple[Any, ...]:
    rows, weights = came if isinstance(came, WeightedRows) else (came, None)
    return RowReader, (rows, None, weights)


def delayed_boxes(layout: Layout, boxes: tuple[Box, ...]) -> Any:
    """Return a Delayed of the rows of some boxes of Dask arrays."""
    blocks = [layout.pick_all(box) for box in boxes]
    shapes = [sizes(box) for box in boxes]
    # Dask names the blocks anew each time: under one key there must never be two tasks
    join = delayed(joined, pure=False)
    rows = join(blocks, layout.axes, shapes, layout.n_features, layout.dtype.str)
    if layout.weight is None:
        return rows
    weights = [layout.weight.pick(box) for box in boxes]
    return delayed(weighted, pure=False)(rows, weights, layout.weight.axes, shapes)


def weighted(
    rows: NDArray[Any], blocks: Sequence[Any], axes: Axes, shapes: Sequence[tuple[int, ...]]
) -> WeightedRows:
    """Put computed blocks of weights below each other, beside their rows."""
    out = np.empty(len(rows))
    start = 0
    for block, shape in zip(blocks, shapes, strict=True):
        stop = start + math.prod(shape)
        WeightArray(None, axes).put(out[start:stop].reshape(shape), block)
        start = stop
    return WeightedRows(rows, out)


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


def frame_rows(frame: Any, dtype: DTypeLike, weight: Any = None) -> NDArray[Any] | WeightedRows:
    """Return the rows of a pandas frame; what is missing in nullable columns becomes NaN.

    The column ``weight``, if one is named, is that of their weights and no feature.
    """
    if weight is not None:
        weights = _column(frame[weight]).astype(np.float64)
        return WeightedRows(_table(frame.drop(columns=[weight]), dtype), weights)
    return _table(frame, dtype)


def _table(frame: Any, dtype: DTypeLike) -> NDArray[Any]:
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
