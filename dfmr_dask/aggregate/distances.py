"""Distances between estimates: all pairs, or all of them to a few (METHOD 3 and 12).

Every function returns the distances (m, m) between all estimates or, with ``to``, those (m, c) from
all estimates to the ones at c positions. Temporary arrays are bounded whatever m is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dfmr_dask.aggregate.blockwise import (
    ELEMENTS,
    Array,
    Index,
    Positions,
    in_blocks,
    log_of_sums,
    runs,
    size_of,
    squared_distances,
    without_self,
)
from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.aggregate.pairs import (
    Components,
    divergences,
    picked,
    prepared,
)
from dfmr_dask.aggregate.products import log_inner_products, log_paired_products
from dfmr_dask.aggregate.transport import transport_table
from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.families.base import Block, Family, flatten, take
from dfmr_dask.mixture import Mixture

FEWEST_ROWS = 20.0  # a component of fewer rows is not tested, and so does not enter the reduction
LARGEST_COST = 1e100  # stands for a divergence that overflowed
CLOSED_FORMS: Mapping[str, str] = {  # what a family must offer for a distance, or a gate
    "blocks": "blocks",
    "ctd": "kl",
    "fisher": "fisher_coordinates",
    "l2": "log_inner_product",
}


def require(family: Family, distance: str) -> None:
    """Raise unless a family has the closed form that a distance is made of.

    Raises
    ------
    InvalidConfiguration
        Naming the distances that the family does have.
    """
    have = [
        name for name, needed in CLOSED_FORMS.items() if callable(getattr(family, needed, None))
    ]
    if distance not in have:
        raise InvalidConfiguration(
            f"family {family.name!r} has no {CLOSED_FORMS[distance]!r}, which the distance "
            f"{distance!r} is made of; choose among {have}"
        )


def l2(estimates: Estimates, to: Positions | None = None) -> Array:
    """L² distances between densities, in units of the median norm among them, (m, m) or (m, c).

    L(G, G')² = w'Aw - 2 w'Bw' + w''Cw'', with A_kl the integral of f_k f_l, and so on. The
    three terms are held as logarithms and brought to one scale for each pair. The median is a
    unit that no minority can move; a needle may lie infinitely far away in it.

    Parameters
    ----------
    estimates : Estimates
    to : positions of c estimates, optional

    Raises
    ------
    InvalidConfiguration
        When the family has no closed form of the integral of a product.

    Notes
    -----
    Below :func:`l2_resolution` times the larger norm of a pair, rounding decides, down to 0.

    References
    ----------
    Zhang, Tan & Chen (arXiv 2407.13980), section 3; METHOD 3.
    """
    own = log_norms(estimates)
    products = log_products(estimates, to)
    other = own if to is None else own[np.asarray(to, dtype=np.intp)]
    scale = np.maximum(np.maximum(own[:, None], other[None, :]), products)
    square = np.exp(own[:, None] - scale) + np.exp(other[None, :] - scale)
    square -= 2.0 * np.exp(products - scale)
    np.maximum(square, 0.0, out=square)
    with np.errstate(divide="ignore", over="ignore"):
        distances: Array = np.exp(0.5 * (np.log(square) + scale - np.median(own)))
    return without_self(distances, to)


def l2_resolution(n_features: int) -> float:
    """Return the L² distance, in norms of the pair, below which rounding decides.

    Logarithms of integrals are sums of some 4 d terms of order 1 to 10, each right to half a unit
    in its last place; the distance is the root of what is left of three of them.

    Examples
    --------
    >>> from dfmr_dask.aggregate.distances import l2_resolution
    >>> l2_resolution(500) < 3e-6
    True
    """
    return float(np.sqrt(8.0 * np.finfo(np.float64).eps * (n_features + 10.0)))


def log_products(estimates: Estimates, to: Positions | None = None) -> Array:
    """Return the log of the integral of f_i f_j for pairs of mixtures, (m, m) or (m, c)."""
    require(estimates.family, "l2")
    order = estimates.weights.shape[1]

    def block(rows: Index, columns: Index) -> Array:
        one, other = estimates.subset(rows), estimates.subset(columns)
        terms = log_inner_products(estimates.family, flatten(one.params), flatten(other.params))
        terms = terms.reshape(len(one), order, len(other), order)
        terms += np.log(one.weights)[:, :, None, None] + np.log(other.weights)
        return log_of_sums(terms)

    return in_blocks(len(estimates), to, block, order * order)


def log_norms(estimates: Estimates) -> Array:
    """Return the log of the integral of f_i² for each estimate, shape (m,)."""
    require(estimates.family, "l2")
    order = estimates.weights.shape[1]
    k, j = np.triu_indices(order)
    twice = np.where(k == j, 0.0, np.log(2.0))
    out = np.empty(len(estimates))
    for first, some in runs(estimates, len(k) * size_of(estimates)):
        one, other = (flatten(take(some.params, (slice(None), i))) for i in (k, j))
        terms = log_paired_products(some.family, one, other).reshape(len(some), len(k))
        terms += np.log(some.weights[:, k]) + np.log(some.weights[:, j]) + twice
        out[first : first + len(some)] = log_of_sums(terms[:, :, None, None])[:, 0]
    return out


def ctd(estimates: Estimates, to: Positions | None = None) -> Array:
    """CTD-KL, the root of the mean of both composite transportation distances, (m, m) or (m, c).

    CTD(G, G') moves the weights of G onto those of G' at the cost KL(f_k || f'_l), with both
    marginals fixed.

    Parameters
    ----------
    estimates : Estimates
    to : positions of c estimates, optional

    References
    ----------
    Zhang & Chen (JMLR 2022), section 3; METHOD 3.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.aggregate.distances import ctd
    >>> from dfmr_dask.aggregate.estimates import Estimates
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> one = {"means": np.array([[[0.0]], [[2.0]]]), "variances": np.ones((2, 1, 1))}
    >>> two = Estimates(DiagonalGaussian(), np.arange(2), np.ones((2, 1)), one, np.full(2, 100.0))
    >>> ctd(two, to=[0]).round(3)
    array([[0.   ],
           [1.414]])
    """
    require(estimates.family, "ctd")
    order = estimates.weights.shape[1]
    components = _components_of(estimates, order)

    def block(rows: Index, columns: Index) -> Array:
        here, there = components(rows), components(columns)
        one, other = estimates.weights[rows], estimates.weights[columns]
        shape = (len(one), order, len(other), order)
        total = np.zeros((len(one), len(other)))
        for kl in (divergences(here, there), divergences(there, here).T):
            cost = np.nan_to_num(kl, nan=LARGEST_COST, posinf=LARGEST_COST)
            tables = np.ascontiguousarray(cost).reshape(shape)
            total += transport_table(one, other, tables)
        return np.sqrt(0.5 * total)

    return without_self(in_blocks(len(estimates), to, block, order * order), to)


def _components_of(estimates: Estimates, order: int) -> Callable[[Index], Components]:
    """Return the prepared components of some estimates; kept for all where that is not much."""

    def fresh(index: Index) -> Components:
        return prepared(estimates.family, flatten(estimates.subset(index).params))

    if len(estimates) * size_of(estimates) > ELEMENTS:
        return fresh
    many = prepared(estimates.family, flatten(estimates.params))
    return lambda index: picked(many, index, order)


def fisher(estimates: Estimates, center: Mixture, to: Positions | None = None) -> Array:
    """Distances in Fisher coordinates around a center, for estimates aligned to it.

    D² = sum_k w_k (|L⁻¹ dmu_k|² + ½|L⁻¹ dS_k L⁻ᵀ|²) + sum_k dw_k² / w_k, with S_k = LLᵀ of the
    center (METHOD 3); shape (m, m) or (m, c).
    """
    require(estimates.family, "fisher")
    shares = estimates.weights / np.sqrt(center.weights)
    roots = np.sqrt(center.weights)[:, None]
    both = np.empty((0, 0))
    for first, some in runs(estimates, size_of(estimates)):
        z = estimates.family.fisher_coordinates(some.params, center.params)
        z = (z * roots).reshape(len(some), -1)
        if not first:
            both = np.empty((len(estimates), z.shape[1] + shares.shape[1]))
        both[first : first + len(some), : z.shape[1]] = z
    both[:, both.shape[1] - shares.shape[1] :] = shares
    return np.sqrt(squared_distances(both, to))


def blocks_at(estimates: Estimates, center: Mixture) -> tuple[Block, ...]:
    """Variance-stabilised coordinates of aligned estimates at a center; temporaries are bounded.

    The coordinates of :meth:`dfmr_dask.families.base.Family.blocks`, METHOD 12.
    """
    require(estimates.family, "blocks")
    parts = [
        estimates.family.blocks(some.params, center.params)
        for _, some in runs(estimates, 4 * size_of(estimates))
    ]
    if len(parts) == 1:
        return parts[0]
    return tuple(
        same[0]._replace(coordinates=np.concatenate([b.coordinates for b in same]))
        for same in zip(*parts, strict=True)
    )


def studentized_block(block: Block, estimates: Estimates, to: Positions | None = None) -> Array:
    """Studentised distances in one block, for aligned estimates, (m, m) or (m, c).

    D²(i,j) = mean over components k of |z_ik - z_jk|² / (1/n_ik + 1/n_jk) / p, over components
    with at least 20 rows on both sides; infinite where there are none (METHOD 12, step 2). The
    squared lengths of all pairs are one matrix product for each component.
    """
    rows = estimates.rows[:, None] if block.shared else component_rows(estimates)
    there = slice(None) if to is None else np.asarray(to, dtype=np.intp)
    m, p = len(rows), block.coordinates.shape[-1]
    width = m if to is None else len(rows[there])
    total, tested = np.zeros((m, width)), np.zeros((m, width), dtype=np.int64)
    for k in range(rows.shape[1]):
        n = rows[:, k]
        large, variance = n >= FEWEST_ROWS, 1.0 / np.maximum(n, 1e-300)
        square = squared_distances(block.coordinates[:, k], to)
        square /= (p * variance)[:, None] + (p * variance)[there]
        both = large[:, None] & large[there]
        np.add(total, square, out=total, where=both)
        tested += both
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.where(tested > 0, total / tested, np.inf)
    return np.sqrt(without_self(total, to))


def studentized_weights(estimates: Estimates, to: Positions | None = None) -> Array:
    """Hellinger distances between weights, studentised, (m, m) or (m, c).

    D² = sum_k (2 sqrt(w_ik) - 2 sqrt(w_jk))² / {(1/n_i + 1/n_j)(K - 1)} (METHOD 12, step 4).
    """
    roots = 2.0 * np.sqrt(estimates.weights)
    degrees = roots.shape[1] - 1
    return per_row(np.sqrt(squared_distances(roots, to) / degrees), estimates.rows, to)


def component_rows(estimates: Estimates) -> Array:
    """Effective rows n_ik of each component in each partition, shape (m, K)."""
    return estimates.rows[:, None] * estimates.weights


def per_row(distances: Array, rows: Array, to: Positions | None = None) -> Array:
    """Divide distances by sqrt(1/n_i + 1/n_j): small partitions may lie further away."""
    variance = 1.0 / rows
    other = variance if to is None else variance[np.asarray(to, dtype=np.intp)]
    return distances / np.sqrt(variance[:, None] + other)
