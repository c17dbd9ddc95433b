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
    along : tuple of range or array of int
        For each axis, the indices that are selected; their product is what is read. (Points
        picked one by one are taken for the product of their coordinates, which holds them all.)
    """

    array: zarr.Array[Any]
    along: tuple[Along, ...]

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


def _numbers(along: Along, length: int) -> Sequence[int]:
    if isinstance(along, range) and along.step == 1:
        return range(along.start // length, -(-along.stop // length)) if along else ()
    found: list[int] = np.unique(np.asarray(along, dtype=np.intp) // length).tolist()
    return found


def key_of(array: zarr.Array[Any], numbers: Numbers) -> str:
    """Return the name of a chunk's (or shard's) file inside its array.

    Examples
    --------
    >>> import zarr
    >>> from dfmr_dask.data.chunks import key_of
    >>> key_of(zarr.zeros((4, 4), chunks=(2, 2), store={}), (0, 1))
    'c/0/1'
    """
    return array.metadata.encode_chunk_key(numbers)


def touched(array: Any, axes: Axes, box: Box) -> Touched | None:
    """Return what a box of rows takes from an array; None where no chunks of Zarr lie below.

    Parameters
    ----------
    array : zarr.Array or xarray.Variable
        A variable that is not loaded may be a slice, or any selection, of what is stored.
    axes : tuple of int or None
        Which of the array's dimensions is the first, second, ... sample dimension.
    box : tuple of spans
    """
    index: list[slice] = [slice(None)] * len(array.shape)
    for axis, span in zip(axes, box, strict=True):
        if axis is not None:
            index[axis] = slice(*span)
    if isinstance(array, zarr.Array):
        return Touched(array, _narrowed([range(size) for size in array.shape], index))
    return selected(array[tuple(index)]) if isinstance(array, xr.Variable) else None


def selected(variable: xr.Variable) -> Touched | None:
    """Return what a variable that is not loaded yet selects from the array in its store."""
    keys: list[tuple[Any, ...]] = []
    inner: Any = variable._data
    while inner is not None and not hasattr(inner, "get_array"):
        keys.append(getattr(getattr(inner, "key", None), "tuple", ()))
        inner = getattr(inner, "array", None)
    array = inner.get_array() if inner is not None else None
    if not isinstance(array, zarr.Array):
        return None
    along: tuple[Any, ...] = tuple(range(size) for size in array.shape)
    for key in reversed([key for key in keys if key]):
        along = _narrowed(along, key)
    return Touched(array, tuple(_as_many(one) for one in along))


def _narrowed(along: Sequence[Any], key: Sequence[Any]) -> tuple[Any, ...]:
    """Apply a selection to what was selected before it; an axis that an int took stays so."""
    entries = iter(key)
    return tuple(one if isinstance(one, int) else _entry(one, next(entries)) for one in along)


def _entry(one: Along, entry: Any) -> Any:
    if isinstance(entry, slice):
        return one[entry]
    if isinstance(entry, int | np.integer):
        return int(one[int(entry)])
    return np.asarray(one, dtype=np.intp)[np.asarray(entry).ravel()]


def _as_many(one: Any) -> Along:
    return range(one, one + 1) if isinstance(one, int) else one
