"""What a comparison draws its rows from; here a simulated mixture.

A world has honest rows, and alien ones of another population that Byzantine partitions may hold
in their place. Each partition's rows follow from a seed and the partition's number alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Rows
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator

LEAST_WEIGHT = 1e-9  # a drifting weight may underflow, and a mixture's weights are above 0
Labels = NDArray[np.intp]


class World(Protocol):
    """Where rows come from."""

    @property
    def truth(self) -> Mixture:
        """What the honest rows come from; of collected rows, the fit to all of them."""
        ...

    @property
    def other(self) -> Mixture:
        """The same of the alien rows."""
        ...

    def honest(self, sizes: Sequence[int], seed: int, drift: float | None = None) -> list[Rows]:
        """Draw the rows of honest partitions of these sizes."""
        ...

    def alien(self, partition: int, size: int, seed: int) -> Rows:
        """Draw the rows that a partition holds when they are of the other population."""
        ...

    def fresh(self, size: int, seed: int) -> tuple[Rows, Labels | None]:
        """Draw honest rows that are in no partition, with their true labels if known."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """Rows drawn from a mixture; alien ones come from another mixture.

    Examples
    --------
    >>> from dfmr_dask.experiments.populations import population
    >>> from dfmr_dask.experiments.worlds import Simulated
    >>> world = Simulated(population(3, 2, seed=0), population(3, 2, seed=1))
    >>> [rows.shape for rows in world.honest([50, 80], seed=0)]
    [(50, 2), (80, 2)]
    """

    truth: Mixture
    other: Mixture

    def honest(self, sizes: Sequence[int], seed: int, drift: float | None = None) -> list[Rows]:
        """Draw the rows of honest partitions.

        Parameters
        ----------
        sizes : sequence of int
        seed : int
        drift : float, optional
            The weights of each partition are drawn from Dirichlet(drift w), w the true ones.
        """
        return [
            self._told(j, seed, drift).sample(size, generator(seed, Stage.DRAW, j))[0]
            for j, size in enumerate(sizes)
        ]

    def alien(self, partition: int, size: int, seed: int) -> Rows:
        """Draw rows of the other mixture."""
        return self.other.sample(size, generator(seed, Stage.ALIEN_ROWS, partition))[0]

    def fresh(self, size: int, seed: int) -> tuple[Rows, Labels | None]:
        """Draw rows of no partition, and the components that they come from."""
        return self.truth.sample(size, generator(seed, Stage.FRESH_ROWS))

    def _told(self, partition: int, seed: int, drift: float | None) -> Mixture:
        """Return what a partition's rows come from."""
        if drift is None:
            return self.truth
        rng = generator(seed, Stage.PARTITION_WEIGHTS, partition)
        drawn = np.maximum(rng.dirichlet(drift * self.truth.weights), LEAST_WEIGHT)
        return Mixture(self.truth.family, drawn / drawn.sum(), self.truth.params)
