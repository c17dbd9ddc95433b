"""What a store tells of its files without reading them: sizes, and stamps or ETags."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, ZipStore

from dfmr_dask.data.checked_store import behind
from dfmr_dask.data.remote import http_status, patiently

# what file systems call the mark that changes when a file does, the surest first
MARKS = (
    *("ETag", "etag", "md5Hash", "Content-MD5", "version_id", "mtime"),
    *("LastModified", "Last-Modified", "last_modified", "updated", "created"),
)
AT_ONCE = 64  # questions to a server at the same time
NOT_THERE = frozenset({404, 410})
UNLISTED = frozenset({"http", "https"})  # where a listing would be a page of links
Stamp = tuple[int, str] | None  # bytes, mark; None when there is no such file
Ask = Callable[[str, Sequence[str]], Mapping[str, Stamp]]  # of an array's path, and of keys


def stamper(store: Any) -> Ask | None:
    """Return a function of an array's path and of keys that gives the stamps of these files.

    None for stores that know neither sizes nor stamps.
    """
    below = behind(store)
    if isinstance(below, LocalStore):
        return partial(_local, Path(below.root))
    if isinstance(below, ZipStore):
        return partial(_zipped, Path(below.path))
    return partial(_remote, below) if isinstance(below, FsspecStore) else None


def told(store: Any) -> str:
    """Say what the stamps of a store are."""
    below = behind(store)
    if isinstance(below, LocalStore):
        return "sizes and times of the files of chunks"
    if isinstance(below, ZipStore):
        return "size and time of the zip file"
    if isinstance(below, FsspecStore):
        return "sizes and ETags, or times, of the files of chunks"
    return f"none: a {type(below).__name__} tells neither sizes nor times of chunks"


def _local(root: Path, path: str, keys: Sequence[str]) -> dict[str, Stamp]:
    return {key: _file(root / key) for key in keys}


def _zipped(file: Path, path: str, keys: Sequence[str]) -> dict[str, Stamp]:
    return dict.fromkeys(keys, _file(file))


def _file(file: Path) -> Stamp:
    try:
        found = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_size, str(found.st_mtime_ns)


def _remote(store: FsspecStore, path: str, keys: Sequence[str]) -> dict[str, Stamp]:
    protocol = store.fs.protocol
    names = {protocol} if isinstance(protocol, str) else set(protocol)
    many = len(keys) > AT_ONCE and not names & UNLISTED
    ask = _listed if many else _asked
    found: dict[str, Stamp] = sync(ask(store, path, keys))
    return found


async def _listed(store: FsspecStore, path: str, keys: Sequence[str]) -> dict[str, Stamp]:
    fs, root = store.fs, store.path.rstrip("/")
    fs.invalidate_cache()
    infos = await patiently(partial(fs._find, f"{root}/{path}".rstrip("/"), detail=True))
    found = {name: _stamp(info) for name, info in infos.items()}
    bare = fs._strip_protocol(root).rstrip("/")
    return {key: found.get(f"{bare}/{key}") for key in keys}


async def _asked(store: FsspecStore, path: str, keys: Sequence[str]) -> dict[str, Stamp]:
    store.fs.invalidate_cache()
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(key: str) -> Stamp:
        async with gate:
            return await patiently(partial(_info, store, key))

    return dict(zip(keys, await asyncio.gather(*map(one, keys)), strict=True))


async def _info(store: FsspecStore, key: str) -> Stamp:
    try:
        return _stamp(await store.fs._info(f"{store.path.rstrip('/')}/{key}"))
    except FileNotFoundError as error:
        # over HTTP any answer but a good one becomes "not found"; what it was stands behind it
        behind_it = error.__cause__
        if not isinstance(behind_it, Exception) or http_status(behind_it) in NOT_THERE:
            return None
        if isinstance(behind_it, FileNotFoundError):
            return None
        raise behind_it from None


def _stamp(info: Mapping[str, Any]) -> Stamp:
    mark = next((str(info[name]) for name in MARKS if info.get(name)), "")
    return int(info.get("size") or 0), mark
