"""Which component is which: estimates are aligned before anything is compared or averaged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dfmr_dask.aggregate.blockwise import runs, size_of
from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.aggregate.pairs import divergences, prepared
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
    family, order = estimates.family, reference.n_components
    there = prepared(family, reference.params)
    out = np.empty((len(estimates), order), dtype=np.intp)
    for first, some in runs(estimates, size_of(estimates) + 4 * order * order):
        here = prepared(family, flatten(some.params))
        both = divergences(here, there) + divergences(there, here).T
        cost = saturated_cost(0.5 * both, reference.n_features).reshape(len(some), order, order)
        for i, one in enumerate(cost):
            out[first + i] = linear_sum_assignment(one.T)[1]
    return out


def like(mixture: Mixture, reference: Mixture) -> Mixture:
    """Reorder the components of a mixture to match a reference's of the same order."""
    there = mixture.family.kl(mixture.params, reference.params)
    back = mixture.family.kl(reference.params, mixture.params).T
    cost = saturated_cost(0.5 * (there + back), reference.n_features)
    return mixture.reordered(linear_sum_assignment(cost.T)[1])


def aligned(estimates: Estimates, reference: Mixture) -> Estimates:
    """Reorder the components of every estimate to match the reference's."""
    return estimates.reordered(orders(estimates, reference))
