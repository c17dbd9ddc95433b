"""What reading costs: bytes decoded, and the memory that a worker needs for it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from dfmr_dask.data.grid import Box, Grid, decoded_rows, largest, rows_of
from dfmr_dask.data.readers import READ_BYTES

PROCESS = 480 << 20  # bytes of a worker with its libraries, after it has compiled the kernels
SCRATCH = 32 << 20  # bytes a fit works in, whatever the partition's size
READING = 4  # a piece lies there as compressed bytes, decoded, put together, and as rows
FILTERING = 2  # of a piece that streams: once more without its bad rows, and in the kernel's dtype
SAMPLE_ROWS = 6000  # rows kept of a partition for the common start and its scores, as a rule
SAMPLES = 400  # partitions of which a worker keeps them, at most
SAMPLE_BYTES = 256 << 20  # of all samples in a worker; what is more, Dask puts on disk in time
DRAWING = 9  # bytes a row beside the row: a permutation, and which of them are valid
MOST_TESTED, TESTED_BYTES = 1_000_000, 16 << 20  # rows, bytes that tell what an outlier is
SORTING = 32  # bytes a row of these: a column in float64, its distances, and both in order
USABLE = 0.8  # Dask pauses a worker beyond that share of its memory


@dataclass(frozen=True, slots=True)
class Cost:
    """What it takes to count bytes: the chunks that decode alone, of each array of a source.

    Parameters
    ----------
    row_bytes : int
        Size of one row as it is read.
    arrays : tuple of (grid, bytes of one row)
    copies : int
        How often the rows of a partition lie in memory while they are read and filtered.
    streams : bool
        Whether a partition can be read again and again, block by block.
    """

    row_bytes: int
    arrays: tuple[tuple[Grid, int], ...]
    copies: int = 1
    streams: bool = False

    @classmethod
    def of_one(cls, grid: Grid, row_bytes: int, copies: int = 1, streams: bool = False) -> Cost:
        """Return the cost for a source that is a single array."""
        return cls(row_bytes, ((grid, row_bytes),), copies, streams)

    def amplification(self, boxes: Sequence[Box]) -> float:
        """Return how many times a chunk is decoded, on average."""
        needed = sum(map(rows_of, boxes)) * sum(width for _, width in self.arrays)
        decoded = sum(
            width * sum(decoded_rows(box, grid) for box in boxes) for grid, width in self.arrays
        )
        return decoded / needed

    def memory(self, rows: int, partitions: int = 1, *, streamed: bool = False) -> int:
        """Return the bytes that a worker process needs at most.

        Parameters
        ----------
        rows : int
            Of the largest partition.
        partitions : int
            How many there are: samples of each may lie in one worker.
        streamed : bool
            Whether that partition is read block by block in each pass, and never held.
        """
        piece = self.piece(rows)
        held = FILTERING * piece if streamed else rows * self.copies * self.row_bytes
        reading = held + READING * piece
        few = min(rows, READ_BYTES // self.row_bytes + 3 * SAMPLE_ROWS)
        drawing = few * (self.copies * self.row_bytes + DRAWING) + READING * piece
        tested = min(rows, MOST_TESTED, TESTED_BYTES // self.row_bytes)
        outliers = tested * (self.row_bytes + SORTING)
        samples = min(partitions, SAMPLES) * min(rows, SAMPLE_ROWS) * self.row_bytes
        kept = min(samples, SAMPLE_BYTES)
        return PROCESS + SCRATCH + kept + outliers + max(reading, drawing)

    def piece(self, rows: int) -> int:
        """Return the bytes that are decoded at once: a block, or a chunk of each array."""
        chunk = sum(largest(grid) * width for grid, width in self.arrays)
        return max(chunk, min(READ_BYTES, rows * self.row_bytes))

    def most_rows(self, limit: float, total: int, partitions: int = 1) -> int:
        """Return the rows of the largest partition that is held within a limit; 0 if none is."""
        return bisect_right(
            range(1, total + 1), limit, key=lambda rows: self.memory(rows, partitions)
        )


def byte_text(count: int | None) -> str:
    """Write bytes in the unit that people read."""
    if count is None:
        return "unknown"
    if count < 1024:
        return f"{count} B"
    power = min(5, (count.bit_length() - 1) // 10)
    return f"{count / 1024**power:.1f} {'KMGTP'[power - 1]}iB"
