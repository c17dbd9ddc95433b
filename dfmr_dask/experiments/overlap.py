"""Populations of a given difficulty: the overlap of the two components that overlap most.

The overlap of a pair is what Maitra & Melnykov (2010) call omega_ij = omega_{j|i} + omega_{i|j},
where omega_{j|i} is the probability that a row of component i has a larger w_j f_j than w_i f_i.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator

DRAWS = 100_000  # the standard error of an overlap v is at most sqrt(v (2 - v) / DRAWS)
ECCENTRICITY = 0.9  # sqrt(1 - smallest / largest eigenvalue) of a covariance, at most
HALVINGS = 40
WIDEST = 2.0**20


@dataclass(frozen=True, slots=True, eq=False)
class Confusion:
    """How often rows of one component are taken for another one's, at any scale.

    With x = mu_i + s L_i y, L_i L_i' = Sigma_i, and the eigenvalues l and eigenvectors of
    L_i' Sigma_j^-1 L_i, twice the log ratio of w_j f_j to w_i f_i at x is

        sum (1 - l) z² + 2/s sum l m z - 1/s² sum l m² + sum log l + 2 log(w_j / w_i)

    where z and m are y and L_i^-1 (mu_j - mu_i) in the basis of the eigenvectors. The sums over
    draws of z are taken once, and every scale s then costs one pass over two numbers a draw.
    """

    square: NDArray[np.float64]
    linear: NDArray[np.float64]
    distance: float
    constant: float

    def rate(self, scale: float) -> float:
        """Return omega_{j|i} when all standard deviations are ``scale`` times as large."""
        ratio = self.square + (2.0 / scale) * self.linear
        return float(np.mean(ratio > self.distance / scale**2 - self.constant))


def population_with_overlap(
    n_components: int, n_features: int, max_overlap: float, seed: int = 0
) -> Mixture:
    """Draw Gaussians of which the two that overlap most have a given overlap.

    Parameters
    ----------
    n_components : int
        At least 2.
    n_features : int
    max_overlap : float
        Largest omega_ij of two components, between 0 and 1; .001 is well separated, .1 is
        much, .3 is very much.
    seed : int

    Returns
    -------
    Mixture
        Means are uniform in the unit cube, covariances are Wishart with d + 1 degrees of freedom
        and an eccentricity of at most .9, as Maitra & Melnykov draw them; weights differ by a
        factor of at most two. One factor for all covariances then sets the overlap, which a
        Monte Carlo estimate of standard error sqrt(v (2 - v) / 100 000) puts at v (.0014 at .1).
        In high dimension such covariances tell any two components apart wherever the means lie:
        their differences from their mean are halved until two components would overlap by more
        than sqrt(v) if all means were one, so that the means matter as well.

    Raises
    ------
    InvalidConfiguration
        When there is no pair, or the overlap is no probability.

    References
    ----------
    Maitra & Melnykov (2010), J. Comput. Graph. Stat. 19, sections 2.1 and 2.2.

    Examples
    --------
    >>> from dfmr_dask.experiments.overlap import pairwise_overlap, population_with_overlap
    >>> truth = population_with_overlap(3, 2, 0.1, seed=0)
    >>> float(pairwise_overlap(truth, seed=1).max().round(2))
    0.1
    """
    if n_components < 2 or not 0.0 < max_overlap < 1.0:
        raise InvalidConfiguration(
            f"{n_components} components with an overlap of {max_overlap}; wanted two components "
            "or more, and an overlap between 0 and 1"
        )
    rng = generator(seed, Stage.SIMULATE)
    shares = rng.uniform(1.0, 2.0, n_components)
    means = rng.uniform(size=(n_components, n_features))
    covariances = np.stack([_covariance(n_features, rng) for _ in range(n_components)])
    mixture = Mixture(
        COVARIANCE_TYPES["full"],
        shares / shares.sum(),
        {"means": means, "covariances": covariances},
    )
    z = rng.standard_normal((DRAWS, n_features))
    while _scale_of_overlap(mixture, max_overlap**0.5, z) == WIDEST:
        covariances = 0.5 * (covariances + covariances.mean(axis=0))
        mixture = _with_covariances(mixture, covariances)
    scale = _scale_of_overlap(mixture, max_overlap, z)
    return _with_covariances(mixture, scale**2 * covariances)


def pairwise_overlap(mixture: Mixture, *, draws: int = DRAWS, seed: int = 0) -> NDArray[np.float64]:
    """Estimate omega_ij of all pairs, (K, K) with zeros on the diagonal, by Monte Carlo.

    Parameters
    ----------
    mixture : Mixture
        Gaussians with full or tied covariances.
    draws : int
        The standard error of an overlap v is at most sqrt(v (2 - v) / draws).
    seed : int
    """
    z = generator(seed, Stage.DRAW).standard_normal((draws, mixture.n_features))
    overlap = np.zeros((mixture.n_components, mixture.n_components))
    for i, j, one, other in _pairs(mixture, z):
        overlap[i, j] = overlap[j, i] = one.rate(1.0) + other.rate(1.0)
    return overlap


def _with_covariances(mixture: Mixture, covariances: NDArray[np.float64]) -> Mixture:
    params = {**mixture.params, "covariances": covariances}
    return Mixture(mixture.family, mixture.weights, params)


def _scale_of_overlap(mixture: Mixture, max_overlap: float, z: NDArray[np.float64]) -> float:
    """Return the factor of the standard deviations at which the worst pair has the overlap.

    Each pair has a scale of its own at which it overlaps that much; the smallest is wanted, so
    a pair is looked at closely only where it overlaps more at the smallest found so far. WIDEST
    says that none overlaps that much at any scale.
    """
    smallest = WIDEST
    for _, _, one, other in _pairs(mixture, z):
        if one.rate(smallest) + other.rate(smallest) > max_overlap:
            smallest = _bisected(one, other, max_overlap, smallest)
    return smallest


def _bisected(one: Confusion, other: Confusion, overlap: float, above: float) -> float:
    """Return the scale below ``above`` at which a pair has the overlap."""
    below = 1.0 / WIDEST
    for _ in range(HALVINGS):
        middle = float(np.sqrt(below * above))
        if one.rate(middle) + other.rate(middle) > overlap:
            above = middle
        else:
            below = middle
    return above


def _pairs(
    mixture: Mixture, z: NDArray[np.float64]
) -> Iterator[tuple[int, int, Confusion, Confusion]]:
    """Both confusions of each pair, from the same draws (common random numbers)."""
    draws = np.concatenate([z * z, z], axis=1)
    for i in range(mixture.n_components):
        for j in range(i + 1, mixture.n_components):
            yield i, j, _confusion(mixture, i, j, draws), _confusion(mixture, j, i, draws)


def _confusion(mixture: Mixture, i: int, j: int, draws: NDArray[np.float64]) -> Confusion:
    means, covariances = mixture.params["means"], mixture.params["covariances"]
    lower = np.linalg.cholesky(covariances[i])
    values, vectors = np.linalg.eigh(lower.T @ np.linalg.solve(covariances[j], lower))
    offset = vectors.T @ np.linalg.solve(lower, means[j] - means[i])
    odds = 2.0 * np.log(mixture.weights[j] / mixture.weights[i])
    squares, normals = draws[:, : len(values)], draws[:, len(values) :]
    return Confusion(
        square=squares @ (1.0 - values),
        linear=normals @ (values * offset),
        distance=float(values @ offset**2),
        constant=float(np.log(values).sum() + odds),
    )


def _covariance(n_features: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a Wishart matrix, its eigenvalues drawn together where it is too eccentric."""
    rows = rng.standard_normal((n_features + 1, n_features))
    values, vectors = np.linalg.eigh(rows.T @ rows)
    lowest, top = values[0], values[-1]
    if lowest < (1.0 - ECCENTRICITY**2) * top:
        values = top * (1.0 - ECCENTRICITY**2 * (top - values) / (top - lowest))
    return np.asarray((vectors * values) @ vectors.T)
