"""Several stores of genotypes below each other: what is read of each, and where."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dfmr_dask.data.backends import GridBackend
from dfmr_dask.data.plan import Partition
from dfmr_dask.data.readers import Reader

SAMPLES = "samples"


@dataclass(frozen=True, slots=True, eq=False)
class SitesBackend:
    """Several stores below each other; a partition's rows lie in one of them.

    Attributes
    ----------
    names : tuple of str
    sites : tuple of GridBackend
    starts : tuple of int
        The first row of each, and behind the last one the number of all rows.
    """

    names: tuple[str, ...]
    sites: tuple[GridBackend, ...]
    starts: tuple[int, ...]

    def within(self, partition: Partition) -> list[tuple[int, Partition]]:
        """Return the sites that some rows lie in, and where in each of them."""
        out = []
        for site, (first, stop) in enumerate(pairwise(self.starts)):
            parts = [(max(a, first), min(b, stop)) for ((a, b),) in partition.boxes]
            boxes = tuple(((a - first, b - first),) for a, b in parts if a < b)
            if boxes:
                out.append((site, Partition(partition.index, boxes)))
        return out

    def reader(self, partition: Partition) -> Reader:  # noqa: D102
        parts = [self.sites[site].reader(inner) for site, inner in self.within(partition)]
        return parts[0] if len(parts) == 1 else Below(tuple(parts))

    def sampler(  # noqa: D102
        self, partition: Partition, n: int, rng: np.random.Generator
    ) -> Reader:
        ((site, inner),) = self.within(partition)
        return self.sites[site].sampler(inner, n, rng)

    def where(self, partition: Partition) -> str:  # noqa: D102
        ((site, inner),) = self.within(partition)
        (first,), (last,) = inner.boxes[0], inner.boxes[-1]
        return f"{self.names[site]}, {SAMPLES} {first[0]}:{last[1]}"

    def dataarray(self) -> xr.DataArray:  # noqa: D102
        views = [
            one.dataarray().assign_coords(site=(SAMPLES, np.full(stop - start, name, dtype=object)))
            for name, one, start, stop in zip(
                self.names, self.sites, self.starts, self.starts[1:], strict=False
            )
        ]
        return xr.concat(views, SAMPLES, combine_attrs="drop", coords="minimal", compat="override")

    def identity(self) -> dict[str, Any]:  # noqa: D102
        found = [one.identity() for one in self.sites]
        return {"kind": "genotypes", "sites": dict(zip(self.names, found, strict=True))}


@dataclass(frozen=True, slots=True, eq=False)
class Below:
    """Reads the rows of some readers below each other."""

    readers: tuple[Reader, ...]

    def __call__(self) -> NDArray[Any]:
        """Read the rows."""
        return np.concatenate([reader() for reader in self.readers])
