"""Logarithms of integrals of products of components, many pairs at a time (METHOD 3).

The sums of covariances of many pairs lie side by side, so that compiled loops factor all of them
with the same instructions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Family, Params, take
from dfmr_dask.families.gaussian import LOG_2PI
from dfmr_dask.jit import COMPILED, compiled

Array = NDArray[np.float64]
FUSED = frozenset({"contract", "reassoc"})
COLUMNS = 64  # sums of covariances that are factored side by side
LARGE = 64  # features above which LAPACK factors faster
BIG = 1e100  # determinants are multiplied up to here between two logarithms


def log_inner_products(family: Family, p: Params, q: Params) -> Array:
    """Log of the integral of p_a q_b for all pairs, shape (A, B).

    References
    ----------
    METHOD 3: for Gaussians the integral is a normal density, phi(mu; mu', S + S').

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.aggregate.products import log_inner_products
    >>> from dfmr_dask.families import Gaussian
    >>> one = {"means": np.zeros((1, 1)), "covariances": np.ones((1, 1, 1))}
    >>> np.exp(log_inner_products(Gaussian(), one, one)).round(4)  # 1 / sqrt(4 pi)
    array([[0.2821]])
    """
    if not _fast(family, p):
        return family.log_inner_product(p, q)
    means, lower = _side_by_side(q["means"], _half(q["covariances"]))
    out = np.empty((len(p["means"]), means.shape[1]))
    own = np.ascontiguousarray(p["means"])
    _log_normal_densities(own, _half(p["covariances"]), means, lower, out)
    return np.asarray(-0.5 * (out[:, : len(q["means"])] + own.shape[1] * LOG_2PI))


def log_paired_products(family: Family, p: Params, q: Params) -> Array:
    """Log of the integral of p_a q_a for each component of two stacks of A, shape (A,)."""
    if not _fast(family, p):
        pairs = [(take(p, [a]), take(q, [a])) for a in range(len(next(iter(p.values()))))]
        return np.array([family.log_inner_product(*pair)[0, 0] for pair in pairs])
    total = _log_densities(
        q["means"] - p["means"], _half(p["covariances"]) + _half(q["covariances"])
    )
    return np.asarray(-0.5 * (total + p["means"].shape[1] * LOG_2PI))


def log_determinants(lower: Array, n_features: int) -> Array:
    """Log determinants of covariances given as half vectors (A, f), shape (A,)."""
    return _log_densities(np.zeros((len(lower), n_features)), lower)


def _fast(family: Family, params: Params) -> bool:
    return COMPILED and family.name == "gaussian" and params["means"].shape[-1] <= LARGE


def _half(covariances: Array) -> Array:
    """Lower triangles by rows, shape (A, f)."""
    i, j = np.tril_indices(covariances.shape[-1])
    return np.ascontiguousarray(covariances[:, i, j])


def _log_densities(offsets: Array, lower: Array) -> Array:
    """log |S| + y' S⁻¹ y for each y (A, d) and half vector of S (A, f), shape (A,)."""
    means, sums = _side_by_side(offsets, lower)
    out = np.empty((1, means.shape[1]))
    _log_normal_densities(np.zeros((1, len(means))), np.zeros((1, len(sums))), means, sums, out)
    return out[0, : len(offsets)]


def _side_by_side(means: Array, lower: Array) -> tuple[Array, Array]:
    """Turn both, and repeat the last one until all lanes have something to do."""
    count = len(means)
    column = np.minimum(np.arange(-(-count // COLUMNS) * COLUMNS), count - 1)
    return np.ascontiguousarray(means[column].T), np.ascontiguousarray(lower[column].T)


@compiled(fastmath=FUSED)
def _log_normal_densities(
    p_means: Array, p_lower: Array, q_means: Array, q_lower: Array, out: Array
) -> None:
    """Set out[a, b] to log |S| + y' S⁻¹ y, S the sum of both covariances, y the means' difference.

    Half vectors of p are rows, those of q columns. A Cholesky factorisation by rows, of which the
    difference of means is the last one: it comes out solved.
    """
    d, count = q_means.shape
    size = d * (d + 1) // 2
    work, inverse = np.zeros((size + d, COLUMNS)), np.empty((d, COLUMNS))
    rest, product, log_det = np.empty(COLUMNS), np.empty(COLUMNS), np.empty(COLUMNS)
    for a in range(len(p_means)):
        for first in range(0, count, COLUMNS):
            for s in range(size):
                for lane in range(COLUMNS):
                    work[s, lane] = p_lower[a, s] + q_lower[s, first + lane]
            for i in range(d):
                for lane in range(COLUMNS):
                    work[size + i, lane] = q_means[i, first + lane] - p_means[a, i]
            _factor(work, d, inverse, rest, product, log_det)
            for lane in range(COLUMNS):
                out[a, first + lane] = log_det[lane] + np.log(product[lane])
            for i in range(d):
                for lane in range(COLUMNS):
                    out[a, first + lane] += work[size + i, lane] ** 2


@compiled(fastmath=FUSED, part=True)
def _factor(
    work: Array, d: int, inverse: Array, rest: Array, product: Array, log_det: Array
) -> None:
    """Factor the matrices of all lanes, whose last row has no pivot, and multiply the pivots."""
    product[:], log_det[:] = 1.0, 0.0
    for i in range(d + 1):
        row = i * (i + 1) // 2
        for j in range(min(i + 1, d)):
            other = j * (j + 1) // 2
            for lane in range(COLUMNS):
                rest[lane] = work[row + j, lane]
            for t in range(j):
                for lane in range(COLUMNS):
                    rest[lane] -= work[row + t, lane] * work[other + t, lane]
            if j < i:
                for lane in range(COLUMNS):
                    work[row + j, lane] = rest[lane] * inverse[j, lane]
            else:
                _multiply_pivots(rest, inverse[i], product, log_det)


@compiled(fastmath=FUSED, part=True)
def _multiply_pivots(pivots: Array, inverse: Array, product: Array, log_det: Array) -> None:
    """Note the inverse roots of pivots, and take logarithms where their product gets too far."""
    for lane in range(COLUMNS):
        inverse[lane] = 1.0 / np.sqrt(pivots[lane])
        product[lane] *= pivots[lane]
    for lane in range(COLUMNS):
        if not 1.0 / BIG < product[lane] < BIG:
            log_det[lane] += np.log(product[lane])
            product[lane] = 1.0
