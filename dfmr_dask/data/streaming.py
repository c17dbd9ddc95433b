"""Rows of a partition block by block, read from the store anew whenever they are gone through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.data.grid import Box, at_chunks, rows_of
from dfmr_dask.data.readers import READ_BYTES, BoxReader, WeightedRows
from dfmr_dask.errors import UnreadableChunk

Block = tuple[NDArray[Any], NDArray[np.float64] | None]
Lose = Callable[[int, UnreadableChunk], None]  # told rows of a block that cannot be read, and why


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """The rows of some boxes as blocks of about 32 MiB, each chunk decoded once where boxes allow.

    Parameters
    ----------
    reader : BoxReader
        What would read them all.
    held : bool
        Whether the rows may be held in memory once they have been read; otherwise they are read
        again each time.
    """

    reader: BoxReader
    held: bool

    def __iter__(self) -> Iterator[Block]:
        """Read the blocks one after the other: rows (n, d), and their weights (n,) or None."""
        return self.blocks()

    def blocks(self, lose: Lose | None = None) -> Iterator[Block]:
        """Read the blocks; of a reader that skips, those that can be read.

        Parameters
        ----------
        lose : callable, optional
            Told the rows of each block that cannot be read, and why.

        Raises
        ------
        UnreadableChunk
            Where the reader does not skip.
        """
        for piece in self.pieces:
            try:
                yield self._read(piece)
            except UnreadableChunk as error:
                if not self.reader.skips:
                    raise
                yield from self._rest(piece, error, lose)

    def _read(self, piece: Box) -> Block:
        came = replace(self.reader, boxes=(piece,))()
        return came if isinstance(came, WeightedRows) else (came, None)

    def _rest(self, piece: Box, error: UnreadableChunk, lose: Lose | None) -> Iterator[Block]:
        """Read what can be read of a piece, chunk by chunk."""
        units = at_chunks(piece, self.reader.layout.units, 0)
        if len(units) == 1:
            if lose is not None:
                lose(rows_of(piece), error)
            return
        for unit in units:
            try:
                yield self._read(unit)
            except UnreadableChunk as one:
                if lose is not None:
                    lose(rows_of(unit), one)

    @property
    def pieces(self) -> list[Box]:
        """The boxes that are read at once; the same in each pass."""
        layout = self.reader.layout
        limit = max(1, READ_BYTES // layout.row_bytes)
        return [p for box in self.reader.boxes for p in at_chunks(box, layout.units, limit)]

    @property
    def rows(self) -> int:
        """Rows in all blocks."""
        return sum(map(rows_of, self.reader.boxes))

    @property
    def n_features(self) -> int:
        """Columns of a row."""
        return self.reader.layout.n_features

    @property
    def dtype(self) -> np.dtype[Any]:
        """In which rows are read."""
        return self.reader.layout.dtype

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        return self.reader.layout.weight is not None


def regrouped(blocks: Iterable[Block], rows: int) -> Iterator[Block]:
    """Yield the same rows in blocks of whole multiples of ``rows``, but for the last one.

    What sums up tiles of so many rows then adds the same numbers in the same order, wherever the
    blocks had their ends.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.data.streaming import regrouped
    >>> blocks = [(np.zeros((n, 2)), None) for n in (3, 9, 1)]
    >>> [len(x) for x, _ in regrouped(blocks, 4)]
    [4, 8, 1]
    """
    left: list[Block] = []
    for x, weights in blocks:
        missing = (rows - sum(len(one) for one, _ in left)) if left else 0
        left.append((x[:missing], _part(weights, 0, missing)))
        if len(x) < missing:
            continue
        if missing:
            yield _joined(left)
        stop = missing + (len(x) - missing) // rows * rows
        if stop > missing:
            yield x[missing:stop], _part(weights, missing, stop)
        # a copy, so that the block itself can go before the next one comes
        left = [(x[stop:].copy(), _part(weights, stop, len(x)))] if stop < len(x) else []
    if left:
        yield _joined(left)


def _part(weights: NDArray[np.float64] | None, start: int, stop: int) -> Any:
    return None if weights is None else weights[start:stop].copy()


def _joined(parts: list[Block]) -> Block:
    weights = [weights for _, weights in parts if weights is not None]
    x = np.concatenate([x for x, _ in parts])
    return x, np.concatenate(weights) if weights else None
