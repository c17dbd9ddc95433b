"""Distances between estimates, all pairs at once (METHOD 3 and 12)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.aggregate.transport import transport_costs
from dfmr_dask.families.base import Block, flatten, take
from dfmr_dask.mixture import Mixture

FEWEST_ROWS = 20.0  # a component of fewer rows is not tested, and so does not enter the reduction
LARGEST_COST = 1e100  # stands for a divergence that overflowed


def l2(estimates: Estimates) -> NDArray[np.float64]:
    """L² distances between densities, in units of the median norm among them, (m, m).

    L(G, G')² = w'Aw - 2 w'Bw' + w''Cw'', with A_kl the integral of f_k f_l, and so on. The
    three terms are held as logarithms and brought to one scale for each pair. The median is a
    unit that no minority can move; a needle may lie infinitely far away in it.

    References
    ----------
    Zhang, Tan & Chen (arXiv 2407.13980), section 3; METHOD 3.
    """
    products = log_products(estimates)
    own = np.diag(products)
    scale = np.maximum(np.maximum(own[:, None], own[None, :]), products)
    square = np.exp(own[:, None] - scale) + np.exp(own[None, :] - scale)
    square = np.maximum(square - 2.0 * np.exp(products - scale), 0.0)
    with np.errstate(divide="ignore", over="ignore"):
        distances: NDArray[np.float64] = np.exp(0.5 * (np.log(square) + scale - np.median(own)))
    np.fill_diagonal(distances, 0.0)
    return distances


def log_products(estimates: Estimates) -> NDArray[np.float64]:
    """Return the log of the integral of f_i f_j for all pairs of mixtures, shape (m, m)."""
    m, order = estimates.weights.shape
    flat, log_weights = flatten(estimates.params), np.log(estimates.weights)
    out = np.empty((m, m))
    for i in range(m):
        terms = estimates.family.log_inner_product(take(estimates.params, i), flat)
        terms = terms.reshape(order, m, order) + log_weights[i][:, None, None] + log_weights
        top = terms.max(axis=(0, 2))
        out[i] = top + np.log(np.exp(terms - top[:, None]).sum(axis=(0, 2)))
    return 0.5 * (out + out.T)


def ctd(estimates: Estimates) -> NDArray[np.float64]:
    """CTD-KL, the root of the mean of both composite transportation distances, (m, m).

    CTD(G, G') moves the weights of G onto those of G' at the cost KL(f_k || f'_l), with both
    marginals fixed.

    References
    ----------
    Zhang & Chen (JMLR 2022), section 3; METHOD 3.
    """
    m, order = estimates.weights.shape
    flat = flatten(estimates.params)
    out = np.empty((m, m))
    for j in range(m):
        cost = estimates.family.kl(flat, take(estimates.params, j)).reshape(m, order, order)
        cost = np.nan_to_num(cost, nan=LARGEST_COST, posinf=LARGEST_COST)
        columns = np.repeat(estimates.weights[j : j + 1], m, axis=0)
        out[:, j] = transport_costs(estimates.weights, columns, cost)
    out = np.sqrt(0.5 * (out + out.T))
    np.fill_diagonal(out, 0.0)
    return out


def fisher(estimates: Estimates, center: Mixture) -> NDArray[np.float64]:
    """Distances in Fisher coordinates around a center, for estimates aligned to it, (m, m).

    D² = sum_k w_k (|L⁻¹ dmu_k|² + ½|L⁻¹ dS_k L⁻ᵀ|²) + sum_k dw_k² / w_k, with S_k = LLᵀ of the
    center (METHOD 3).
    """
    z = estimates.family.fisher_coordinates(estimates.params, center.params)
    coordinates = (z * np.sqrt(center.weights)[:, None]).reshape(len(estimates), -1)
    shares = estimates.weights / np.sqrt(center.weights)
    both = np.concatenate([coordinates, shares], axis=1)
    return np.asarray(cdist(both, both))


def studentized_block(block: Block, estimates: Estimates) -> NDArray[np.float64]:
    """Studentised distances in one block, for aligned estimates, (m, m).

    D²(i,j) = mean over components k of |z_ik - z_jk|² / (1/n_ik + 1/n_jk) / p, over components
    with at least 20 rows on both sides; infinite where there are none (METHOD 12, step 2).
    """
    rows = estimates.rows[:, None] if block.shared else component_rows(estimates)
    m, p = len(rows), block.coordinates.shape[-1]
    total, tested = np.zeros((m, m)), np.zeros((m, m))
    for k in range(rows.shape[1]):
        z, n = block.coordinates[:, k], rows[:, k]
        large = n >= FEWEST_ROWS
        both = large[:, None] & large[None, :]
        variance = 1.0 / np.maximum(n, 1e-300)
        studentized = cdist(z, z, "sqeuclidean") / (variance[:, None] + variance) / p
        total += np.where(both, studentized, 0.0)
        tested += both
    with np.errstate(invalid="ignore", divide="ignore"):
        square = np.where(tested > 0, total / tested, np.inf)
    np.fill_diagonal(square, 0.0)
    return np.sqrt(square)


def studentized_weights(estimates: Estimates) -> NDArray[np.float64]:
    """Hellinger distances between weights, studentised, (m, m).

    D² = sum_k (2 sqrt(w_ik) - 2 sqrt(w_jk))² / {(1/n_i + 1/n_j)(K - 1)} (METHOD 12, step 4).
    """
    roots = 2.0 * np.sqrt(estimates.weights)
    variance = 1.0 / estimates.rows
    scale = (variance[:, None] + variance) * (roots.shape[1] - 1)
    return np.asarray(np.sqrt(cdist(roots, roots, "sqeuclidean") / scale))


def component_rows(estimates: Estimates) -> NDArray[np.float64]:
    """Effective rows n_ik of each component in each partition, shape (m, K)."""
    return estimates.rows[:, None] * estimates.weights


def per_row(distances: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide distances by sqrt(1/n_i + 1/n_j): small partitions may lie further away."""
    variance = 1.0 / rows
    return distances / np.sqrt(variance[:, None] + variance)
