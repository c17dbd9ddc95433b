"""Which rows make a partition: decided from shapes and chunks alone, before anything is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from dfmr_dask.data.cost import USABLE, byte_text
from dfmr_dask.data.grid import Box, rows_of
from dfmr_dask.errors import TooLittleMemory

Kind = Literal["chunks", "rows", "interleaved"]


@dataclass(frozen=True, slots=True)
class Partition:
    """The rows that one task reads.

    Parameters
    ----------
    index : int
        Its number in the plan.
    boxes : tuple of boxes
        Each a (start, stop) for each sample dimension; none where rows are unknown.
    """

    index: int
    boxes: tuple[Box, ...]

    @property
    def rows(self) -> int:
        """Rows in all boxes; 0 where the plan says that rows are unknown."""
        return sum(map(rows_of, self.boxes))


@dataclass(frozen=True, slots=True)
class Plan:
    """All partitions of a source, and what reading them costs.

    Parameters
    ----------
    kind : {"chunks", "rows", "interleaved"}
    partitions : tuple of Partition
        Every row of the source lies in exactly one of them.
    rows : int or None
        Rows in all partitions; None when only reading would tell (``dask.dataframe``).
    bytes : int or None
        Size of the rows in the dtype in which they are read.
    decoded_bytes : int or None
        What is decoded for them, since a chunk is decoded whole; in the same units as ``bytes``.
    memory : int or None
        Bytes that a worker process needs at most, its libraries included.
    notes : tuple of str
        What a reader of the plan ought to know.
    streamed : tuple of int
        Partitions that are not held in memory: each pass of their fit reads them again.
    memory_per_worker : int or None
        Bytes that a worker has, as far as it was told.
    auto : bool
        A run asks samples first whether the partitions are alike, and makes interleaved ones of
        the same rows where they are not.
    skips : bool
        Chunks that cannot be read are left out of a partition, which is fitted without them.

    Examples
    --------
    >>> from dfmr_dask.data.grid import regular
    >>> from dfmr_dask.data.cost import Cost
    >>> from dfmr_dask.data.layouts import chunks
    >>> grid = regular((1000,), (100,))
    >>> print(chunks(grid, Cost.of_one(grid, 16)))
    plan        chunks
    partitions  10
    rows        1000, 100 in each
    bytes       15.6 KiB
    decoded     15.6 KiB, 1.0 bytes a byte used
    memory      512.0 MiB a worker
    """

    kind: Kind
    partitions: tuple[Partition, ...]
    rows: int | None
    bytes: int | None
    decoded_bytes: int | None
    memory: int | None
    notes: tuple[str, ...] = ()
    streamed: tuple[int, ...] = ()
    memory_per_worker: int | None = None
    auto: bool = False
    skips: bool = False

    def __len__(self) -> int:
        """Return the number of partitions."""
        return len(self.partitions)

    def __str__(self) -> str:
        """Return a table for people."""
        lines = {
            "plan": self.name,
            "partitions": str(len(self)),
            "rows": self._rows_text(),
            "bytes": byte_text(self.bytes),
            "decoded": byte_text(self.decoded_bytes) + self._times_text(),
            "memory": byte_text(self.memory) + (" a worker" if self.memory is not None else ""),
        }
        if self.auto:
            lines["plan"] += f": {self.kind} where samples find them alike, else interleaved"
        if self.streamed:
            lines["streamed"] = (
                f"{len(self.streamed)} of {len(self)} partitions: each pass of their fit reads "
                "them again, as often as EM needs, at most max_iter times"
            )
        table = [f"{name:<12}{text}" for name, text in lines.items()]
        return "\n".join(table + [f"{'note':<12}{note}" for note in self.notes])

    @property
    def name(self) -> str:
        """What was asked for: the kind, or that a run chooses it."""
        return "auto" if self.auto else self.kind

    @property
    def decoded_per_byte(self) -> float | None:
        """Bytes that are decoded for each byte that is used, since a chunk is decoded whole."""
        if self.bytes is None or self.decoded_bytes is None:
            return None
        return self.decoded_bytes / self.bytes

    @property
    def fits(self) -> bool:
        """Whether a worker has the memory that it needs, as far as both are known."""
        if self.memory is None or self.memory_per_worker is None:
            return True
        return self.memory <= USABLE * self.memory_per_worker

    def check_memory(self) -> None:
        """Refuse what cannot fit, before a worker dies of it.

        Raises
        ------
        TooLittleMemory
            When a worker has less than it needs; Dask pauses it at four fifths of what it has.
        """
        if not self.fits:
            wanted = math.ceil((self.memory or 0) / USABLE)
            raise TooLittleMemory(
                f"memory_per_worker: came {byte_text(self.memory_per_worker)}; a worker needs "
                f"{byte_text(self.memory)} for the largest partition, and Dask pauses it at "
                f"{USABLE:.0%} of what it has: wanted at least {byte_text(wanted)}. Give workers "
                "more, or make smaller what is read at once: partitions (rows_per_partition, "
                "n_partitions), or the chunks of the store (dfmr shuffle --chunk-rows)"
            )

    def _times_text(self) -> str:
        times = self.decoded_per_byte
        return "" if times is None else f", {times:.1f} bytes a byte used"

    def _rows_text(self) -> str:
        if self.rows is None:
            return "unknown"
        each = [partition.rows for partition in self.partitions]
        low, high = min(each), max(each)
        return f"{self.rows}, {low if low == high else f'{low} to {high}'} in each"
