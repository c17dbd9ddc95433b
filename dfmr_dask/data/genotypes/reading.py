"""From alleles (variants, samples, ploidy) to counts (samples, variants), stripe by stripe."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.data.grid import Box
from dfmr_dask.data.integrity import watched
from dfmr_dask.data.readers import READ_BYTES, Layout
from dfmr_dask.data.streaming import Stream

MISSING = -1  # an allele that was not called, and a count that is not known
ABSENT = -2  # fills up calls of fewer alleles than the store has room for
Counts = NDArray[np.int8]


def dosages(
    calls: NDArray[np.integer], turned: NDArray[np.bool_] | None = None, *, marks: bool = False
) -> Counts:
    """Count the alleles of calls that are not the reference.

    Parameters
    ----------
    calls : ndarray of int, (variants, samples, ploidy)
        Numbers of alleles; -1 is missing, -2 is no allele at all.
    turned : mask of shape (variants,), optional
        Where the alleles that are the reference are counted instead.
    marks : bool
        Return -2 where a call has fewer alleles than the array has room for, as for men on the X.

    Returns
    -------
    ndarray of int8, (variants, samples)
        -1 where an allele of a call is missing, or it has none.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.data.genotypes import dosages
    >>> calls = np.array([[[0, 1], [1, 2], [0, -1], [1, -2], [-2, -2]]])
    >>> dosages(calls)
    array([[ 1,  2, -1,  1, -1]], dtype=int8)
    >>> dosages(calls, np.array([True]))
    array([[ 1,  0, -1,  0, -1]], dtype=int8)
    """
    count = np.zeros(calls.shape[:2], dtype=np.int8)
    missing = np.zeros(calls.shape[:2], dtype=np.bool_)
    absent = np.ones(calls.shape[:2], dtype=np.bool_)
    for allele in np.moveaxis(calls, 2, 0):
        count += allele > 0
        missing |= allele == MISSING
        absent &= allele < MISSING
    if turned is not None and turned.any():
        count[turned] = (calls[turned] == 0).sum(axis=2, dtype=np.int8)
    count[missing | absent] = MISSING
    if marks:
        count[(calls < MISSING).any(axis=2) & ~missing & ~absent] = ABSENT
    return count


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GenotypeLayout(Layout):
    """Where counts of alleles lie: the samples of one array of calls are the rows.

    Parameters
    ----------
    variants : ndarray of int, (features,)
        Which variant of the store each feature is.
    turned : mask of shape (features,)
        Whether its reference is counted.
    stripe : int
        Variants that are read at once.
    marks : bool
        Whether -2 stands for calls of fewer alleles, see :func:`dosages`.
    """

    variants: NDArray[np.intp]
    turned: NDArray[np.bool_]
    stripe: int
    marks: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """Which variants are read, and of which of them the reference is counted."""
        told = self.variants.astype("<i8").tobytes() + self.turned.tobytes()
        return {"variants": hashlib.sha256(told).hexdigest()}

    def read(self, piece: Box, target: Counts) -> None:
        """Read the counts of some samples, stripe by stripe of variants, into (samples, features).

        Raises
        ------
        UnreadableChunk
            With the key of a chunk that is missing, cut short or cannot be decoded.
        """
        (samples,) = piece
        (calls,) = self.arrays
        for features, span in self._stripes():
            with watched(self.arrays, ((0, 1),), (span, samples)):
                block = calls[slice(*span), slice(*samples)]
            chosen = self.variants[features] - span[0]
            whole = len(chosen) == len(block) and (np.diff(chosen) == 1).all()
            some = block if whole else block[chosen]
            target[:, features] = dosages(some, self.turned[features], marks=self.marks).T

    def _stripes(self) -> Iterator[tuple[slice | NDArray[np.intp], tuple[int, int]]]:
        """Yield features, and the variants of the store that they lie in; no stripe without any."""
        order = np.argsort(self.variants, kind="stable")
        number = self.variants[order] // self.stripe
        edges = np.flatnonzero(np.diff(number, prepend=-1, append=-1))
        in_order = bool((order == np.arange(len(order))).all())
        for start, stop in pairwise(edges):
            few = order[start:stop]
            span = int(self.variants[few[0]]), int(self.variants[few[-1]]) + 1
            yield (slice(int(start), int(stop)) if in_order else few), span


def of_variants(reader: Any, chosen: NDArray[np.intp] | None = None, *, marks: bool = False) -> Any:
    """Return what reads the same samples, of some features alone, and may mark short calls."""
    if isinstance(reader, Stream):
        return replace(reader, reader=of_variants(reader.reader, chosen, marks=marks))
    layout = reader.layout
    few = slice(None) if chosen is None else chosen
    variants, turned = layout.variants[few], layout.turned[few]
    narrow = replace(
        layout, variants=variants, turned=turned, n_features=len(variants), marks=marks
    )
    return replace(reader, layout=narrow)


def stripe_of(calls: object, most: int = READ_BYTES) -> int:
    """Return how many variants are read at once: whole chunks, as many as there is room for.

    Of all samples of a chunk; a single chunk is always read whole.
    """
    chunks: tuple[int, ...] = getattr(calls, "chunks", None) or getattr(calls, "shape")  # noqa: B009
    size = np.dtype(getattr(calls, "dtype")).itemsize  # noqa: B009
    return int(chunks[0] * max(1, most // (int(np.prod(chunks)) * size)))
