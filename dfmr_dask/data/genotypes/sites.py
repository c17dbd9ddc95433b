"""Stores of genotypes as a source: one, or several whose partitions never mix."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from pathlib import PurePath
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dfmr_dask.data.backends import GridBackend, Opened, content_hash, from_memory, from_store
from dfmr_dask.data.choosing import Wish, planned
from dfmr_dask.data.cost import READING, Cost
from dfmr_dask.data.features import listed
from dfmr_dask.data.genotypes.backend import SAMPLES, SitesBackend
from dfmr_dask.data.genotypes.matching import Matching, matched
from dfmr_dask.data.genotypes.reading import GenotypeLayout, stripe_of
from dfmr_dask.data.genotypes.store import Cohort, opened_cohort
from dfmr_dask.data.genotypes.variants import Variants
from dfmr_dask.data.grid import regular, runs
from dfmr_dask.data.integrity import facts, may_fill
from dfmr_dask.data.plan import Partition, Plan
from dfmr_dask.errors import InvalidSource


def planned_genotypes(
    data: Any,
    wish: Wish,
    *,
    features: Any = None,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    missing_chunks: str = "fail",
) -> tuple[Plan, Opened, Matching]:
    """Open one store of genotypes, or several, match their variants and plan their partitions.

    Parameters
    ----------
    data : path, URL or zarr.Group, or sequence of them, or mapping of names to them
    wish : Wish
        Numbers without the name of a plan mean consecutive rows. Of several stores each has
        partitions of its own.
    features : sequence of str, optional
        Names of variants, as in ``1:12345:A:G``: these are read, in this order, and their
        alternative alleles counted.
    group, storage_options, missing_chunks
        As for :func:`~dfmr_dask.data.source.open_source`.

    Raises
    ------
    InvalidSource
        When a store holds no genotypes, or they do not fit together.
    """
    fills, names = may_fill(missing_chunks), _named(data)
    cohorts = {n: opened_cohort(one, group, storage_options, fills) for n, one in names.items()}
    ploidy = _common_ploidy(cohorts)
    wanted = None if features is None else Variants.of(listed(features))
    lists = {name: one.variants for name, one in cohorts.items()}
    matching = replace(matched(lists, wanted), ploidy=ploidy)
    opened = [
        _opened(one, matching.variants.names, matching.index[i], matching.turned[i])
        for i, one in enumerate(cohorts.values())
    ]
    notes = matching.sentences()
    if len(opened) == 1:
        made, only = planned(replace(opened[0], notes=notes), _consecutive(wish))
        return replace(made, auto=False), only, matching
    made, together = _stacked(opened, tuple(cohorts), _consecutive(wish), notes)
    return made, together, matching


def _named(data: Any) -> dict[str, Any]:
    """Return what is to be opened, by the names of the sites."""
    if isinstance(data, Mapping):
        found = {str(name): one for name, one in data.items()}
    elif isinstance(data, Sequence) and not isinstance(data, str | bytes):
        texts = [str(getattr(one, "store_path", one)).rstrip("/") for one in data]
        short = [PurePath(text).name for text in texts]
        names = short if len(set(short)) == len(short) else texts
        if len(set(names)) < len(names):
            raise InvalidSource("a store is among the sites more than once; leave it out")
        found = dict(zip(names, data, strict=True))
    else:
        return {str(getattr(data, "store_path", data)).rstrip("/").rpartition("/")[2]: data}
    if not found:
        raise InvalidSource("no store came; wanted one store of genotypes at least")
    return found


def _common_ploidy(cohorts: Mapping[str, Cohort]) -> int:
    found = {name: one.ploidy for name, one in cohorts.items()}
    if len(set(found.values())) > 1:
        told = ", ".join(f"{name} {ploidy}" for name, ploidy in found.items())
        raise InvalidSource(
            f"stores have calls of different numbers of alleles: {told}; their counts do not "
            "compare: fit those of one ploidy"
        )
    return next(iter(found.values()))


def _consecutive(wish: Wish) -> Wish:
    """Let numbers without a plan mean runs of samples, which may cut a chunk."""
    numbers = wish.n_partitions is not None or wish.rows_per_partition is not None
    return replace(wish, plan="rows") if numbers and wish.plan is None else wish


def _opened(
    cohort: Cohort,
    names: tuple[str, ...],
    variants: NDArray[np.intp],
    turned: NDArray[np.bool_],
) -> Opened:
    stored, dtype = cohort.stored, np.dtype(np.int8)
    units = regular(stored.shape[1:2], stored.chunks[1:2])
    stripe = stripe_of(stored)
    layout = GenotypeLayout(
        (cohort.calls,),
        ((1,),),
        len(names),
        dtype,
        units,
        variants=variants,
        turned=turned,
        stripe=stripe,
    )
    # what is decoded at once is a stripe; beside it lies the block of counts that it goes to
    decoded = stripe * cohort.ploidy * np.dtype(stored.dtype).itemsize
    width = decoded + -(-len(names) // READING)
    loaded = cohort.in_memory
    return Opened(
        features=names,
        sample_dims=(SAMPLES,),
        dtype=dtype,
        grid=regular(stored.shape[1:2], (stored.shards or stored.chunks)[1:2]),
        cost=Cost(len(names), ((units, width),), copies=2 if loaded else 1, streams=not loaded),
        location=cohort.location,
        backend=GridBackend(
            layout,
            from_memory if loaded else from_store,
            partial(_view, layout, cohort, names),
            partial(_identity, layout, cohort),
        ),
        in_memory=loaded,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Lazy:
    """Counts as an array that is read when it is cut out of."""

    backend: GridBackend
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    ndim: int = 2

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        """Read some samples."""
        rows, columns = key
        start, stop, _ = rows.indices(self.shape[0])
        if stop <= start:
            return np.empty((0, self.shape[1]), self.dtype)[:, columns]
        came = self.backend.reader(Partition(0, (((start, stop),),)))()
        return np.asarray(came)[:, columns]


def _view(layout: GenotypeLayout, cohort: Cohort, names: tuple[str, ...]) -> xr.DataArray:
    shape = (cohort.n_samples, len(names))
    lengths = tuple(stop - start for start, stop in layout.units[0].spans)
    bare = GridBackend(layout, from_memory if cohort.in_memory else from_store, _none, _none)
    from_array: Any = da.from_array  # Dask is only half typed
    lazy = from_array(
        Lazy(bare, shape, layout.dtype), chunks=(lengths, (shape[1],)), meta=np.empty((0, 0), "i1")
    )
    view = xr.DataArray(lazy, dims=(SAMPLES, "feature"), coords={"feature": list(names)})
    return view if cohort.samples is None else view.assign_coords({SAMPLES: cohort.samples})


def _none() -> Any:
    raise NotImplementedError  # a lazy array is neither shown nor told apart again


def _identity(layout: GenotypeLayout, cohort: Cohort) -> dict[str, Any]:
    if isinstance(cohort.calls, np.ndarray):
        told: Any = content_hash([cohort.calls])
    else:
        told = hashlib.sha256(repr(sorted(facts(cohort.stored.metadata).items())).encode())
        told = told.hexdigest()
    return {"kind": "genotypes", "calls": told, **layout.facts}


def _stacked(
    opened: Sequence[Opened], names: tuple[str, ...], wish: Wish, notes: tuple[str, ...]
) -> tuple[Plan, Opened]:
    """Plan each store on its own, and put them below each other."""
    counts = [one.backend.layout.units[0].size for one in opened]  # type: ignore[attr-defined]
    starts = (0, *accumulate(counts))
    plans = [planned(one, each)[0] for one, each in zip(opened, _shared(wish, counts), strict=True)]
    partitions: list[Partition] = []
    streamed, memory = [], 0
    total = sum(map(len, plans))
    for one, made, start in zip(opened, plans, starts, strict=False):
        assert one.cost is not None
        for partition in made.partitions:
            number, late = len(partitions), partition.index in made.streamed
            boxes = tuple(((a + start, b + start),) for ((a, b),) in partition.boxes)
            partitions.append(Partition(number, boxes))
            streamed += [number] if late else []
            memory = max(memory, one.cost.memory(partition.rows, total, streamed=late))
    kind = plans[0].kind
    plan = Plan(
        kind,
        tuple(partitions),
        rows=starts[-1],
        bytes=sum(made.bytes or 0 for made in plans),
        decoded_bytes=sum(made.decoded_bytes or 0 for made in plans),
        memory=memory,
        notes=(*notes, *dict.fromkeys(note for made in plans for note in made.notes)),
        streamed=tuple(streamed),
        memory_per_worker=wish.memory,
    )
    sites: Any = tuple(one.backend for one in opened)
    return plan, replace(
        opened[0],
        grid=None,
        cost=None,
        location=", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} others",
        backend=SitesBackend(names, sites, starts),
        notes=plan.notes,
    )


def _shared(wish: Wish, counts: Sequence[int]) -> list[Wish]:
    """Share a number of partitions among stores, by their samples, and at least one for each."""
    if wish.rows_per_partition is not None:
        most = wish.rows_per_partition
        return [replace(wish, rows_per_partition=max(1, min(most, count))) for count in counts]
    if wish.n_partitions is None:
        return [wish] * len(counts)
    if wish.n_partitions < len(counts):
        raise InvalidSource(
            f"n_partitions={wish.n_partitions} came with {len(counts)} stores; a partition never "
            f"mixes two of them: wanted at least {len(counts)}"
        )
    edges = [0, *accumulate(counts)]
    more = (
        runs(sum(counts), wish.n_partitions - len(counts))
        if wish.n_partitions > len(counts)
        else []
    )
    middles = [(a + b) / 2 for a, b in more]
    return [
        replace(wish, n_partitions=1 + sum(start <= at < stop for at in middles))
        for start, stop in pairwise(edges)
    ]
