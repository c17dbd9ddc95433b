"""What is fitted: data that were opened, and the plan of who reads which of their rows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from dfmr_dask.data import fingerprints
from dfmr_dask.data.backends import Backend, Opened, RowsBackend
from dfmr_dask.data.choosing import Wish, chunked, planned
from dfmr_dask.data.grid import Box
from dfmr_dask.data.mixing import Chunked, some_strips
from dfmr_dask.data.opening import opened_data
from dfmr_dask.data.plan import Plan
from dfmr_dask.data.readers import BoxReader, Reader
from dfmr_dask.data.streaming import Stream
from dfmr_dask.errors import InvalidSource


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Source:
    """Data and their partitions; made by :func:`open_source`.

    Attributes
    ----------
    features : tuple of str
        Names of the columns of a row.
    sample_dims : tuple of str
        Dimensions that count rows.
    shape : tuple of int
        Their lengths; empty when only reading would tell (``dask.dataframe``).
    dtype : numpy.dtype
        In which rows are read.
    plan : Plan
    in_memory : bool
        Whether the rows are in this process: NumPy, pandas, what is loaded.
    location : str
        For people.
    units : dict of str to str
        Of features, as far as they are known.
    named : bool
        Whether features have names, and are not but numbered.
    weight : str or None
        What the weights of rows are called; None where each row counts once.
    chunked : Chunked or None
        What :meth:`interleaved` plans with; None where rows lie in no chunks.
    """

    features: tuple[str, ...]
    sample_dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    plan: Plan
    in_memory: bool
    location: str
    units: dict[str, str]
    named: bool
    backend: Backend
    weight: str | None = None
    chunked: Chunked | None = None

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        return self.weight is not None

    @property
    def n_features(self) -> int:
        """Columns of a row."""
        return len(self.features)

    @property
    def n_rows(self) -> int | None:
        """Rows in all partitions; None when only reading would tell."""
        return self.plan.rows

    @property
    def description(self) -> dict[str, Any]:
        """Plain values that differ when data or plan differ (tables in memory are hashed)."""
        boxes = json.dumps([partition.boxes for partition in self.plan.partitions])
        order = self.backend.order if isinstance(self.backend, RowsBackend) else None
        told = boxes.encode() + (b"" if order is None else order.tobytes())
        digest = hashlib.sha256(told).hexdigest()
        weighing = {"weight": self.weight} if self.weighted else {}
        return {
            **weighing,
            "location": self.location,
            "features": list(self.features),
            "sample_dims": list(self.sample_dims),
            "shape": list(self.shape),
            "dtype": self.dtype.str,
            "data": self.backend.identity(),
            "plan": {"kind": self.plan.name, "partitions": len(self.plan), "sha256": digest},
        }

    def fingerprint(self) -> dict[str, Any]:
        """Return plain values, and their SHA-256, that differ when the source is another one.

        Metadata only: the fingerprints of the partitions tell what the rows are, and
        :func:`~dfmr_dask.data.fingerprints.differences` what differs.
        """
        told = {**self.description, "data": fingerprints.of_arrays(self.backend)}
        return {**told, "sha256": fingerprints.sha256(told)}

    def partition_fingerprints(self, indices: Iterable[int] | None = None) -> dict[int, str]:
        """Return, for some partitions or all, what differs when the data in the store do.

        The SHA-256 of a partition's boxes, and of key, size and stamp (or ETag) of the files of
        all chunks that it touches; nothing is read but the store's listing. Data in memory, of
        Dask, or of files that are no Zarr have one for all, as ``fingerprint()["data"]`` says.
        """
        chosen = range(len(self.plan)) if indices is None else indices
        return fingerprints.of_partitions(
            self.backend, [self.plan.partitions[index] for index in chosen]
        )

    def rows(self, partition: int) -> Reader:
        """Return what reads the rows of a partition.

        Returns
        -------
        callable without arguments, or dask Delayed
            Gives an ndarray of shape (rows, features), or, of a weighted source, WeightedRows: a
            pair of that and the weights (rows,) in float64. A callable opens what it needs by
            itself, and is small enough to be sent to a worker; a Delayed stands for data of Dask.
            Of a partition that the plan streams it is a :class:`~dfmr_dask.data.streaming.Stream`,
            which gives the same block by block to who goes through it.
        """
        reader = self._skipping(self.backend.reader(self.plan.partitions[partition]))
        return Stream(reader, held=False) if partition in self.plan.streamed else reader

    def sample_rows(self, partition: int, n: int, rng: np.random.Generator) -> Reader:
        """Return what reads at least ``n`` rows of a partition, or all if it has fewer.

        They are whole blocks from random places, in the source's order, or a small partition.
        """
        one = self.plan.partitions[partition]
        if self.plan.skips:
            return self._skipping(self.backend.reader(some_strips(one, n, rng)))
        return self.backend.sampler(one, n, rng)

    def _skipping(self, reader: Reader) -> Reader:
        return replace(reader, skips=self.plan.skips) if isinstance(reader, BoxReader) else reader

    def interleaved(self, without: Collection[int] = ()) -> Source:
        """Return the same data in partitions of strips from everywhere, ``without`` those of some.

        Raises
        ------
        InvalidSource
            When rows do not lie in chunks, or none is left.
        """
        if self.chunked is not None:
            return replace(self, plan=self.chunked.mixed(self.plan, without))
        raise InvalidSource(f"{self.location}: its rows do not lie in chunks")

    def as_dataarray(self) -> xr.DataArray:
        """Return a lazy array (sample dimensions..., feature) with the source's coordinates only.

        Raises
        ------
        InvalidSource
            For a ``dask.dataframe``.
        """
        return self.backend.dataarray()

    def box_text(self, partition: int) -> str:
        """Say where the rows of a partition lie, as in ``time 0:10, lat 0:50``."""
        one = self.plan.partitions[partition]
        told = self.backend.where(one)
        if told or not one.boxes:
            return told
        if len(one.boxes) == 1:
            return self._text(one.boxes[0])
        first, last = self._text(one.boxes[0]), self._text(one.boxes[-1])
        return f"{len(one.boxes)} blocks from {first} to {last}"

    def _text(self, box: Box) -> str:
        spans = zip(self.sample_dims, box, strict=True)
        return ", ".join(f"{dim} {start}:{stop}" for dim, (start, stop) in spans)


def open_source(
    data: Any,
    *,
    features: str | int | Sequence[Any] | None = None,
    plan: str | None = None,
    rows_per_partition: int | None = None,
    n_partitions: int | None = None,
    seed: int = 0,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    sample_weight: Any = None,
    missing_chunks: str = "fail",
    memory_per_worker: int | str | None = None,
) -> Source:
    """Open data and plan their partitions; nothing but metadata is read.

    Parameters
    ----------
    data : str, path, zarr, xarray, dask, numpy or pandas object
        A path or fsspec URL of a Zarr array or group; a ``zarr.Array`` (rows, features) or
        ``zarr.Group``; an ``xarray.Dataset`` or ``DataArray``; a ``dask.array`` or
        ``dask.dataframe``; a NumPy array or pandas DataFrame.
    features : str, int or list of str, optional
        Variables or columns that are the features, in this order, or the one dimension (or axis)
        that holds them. All other dimensions count rows. By default all numeric variables, sorted
        by name, or all columns; for an array the last of two dimensions. A list also names the
        columns of an array that has no names.
    plan : {"auto", "chunks", "rows", "interleaved"}, optional
        ``"chunks"``: each chunk (or shard) of the store is a partition. ``"rows"``: consecutive
        rows. ``"interleaved"``: blocks from all over the store, for chunks that are not alike.
        ``"auto"``: chunks (or rows), which a run exchanges for interleaved partitions where samples
        find them unlike. By default it follows from the sizes below, or is ``"auto"``; arrays in
        memory are permuted and cut into ``n_partitions``.
    rows_per_partition : int, optional
        For ``"rows"``; rounded to whole chunks.
    n_partitions : int, optional
        For ``"rows"``, or ``"interleaved"`` of whole chunks; that finds a number itself without it.
    seed : int
        Of what the plan draws.
    group : str, optional
        Path inside the store.
    storage_options : mapping, optional
        For fsspec, such as credentials; only for a URL.
    sample_weight : str or array of shape (rows,), optional
        How often each row counts: the name of a variable, coordinate or column, which is then no
        feature; for NumPy, pandas and ``dask.array`` also the numbers. A variable need not lie
        along all dimensions of the rows: the area of a grid cell counts at every time. Rows of
        weight 0 are as if they were not there, those of weight NaN are left out and counted, and
        a partition with a negative weight fails.
    missing_chunks : {"fail", "fill"}
        What to do about chunks that are not in a Zarr store. ``"fail"``: reading the partition
        raises ``UnreadableChunk`` with the chunk's key. ``"fill"``: they are read as the fill
        value, as Zarr does: for stores whose writer leaves out chunks that hold nothing else.
        Dask's blocks and stores in this process's memory are taken as they are.
    memory_per_worker : int or str, optional
        Bytes of a worker process, or a text such as ``"2GiB"``. Unless a plan is asked for, shards
        that such a worker cannot hold are cut into partitions of whole inner chunks. What is still
        too large is streamed: its fit reads it from the store in each pass, block by block, with
        the same result. What does not even fit then is refused by the run, before it begins.
        Data in memory or of Dask are neither cut nor streamed.

    Returns
    -------
    Source

    Raises
    ------
    InvalidSource
        When there is no such store, values are no numbers, dimensions or names do not fit, there
        are fewer rows (or, interleaved, fewer chunks) than partitions, ``group`` or
        ``storage_options`` mean nothing for data, or ``sample_weight`` does not fit the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.data import open_source
    >>> source = open_source(np.zeros((100, 2)), features=["a", "b"], n_partitions=4)
    >>> source.features, source.n_rows, len(source.plan)
    (('a', 'b'), 100, 4)
    >>> source.rows(0)().shape
    (25, 2)
    """
    opened = opened_data(data, features, group, storage_options, sample_weight, missing_chunks)
    _check_not_empty(opened)
    wish = Wish(plan, rows_per_partition, n_partitions, seed, memory_per_worker)
    made, opened = planned(opened, wish)
    return Source(
        features=opened.features,
        sample_dims=opened.sample_dims,
        shape=tuple(axis.size for axis in opened.grid or ()),
        dtype=opened.dtype,
        plan=made,
        in_memory=opened.in_memory,
        location=opened.location,
        units=opened.feature_units,
        named=opened.named,
        backend=opened.backend,
        weight=opened.weight,
        chunked=chunked(opened, wish),
    )


def _check_not_empty(opened: Opened) -> None:
    empty = opened.grid is not None and not math.prod(axis.size for axis in opened.grid)
    if empty or not opened.features:
        shape = tuple(axis.size for axis in opened.grid or ())
        raise InvalidSource(
            f"{opened.location} is empty: {opened.sample_dims} have lengths {shape}, "
            f"{len(opened.features)} features"
        )
