"""How far an estimate lies from the truth of a simulation (METHOD 10)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.transport import transport_costs
from dfmr_dask.families.base import take
from dfmr_dask.mixture import Mixture


def error(estimate: Mixture, truth: Mixture) -> float:
    """Transport distance between an estimate and the truth.

    Both marginals are the weights; moving a component costs |mu - mu'| + |S^½ - S'^½|_F, and in
    other families |z - z'| of its variance-stabilised coordinates.

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
    cost = (_of_gaussians if "means" in truth.params else _of_coordinates)(estimate, truth)
    return float(transport_costs(estimate.weights[None], truth.weights[None], cost[None])[0])


def _of_gaussians(estimate: Mixture, truth: Mixture) -> NDArray[np.float64]:
    there, here = estimate.params["means"], truth.params["means"]
    cost = np.linalg.norm(there[:, None] - here[None], axis=-1)
    roots, true_roots = _roots(estimate), _roots(truth)
    return np.asarray(cost + np.linalg.norm(roots[:, None] - true_roots[None], axis=(-2, -1)))


def _of_coordinates(estimate: Mixture, truth: Mixture) -> NDArray[np.float64]:
    """Costs (K, K'), of coordinates that need no center: any will do."""
    center = take(truth.params, np.zeros(1, dtype=np.intp))
    found, true = (one.family.blocks(one.params, center) for one in (estimate, truth))
    here, there = (np.concatenate([b.coordinates for b in side], axis=-1) for side in (found, true))
    return np.asarray(np.linalg.norm(here[:, None] - there[None], axis=-1))


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


def _roots(mixture: Mixture) -> NDArray[np.float64]:
    """Symmetric square roots of the covariances, (K, d, d)."""
    if "variances" in mixture.params:
        deviations = np.sqrt(mixture.params["variances"])
        return np.asarray(deviations[:, :, None] * np.eye(deviations.shape[1]))
    values, vectors = np.linalg.eigh(mixture.params["covariances"])
    scaled = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    return np.asarray(scaled @ vectors.transpose(0, 2, 1))
