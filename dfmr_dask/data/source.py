"""From data of any kind to a source: opened, and its partitions planned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dfmr_dask.data.backends import Opened
from dfmr_dask.data.choosing import Wish, chunked, planned
from dfmr_dask.data.genotypes.backend import SitesBackend
from dfmr_dask.data.genotypes.matching import Matching
from dfmr_dask.data.genotypes.sites import planned_genotypes
from dfmr_dask.data.opening import opened_data
from dfmr_dask.data.partitioned import Source
from dfmr_dask.data.plan import Plan
from dfmr_dask.errors import InvalidSource

__all__ = ["Source", "open_source"]

GENOTYPES = "genotypes"  # the kind of a source that is no table and no grid


def open_source(
    data: Any,
    *,
    kind: str | None = None,
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
        ``dask.dataframe``; a NumPy array or pandas DataFrame. Of genotypes also a list of stores,
        one for each site, or a mapping of the sites' names to them.
    kind : {"genotypes"}, optional
        Says that data are VCF Zarr stores: rows are samples, features are variants such as
        ``1:12345:A:G``, and values count alleles that are not the reference, as int8 with -1 where
        a call is missing. Several stores are matched by contig, position and alleles, see
        ``Source.matching``; no partition has samples of two of them.
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
        ``storage_options`` mean nothing for data, or ``sample_weight`` does not fit the rows; of
        genotypes also when a store lacks arrays, or stores have no variant in common.

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
    wish = Wish(plan, rows_per_partition, n_partitions, seed, memory_per_worker)
    if checked_kind(kind, sample_weight) == GENOTYPES:
        keys: dict[str, Any] = {"group": group, "storage_options": storage_options}
        return _source(
            *planned_genotypes(
                data, wish, features=features, missing_chunks=missing_chunks, **keys
            ),
            wish,
        )
    opened = opened_data(data, features, group, storage_options, sample_weight, missing_chunks)
    _check_not_empty(opened)
    made, opened = planned(opened, wish)
    return _source(made, opened, None, wish)


def checked_kind(kind: str | None, sample_weight: Any = None) -> str | None:
    """Return the kind of a source that was asked for.

    Raises
    ------
    InvalidSource
        When there is no such kind, or it has no weights.
    """
    if kind is not None and kind != GENOTYPES:
        raise InvalidSource(f"kind={kind!r}; wanted {GENOTYPES!r}, or none for tables and grids")
    if kind is not None and sample_weight is not None:
        raise InvalidSource("sample_weight= came with genotypes, whose samples count once each")
    return kind


def _source(made: Plan, opened: Opened, matching: Matching | None, wish: Wish) -> Source:
    shape = tuple(axis.size for axis in opened.grid or ())
    if isinstance(opened.backend, SitesBackend):
        shape = opened.backend.starts[-1:]
    return Source(
        features=opened.features,
        sample_dims=opened.sample_dims,
        shape=shape,
        dtype=opened.dtype,
        plan=made,
        in_memory=opened.in_memory,
        location=opened.location,
        units=opened.feature_units,
        named=opened.named,
        backend=opened.backend,
        weight=opened.weight,
        chunked=chunked(opened, wish),
        matching=matching,
    )


def _check_not_empty(opened: Opened) -> None:
    empty = opened.grid is not None and not math.prod(axis.size for axis in opened.grid)
    if empty or not opened.features:
        shape = tuple(axis.size for axis in opened.grid or ())
        raise InvalidSource(
            f"{opened.location} is empty: {opened.sample_dims} have lengths {shape}, "
            f"{len(opened.features)} features"
        )
