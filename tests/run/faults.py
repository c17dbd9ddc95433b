"""Sources with partitions that kill, block or slow down the worker that reads them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dfmr_dask.data.plan import Partition
from dfmr_dask.data.source import Source
from dfmr_dask.mixture import Mixture


@dataclass(frozen=True)
class Faulty:
    """A reader that does something else first."""

    reader: Any
    fault: Any

    def __call__(self) -> Any:
        self.fault()
        return self.reader()


@dataclass(frozen=True)
class FaultyBackend:
    """A backend some of whose readers, or samplers, have faults."""

    backend: Any
    reading: Mapping[int, Any]
    sampling: Mapping[int, Any]

    def reader(self, partition: Partition) -> Any:
        plain = self.backend.reader(partition)
        fault = self.reading.get(partition.index)
        return plain if fault is None else Faulty(plain, fault)

    def sampler(self, partition: Partition, n: int, rng: np.random.Generator) -> Any:
        plain = self.backend.sampler(partition, n, rng)
        fault = self.sampling.get(partition.index)
        return plain if fault is None else Faulty(plain, fault)

    def __getattr__(self, name: str) -> Any:
        if name in ("backend", "reading", "sampling"):  # not there yet while it is unpickled
            raise AttributeError(name)
        return getattr(self.backend, name)


def faulty(
    source: Source,
    reading: Mapping[int, Any] | None = None,
    sampling: Mapping[int, Any] | None = None,
) -> Source:
    """The same source with faults in the readers of some partitions."""
    return replace(source, backend=FaultyBackend(source.backend, reading or {}, sampling or {}))


def breaks() -> None:
    raise ValueError("this partition is broken")


def kills() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leaves() -> None:
    os._exit(1)


def hangs() -> None:
    time.sleep(600)


def lingers() -> None:
    time.sleep(0.3)


@dataclass(frozen=True)
class Until:
    """Wait until a file is there, for some minutes at most."""

    path: Path

    def __call__(self) -> None:
        for _ in range(3000):
            if self.path.exists():
                return
            time.sleep(0.1)


def at_work() -> int:
    lingers()
    return os.getpid()


@dataclass(frozen=True)
class After:
    """Does something from the n-th call on; calls are counted in a file."""

    fault: Any
    calls: int
    counter: Path

    def __call__(self) -> None:
        with self.counter.open("a") as file:
            file.write("x")
        if self.counter.stat().st_size > self.calls:
            self.fault()


@dataclass(frozen=True)
class Once:
    """Does something at the first call only; a file remembers."""

    fault: Any
    marker: Path

    def __call__(self) -> None:
        if not self.marker.exists():
            self.marker.touch()
            self.fault()


def same_bits(one: Mixture, other: Mixture) -> bool:
    arrays = zip(one.params.values(), other.params.values(), strict=True)
    return np.array_equal(one.weights, other.weights) and all(
        np.array_equal(a, b) for a, b in arrays
    )
