"""How far an estimate lies from the truth of a simulation (METHOD 10)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.transport import transport_costs
from dfmr_dask.families.base import Statistics
from dfmr_dask.mixture import Mixture


def error(estimate: Mixture, truth: Mixture) -> float:
    """Transport distance between an estimate and the truth.

    Both marginals are the weights; moving a component costs |mu - mu'| + |S^½ - S'^½|_F, and
    |z - z'| in the coordinates of the blocks for families other than Gaussians.

    Parameters
    ----------
    estimate, truth : Mixture
        Their orders may differ.

    Examples
    --------
    >>> from dfmr_dask.experiments.accuracy import error
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.mixture import Mixture
    >>> def at(mean):
    ...     return Mixture(DiagonalGaussian(), [1.0], {"means": [[mean]], "variances": [[1.0]]})
    >>> error(at(0.5), at(0.0))
    0.5
    """
    if "means" not in truth.params:
        cost = np.linalg.norm(_coordinates(estimate)[:, None] - _coordinates(truth)[None], axis=-1)
        return float(transport_costs(estimate.weights[None], truth.weights[None], cost[None])[0])
    there, here = estimate.params["means"], truth.params["means"]
    cost = np.linalg.norm(there[:, None] - here[None], axis=-1)
    roots, true_roots = _roots(estimate), _roots(truth)
    cost = cost + np.linalg.norm(roots[:, None] - true_roots[None], axis=(-2, -1))
    return float(transport_costs(estimate.weights[None], truth.weights[None], cost[None])[0])


def ratio_interval(
    errors: Sequence[float], oracle: Sequence[float], *, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Ratio of mean errors to the oracle's, and its 95 % bootstrap interval over seeds.

    Parameters
    ----------
    errors, oracle : sequences of float
        One entry a seed, in the same order.

    Returns
    -------
    ratio, low, high : float
    """
    pairs = np.array([errors, oracle])
    rng = np.random.default_rng(seed)
    index = rng.integers(pairs.shape[1], size=(draws, pairs.shape[1]))
    means = pairs[:, index].mean(axis=2)
    low, high = np.quantile(means[0] / means[1], [0.025, 0.975])
    return float(pairs[0].mean() / pairs[1].mean()), float(low), float(high)


def _coordinates(mixture: Mixture) -> NDArray[np.float64]:
    """Coordinates of all blocks, (K, p), at one and the same place for every mixture."""
    family, one = mixture.family, np.ones(mixture.n_components)
    everybody = family.expected_statistics(mixture.params, one)
    still = Statistics(everybody.count, {n: np.ones_like(a) for n, a in everybody.moments.items()})
    center = family.from_statistics(still)  # of categories a uniform one, else any will do
    blocks = family.blocks(mixture.params, center)
    return np.concatenate([block.coordinates for block in blocks], axis=-1)


def _roots(mixture: Mixture) -> NDArray[np.float64]:
    """Symmetric square roots of the covariances, (K, d, d)."""
    if "variances" in mixture.params:
        deviations = np.sqrt(mixture.params["variances"])
        return np.asarray(deviations[:, :, None] * np.eye(deviations.shape[1]))
    values, vectors = np.linalg.eigh(mixture.params["covariances"])
    scaled = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    return np.asarray(scaled @ vectors.transpose(0, 2, 1))
