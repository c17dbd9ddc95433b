"""What xarray knows of the chunks of variables that are not loaded yet."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import xarray as xr

from dfmr_dask.data.grid import Axis, irregular


def chunk_axes(variable: xr.Variable, shards: bool) -> dict[str, Axis]:
    """Return, for each dimension, where chunks (or shards, if there are some) begin.

    A variable that was sliced after it was opened keeps the chunks of its store, but they begin
    elsewhere.
    """
    dims = [str(dim) for dim in variable.dims]
    if variable.chunks is not None:
        return dict(zip(dims, irregular(variable.chunks), strict=True))
    lengths = _encoded(variable, shards)
    offsets = _offsets(variable)
    return {
        dim: _axis(size, min(lengths.get(dim, size) or size, size) or 1, lengths, offsets, dim)
        for dim, size in zip(dims, variable.shape, strict=True)
    }


def _axis(
    size: int, chunk: int, lengths: dict[str, int], offsets: dict[str, int], dim: str
) -> Axis:
    stored = lengths.get(dim, 0)
    shift = offsets.get(dim, 0) % stored if stored else 0
    if not shift or stored - shift >= size:
        return Axis(size, chunk)
    return Axis(size, edges=(0, *range(stored - shift, size, stored), size))


def _encoded(variable: xr.Variable, shards: bool) -> dict[str, int]:
    """Return the lengths of chunks by dimension, as the backend wrote them down."""
    preferred = variable.encoding.get("preferred_chunks") or {}
    names = [str(name) for name in preferred]
    dims = [str(dim) for dim in variable.dims]
    if not set(dims) & set(names):  # renamed dimensions: the order is what is left
        names = dims
    found = variable.encoding.get("chunks")
    if shards and variable.encoding.get("shards"):
        found = variable.encoding["shards"]
    if found is None:
        found = tuple(preferred.values())
    return dict(zip(names, map(int, found), strict=True)) if len(found) == len(names) else {}


def _key(variable: xr.Variable) -> tuple[Any, ...]:
    """Return what was selected from the stored array, as far as xarray tells."""
    inner: Any = variable._data
    while inner is not None and not hasattr(inner, "key"):
        inner = getattr(inner, "array", None)
    return tuple(getattr(getattr(inner, "key", None), "tuple", ()))


def _offsets(variable: xr.Variable) -> dict[str, int]:
    kept = [entry for entry in _key(variable) if not isinstance(entry, int | np.integer)]
    if len(kept) != variable.ndim or not all(isinstance(entry, slice) for entry in kept):
        return {}
    plain = all((entry.step or 1) == 1 for entry in kept)
    starts = [entry.start or 0 for entry in kept]
    return dict(zip(map(str, variable.dims), starts, strict=True)) if plain else {}


def selection_hash(variable: xr.Variable) -> str:
    """Return a hash of what was selected: two slices of one store are two sources."""
    digest = hashlib.sha256(repr((variable.dims, variable.shape)).encode())
    for entry in _key(variable):
        plain = repr(entry) if isinstance(entry, slice) else np.asarray(entry).tobytes().hex()
        digest.update(plain.encode())
    return digest.hexdigest()
