"""Directions in which insiders go, in standard errors (see ``insiders``)."""

from __future__ import annotations

import numpy as np

from dfmr_dask.experiments.accuracy import error
from dfmr_dask.experiments.insider_lies import Insider, Vector
from dfmr_dask.experiments.overlap import pairwise_overlap

STEP = 0.05  # standard errors of the honest mean's derivative
CERTAIN_SHARE = 0.57  # kept share that liars aim at together with honest ones whom they win over
MOST_RECRUITED = 12
DRAWS = 20_000


def ways(known: Insider, rng: np.random.Generator) -> dict[str, Vector]:
    """Return unit vectors in the chart, by name.

    ``away`` goes on where the honest mean's own error leads, ``steepest`` along the gradient of
    its error, and ``recruit`` to where a few honest partitions already stand, the ones whose
    noise leads away: whoever joins them there may be the larger of two groups.
    """
    found: dict[str, Vector] = {}
    gradient = _gradient(known)
    wide = known.honest_noise.std(axis=0)
    for name, block in known.chart.blocks.items():
        found[f"{name} away"] = _within(known.middle, block)
        found[f"{name} steepest"] = _within(wide**2 * gradient, block)
        found[f"{name} random"] = _within(_symmetric(known, rng.standard_normal(wide.shape)), block)
    found |= _of_components(known, wide) | _of_the_pair(known) | _recruiting(known)
    return {name: way / max(float(np.linalg.norm(way)), 1e-300) for name, way in found.items()}


def _within(way: Vector, block: slice) -> Vector:
    out = np.zeros_like(way)
    out[block] = way[block]
    return out


def _symmetric(known: Insider, way: Vector) -> Vector:
    """Take the symmetric part of the covariances' entries."""
    block, (order, d) = known.chart.blocks["covariances"], known.truth.params["means"].shape
    square = way[block].reshape(order, d, d)
    out = way.copy()
    out[block] = (0.5 * (square + square.transpose(0, 2, 1))).ravel()
    return out


def _gradient(known: Insider) -> Vector:
    """Return how the error of the honest mean grows, coordinate by coordinate."""
    points = known.middle + STEP * np.eye(len(known.middle))
    here = error(known.chart.mixtures(known.middle[None])[0], known.truth)
    there = [error(mixture, known.truth) for mixture in known.chart.mixtures(points)]
    return _symmetric(known, (np.array(there) - here) / STEP)


def _of_components(known: Insider, wide: Vector) -> dict[str, Vector]:
    """One coordinate, one component's mean and covariance, wider and narrower."""
    blocks, d = known.chart.blocks, known.truth.n_features
    k = int(np.argmax(np.trace(known.truth.params["covariances"], axis1=1, axis2=2)))
    first = blocks["covariances"].start + k * d * d
    mean, inflated, single, entry = (np.zeros_like(wide) for _ in range(4))
    mean[k * d : (k + 1) * d] = known.middle[k * d : (k + 1) * d]
    inflated[first : first + d * d] = np.eye(d).ravel()
    single[int(np.argmax(wide[blocks["means"]]))] = 1.0
    entry[first] = 1.0
    return {
        "one coordinate of the means": single,
        "mean of the broadest component": mean,
        "covariance of the broadest inflated": inflated,
        "covariance of the broadest shrunk": -inflated,
        "one coordinate of the covariances": entry,
    }


def _of_the_pair(known: Insider) -> dict[str, Vector]:
    """Means of the two components that overlap most apart and together, and their weights."""
    truth, blocks = known.truth, known.chart.blocks
    overlap = pairwise_overlap(truth, draws=DRAWS)
    i, j = np.unravel_index(int(np.argmax(overlap)), overlap.shape)
    lower = np.linalg.cholesky(truth.params["covariances"])
    between = truth.params["means"][j] - truth.params["means"][i]
    steps = np.zeros_like(truth.params["means"])
    steps[i] = np.linalg.solve(lower[i], between)
    steps[j] = -np.linalg.solve(lower[j], between)
    means, weights = np.zeros_like(known.middle), np.zeros_like(known.middle)
    means[blocks["means"]] = steps.ravel()
    weights[blocks["weights"].start + int(i)] = truth.weights[i] ** -0.5
    weights[blocks["weights"].start + int(j)] = -(truth.weights[j] ** -0.5)
    return {
        "means of the pair together": means,
        "means of the pair apart": -means,
        "weights of the pair": weights,
    }


def _recruiting(known: Insider) -> dict[str, Vector]:
    """Mean noise of the fewest honest partitions with whom liars are a majority, or a clear one."""
    found = {}
    for share in (0.5, CERTAIN_SHARE):
        number = int(share * known.m) + 1 - known.liars
        if not 0 < number <= min(MOST_RECRUITED, known.honest):
            continue
        for name, block in known.chart.blocks.items():
            noise = known.honest_noise[:, block]
            joined = np.argsort(-(noise @ known.middle[block]))[:number]
            found[f"{name} recruit {number}"] = _within(
                known.honest_noise[joined].mean(axis=0), block
            )
    return found
