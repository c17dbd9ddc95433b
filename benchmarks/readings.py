"""Reads that are timed where they happen, and partitions whose rows come in a wrong unit."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dfmr_dask.data.backends import Backend
from dfmr_dask.data.plan import Partition
from dfmr_dask.data.source import Source

WRONG_UNIT = 1000.0
_seconds = [0.0]  # of this process


def seconds(since: float = 0.0) -> float:
    """Return the seconds that this process has spent with reading and decoding."""
    return _seconds[0] - since


@dataclass(frozen=True, slots=True)
class TimedReader:
    """Reads, notes how long it took, and multiplies what it read."""

    reader: Any
    unit: float

    def __call__(self) -> Any:
        """Read the rows."""
        began = time.perf_counter()
        rows = self.reader()
        _seconds[0] += time.perf_counter() - began
        return rows if self.unit == 1.0 else rows * np.float32(self.unit)


@dataclass(frozen=True, slots=True)
class TimedBackend:
    """A source's backend with such readers."""

    inner: Backend
    wrong: frozenset[int]

    def reader(self, partition: Partition) -> TimedReader:
        """Return what reads all rows of a partition."""
        return self._timed(partition, self.inner.reader(partition))

    def sampler(self, partition: Partition, n: int, rng: np.random.Generator) -> TimedReader:
        """Return what reads some rows of a partition."""
        return self._timed(partition, self.inner.sampler(partition, n, rng))

    def _timed(self, partition: Partition, reader: Any) -> TimedReader:
        return TimedReader(reader, WRONG_UNIT if partition.index in self.wrong else 1.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def timed(source: Source, share: float = 0.0) -> Source:
    """Return a source whose reads are timed, the last partitions of it in a wrong unit."""
    m = len(source.plan)
    wrong = frozenset(range(m - int(share * m), m))
    return replace(source, backend=TimedBackend(source.backend, wrong))
