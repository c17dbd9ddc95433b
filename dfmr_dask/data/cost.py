"""What reading costs: bytes decoded, and the memory that a worker needs for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dfmr_dask.data.grid import Box, Grid, decoded_rows, largest, rows_of

SCRATCH = 32 << 20  # bytes a fit works in, whatever the partition's size
SAMPLE_ROWS = 20_000  # rows kept for the common start and its scores, at most


@dataclass(frozen=True, slots=True)
class Cost:
    """What it takes to count bytes: the chunks that decode alone, of each array of a source.

    Parameters
    ----------
    row_bytes : int
        Size of one row as it is read.
    arrays : tuple of (grid, bytes of one row)
    copies : int
        How often the rows of a partition lie in memory while they are read.
    """

    row_bytes: int
    arrays: tuple[tuple[Grid, int], ...]
    copies: int = 1

    @classmethod
    def of_one(cls, grid: Grid, row_bytes: int) -> Cost:
        """Return the cost for a source that is a single array."""
        return cls(row_bytes, ((grid, row_bytes),))

    def amplification(self, boxes: Sequence[Box]) -> float:
        """Return how many times a chunk is decoded, on average."""
        needed = sum(map(rows_of, boxes)) * sum(width for _, width in self.arrays)
        decoded = sum(
            width * sum(decoded_rows(box, grid) for box in boxes) for grid, width in self.arrays
        )
        return decoded / needed

    def memory(self, rows: int) -> int:
        """Return the bytes that a worker needs for a partition of so many rows."""
        buffer = max(largest(grid) * width for grid, width in self.arrays)
        samples = min(rows, SAMPLE_ROWS)
        return (rows * self.copies + samples) * self.row_bytes + buffer + SCRATCH


def byte_text(count: int | None) -> str:
    """Write bytes in the unit that people read."""
    if count is None:
        return "unknown"
    if count < 1024:
        return f"{count} B"
    power = min(5, (count.bit_length() - 1) // 10)
    return f"{count / 1024**power:.1f} {'KMGTP'[power - 1]}iB"
