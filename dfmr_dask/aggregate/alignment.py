"""Which component is which: estimates are aligned before anything is compared or averaged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.families.base import flatten
from dfmr_dask.mixture import Mixture


def saturated_cost(divergence: NDArray[np.float64], n_features: int) -> NDArray[np.float64]:
    """C / (C + d): one bad component must not spoil the whole matching (METHOD 12, step 2)."""
    finite = np.isfinite(divergence)
    known = np.where(finite, divergence, 0.0)
    return np.where(finite, known / (known + n_features), 1.0)


def orders(estimates: Estimates, reference: Mixture) -> NDArray[np.intp]:
    """Return for each estimate the components that match the reference's, shape (m, K).

    Hungarian matching on the saturated, symmetrised KL divergence.
    """
    family, m = estimates.family, len(estimates)
    order = reference.n_components
    flat = flatten(estimates.params)
    there = family.kl(flat, reference.params)
    back = family.kl(reference.params, flat).T
    cost = saturated_cost(0.5 * (there + back), reference.n_features)
    cost = cost.reshape(m, order, order)
    return np.stack([linear_sum_assignment(one.T)[1] for one in cost]).astype(np.intp)


def aligned(estimates: Estimates, reference: Mixture) -> Estimates:
    """Reorder the components of every estimate to match the reference's."""
    return estimates.reordered(orders(estimates, reference))
