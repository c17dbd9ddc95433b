"""Which chunks of a stored array a selection touches: integers and names, nothing is read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from dfmr_dask.data.grid import Axes, Box

Numbers = tuple[int, ...]
Along = range | NDArray[np.intp]  # the indices that are selected along one axis of an array


@dataclass(frozen=True, slots=True, eq=False)
class Touched:
    """What a selection takes from an array of Zarr.

    Parameters
    ----------
    array : zarr.Array
    along : tuple of range, array of int, or int
        For each axis, the indices that are selected; their product is what is read. (Points
        picked one by one are taken for the product of their coordinates, which holds them all.)
    in_order : bool
        Whether the axes that no int took are the dimensions of what is selected, in this order.
    """

    array: zarr.Array[Any]
    along: tuple[Along | int, ...]
    in_order: bool = True

    def files(self) -> Iterator[Numbers]:
        """Yield the numbers of the chunks (or shards) that are files of the store, in C order."""
        return product(*self._within(self.array.shards or self.array.chunks))

    def units(self) -> Iterator[Numbers]:
        """Yield the numbers of the chunks that decode alone, inner chunks of shards among them."""
        return product(*self._within(self.array.chunks))

    def count(self) -> int:
        """Return the number of chunks that decode alone."""
        return math.prod(len(along) for along in self._within(self.array.chunks))

    def _within(self, lengths: Sequence[int]) -> list[Sequence[int]]:
        pairs = zip(self.along, lengths, strict=True)
        return [_numbers(along, length) for along, length in pairs]


def _numbers(along: Along | int, length: int) -> Sequence[int]:
    if isinstance(along, int):
        return (along // length,)
    if isinstance(along, range) and along.step == 1:
        return range(along.start // length, -(-along.stop // length)) if along else ()
    found: list[int] = np.unique(np.asarray(along, dtype=np.intp) // length).tolist()
    return found


def key_of(array: zarr.Array[Any], numbers: Numbers) -> str:
    """Return the name of a chunk's (or shard's) file in the store.

    Examples
    --------
    >>> import zarr
    >>> from dfmr_dask.data.chunks import key_of
    >>> key_of(zarr.zeros((4, 4), chunks=(2, 2), store={}), (0, 1))
    'c/0/1'
    """
    key = array.metadata.encode_chunk_key(numbers)
    return f"{array.path}/{key}" if array.path else key


def stored(array: Any) -> Touched | None:
    """Return what a Zarr array, or a variable that is not loaded yet, selects from its store.

    None where no chunks of Zarr lie below.
    """
    if isinstance(array, zarr.Array):
        return Touched(array, tuple(range(size) for size in array.shape))
    if not isinstance(array, xr.Variable):
        return None
    keys: list[Any] = []
    inner: Any = array._data
    while inner is not None and not hasattr(inner, "get_array"):
        keys.append(getattr(inner, "key", None))
        inner = getattr(inner, "array", None)
    below = inner.get_array() if inner is not None else None
    if not isinstance(below, zarr.Array):
        return None
    along: tuple[Along | int, ...] = tuple(range(size) for size in below.shape)
    for key in reversed([key for key in keys if hasattr(key, "tuple")]):
        along = _narrowed(along, key.tuple)
    return Touched(below, along, not any("Vectorized" in type(key).__name__ for key in keys))


def touched(array: Any, axes: Axes, box: Box, whole: Touched | None = None) -> Touched | None:
    """Return what a box of rows takes from an array; None where no chunks of Zarr lie below.

    Parameters
    ----------
    array : zarr.Array or xarray.Variable
        A variable that is not loaded may be a slice, or any selection, of what is stored.
    axes : tuple of int or None
        Which of the array's dimensions is the first, second, ... sample dimension.
    box : tuple of spans
    whole : Touched, optional
        What :func:`stored` returns for the array, when many boxes are asked for.
    """
    found = stored(array) if whole is None else whole
    if found is None:
        return None
    index: list[slice] = [slice(None)] * len(array.shape)
    for axis, span in zip(axes, box, strict=True):
        if axis is not None:
            index[axis] = slice(*span)
    if found.in_order:
        return Touched(found.array, _narrowed(found.along, index))
    return stored(array[tuple(index)])


def _narrowed(along: Sequence[Along | int], key: Sequence[Any]) -> tuple[Along | int, ...]:
    """Apply a selection to what was selected before it; an axis that an int took stays so."""
    entries = iter(key)
    return tuple(one if isinstance(one, int) else _entry(one, next(entries)) for one in along)


def _entry(one: Along, entry: Any) -> Along | int:
    if isinstance(entry, slice):
        return one[entry]
    if isinstance(entry, int | np.integer):
        return int(one[int(entry)])
    points: NDArray[np.intp] = np.asarray(one, dtype=np.intp)[np.asarray(entry).ravel()]
    return points
