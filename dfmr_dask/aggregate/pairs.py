"""Divergences of all pairs of components, in matrix products and compiled loops.

What one component brings to every pair it is in (factors, determinants, half vectors of the
covariance and of its inverse) is computed once, by :func:`prepared`. A family that has no fast form
here is asked itself, so that a new family works without a line in this file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.products import LARGE, log_determinants
from dfmr_dask.families.base import Family, Params
from dfmr_dask.families.factors import factors
from dfmr_dask.jit import COMPILED, compiled

Array = NDArray[np.float64]
FUSED = frozenset({"contract", "reassoc"})
LANES = 64  # components whose differences to one mean are turned side by side


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What Gaussian components bring to divergences.

    Attributes
    ----------
    means : ndarray of shape (A, d)
    spreads : ndarray of shape (A, f)
        Half vectors of the covariances.
    log_dets : ndarray of shape (A,)
    precisions : ndarray of shape (A, f), optional
        Of the inverses, so that the inner product with a spread is the trace of the product.
    whiteners : ndarray of shape (A, d, d), or (A, d) where covariances are diagonal, optional
    """

    means: Array
    spreads: Array
    log_dets: Array
    precisions: Array | None = None
    whiteners: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """Stacked components of a family, prepared for :func:`divergences`.

    Attributes
    ----------
    family : Family
    params : stacked parameters of A components
    features : Features or None
        None where the family is asked itself.
    """

    family: Family
    params: Params
    features: Features | None = None


def prepared(family: Family, params: Params, *, targets: bool = True) -> Components:
    """Compute what each component brings to all of its pairs.

    Parameters
    ----------
    family : Family
    params : stacked parameters of A components
    targets : bool
        Whether they will stand on the right hand side of divergences, too, which takes inverses.
    """
    if not COMPILED or family.name not in FEATURES:
        return Components(family, params)
    return Components(family, params, FEATURES[family.name](params, targets))


def picked(components: Components, index: slice | NDArray[np.intp], order: int) -> Components:
    """Select from components of mixtures of one order, (m K) of them, those of some mixtures."""

    def some(array: Array) -> Array:
        chosen = array.reshape(-1, order, *array.shape[1:])[index]
        return chosen.reshape(-1, *array.shape[1:])

    params = {name: some(array) for name, array in components.params.items()}
    has = components.features
    if has is None:
        return Components(components.family, params)
    precisions = None if has.precisions is None else some(has.precisions)
    whiteners = None if has.whiteners is None else some(has.whiteners)
    features = Features(
        some(has.means), some(has.spreads), some(has.log_dets), precisions, whiteners
    )
    return Components(components.family, params, features)


def divergences(p: Components, q: Components) -> Array:
    """KL(p_a || q_b) in nats for all pairs, shape (A, B).

    Traces are one matrix product of half vectors. Squared distances of means are summed over
    whitened differences: their expansion as a matrix product would lose the digits of a small
    divergence beside a large separation.

    Parameters
    ----------
    p, q : Components
        Of one family, from :func:`prepared`.

    References
    ----------
    Zhang & Chen (JMLR 2022), section 4; METHOD 3.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.aggregate.pairs import divergences, prepared
    >>> from dfmr_dask.families import Gaussian
    >>> two = {"means": np.array([[0.0], [2.0]]), "covariances": np.ones((2, 1, 1))}
    >>> components = prepared(Gaussian(), two)
    >>> divergences(components, components)
    array([[0., 2.],
           [2., 0.]])
    """
    if p.features is None or q.features is None:
        return p.family.kl(p.params, q.params)
    one, other = p.features, q.features
    if other.precisions is None or other.whiteners is None:
        raise ValueError("components on the right hand side must be prepared as targets")
    out = other.precisions @ one.spreads.T
    add = _add_turned_squares if other.whiteners.ndim == 3 else _add_scaled_squares
    add(np.ascontiguousarray(one.means.T), other.means, other.whiteners, out)
    out += (other.log_dets - one.means.shape[1])[:, None]
    out -= one.log_dets
    out *= 0.5
    return np.maximum(out, 0.0, out=out).T


def _full(params: Params, targets: bool) -> Features:
    means, covariances = params["means"], params["covariances"]
    d = means.shape[1]
    i, j = np.tril_indices(d)
    spreads = np.ascontiguousarray(covariances[:, i, j])
    if not targets and d <= LARGE:
        return Features(means, spreads, log_determinants(spreads, d))
    lower, whiteners = factors(covariances)
    whole = 2.0 * np.log(np.diagonal(lower, axis1=-2, axis2=-1)).sum(axis=-1)
    precisions = (whiteners.swapaxes(-1, -2) @ whiteners)[:, i, j] * np.where(i == j, 1.0, 2.0)
    return Features(means, spreads, whole, precisions, whiteners)


def _diagonal(params: Params, targets: bool) -> Features:
    means, variances = params["means"], params["variances"]
    log_dets = np.log(variances).sum(axis=1)
    if not targets:
        return Features(means, variances, log_dets)
    return Features(means, variances, log_dets, 1.0 / variances, np.sqrt(1.0 / variances))


FEATURES: Mapping[str, Callable[[Params, bool], Features]] = {
    "gaussian": _full,
    "diagonal_gaussian": _diagonal,
}


@compiled(fastmath=FUSED)
def _add_turned_squares(means: Array, centers: Array, whiteners: Array, out: Array) -> None:
    """Add |W_b (mean_a - center_b)|² to out[b, a], for lower triangular W and means (d, A)."""
    d, count = means.shape
    offset = np.empty((d, LANES))
    y = np.empty(LANES)
    for b in range(len(centers)):
        for first in range(0, count, LANES):
            width = min(LANES, count - first)
            for i in range(d):
                for lane in range(width):
                    offset[i, lane] = means[i, first + lane] - centers[b, i]
            for i in range(d):
                for lane in range(LANES):
                    y[lane] = 0.0
                for j in range(i + 1):
                    turn = whiteners[b, i, j]
                    for lane in range(LANES):
                        y[lane] += turn * offset[j, lane]
                for lane in range(width):
                    out[b, first + lane] += y[lane] * y[lane]


@compiled(fastmath=FUSED)
def _add_scaled_squares(means: Array, centers: Array, scales: Array, out: Array) -> None:
    """Add |scale_b * (mean_a - center_b)|² to out[b, a]."""
    d, count = means.shape
    for b in range(len(centers)):
        for i in range(d):
            center, scale = centers[b, i], scales[b, i]
            for a in range(count):
                y = (means[i, a] - center) * scale
                out[b, a] += y * y
