"""From a path or URL to an open Zarr array or group, or to an error that says what is there."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import xarray as xr
import zarr
from zarr.storage import FsspecStore

from dfmr_dask.data.arrays import (
    opened_dask,
    opened_frame,
    opened_numpy,
    opened_pandas,
    opened_zarr,
)
from dfmr_dask.data.backends import Opened
from dfmr_dask.data.checked_store import CheckedStore, behind
from dfmr_dask.data.codecs import unsafe
from dfmr_dask.data.features import Expected, Wanted
from dfmr_dask.data.integrity import may_fill
from dfmr_dask.data.labelled import opened_labelled
from dfmr_dask.data.remote import scrubbed, without_secrets
from dfmr_dask.data.weights import no_weight
from dfmr_dask.errors import InvalidSource

Node = Any  # zarr.Array or zarr.Group
HINTS = {
    ".nc": "open it with xarray.open_dataset and pass the dataset",
    ".h5": "open it with xarray.open_dataset and pass the dataset",
    ".parquet": "open it with dask.dataframe.read_parquet and pass that",
    ".csv": "open it with dask.dataframe.read_csv and pass that",
    ".npy": "load it with numpy.load(..., mmap_mode='r') and pass the array",
}


def opened_data(
    data: Any,
    features: Wanted = None,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    weight: Any = None,
    missing_chunks: str = "fail",
) -> Opened:
    """Open whatever :func:`dfmr_dask.open_source` takes.

    Raises
    ------
    InvalidSource
        When it is none of these, or arguments mean nothing for it.
    """
    fills = may_fill(missing_chunks)
    if isinstance(data, str | os.PathLike):
        return opened_location(data, features, group, storage_options, weight, fills)
    if storage_options:
        raise InvalidSource(f"storage_options= are for URLs, and {_kind(data)} came; leave it out")
    if isinstance(data, zarr.Array | zarr.Group):
        node = inside(data, group)
        return opened_node(node, features, without_secrets(str(node.store_path)), weight, fills)
    if group:
        raise InvalidSource(f"group={group!r} is for Zarr, and {_kind(data)} came; leave it out")
    if isinstance(data, xr.Dataset | xr.DataArray):
        return opened_labelled(data, features, weight=weight, fills=fills)
    openers: list[tuple[Any, Any]] = [
        (da.Array, opened_dask),
        (dd.DataFrame, opened_frame),
        (pd.DataFrame, opened_pandas),
        (np.ndarray, opened_numpy),
    ]
    for kind, opener in openers:
        if isinstance(data, kind):
            opened: Opened = opener(data, features, weight)
            return opened
    raise InvalidSource(
        f"cannot open {_kind(data)}; wanted a path or URL of a Zarr store, or a zarr, xarray, "
        "dask, numpy or pandas object"
    )


def _kind(data: Any) -> str:
    return f"a {type(data).__module__}.{type(data).__qualname__}"


def opened_location(
    location: str | os.PathLike[str],
    features: Wanted,
    group: str | None,
    storage_options: Mapping[str, Any] | None,
    weight: Any = None,
    fills: bool = False,
) -> Opened:
    """Open a Zarr array or group at a path or URL.

    Raises
    ------
    InvalidSource
        When there is nothing, or something else.
    """
    text, place = _place(location, group, storage_options)
    return opened_node(_node(text, group, storage_options), features, place, weight, fills)


def _place(
    location: str | os.PathLike[str], group: str | None, storage_options: Mapping[str, Any] | None
) -> tuple[str, str]:
    """Return a path or URL as Zarr opens it, and as people may see it."""
    text = os.fspath(location)
    if text.startswith("file://"):
        path = _existing(url2pathname(urlsplit(text).path))
        text = text if storage_options else str(path)  # options are for fsspec, which opens URLs
    elif "://" not in text and "::" not in text:
        text = str(_existing(text))
        if storage_options:
            raise InvalidSource(
                f"storage_options= came with the path {text}; they are for URLs: leave them out, "
                f"or write file://{text}"
            )
    return text, without_secrets(text) + (f"/{group}" if group else "")


def opened_group(
    data: Any, group: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> tuple[Node, str]:
    """Open the Zarr array or group at a path or URL, or inside an open one, and say where it lies.

    Raises
    ------
    InvalidSource
        When there is none.
    """
    if isinstance(data, str | os.PathLike):
        text, place = _place(data, group, storage_options)
        return _node(text, group, storage_options), place
    if isinstance(data, zarr.Array | zarr.Group) and not storage_options:
        node = inside(data, group)
        return node, without_secrets(str(node.store_path))
    raise InvalidSource(
        f"{_kind(data)} came; wanted a path or URL of a Zarr group, or a zarr.Group"
    )


def opened_node(
    node: Node, features: Wanted, location: str, weight: Any = None, fills: bool = False
) -> Opened:
    """Open a Zarr array, or a group as a dataset of xarray."""
    ours_alone = in_this_process(node)
    if isinstance(node, zarr.Group):
        dataset, left_out = _dataset(node, location)
        found = dataset.load() if ours_alone else dataset
        opened = opened_labelled(found, features, location, weight, fills)
        note = f"left out, neither numbers nor plain text: {', '.join(left_out)}"
        return replace(opened, notes=(*opened.notes, *[note] * bool(left_out)))
    no_weight(weight, f"the Zarr array {location}")
    given = None if isinstance(features, Expected) else features  # an array names no features
    return opened_zarr(node, given, location, ours_alone, fills)


def inside(node: Node, group: str | None) -> Node:
    """Return what lies at a path inside an open group.

    Raises
    ------
    InvalidSource
        When there is nothing, or the node is an array.
    """
    if not group:
        return node
    place = without_secrets(str(node.store_path))
    if not isinstance(node, zarr.Group):
        raise InvalidSource(f"group={group!r} came with the Zarr array {place}; leave it out")
    try:
        return node[group]
    except KeyError as error:
        held = ", ".join(sorted(node.keys())) or "nothing"
        raise InvalidSource(f"{place} has no group {group!r}; it holds: {held}") from error


def _existing(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if not path.exists():
        raise InvalidSource(f"there is no {path}; {_told(path.parent)}")
    if path.is_file() and path.suffix != ".zip":
        hint = HINTS.get(path.suffix, "wanted the folder of a Zarr array or group")
        raise InvalidSource(f"{path} is a file, no Zarr store; {hint}")
    return path


def _hint(folder: Path) -> str:
    """Say how to open a folder of files that are common and no Zarr."""
    found = [s for s in HINTS if folder.suffix == s or any(folder.glob(f"*{s}"))]
    found = found or [s for s in HINTS if any(folder.glob(f"*/*{s}"))]  # one folder for each year
    return f". It looks like {found[0]}: {HINTS[found[0]]}" if found else ""


def _told(folder: Path) -> str:
    """Say what a folder holds, or which of its parents is there at all."""
    while not folder.is_dir():
        folder = folder.parent
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    more = ", ..." if len(names) > 10 else ""
    return f"{folder} holds: {', '.join(names[:10]) or 'nothing'}{more}"


def _node(text: str, group: str | None, storage_options: Mapping[str, Any] | None) -> Node:
    options = dict(storage_options) if storage_options else None
    try:
        if "://" not in text and "::" not in text:
            return zarr.open(text, mode="r", path=group)
        found = FsspecStore.from_url(text, storage_options=options, read_only=True)
        return zarr.open(CheckedStore(found), mode="r", path=group)  # busy servers are waited for
    except Exception as error:  # backends of fsspec raise what they like
        place = without_secrets(text) + (f", group {group!r}" if group else "")
        said = scrubbed(str(error), options)
        told = f"; {_told(Path(text))}{_hint(Path(text))}" if Path(text).is_dir() else ""
        raise InvalidSource(
            f"{place} cannot be opened as a Zarr array or group: {type(error).__name__}: "
            f"{said}{told}"
        ) from error


def _dataset(group: zarr.Group, location: str) -> tuple[xr.Dataset, list[str]]:
    """Open a group, and leave out arrays whose chunks might run code when they are decoded."""
    try:
        left_out = [name for name, array in group.arrays() if unsafe(array.metadata)]
        with warnings.catch_warnings():  # a store without consolidated metadata is fine
            warnings.simplefilter("ignore", RuntimeWarning)
            dataset = xr.open_dataset(
                group.store,  # type: ignore[arg-type]
                engine="zarr",
                group=group.path or None,
                chunks=None,
                drop_variables=left_out,
                cache=False,
                decode_timedelta=False,  # a wave's period in seconds is a number
            )
        return dataset, left_out
    except Exception as error:
        raise InvalidSource(
            f"the Zarr group {location} cannot be opened with xarray: {error}; its arrays are: "
            f"{_array_names(group)}. Open one of them with group=<name>"
        ) from error


def _array_names(group: zarr.Group) -> str:
    try:
        return ", ".join(sorted(group.array_keys())) or "none"
    except Exception:  # what kept the group from being opened may keep its arrays from being listed
        return "not to be listed either"


def in_this_process(node: Node) -> bool:
    """Tell whether a store lies in this process's memory, where no other process finds it."""
    store = behind(node.store)
    if isinstance(store, zarr.storage.MemoryStore):
        return True
    protocol = getattr(getattr(store, "fs", None), "protocol", ())
    inner = getattr(getattr(getattr(store, "fs", None), "sync_fs", None), "protocol", ())
    return "memory" in protocol or "memory" in inner
