"""What is fitted: data that were opened, and the plan of who reads which of their rows."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from dfmr_dask.data.backends import Backend, Opened, RowsBackend
from dfmr_dask.data.choosing import Wish, planned
from dfmr_dask.data.features import Expected, Wanted, positions
from dfmr_dask.data.grid import Box
from dfmr_dask.data.opening import opened_data
from dfmr_dask.data.plan import Plan
from dfmr_dask.data.readers import Reader
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
        The rows are in this process: NumPy, pandas, loaded xarray objects, stores in memory.
    location : str
        Where the data lie, for people.
    units : dict of str to str
        Units of features, as far as they are known.
    named : bool
        Whether features have names of their own, and are not but numbered.
    weight : str or None
        What the weights of rows are called; None where each row counts once.
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
        digest = hashlib.sha256(boxes.encode() + (b"" if order is None else order.tobytes()))
        weighing = {"weight": self.weight} if self.weighted else {}
        return {
            **weighing,
            "location": self.location,
            "features": list(self.features),
            "sample_dims": list(self.sample_dims),
            "shape": list(self.shape),
            "dtype": self.dtype.str,
            "data": self.backend.identity(),
            "plan": {
                "kind": self.plan.kind,
                "partitions": len(self.plan),
                "sha256": digest.hexdigest(),
            },
        }

    def rows(self, partition: int) -> Reader:
        """Return what reads the rows of a partition.

        Returns
        -------
        callable without arguments, or dask Delayed
            Gives an ndarray of shape (rows, features), or, of a weighted source, WeightedRows: a
            pair of that and the weights (rows,) in float64. A callable opens what it needs by
            itself, and is small enough to be sent to a worker; a Delayed stands for data of Dask.
        """
        return self.backend.reader(self.plan.partitions[partition])

    def sample_rows(self, partition: int, n: int, rng: np.random.Generator) -> Reader:
        """Return what reads at least ``n`` rows of a partition, or all if it has fewer.

        They come as whole blocks from random places, in the order of the source: draw from them.
        Partitions of up to 4 MiB are read whole, and those of which it would be more than half.
        """
        return self.backend.sampler(self.plan.partitions[partition], n, rng)

    def as_dataarray(self) -> xr.DataArray:
        """Return a lazy array (sample dimensions..., feature) with the source's coordinates.

        Weights are not part of it.

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
    plan : {"chunks", "rows", "interleaved"}, optional
        ``"chunks"``: each chunk (or shard) of the store is a partition. ``"rows"``: consecutive
        rows. ``"interleaved"``: random blocks from all over the store, for chunks that are not
        alike. By default it follows from ``rows_per_partition`` or ``n_partitions``, else it is
        ``"chunks"``; arrays in memory are permuted and cut into ``n_partitions``.
    rows_per_partition : int, optional
        For ``"rows"``; rounded to whole chunks.
    n_partitions : int, optional
        For ``"rows"`` or ``"interleaved"``.
    seed : int
        The same seed gives the same plan.
    group : str, optional
        Path of an array or group inside the store.
    storage_options : mapping, optional
        For fsspec: credentials and the like; only for a URL.
    sample_weight : str or array of shape (rows,), optional
        How often each row counts: the name of a variable, coordinate or column, which is then no
        feature; for NumPy, pandas and ``dask.array`` also the numbers. A variable need not lie
        along all dimensions of the rows: the area of a grid cell counts at every time. Rows of
        weight 0 are as if they were not there, those of weight NaN are left out and counted, and
        a partition with a negative weight fails.

    Returns
    -------
    Source

    Raises
    ------
    InvalidSource
        When there is no such store, values are no numbers, dimensions or names do not fit, there
        are fewer rows than partitions, ``group`` or ``storage_options`` mean nothing for data, or
        ``sample_weight`` does not fit the rows.

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
    opened = opened_data(data, features, group, storage_options, sample_weight)
    _check_not_empty(opened)
    made, opened = planned(opened, Wish(plan, rows_per_partition, n_partitions, seed))
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
    )


def lazy_rows(data: Any, expected: Expected, features: Wanted = None) -> xr.DataArray:
    """Return the features that a model expects as one lazy array, in the model's order.

    Parameters
    ----------
    data : Source, path, URL, zarr object or xarray object
    expected : Expected
        Features are put in order by name; by position only where one side has no names.
    features : str, int or list of str, optional
        As in :func:`open_source`; by default they are looked for by the names expected.

    Returns
    -------
    DataArray
        With dimensions (sample dimensions..., ``feature``) and the coordinates of the data.

    Raises
    ------
    InvalidSource
        When data cannot be opened, or have other features.
    """
    given = expected if features is None else features
    found = data if isinstance(data, Source) else opened_data(data, given)
    order = positions(found.features, found.named, expected)
    view = found.backend.dataarray()
    return view if order == list(range(view.sizes["feature"])) else view.isel(feature=order)


def _check_not_empty(opened: Opened) -> None:
    empty = opened.grid is not None and not math.prod(axis.size for axis in opened.grid)
    if empty or not opened.features:
        shape = tuple(axis.size for axis in opened.grid or ())
        raise InvalidSource(
            f"{opened.location} is empty: {opened.sample_dims} have lengths {shape}, "
            f"{len(opened.features)} features"
        )
