"""Small stores of genotypes in the layout of VCF Zarr, written for tests, studies and notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec

from dfmr_dask.data.genotypes.variants import NO_ALLELE, Variants
from dfmr_dask.data.stores import appearing_whole

DIMS = {
    "call_genotype": ("variants", "samples", "ploidy"),
    "call_genotype_mask": ("variants", "samples", "ploidy"),
    "call_genotype_phased": ("variants", "samples"),
    "contig_id": ("contigs",),
    "sample_id": ("samples",),
    "variant_allele": ("variants", "alleles"),
    "variant_contig": ("variants",),
    "variant_position": ("variants",),
}


def write_genotypes(
    path: str | Path,
    calls: NDArray[np.integer],
    variants: Variants,
    *,
    samples: Sequence[str] | None = None,
    zarr_format: int = 2,
    chunks: tuple[int, int] = (1000, 1000),
    shards: tuple[int, int] | None = None,
    phased: bool = False,
) -> Path:
    """Write calls as a VCF Zarr store: arrays, names and dimensions as bio2zarr has them.

    Parameters
    ----------
    path : str or Path
    calls : ndarray of int, (variants, samples, ploidy)
        Numbers of alleles; -1 is missing, -2 is no allele.
    variants : Variants
    samples : sequence of str, optional
        ``sample_0`` and so on by default.
    zarr_format : {2, 3}
    chunks, shards : (variants, samples)
        Shards are for version 3.
    phased : bool
        What is said of all calls.

    Raises
    ------
    InvalidSource
        When something of that name is there already.

    References
    ----------
    The VCF Zarr specification, version 0.4.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from dfmr_dask import open_source
    >>> from dfmr_dask.data.genotypes import Variants
    >>> from dfmr_dask.experiments.genotypes import write_genotypes
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_genotypes(folder + "/a.vcz", np.array([[[0, 1], [1, 1], [0, -1]]]),
    ...                            Variants.of(["1:5:A:G"]))
    ...     open_source(path, kind="genotypes").rows(0)()
    array([[ 1],
           [ 2],
           [-1]], dtype=int8)
    """
    path, table = Path(path), variants.table
    contigs, numbers = np.unique(table["contig"].to_numpy(dtype=str), return_inverse=True)
    names = samples if samples is not None else [f"sample_{i}" for i in range(calls.shape[1])]
    arrays: dict[str, Any] = {
        "call_genotype": calls.astype(np.int8),
        "call_genotype_mask": calls < 0,
        "call_genotype_phased": np.full(calls.shape[:2], phased),
        "contig_id": _text(contigs),
        "sample_id": _text(names),
        "variant_allele": _alleles(variants),
        "variant_contig": numbers.astype(np.int16),
        "variant_position": table["position"].to_numpy(dtype=np.int32),
    }
    with appearing_whole(path) as partial:
        group = zarr.create_group(str(partial), zarr_format=zarr_format)  # type: ignore[arg-type]
        group.attrs.update({"vcf_zarr_version": "0.4", "source": "dfmr_dask"})
        for name, values in arrays.items():
            cut = chunks[: values.ndim] + values.shape[2:] if name.startswith("call") else None
            whole = shards + values.shape[2:] if shards and name == "call_genotype" else None
            _write(group, name, values, zarr_format, cut, whole)
    return path


def _alleles(variants: Variants) -> NDArray[Any]:
    rest = [alt.split(",") if alt != NO_ALLELE else [] for alt in variants.table["alt"]]
    out = np.full((len(rest), 1 + max([1, *map(len, rest)])), "", dtype=object)
    for line, ref, alts in zip(out, variants.table["ref"], rest, strict=True):
        line[: 1 + len(alts)] = [ref, *alts]
    return _text(out)


def _text(values: Any) -> NDArray[Any]:
    return np.asarray(values, dtype=np.str_)


def _write(
    group: zarr.Group,
    name: str,
    values: NDArray[Any],
    zarr_format: int,
    chunks: tuple[int, ...] | None,
    shards: tuple[int, ...] | None,
) -> None:
    """Write an array with checksums, and the names of its dimensions where readers look."""
    text = values.dtype.kind == "U"
    options: dict[str, Any] = {"dimension_names": DIMS[name]}
    options["compressors"] = (ZstdCodec(),) if text else (ZstdCodec(), Crc32cCodec())
    if zarr_format == 2:
        options = {"attributes": {"_ARRAY_DIMENSIONS": list(DIMS[name])}}
        options["compressors"] = numcodecs.Zstd(checksum=True)
    array: Any = group.create_array(
        name,
        shape=values.shape,
        dtype=str if text else values.dtype,
        chunks=tuple(map(min, chunks, values.shape)) if chunks else values.shape,
        shards=shards,
        config={"write_empty_chunks": True},
        **options,
    )
    array[...] = values
