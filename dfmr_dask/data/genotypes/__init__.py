"""Genotypes from VCF Zarr: rows are samples, features are variants, values count alleles."""

from __future__ import annotations

from dfmr_dask.data.genotypes.matching import Matching, matched
from dfmr_dask.data.genotypes.reading import dosages
from dfmr_dask.data.genotypes.variants import Variants

__all__ = ["Matching", "Variants", "dosages", "matched"]
