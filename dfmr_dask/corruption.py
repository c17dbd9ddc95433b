"""Simulated Byzantine partitions: who they are, and what they say (METHOD 9).

The plan of who is Byzantine follows from the seed alone, and the aggregation never sees it
(but for ``oracle``, which exists in simulations only).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Params
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator

STAGES = ("rows", "proposals", "messages")
SHIFT = 100.0  # standard deviation of the means that the mean attack draws


@dataclass(frozen=True, slots=True)
class Corruption:
    """An attack on a share of the partitions.

    Parameters
    ----------
    attack : {"mean", "covariance", "weight", "data"}
        ``data`` puts rows of another population in place of the partition's own; the others
        replace parameters of what a partition says.
    fraction : float
        alpha in [0, 1); floor(alpha m) partitions are Byzantine.
    stages : tuple of {"rows", "proposals", "messages"}, optional
        Where it strikes. ``data`` strikes at the rows; the others strike at messages, and at
        proposals, scores and rounds as well unless told otherwise.

    Raises
    ------
    ValueError
        When attack, fraction and stages do not fit together.

    Examples
    --------
    >>> from dfmr_dask.corruption import Corruption, byzantine_partitions
    >>> len(byzantine_partitions(Corruption("mean", 0.3), 40, seed=0))
    12
    """

    attack: str
    fraction: float
    stages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.attack != "data" and self.attack not in ATTACKS:
            raise ValueError(f"attack {self.attack!r}; known are {['data', *ATTACKS]}")
        if not 0.0 <= self.fraction < 1.0:
            raise ValueError(f"fraction {self.fraction}; wanted a share in [0, 1)")
        usual = ("rows",) if self.attack == "data" else ("proposals", "messages")
        stages = tuple(self.stages) or usual
        if not set(stages) <= set(usual):
            raise ValueError(f"attack {self.attack!r} strikes at {usual}, not at {stages}")
        object.__setattr__(self, "stages", stages)


def byzantine_partitions(
    corruption: Corruption | None, n_partitions: int, seed: int
) -> tuple[int, ...]:
    """Return the partitions that are Byzantine in this simulation, in order."""
    if corruption is None:
        return ()
    count = int(np.floor(corruption.fraction * n_partitions + 1e-9))
    chosen = generator(seed, Stage.BYZANTINE).choice(n_partitions, size=count, replace=False)
    return tuple(int(i) for i in np.sort(chosen))


def corrupted(mixture: Mixture, attack: str, rng: np.random.Generator) -> Mixture:
    """Return what a Byzantine partition says in place of its estimate.

    Raises
    ------
    KeyError
        When the attack strikes at rows, not at estimates.

    References
    ----------
    Zhang, Tan & Chen (arXiv 2407.13980), section 5; METHOD 9.
    """
    weights, params = ATTACKS[attack](mixture, rng)
    return Mixture(mixture.family, weights, params)


def corrupted_scores(scores: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a lie about scores: the same numbers, given to other candidates."""
    return np.asarray(rng.permutation(scores))


Attacked = tuple[NDArray[np.float64], Params]


def _attack_means(mixture: Mixture, rng: np.random.Generator) -> Attacked:
    """Every mean drawn from N(0, 100² I)."""
    means = rng.normal(scale=SHIFT, size=mixture.params["means"].shape)
    return mixture.weights, {**mixture.params, "means": means}


def _attack_covariances(mixture: Mixture, rng: np.random.Generator) -> Attacked:
    """S + BBᵀ, with B of standard normals; diagonal families take the diagonal of it."""
    params = mixture.params
    order, d = params["means"].shape
    b = rng.standard_normal((order, d, d))
    if getattr(mixture.family, "tied", False):
        b = np.repeat(b[:1], order, axis=0)
    added = b @ b.transpose(0, 2, 1)
    if "covariances" in params:
        return mixture.weights, {**params, "covariances": params["covariances"] + added}
    diagonal = np.diagonal(added, axis1=1, axis2=2)
    if getattr(mixture.family, "spherical", False):
        diagonal = np.repeat(diagonal.mean(axis=1, keepdims=True), d, axis=1)
    return mixture.weights, {**params, "variances": params["variances"] + diagonal}


def _attack_weights(mixture: Mixture, rng: np.random.Generator) -> Attacked:
    """Dirichlet weights with parameters drawn from 10..19."""
    weights = rng.dirichlet(rng.integers(10, 20, size=mixture.n_components))
    return weights, mixture.params


ATTACKS: Mapping[str, Callable[[Mixture, np.random.Generator], Attacked]] = {
    "mean": _attack_means,
    "covariance": _attack_covariances,
    "weight": _attack_weights,
}
