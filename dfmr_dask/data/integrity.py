"""Rotten data are found: chunks that are missing, cut short or undecodable are told by their key.

Every array is read through a :class:`~dfmr_dask.data.checked_store.CheckedStore`. Of shards, whose
inner chunks may be missing too, the index is fetched before Zarr asks for it.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.codecs import ShardingCodec
from zarr.core.sync import sync
from zarr.storage import StorePath

from dfmr_dask.data.checked_store import CheckedStore
from dfmr_dask.data.chunks import Numbers, Touched, key_of, stored, touched
from dfmr_dask.data.codecs import check_codecs, unsafe
from dfmr_dask.data.grid import Axes, Box
from dfmr_dask.errors import DfmrError, InvalidSource, SourceChanged

CHOICES = ("fail", "fill")  # what to do about chunks that are not in the store
DECODING = ("_FillValue", "missing_value", "scale_factor", "add_offset", "_Unsigned")
NOWHERE = 2**64 - 1  # offset and length of an inner chunk that is not in its shard


def may_fill(missing_chunks: str) -> bool:
    """Return whether chunks that are not in the store are read as the fill value.

    Raises
    ------
    InvalidSource
    """
    if missing_chunks not in CHOICES:
        raise InvalidSource(f"missing_chunks={missing_chunks!r}; wanted one of {list(CHOICES)}")
    return missing_chunks == "fill"


def checked(array: zarr.Array[Any], label: str, fills: bool) -> zarr.Array[Any]:
    """Return the same array, read through a :class:`CheckedStore`.

    Raises
    ------
    InvalidSource
        When its codecs are not those of numbers.
    """
    check_codecs(array.metadata, label)
    return _through(array, label, fills)


def _through(array: zarr.Array[Any], label: str, fills: bool) -> zarr.Array[Any]:
    store = CheckedStore(array.store_path.store, array.path, label, fills)
    within = copy.copy(array._async_array)
    object.__setattr__(within, "store_path", StorePath(store, array.path))
    return zarr.Array(within)


def read_whole(array: zarr.Array[Any], label: str, fills: bool) -> NDArray[Any]:
    """Read all of a small array of numbers or plain text, rotten chunks found.

    Raises
    ------
    InvalidSource
        When its codecs are neither those of numbers nor of text.
    UnreadableChunk
    """
    if unsafe(array.metadata):
        raise InvalidSource(
            f"{label} is stored as Python objects, which may run code when they are read; write "
            "it anew as numbers or text"
        )
    own = _through(array, label, fills)
    with watched((own,), ((),), ()):
        return np.asarray(own[...])


def checked_variable(variable: xr.DataArray, fills: bool) -> xr.DataArray:
    """Return the same variable, read through a :class:`CheckedStore` where Zarr lies below it."""
    if variable.variable._in_memory or stored(variable.variable) is None:
        return variable
    return variable.copy(
        deep=False, data=_over(variable.variable._data, f"variable {variable.name}", fills)
    )


def _over(inner: Any, label: str, fills: bool) -> Any:
    """Copy the layers that xarray put over an array of Zarr, with the array replaced."""
    if hasattr(inner, "get_array"):
        return type(inner)(checked(inner.get_array(), label, fills))
    layer = copy.copy(inner)
    layer.array = _over(inner.array, label, fills)
    return layer


def _checked_part(array: Any, axes: Axes, box: Box) -> tuple[Touched, CheckedStore] | None:
    part = touched(array, axes, box)
    store = None if part is None else part.array.store_path.store
    return (part, store) if part is not None and isinstance(store, CheckedStore) else None


@contextmanager
def watched(arrays: Sequence[Any], axes: Sequence[Axes], box: Box) -> Iterator[None]:
    """Read a box of arrays inside this, and an error names the chunk that is to blame.

    Raises
    ------
    UnreadableChunk
        Before anything is read when an inner chunk of a shard is missing. For errors in the body
        the chunks of the box are read one by one, and the first that cannot be is named.
    """
    pairs = zip(arrays, axes, strict=True)
    parts = [part for part in (_checked_part(*pair, box) for pair in pairs) if part is not None]
    for part, store in parts:
        if part.array.shards is not None:
            _check_shards(part, store)
    try:
        yield
    except Exception as error:
        for part, store in parts:
            _blame(part, store)
        raise error
    finally:
        for _, store in parts:
            store.forget()


def _blame(part: Touched, store: CheckedStore) -> None:
    """Raise the error of the first chunk that cannot be read, if there is one."""
    array = part.array
    for numbers in part.units():
        pairs = zip(numbers, array.chunks, strict=True)
        try:
            array[tuple(slice(i * length, (i + 1) * length) for i, length in pairs)]
        except DfmrError:
            raise
        except Exception as error:
            outer, inner = _placed(array, numbers)
            raise store.undecodable(key_of(array, outer), error, inner) from error


def _placed(array: zarr.Array[Any], numbers: Numbers) -> tuple[Numbers, str]:
    """Return the number of a chunk's file, and its place in it if that is a shard."""
    if array.shards is None:
        return numbers, ""
    each = [shard // chunk for shard, chunk in zip(array.shards, array.chunks, strict=True)]
    pairs = list(zip(numbers, each, strict=True))
    return tuple(i // n for i, n in pairs), "/".join(str(i % n) for i, n in pairs)


def _check_shards(part: Touched, store: CheckedStore) -> None:
    """Raise when an inner chunk that will be read is not in its shard."""
    if store.fills:
        return
    shards = list(part.files())
    indices = dict(zip(shards, sync(_indices(part.array, store, shards)), strict=True))
    for numbers in part.units():
        shard, inner = _placed(part.array, numbers)
        place = tuple(map(int, inner.split("/")))
        if (indices[shard][place] == NOWHERE).all():
            raise store.missing(key_of(part.array, shard), inner)


async def _indices(array: Any, store: CheckedStore, shards: Sequence[Numbers]) -> list[Any]:
    codec: ShardingCodec = array.metadata.codecs[0]
    pairs = zip(array.shards, array.chunks, strict=True)
    shape = (*(shard // chunk for shard, chunk in pairs), 2)
    checksum = 4 * (len(codec.index_codecs) - 1)  # crc32c behind the numbers
    size = int(np.prod(shape)) * 8 + checksum
    at_start = codec.index_location.value == "start"
    where = RangeByteRequest(0, size) if at_start else SuffixByteRequest(size)
    found = await asyncio.gather(*(store.ahead(key_of(array, s), where) for s in shards))
    return [np.frombuffer(one.to_bytes()[: size - checksum], "<u8").reshape(shape) for one in found]


def check_unchanged(arrays: Iterable[Any]) -> None:
    """Compare the metadata of stored arrays with those that were planned.

    Raises
    ------
    SourceChanged
        With what is not as it was: shape, dtype, chunks, codecs, or how numbers are decoded.
    """
    parts = [part for part in map(stored, arrays) if part is not None]
    ours = [p.array for p in parts if isinstance(p.array.store_path.store, CheckedStore)]
    if ours:
        sync(_compared(ours))


async def _compared(arrays: Sequence[zarr.Array[Any]]) -> None:
    await asyncio.gather(*(_same(array) for array in arrays))


async def _same(array: zarr.Array[Any]) -> None:
    store: Any = array.store_path.store
    try:
        version = array.metadata.zarr_format
        now = await zarr.AsyncArray.open(array.store_path, zarr_format=version)
    except Exception as error:
        raise SourceChanged(
            f"the metadata of {store.label} cannot be read any more: {store.cause(error)}"
        ) from error
    was, found = facts(array.metadata), facts(now.metadata)
    differing = [key for key in sorted({*was, *found}) if was.get(key) != found.get(key)]
    if differing:
        told = "; ".join(f"{k} was {was.get(k)}, is {found.get(k)}" for k in differing)
        raise SourceChanged(
            f"{store.label} is not the array that was planned: {told}. Open the source again"
        )


def facts(metadata: Any) -> dict[str, Any]:
    """Return what decides how an array's chunks are found and read, as plain values."""
    text = json.dumps(metadata.to_dict(), default=str)
    plain: dict[str, Any] = json.loads(text, parse_constant=str)  # NaN would differ from itself
    attributes: Mapping[str, Any] = plain.pop("attributes", None) or {}
    decoding = {key: attributes[key] for key in DECODING if key in attributes}
    plain.pop("consolidated_metadata", None)
    return {**plain, **({"attributes": decoding} if decoding else {})}
