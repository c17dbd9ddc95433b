"""What a partition says of its variants: counts and correlations, of which no sample can be told.

These are the messages that :mod:`dfmr_dask.data.genotypes.choosing` decides by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.data.genotypes.reading import ABSENT, Counts, of_variants
from dfmr_dask.data.streaming import Stream

CALLS_AT_ONCE = 8 << 20  # in float32 they take 32 MiB
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """The counts of one partition.

    Attributes
    ----------
    samples : int
        Those that have a call of any variant.
    called, alleles, short : ndarray of int, (variants,)
        Samples whose call is known, the alleles counted in them, and samples whose call has fewer
        alleles than others' (these are not among those known).
    """

    samples: int
    called: NDArray[np.int64]
    alleles: NDArray[np.int64]
    short: NDArray[np.int64]

    @property
    def means(self) -> Floats:
        """Alleles a call (variants,); 0 where no call is known."""
        return np.asarray(self.alleles / np.maximum(self.called, 1))

    def wrong(self, n_variants: int, ploidy: int) -> str:
        """Say why these can be no counts of so many variants; nothing when they can be."""
        columns = (self.called, self.alleles, self.short)
        if any(np.shape(one) != (n_variants,) or one.dtype.kind not in "iu" for one in columns):
            return f"wanted whole numbers of {n_variants} variants"
        if any((one < 0).any() for one in columns):
            return "counts are negative"
        if (self.called + self.short > self.samples).any():
            return f"more calls than {self.samples} samples"
        if (self.alleles > ploidy * self.called).any():
            return f"more than {ploidy} alleles a call"
        return "" if self.samples > 0 else "no sample has a call"


def summarized(reader: Any) -> Summary:
    """Count what a partition has of each variant, block by block.

    Parameters
    ----------
    reader : what ``Source.rows`` returns
        Of a source of genotypes.
    """
    marking = of_variants(reader, marks=True)
    samples, totals = 0, np.zeros((3, _width(marking)), dtype=np.int64)
    for x in _blocks(marking):
        known = x >= 0
        totals[0] += known.sum(axis=0)
        totals[1] += x.sum(axis=0, where=known, dtype=np.int64)
        totals[2] += (x == ABSENT).sum(axis=0)
        samples += int((x != -1).any(axis=1).sum())
    return Summary(samples, *totals)


def linkage(reader: Any, chosen: NDArray[np.intp], means: Floats, window: int) -> NDArray[Any]:
    """Correlate each of some variants with those that come next.

    Parameters
    ----------
    reader : what ``Source.rows`` returns
    chosen : ndarray of int, (k,)
        Features to look at, in order.
    means : ndarray of shape (k,)
        Of their counts in this partition. What is missing stands at the mean.
    window : int

    Returns
    -------
    ndarray of float32, (k, window)
        Correlations of each with the 1st, 2nd, ... after it; 0 where there is none, or where one
        of the two does not vary.
    """
    window = min(window, max(len(chosen) - 1, 0))
    products = np.zeros((len(chosen), window + 1))
    for x in _blocks(of_variants(reader, chosen)):
        away = np.where(x < 0, 0.0, x - means).astype(np.float32)
        for start in range(0, len(chosen), max(window, 1)):
            here = away[:, start : start + max(window, 1)]
            there = away[:, start : start + 2 * window + 1]
            _add(products, start, here.T @ there)
    spread = np.sqrt(products[:, 0])
    out = np.zeros((len(chosen), window), dtype=np.float32)
    for k in range(1, window + 1):
        both = spread[:-k] * spread[k:]
        out[:-k, k - 1] = np.divide(products[:-k, k], both, out=np.zeros_like(both), where=both > 0)
    return out


def _add(products: Floats, start: int, block: NDArray[Any]) -> None:
    """Add the diagonals of a block of products, each variant with itself and those after it."""
    for k in range(products.shape[1]):
        diagonal = np.diagonal(block, k)[: len(block)]
        products[start : start + len(diagonal), k] += diagonal


def _width(reader: Any) -> int:
    layout = reader.reader.layout if isinstance(reader, Stream) else reader.layout
    return int(layout.n_features)


def _blocks(reader: Any) -> Iterator[Counts]:
    """Yield the rows of a reader, few enough at once to be counted in floats."""
    for block in (x for x, _ in reader) if isinstance(reader, Stream) else (reader(),):
        step = max(1, CALLS_AT_ONCE // max(1, block.shape[1]))
        for start in range(0, len(block), step):
            yield block[start : start + step]
