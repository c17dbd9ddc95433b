"""Rows as a bad partition reads them, in a simulation: what its store holds, spoilt on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from dask.delayed import Delayed, delayed

from dfmr_dask.corruption import Corruption, corrupted_rows
from dfmr_dask.data.backends import Backend
from dfmr_dask.data.plan import Partition
from dfmr_dask.data.readers import Reader, WeightedRows
from dfmr_dask.data.source import Source


@dataclass(frozen=True, slots=True, eq=False)
class SpoiltReader:
    """Reads rows, and does to them what an attack does."""

    reader: Reader
    attack: Corruption
    seed: int
    partition: int
    highest: int | None

    def __call__(self) -> Any:
        """Read the rows."""
        return self.changed(self.reader())

    def changed(self, came: Any) -> Any:
        """Return what becomes of rows, their weights as they were."""
        rows, weights = came if isinstance(came, WeightedRows) else (came, None)
        bad = corrupted_rows(rows, self.attack, self.seed, self.partition, self.highest)
        return bad if weights is None else WeightedRows(bad, weights)


@dataclass(frozen=True, slots=True, eq=False)
class SpoiltBackend:
    """Data whose readers spoil what they read."""

    backend: Backend
    attack: Corruption
    seed: int
    highest: int | None

    def reader(self, partition: Partition) -> Reader:  # noqa: D102
        return self._spoiling(self.backend.reader(partition), partition)

    def sampler(  # noqa: D102
        self, partition: Partition, n: int, rng: np.random.Generator
    ) -> Reader:
        return self._spoiling(self.backend.sampler(partition, n, rng), partition)

    def where(self, partition: Partition) -> str:  # noqa: D102
        return self.backend.where(partition)

    def dataarray(self) -> xr.DataArray:  # noqa: D102
        return self.backend.dataarray()

    def identity(self) -> dict[str, Any]:  # noqa: D102
        return self.backend.identity()

    def _spoiling(self, reader: Reader, partition: Partition) -> Reader:
        one = SpoiltReader(reader, self.attack, self.seed, partition.index, self.highest)
        return delayed(one.changed, pure=False)(reader) if isinstance(reader, Delayed) else one


def spoilt(source: Source, attack: Corruption, seed: int, highest: int | None) -> Source:
    """Return a source whose partitions are read as bad ones would read them.

    Their rows are held: what is drawn for all of them cannot be drawn block by block.
    """
    plan = replace(source.plan, streamed=(), skips=False)
    backend = SpoiltBackend(source.backend, attack, seed, highest)
    return replace(source, plan=plan, backend=backend)
