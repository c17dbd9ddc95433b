"""Counts of successes in a given number of trials: genotypes (two alleles), yes and no (one)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, gammaln, logit, logsumexp

from dfmr_dask.errors import InvalidMixture
from dfmr_dask.families.base import Rows
from dfmr_dask.families.entries import MISSING
from dfmr_dask.families.entrywise import LEAST, Entrywise

Array = NDArray[np.float64]
MOST_TRIALS = 10_000


@dataclass(frozen=True, slots=True)
class Binomial(Entrywise):
    """Binomial columns, independent given the component; parameters ``frequencies`` (K, d).

    Parameters
    ----------
    n_trials : int
        Of each entry: 2 for genotypes counted as alternate alleles, 1 for yes and no.

    Raises
    ------
    InvalidMixture
        When ``n_trials`` is no whole number from 1 on.

    Notes
    -----
    Entries are 0, 1, ..., ``n_trials``; NaN, or -1 in signed integers, is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import Binomial
    >>> half = {"frequencies": np.array([[0.5]])}
    >>> np.exp(Binomial(2).log_density(half, np.array([[0], [1], [2]]))).round(3).ravel()
    array([0.25, 0.5 , 0.25])
    """

    n_trials: int = 2

    name: ClassVar[str] = "binomial"
    parameter: ClassVar[str] = "frequencies"
    singular: ClassVar[str] = "frequency"

    def __post_init__(self) -> None:
        whole = isinstance(self.n_trials, int | np.integer) and not isinstance(self.n_trials, bool)
        if not whole or not 1 <= self.n_trials <= MOST_TRIALS:
            raise InvalidMixture(
                f"n_trials={self.n_trials!r}; wanted a whole number from 1 to {MOST_TRIALS}"
            )

    @property
    def wanted(self) -> str:  # type: ignore[override]  # noqa: D102
        return f"whole numbers from 0 to {self.n_trials}"

    @property
    def options(self) -> Mapping[str, Any]:  # noqa: D102
        return {"n_trials": int(self.n_trials)}

    @property
    def scale(self) -> float:  # noqa: D102
        return float(self.n_trials)

    @property
    def highest(self) -> float:  # noqa: D102
        return 1.0 - LEAST

    def natural(self, eta: Array) -> Array:  # noqa: D102
        return np.asarray(logit(eta))

    def from_natural(self, theta: Array) -> Array:  # noqa: D102
        return np.asarray(np.clip(expit(theta), LEAST, self.highest))

    def log_partition(self, eta: Array) -> Array:  # noqa: D102
        return -self.scale * np.log1p(-eta)

    def log_base(self, x: Array) -> Array:  # noqa: D102
        n = self.scale
        return np.asarray(gammaln(n + 1.0) - gammaln(x + 1.0) - gammaln(n - x + 1.0))

    def base(self, x: Rows) -> Array:  # noqa: D102
        if self.n_trials == 1:
            return np.zeros(len(x))
        if self.n_trials == 2:  # only one of two has two ways to come about
            return np.asarray(np.log(2.0) * np.count_nonzero(x == 1, axis=1))
        return Entrywise.base(self, x)

    def base_of_squares(self) -> tuple[float, float] | None:  # noqa: D102
        half = {1: 0.0, 2: float(np.log(2.0))}.get(self.n_trials)
        return None if half is None else (2.0 * half, -half)

    def variance(self, eta: Array) -> Array:  # noqa: D102
        return self.scale * eta * (1.0 - eta)

    def stabilized(self, eta: Array) -> Array:  # noqa: D102
        return np.asarray(2.0 * np.sqrt(self.scale) * np.arcsin(np.sqrt(eta)))

    def log_products(self, p: Array, q: Array) -> Array:  # noqa: D102
        yes, no = np.log(p) + np.log(q), np.log1p(-p) + np.log1p(-q)
        x = np.arange(self.n_trials + 1.0)
        base = 2.0 * self.log_base(x)
        terms = [b + one * yes + (self.scale - one) * no for b, one in zip(base, x, strict=True)]
        return np.asarray(logsumexp(terms, axis=0))

    def impossible(self, x: Array) -> NDArray[np.bool_]:  # noqa: D102
        return np.asarray(~((x >= 0.0) & (x <= self.scale) & (x == np.floor(x))))

    def _impossible(self, x: Rows) -> NDArray[np.bool_]:
        if x.dtype.kind in "iu":  # without a copy in float64 of what is one byte an entry
            return np.asarray((x > self.n_trials) | (x < MISSING))
        return Entrywise._impossible(self, x)

    def draw(self, eta: Array, rng: np.random.Generator) -> Array:  # noqa: D102
        return rng.binomial(self.n_trials, eta).astype(np.float64)


def Bernoulli() -> Binomial:  # the name of a law
    """Return the family of yes (1) and no (0): binomial with one trial.

    Examples
    --------
    >>> from dfmr_dask.families import Bernoulli
    >>> Bernoulli()
    Binomial(n_trials=1)
    """
    return Binomial(1)
