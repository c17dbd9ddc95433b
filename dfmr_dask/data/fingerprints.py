"""What tells whether data are still those of an earlier run, without reading them.

Own SHA-256 over canonical bytes: the same in any process, on any machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfmr_dask.data.backends import Backend, GridBackend, content_hash
from dfmr_dask.data.chunks import Touched, key_of, stored, touched
from dfmr_dask.data.genotypes.backend import SitesBackend
from dfmr_dask.data.grid import Axes, Box
from dfmr_dask.data.integrity import facts
from dfmr_dask.data.plan import Partition
from dfmr_dask.data.stamps import Ask, stamper, told

LONGEST = 120  # characters of a value that differs


def sha256(value: Any) -> str:
    """Return the SHA-256 of plain values: the order of keys does not count, that of lists does.

    Examples
    --------
    >>> from dfmr_dask.data.fingerprints import sha256
    >>> sha256({"a": 1, "b": (2, 3)}) == sha256({"b": [2, 3], "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """An array of a layout, and what of its store it selects."""

    array: Any
    axes: Axes
    whole: Touched

    @property
    def path(self) -> str:
        return self.whole.array.path or "/"

    def keys(self, boxes: Iterable[Box]) -> list[str]:
        """Return the keys of the files that boxes touch, each once."""
        parts = [touched(self.array, self.axes, box, self.whole) for box in boxes]
        there = [part for part in parts if part is not None]
        return _once(key_of(part.array, numbers) for part in there for numbers in part.files())

    def facts(self) -> dict[str, Any]:
        """Return how the array is stored and what of it is read, but not its length."""
        plain = facts(self.whole.array.metadata)
        del plain["shape"]
        return {**plain, "selection": [_along(one) for one in self.whole.along]}


def _along(one: Any) -> Any:
    """Return a selection along one axis; where it ends is told by the shape of the source."""
    if isinstance(one, range):
        return [one.start, one.step]
    return (
        one
        if isinstance(one, int)
        else hashlib.sha256(np.asarray(one, "<i8").tobytes()).hexdigest()
    )


def of_arrays(backend: Backend) -> dict[str, Any]:
    """Return what is known of the arrays behind a source, as plain values.

    Arrays of Zarr by name, with dtype, chunks, codecs and how numbers are decoded (not their
    shape: a store that grows stays itself), and what the fingerprints of partitions are made of.
    Other data have the identity by which descriptions tell them apart.
    """
    if isinstance(backend, SitesBackend):
        parts = zip(backend.names, map(of_arrays, backend.sites), strict=True)
        return {"kind": "sites", "sites": dict(parts)}
    found, loaded = _arrays(backend)
    if not found or not isinstance(backend, GridBackend):
        return {**backend.identity(), "stamps": "none: all partitions share one fingerprint"}
    plain = {"kind": "zarr", "arrays": {one.path: one.facts() for one in found}}
    more = {"loaded": content_hash(loaded)} if loaded else {}
    return {**plain, **more, **backend.layout.facts, "stamps": told(found[0].whole.array.store)}


def of_partitions(backend: Backend, partitions: Sequence[Partition]) -> dict[int, str]:
    """Return the fingerprints of partitions by their number.

    Each is the SHA-256 of the partition's boxes, and of key, size and stamp of every file that
    they touch, as the store's file system tells them. Data without such files have one for all.
    """
    if isinstance(backend, SitesBackend):
        return _of_sites(backend, partitions)
    found, _ = _arrays(backend)
    about = of_arrays(backend)
    asking = [stamper(one.whole.array.store) for one in found]
    if not found or None in asking:
        return dict.fromkeys((partition.index for partition in partitions), sha256(about))
    general = sha256({**about, "stamps": ""})
    stamped = [
        _stamped([one.keys(partition.boxes) for partition in partitions], ask, one.whole.array)
        for one, ask in zip(found, asking, strict=True)
        if ask is not None
    ]
    return {
        partition.index: sha256([general, partition.boxes, files])
        for partition, *files in zip(partitions, *stamped, strict=True)
    }


def _of_sites(backend: SitesBackend, partitions: Sequence[Partition]) -> dict[int, str]:
    """Return the fingerprints of partitions, each that of its rows in its own store."""
    parts: dict[int, list[Partition]] = {}
    for partition in partitions:
        for site, inner in backend.within(partition):
            parts.setdefault(site, []).append(inner)
    found: dict[int, str] = {}
    for site, some in parts.items():
        found |= of_partitions(backend.sites[site], some)
    return {partition.index: found[partition.index] for partition in partitions}


def _stamped(keys: Sequence[Sequence[str]], ask: Ask, array: Any) -> list[list[Any]]:
    """Return keys with their stamps, for each partition; each file is asked for once."""
    stamps = ask(array.path, _once(key for few in keys for key in few))
    absent = "absent, to be filled" if getattr(array.store, "fills", True) else "absent"
    return [[[key, stamps[key] or absent] for key in few] for few in keys]


def _arrays(backend: Backend) -> tuple[list[_Stored], list[Any]]:
    """Return a source's arrays of Zarr and those in memory; none when it reads others as well."""
    if not isinstance(backend, GridBackend):
        return [], []
    layout = backend.layout
    pairs: list[tuple[Any, Axes]] = list(zip(layout.arrays, layout.axes, strict=True))
    if layout.weight is not None:
        pairs.append((layout.weight.array, layout.weight.axes))
    loaded = [array for array, _ in pairs if isinstance(array, np.ndarray)]
    wholes = [(array, axes, stored(array)) for array, axes in pairs]
    found = [_Stored(array, axes, whole) for array, axes, whole in wholes if whole is not None]
    return (found, loaded) if len(found) + len(loaded) == len(pairs) else ([], [])


def _once(keys: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(keys))


def differences(before: Mapping[Any, Any], now: Mapping[Any, Any]) -> list[str]:
    """Say what differs between two fingerprints, one sentence for each value.

    Parameters
    ----------
    before, now : mapping
        Plain values, nested as they like.

    Returns
    -------
    list of str
        Empty when they are the same.

    Examples
    --------
    >>> from dfmr_dask.data.fingerprints import differences
    >>> differences({"shape": [100], "data": {"a": 1}}, {"shape": [120], "data": {"a": 1}})
    ['shape was [100], is [120]']
    """
    return list(_differing(before, now, ""))


def _differing(before: Mapping[Any, Any], now: Mapping[Any, Any], place: str) -> Iterator[str]:
    for key in sorted({*before, *now}, key=str):
        name = f"{place}{key}"
        if key not in now:
            yield f"{name} was {_short(before[key])}, is gone"
        elif key not in before:
            yield f"{name} is new: {_short(now[key])}"
        elif isinstance(before[key], Mapping) and isinstance(now[key], Mapping):
            yield from _differing(before[key], now[key], f"{name}.")
        elif sha256(before[key]) != sha256(now[key]):  # as they are hashed: True is not 1
            yield f"{name} was {_short(before[key])}, is {_short(now[key])}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str) if value is not None else "none"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
