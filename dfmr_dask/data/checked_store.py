"""A store of Zarr through which rotten chunks do not pass in silence.

Zarr reads a chunk that is not in the store as its fill value. The store here takes no such answer,
tries again where that may help, and says which chunk it was; nothing is read twice for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any

from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import FsspecStore, WrapperStore

from dfmr_dask.data.remote import TRIES, http_status, may_pass, patiently, scrubbed
from dfmr_dask.errors import UnreadableChunk

METADATA = frozenset({"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"})
RANGE_NOT_SATISFIABLE = 416


class CheckedStore(WrapperStore[Store]):
    """A store of Zarr that refuses to pass over what is missing or cut short.

    Parameters
    ----------
    store : zarr.abc.store.Store
    path : str
        Of the array in the store.
    label : str
        What to call the array in errors.
    fills : bool
        Whether chunks may be absent, and are then read as the fill value.
    """

    def __init__(  # noqa: D107
        self, store: Store, path: str = "", label: str = "the array", fills: bool = True
    ) -> None:
        super().__init__(behind(store))
        self.path, self.label, self.fills = path, label, fills
        self._ahead: dict[tuple[str, Any], Any] = {}  # indices of shards, until Zarr asks for them

    def _with_store(self, store: Any) -> CheckedStore:
        return type(self)(store, self.path, self.label, self.fills)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel without what was read."""
        return type(self), (self._store, self.path, self.label, self.fills)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Return the bytes of a key, or of a part of it; None for metadata that are not there.

        Raises
        ------
        UnreadableChunk
        """
        kept = self._ahead.pop((key, byte_range), None)
        if kept is not None:
            return kept
        metadata = key.rpartition("/")[2] in METADATA
        try:
            value = await patiently(partial(self._asked, key, prototype, byte_range))
        except Exception as error:
            if metadata:
                raise
            raise self.unreadable(key, error) from error
        if metadata or (value is None and self.fills):
            return value
        return self._whole(key, value, byte_range)

    async def _asked(self, key: str, prototype: Any, byte_range: Any) -> Any:
        value = await self._store.get(key, prototype, byte_range)
        if value is not None or byte_range is None or not isinstance(self._store, FsspecStore):
            return value
        # some file systems first ask for the size, and take any error there for "not found"
        if await self._store.get(key, prototype, RangeByteRequest(0, 1)) is not None:
            raise ConnectionError("the end of it was not found, the beginning was")
        return None

    def _whole(self, key: str, value: Any, byte_range: Any) -> Any:
        if value is None:
            raise self.missing(key)
        came, wanted = len(value), _length(byte_range)
        if not came:
            raise self.told(key, "is empty, zero bytes long: restore it")
        if wanted is not None and came < wanted:
            raise self.told(key, f"is cut short: {came} bytes came, {wanted} were to be there")
        if wanted is None or came == wanted:
            return value
        # the server does not know ranges and sent all
        suffix = isinstance(byte_range, SuffixByteRequest)
        return value[-wanted:] if suffix else value[byte_range.start : byte_range.end]

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[Any]) -> Any:
        """Return the bytes of some keys, all at once."""
        return await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges))

    async def ahead(self, key: str, byte_range: Any) -> Any:
        """Read what Zarr will ask for next, once; None when it is missing and may be."""
        prototype = default_buffer_prototype()
        self._ahead.pop((key, byte_range), None)
        value = await self.get(key, prototype, byte_range)
        if value is not None:
            self._ahead[key, byte_range] = value
        return value

    def forget(self) -> None:
        """Drop what was read ahead and nobody asked for."""
        self._ahead.clear()

    def missing(self, key: str, inner: str = "") -> UnreadableChunk:
        """Return the error of a chunk that is not in the store."""
        return self.told(
            key,
            "is missing from the store, and would read as the fill value: restore it, or say "
            'missing_chunks="fill" if chunks may be absent there',
            inner,
        )

    def unreadable(self, key: str, error: Exception) -> UnreadableChunk:
        """Return the error of a chunk that the store does not give."""
        if http_status(error) == RANGE_NOT_SATISFIABLE:
            return self.told(key, "is cut short: the server has not as many bytes")
        tried = f", tried {TRIES} times" if may_pass(error) else ""
        return self.told(key, f"cannot be read{tried}: {self.cause(error)}")

    def undecodable(self, key: str, error: Exception, inner: str = "") -> UnreadableChunk:
        """Return the error of a chunk whose bytes are not what its codecs wrote."""
        return self.told(key, f"cannot be decoded: {self.cause(error)}", inner)

    def cause(self, error: Exception) -> str:
        """Return an error as one line without credentials."""
        text = " ".join(str(error).split())
        options = getattr(getattr(self._store, "fs", None), "storage_options", None)
        return scrubbed(f"{type(error).__name__}: {text}", options)

    def told(self, key: str, what: str, inner: str = "") -> UnreadableChunk:
        """Return an error that names a chunk."""
        name = key.removeprefix(f"{self.path}/") if self.path else key
        chunk = f"inner chunk {inner} of shard {name}" if inner else f"chunk {name}"
        return UnreadableChunk(f"{chunk} of {self.label} {what}")


def _length(byte_range: Any) -> int | None:
    if isinstance(byte_range, RangeByteRequest):
        return byte_range.end - byte_range.start
    return byte_range.suffix if isinstance(byte_range, SuffixByteRequest) else None


def behind(store: Store) -> Store:
    """Return the store that a checked one reads from."""
    return store._store if isinstance(store, CheckedStore) else store
