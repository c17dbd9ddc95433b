"""Counts without an upper end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, i0e

from dfmr_dask.families.entrywise import LEAST, Entrywise

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Poisson(Entrywise):
    """Poisson columns, independent given the component; parameters ``rates`` (K, d).

    Notes
    -----
    Entries are 0, 1, 2, ...; NaN, or -1 in signed integers, is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import Poisson
    >>> one = {"rates": np.array([[1.0]])}
    >>> np.exp(Poisson().log_density(one, np.array([[0], [1], [2]]))).round(3).ravel()
    array([0.368, 0.368, 0.184])
    """

    name: ClassVar[str] = "poisson"
    parameter: ClassVar[str] = "rates"
    singular: ClassVar[str] = "rate"

    @property
    def highest(self) -> float:  # noqa: D102
        return 1.0 / LEAST

    def natural(self, eta: Array) -> Array:  # noqa: D102
        return np.log(eta)

    def from_natural(self, theta: Array) -> Array:  # noqa: D102
        return np.exp(np.clip(theta, np.log(LEAST), -np.log(LEAST)))

    def log_partition(self, eta: Array) -> Array:  # noqa: D102
        return eta

    def log_base(self, x: Array) -> Array:  # noqa: D102
        return np.asarray(-gammaln(x + 1.0))

    def variance(self, eta: Array) -> Array:  # noqa: D102
        return eta

    def stabilized(self, eta: Array) -> Array:  # noqa: D102
        return 2.0 * np.sqrt(eta)

    def log_products(self, p: Array, q: Array) -> Array:  # noqa: D102
        apart, middle = np.sqrt(p) - np.sqrt(q), np.sqrt(p) * np.sqrt(q)
        return np.asarray(np.log(i0e(2.0 * middle)) - apart**2)

    def draw(self, eta: Array, rng: np.random.Generator) -> Array:  # noqa: D102
        return rng.poisson(eta).astype(np.float64)
