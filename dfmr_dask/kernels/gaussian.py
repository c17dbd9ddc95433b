"""Gaussian mixtures and the compiled kernel: parameters go in, statistics and answers come out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import OBSERVED, Family, Params, Rows, Statistics
from dfmr_dask.families.factors import factors
from dfmr_dask.families.gaussian import LOG_2PI, Gaussian
from dfmr_dask.families.gaussian_diagonal import DiagonalGaussian
from dfmr_dask.families.ranges import LARGEST
from dfmr_dask.jit import to_be_read
from dfmr_dask.kernels import compiled, reference
from dfmr_dask.kernels.densities import DIAGONAL, FULL, TIED
from dfmr_dask.kernels.reference import Blocks

BLOCK_ROWS = 1 << 14  # rows of other dtypes than float32 and float64 are converted so many at once
TILE_NUMBERS = 1 << 14  # of rows in a tile: 128 KiB in float64
TILE_STEP, LARGEST_TILE = 16, 320  # rows; a whole number of vectors
FEW_FEATURES = 12  # up to so many, code is made for their number: more do not fit in registers
FEW_ROWS = 1000  # tell roughly where rows lie, for a frame
NO_WEIGHTS = np.empty(0)
EXACT_IN_FLOAT32 = ("?", "b", "B", "h", "H", "e")  # dtypes whose values are all float32 numbers
SERIES = [1.0 / float(np.prod(np.arange(1.0, i + 1.0))) for i in range(12, 1, -1)]  # 1/12! ... 1/2!
# 1/log 2, magic, log 2 in two parts, lowest, one, series; bias and place of the exponent of 2^j;
# whether the series' first five terms count, told by a length that the compiler knows
EXPONENTIAL: Mapping[str, tuple[NDArray[Any], NDArray[Any], tuple[int, ...]]] = {
    "d": (
        np.array([1 / np.log(2.0), 1.5 * 2.0**52, 6.93147180369123816490e-01,
                  1.90821492927058770002e-10, -200.0, 1.0, *SERIES]),
        np.array([1023, 52], np.int64),
        (1,),
    ),
    "f": (
        np.array([1 / np.log(2.0), 1.5 * 2.0**23, 0.693359375, -2.12194440e-4, -60.0, 1.0,
                  *SERIES], np.float32),
        np.array([127, 23], np.int32),
        (),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A mixture in the frame of the kernel, and what the kernel needs beside.

    Attributes
    ----------
    frame : array of shape (2, d)
        What is taken off a row, and what it is multiplied by then.
    model : tuple
        Kind, constants c_k (K,), whiteners W_k / sqrt(2) (K, d, d), (1, d, d) when tied or
        (K, 1, d) when diagonal, offsets W_k mu_k / sqrt(2) (K, d); in the frame. Last, a tuple
        as long as there are features, when code is made for that number, or an empty one.
    table : tuple
        See ``EXPONENTIAL``.
    scratch : tuple
        See :func:`scratch_memory`.
    """

    frame: NDArray[np.float64]
    model: tuple[Any, ...]
    table: tuple[Any, ...]
    scratch: tuple[Any, ...]


def handles(family: Family) -> bool:
    """Tell whether the compiled kernel can do this family."""
    return isinstance(family, Gaussian | DiagonalGaussian)


def expected_sums(
    family: Family,
    weights: NDArray[np.float64],
    params: Params,
    blocks: Blocks,
    work: np.dtype[Any],
) -> tuple[Statistics, float]:
    """Return the statistics of the E-step and the log likelihood; see ``dfmr_dask.kernels``."""
    one = _prepared(family, weights, params, work)
    kind, _, whiteners, offsets, _ = one.model
    n_components, d = offsets.shape
    second = (n_components if kind == DIAGONAL else len(whiteners), *whiteners.shape[1:])
    sums = np.zeros(n_components), np.zeros((n_components, d)), np.zeros(second)
    total = 0.0
    aside: list[Statistics] = []  # of rows where entries are missing

    def add(rows: Rows, counts: NDArray[np.float64]) -> float:
        gained: float = compiled.add_up(
            to_be_read(rows), to_be_read(counts), one.frame, one.model, one.table, one.scratch, sums
        )
        return gained

    for x, row_weights in blocks:
        for rows, place in _plain(x):
            counts = NO_WEIGHTS if row_weights is None else row_weights[place : place + len(rows)]
            counts = np.ascontiguousarray(counts, dtype=np.float64)
            before = [array.copy() for array in sums] if family.takes_missing else []
            gained = add(rows, counts)
            # cheaper than to look for NaN in all rows beforehand
            if before and np.isnan(sums[1]).any() and len(holed := _with_holes(rows)):
                for array, old in zip(sums, before, strict=True):
                    array[...] = old
                whole, apart = _apart(rows, counts, holed)
                more, also = reference.expected_sums(family, weights, params, [apart])
                aside = [reference.pooled(family, [*aside, more])]
                gained = add(*whole) + also
            total += gained
    return reference.pooled(family, [_statistics(kind, one.frame, *sums), *aside]), total


def _with_holes(rows: Rows) -> NDArray[np.intp]:
    """Return the numbers of the rows where an entry is missing."""
    return np.flatnonzero(np.isnan(rows).any(axis=1))


def _apart(
    rows: Rows, counts: NDArray[np.float64], holed: NDArray[np.intp]
) -> tuple[tuple[Rows, Any], tuple[Rows, Any]]:
    """Return the other rows and those with missing entries, each with their weights."""
    whole = np.delete(np.arange(len(rows)), holed)
    if not len(counts):
        return (rows[whole], NO_WEIGHTS), (rows[holed], None)
    return (rows[whole], counts[whole]), (rows[holed], counts[holed])


def overall_statistics(
    family: Family, x: Rows, sample_weight: NDArray[np.float64] | None
) -> Statistics:
    """Return the statistics of all rows as one group: those of a component that has them all."""
    few = x[:: max(1, len(x) // FEW_ROWS)].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        means, variances = few.mean(axis=0), few.var(axis=0)
        if np.isnan(means).any() and family.takes_missing:
            means, variances = _of_known(few)
    variances = np.where((variances > 0.0) & (variances < LARGEST), variances, 1.0)
    params = {"means": means[None], "variances": variances[None]}
    if isinstance(family, Gaussian):
        params = {"means": params["means"], "covariances": np.diag(variances)[None]}
    blocks = [(x, sample_weight)]
    return expected_sums(family, np.ones(1), params, blocks, np.dtype(np.float64))[0]


def answers(
    family: Family,
    weights: NDArray[np.float64],
    params: Params,
    x: Rows,
    out: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
) -> None:
    """Write log densities (n,), responsibilities (n, K) and labels (n,) that are asked for."""
    one = _prepared(family, weights, params, np.dtype(np.float64))
    for rows, place in _plain(x):
        compiled.answer(to_be_read(rows), place, one.frame, one.model, one.table, one.scratch, out)
    if not family.takes_missing or x.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):  # infinite is as good as any number here
        if not np.isnan(np.add.reduce(x, axis=None)):
            return
    holed = _with_holes(x)
    few = tuple(array[holed] if len(array) else array for array in out)
    reference.answers(family, weights, params, x[holed], few)  # type: ignore[arg-type]
    for array, own in zip(out, few, strict=True):
        if len(array):
            array[holed] = own


def _of_known(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return means and variances (d,) of the entries that are there."""
    there = ~np.isnan(x)
    count = np.maximum(there.sum(axis=0), 1)
    means = np.where(there, x, 0.0).sum(axis=0) / count
    return means, np.where(there, (x - means) ** 2, 0.0).sum(axis=0) / count


def _prepared(
    family: Family, weights: NDArray[np.float64], params: Params, work: np.dtype[Any]
) -> Prepared:
    """Shift, scale and whiten: parameters in the frame of the rows' tiles."""
    kind = DIAGONAL if isinstance(family, DiagonalGaussian) else FULL
    if isinstance(family, Gaussian) and family.tied:
        kind = TIED
    means = params["means"]
    frame = _frame(params)
    centered = (means - frame[0]) * frame[1]
    if kind == DIAGONAL:
        deviations = np.sqrt(params["variances"]) * frame[1]
        whiteners = (np.sqrt(0.5) / deviations)[:, None, :]
        offsets = whiteners[:, 0] * centered
        log_dets = np.log(deviations).sum(axis=1)
    else:
        covariances = params["covariances"][: 1 if kind == TIED else len(means)]
        lower, inverse = factors(covariances * (frame[1][:, None] * frame[1]))
        whiteners = np.sqrt(0.5) * inverse
        offsets = (whiteners @ centered[..., None])[..., 0]
        log_dets = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    constants = np.log(weights) - log_dets + np.log(frame[1]).sum() - 0.5 * means.shape[1] * LOG_2PI
    arrays = (np.ascontiguousarray(a, work) for a in (constants, whiteners, offsets))
    d = means.shape[1]
    model = (kind, *arrays, (0,) * d if d <= FEW_FEATURES else ())
    scratch = scratch_memory(kind, len(means), means.shape[1], work)
    return Prepared(frame, model, EXPONENTIAL[work.char], scratch)


def tile_rows(n_features: int) -> int:
    """Return how many rows are a tile."""
    tile = TILE_STEP * (TILE_NUMBERS // (TILE_STEP * n_features))
    tile = min(LARGEST_TILE, max(TILE_STEP, tile))
    return tile - (TILE_STEP if tile in (64, 128, 256) else 0)


def scratch_memory(
    kind: int, n_components: int, n_features: int, work: np.dtype[Any]
) -> tuple[NDArray[Any], ...]:
    """Return the arrays that a tile is computed in: z, y, l, top, total, powers, bits, counts.

    A tile is no power of two: the features of one row would compete for a few places in the cache.
    """
    tile = tile_rows(n_features)
    sizes = (n_features, max(n_features, 4) if kind == TIED else 4, n_components)
    tables = (np.zeros((size, tile), work) for size in sizes)
    top, total, powers, counts = (np.zeros(tile, work) for _ in range(4))
    return (*tables, top, total, powers, powers.view(EXPONENTIAL[work.char][1].dtype), counts)


def _frame(params: Params) -> NDArray[np.float64]:
    """Shift and factor of each feature: a middle mean, and a power of two near the spread.

    The mean of the means would lie nowhere when one component has gone very far.
    """
    variances = params.get("variances")
    if variances is None:
        variances = np.diagonal(params["covariances"], axis1=1, axis2=2)
    spread = np.add.reduce(variances) / len(variances)
    shift = np.sort(params["means"], axis=0)[len(variances) // 2]
    return np.stack([shift, np.exp2(np.rint(-0.5 * np.log2(spread)))])


def _statistics(
    kind: int,
    frame: NDArray[np.float64],
    s0: NDArray[np.float64],
    s1: NDArray[np.float64],
    s2: NDArray[np.float64],
) -> Statistics:
    """Turn sums in the frame into moments about the means of the groups."""
    unscale = 1.0 / frame[1]
    mass = np.maximum(s0, np.finfo(np.float64).tiny)
    means = s1 / mass[:, None]
    moments = {"means": frame[0] + means * unscale}
    if kind == DIAGONAL:
        variances = np.maximum(s2[:, 0] / mass[:, None] - means * means, 0.0)
        there = {OBSERVED: np.ones_like(means)}
        return Statistics(s0, moments | {"variances": variances * unscale**2} | there)
    below = np.tri(s2.shape[1], k=-1, dtype=bool)
    second = np.where(below, s2, s2.swapaxes(1, 2))  # what lies above the diagonal is not summed
    outer = means[:, :, None] * means[:, None, :]
    if kind == TIED:  # only the sum over components is known, and wanted: each gets its share
        within = (second[0] - np.tensordot(s0, outer, axes=1)) / max(s0.sum(), np.finfo(float).tiny)
        covariances = np.repeat(within[None], len(means), axis=0)
    else:
        covariances = second / mass[:, None, None] - outer
    return Statistics(s0, moments | {"covariances": covariances * (unscale[:, None] * unscale)})


def even_rows(n_features: int, dtype: np.dtype[Any]) -> int:
    """Return of what multiple of rows blocks give the same sums, bit by bit, as all at once."""
    return tile_rows(n_features) if dtype.char in "fd" else BLOCK_ROWS


def _plain(x: Rows) -> Iterator[tuple[Rows, int]]:
    """Yield rows as float32 or float64, and the number of the first: at once, or in blocks."""
    if x.dtype.char in "fd" and x.dtype.isnative and x.flags.c_contiguous and x.flags.aligned:
        yield x, 0
        return
    dtype = np.float32 if x.dtype.char in EXACT_IN_FLOAT32 or x.dtype.char == "f" else np.float64
    for first in range(0, len(x), BLOCK_ROWS):
        yield np.ascontiguousarray(x[first : first + BLOCK_ROWS], dtype=dtype), first
