"""What a VCF Zarr store holds, as bio2zarr writes it and sgkit reads it, or what it lacks.

The layout is that of the VCF Zarr specification: ``call_genotype`` (variants, samples, ploidy),
``variant_contig`` as numbers into ``contig_id`` (in old stores the attribute ``contigs``),
``variant_position``, ``variant_allele`` (variants, alleles) and ``sample_id``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from dfmr_dask.data.arrays import dimension_names
from dfmr_dask.data.genotypes.variants import Variants
from dfmr_dask.data.integrity import checked, read_whole
from dfmr_dask.data.opening import in_this_process, opened_group
from dfmr_dask.errors import InvalidSource

CALLS, DIMS = "call_genotype", ("variants", "samples", "ploidy")
TABLE = ("variant_contig", "variant_position", "variant_allele")
WRITERS = "wanted a VCF Zarr store, as vcf2zarr of bio2zarr writes it"


@dataclass(frozen=True, slots=True, eq=False)
class Cohort:
    """A store of genotypes that was opened.

    Attributes
    ----------
    location, name : str
        Where it lies, and what people call it.
    calls : zarr.Array or ndarray of shape (variants, samples, ploidy)
        The array of a store is read through a checked one; that of a store in memory is loaded.
    stored : zarr.Array
        The same as it was opened.
    variants : Variants
        All of them, in the order of the store.
    samples : ndarray of str, or None
        What samples are called.
    """

    location: str
    name: str
    calls: Any
    stored: zarr.Array[Any]
    variants: Variants
    samples: NDArray[Any] | None

    @property
    def in_memory(self) -> bool:
        """Whether all calls are in this process."""
        return isinstance(self.calls, np.ndarray)

    @property
    def n_samples(self) -> int:
        """Rows."""
        return int(self.stored.shape[1])

    @property
    def ploidy(self) -> int:
        """The most alleles that a call has."""
        return int(self.stored.shape[2])


def opened_cohort(
    data: Any,
    group: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    fills: bool = False,
) -> Cohort:
    """Open a store of genotypes and read its variants; of the genotypes nothing but metadata.

    Raises
    ------
    InvalidSource
        When there is none, or it lacks arrays, or they do not fit together.
    UnreadableChunk
        When the list of variants cannot be read.
    """
    node, location = opened_group(data, group, storage_options)
    _check_arrays(node, location)
    stored = node[CALLS]
    _check_calls(stored, location)
    inside = in_this_process(node)
    own = checked(stored, f"{CALLS} of {location}", fills or inside)
    return Cohort(
        location,
        PurePosixPath(location.rstrip("/")).name or location,
        np.asarray(own[...]) if inside else own,
        stored,
        _variants(node, location, int(stored.shape[0]), fills or inside),
        _samples(node, location, int(stored.shape[1]), fills or inside),
    )


def _check_arrays(node: Any, location: str) -> None:
    held = sorted(node.array_keys()) if isinstance(node, zarr.Group) else []
    missing = [name for name in (CALLS, *TABLE) if name not in held]
    if not missing:
        return
    told = ", ".join(held) or ("nothing" if isinstance(node, zarr.Group) else "one array")
    raise InvalidSource(f"{location} has no {', '.join(missing)}; it holds: {told}. {WRITERS}")


def _check_calls(calls: zarr.Array[Any], location: str) -> None:
    if calls.ndim != 3 or np.dtype(calls.dtype).kind != "i":
        raise InvalidSource(
            f"{CALLS} of {location} has shape {calls.shape} and dtype {calls.dtype}; wanted "
            "numbers of alleles as signed integers (variants, samples, ploidy)"
        )
    names = dimension_names(calls)
    if names and names != DIMS:
        raise InvalidSource(f"{CALLS} of {location} has dimensions {names}; wanted {DIMS}")
    if not all(calls.shape):
        raise InvalidSource(f"{location} is empty: {CALLS} has shape {calls.shape}")


def _variants(node: Any, location: str, count: int, fills: bool) -> Variants:
    # a chunk of contigs is often absent since it holds nothing but 0, the first of them
    contig, position, allele = (
        read_whole(node[name], f"{name} of {location}", fills or name == TABLE[0]) for name in TABLE
    )
    if not len(contig) == len(position) == len(allele) == count or allele.ndim != 2:
        shapes = ", ".join(f"{name} {node[name].shape}" for name in TABLE)
        raise InvalidSource(
            f"{location} has {count} variants in {CALLS}, but {shapes}; wanted one entry for each "
            "variant, and alleles (variants, alleles)"
        )
    known = _contigs(node, location, fills)
    if len(contig) and (contig.min() < 0 or contig.max() >= len(known)):
        raise InvalidSource(
            f"variant_contig of {location} has numbers from {contig.min()} to {contig.max()}; "
            f"there are {len(known)} contigs in contig_id"
        )
    return Variants.from_alleles(known[contig], position, allele)


def _contigs(node: Any, location: str, fills: bool) -> NDArray[Any]:
    if "contig_id" in node:
        found = read_whole(node["contig_id"], f"contig_id of {location}", fills)
        return np.asarray(found, dtype=object)
    told = node.attrs.get("contigs")
    if isinstance(told, list) and told:
        return np.array([str(one) for one in told], dtype=object)
    raise InvalidSource(
        f"{location} has neither contig_id nor the attribute contigs, so nobody knows what its "
        f"variants lie on; {WRITERS}"
    )


def _samples(node: Any, location: str, count: int, fills: bool) -> NDArray[Any] | None:
    if "sample_id" not in node:
        return None
    found = read_whole(node["sample_id"], f"sample_id of {location}", fills)
    if found.shape != (count,):
        raise InvalidSource(
            f"sample_id of {location} has shape {found.shape}; {CALLS} has {count} samples"
        )
    return np.asarray(found, dtype=object)
