"""What is fitted: data that were opened, and the plan of who reads which of their rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from dfmr_dask.data import fingerprints
from dfmr_dask.data.backends import Backend, RowsBackend
from dfmr_dask.data.genotypes.matching import Matching
from dfmr_dask.data.grid import Box
from dfmr_dask.data.mixing import Chunked, some_strips
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
    matching : Matching or None
        Of genotypes, which variants of each store are read, and why others are not.
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
    matching: Matching | None = None

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
