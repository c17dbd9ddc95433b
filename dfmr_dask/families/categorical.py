"""Categories: each column takes one of a few levels, 0, 1, ..."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dfmr_dask.errors import InvalidMixture
from dfmr_dask.families.base import Block, Floats, Link, Params, Rows
from dfmr_dask.families.entries import Design
from dfmr_dask.families.entrywise import LEAST, Entrywise

Array = NDArray[np.float64]
MOST_LEVELS = 100_000  # in all columns together


@dataclass(frozen=True, slots=True)
class Categorical(Entrywise):
    """Categorical columns, independent given the component; ``probabilities`` (K, q).

    Parameters
    ----------
    levels : tuple of int
        How many levels each of the d columns has. The q parameters of a component are the
        probabilities of all levels of the first column, then of the second, and so on.

    Raises
    ------
    InvalidMixture
        When they are no whole numbers from 1 on.

    Notes
    -----
    Entries are 0, 1, ..., levels - 1; NaN, or -1 in signed integers, is missing. A level that a
    partition has never seen keeps a probability above 0: its share of the pseudo-rows. That is why
    the levels are told, and not looked up in the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import Categorical
    >>> one = {"probabilities": np.array([[0.5, 0.3, 0.2, 0.9, 0.1]])}
    >>> np.exp(Categorical((3, 2)).log_density(one, np.array([[0, 0], [2, 1]]))).round(3).ravel()
    array([0.45, 0.02])
    """

    levels: tuple[int, ...]

    name: ClassVar[str] = "categorical"
    parameter: ClassVar[str] = "probabilities"
    singular: ClassVar[str] = "probability"
    plain_values: ClassVar[bool] = False
    wanted: ClassVar[str] = "levels: whole numbers from 0 on, below the column's number of levels"

    def __post_init__(self) -> None:
        given: Any = self.levels
        whole = isinstance(given, tuple | list) and all(
            isinstance(n, int | np.integer) and not isinstance(n, bool) and n >= 1 for n in given
        )
        if not whole or not given or sum(given) > MOST_LEVELS:
            raise InvalidMixture(
                f"levels={given!r:.80}; wanted the number of levels of each column, from 1 on, "
                f"{MOST_LEVELS} at most in all"
            )
        object.__setattr__(self, "levels", tuple(int(n) for n in given))

    @property
    def options(self) -> Mapping[str, Any]:  # noqa: D102
        return {"levels": list(self.levels)}

    @property
    def highest(self) -> float:  # noqa: D102
        return 1.0

    def n_features(self, params: Params) -> int:  # noqa: D102
        return len(self.levels)

    def n_parameters(self, n_components: int, n_features: int) -> int:  # noqa: D102
        return n_components - 1 + n_components * (sum(self.levels) - len(self.levels))

    def validated(self, params: Mapping[str, Any]) -> dict[str, Array]:  # noqa: D102
        found = Entrywise.validated(self, params)
        eta = found[self.parameter]
        if eta.shape[1] != sum(self.levels):
            raise InvalidMixture(
                f"probabilities have shape {eta.shape}; levels {self.levels} want "
                f"(n_components, {sum(self.levels)})"
            )
        if not np.allclose(self._summed(eta), 1.0, rtol=0.0, atol=1e-9):
            raise InvalidMixture("probabilities of a column do not sum to 1")
        return found

    def natural(self, eta: Array) -> Array:  # noqa: D102
        return np.log(eta)

    def from_natural(self, theta: Array) -> Array:  # noqa: D102
        top = np.maximum.reduceat(theta, self._starts(), axis=-1)
        return self.within(np.exp(theta - self.spread(top)))

    def within(self, eta: Array) -> Array:  # noqa: D102
        share = eta / self.spread(self._summed(eta))
        if (share >= LEAST).all():
            return np.asarray(share)
        share = np.maximum(share, 2.0 * LEAST)
        return np.asarray(share / self.spread(self._summed(share)))

    def log_partition(self, eta: Array) -> Array:  # noqa: D102
        return np.zeros((*eta.shape[:-1], len(self.levels)))

    def base(self, x: Rows) -> Array:  # noqa: D102
        return np.zeros(len(x))

    def variance(self, eta: Array) -> Array:  # noqa: D102
        return eta

    def log_products(self, p: Array, q: Array) -> Array:  # noqa: D102
        return np.log(self._summed(p * q))

    def usual(self) -> Array:  # noqa: D102
        return np.asarray(1.0 / np.repeat(self.levels, self.levels))

    def impossible(self, x: Array) -> NDArray[np.bool_]:  # noqa: D102
        return np.asarray(~((x >= 0.0) & (x < np.array(self.levels)) & (x == np.floor(x))))

    def design(self, x: Rows, dtype: DTypeLike = np.float64) -> Design:  # noqa: D102
        codes = self.floats(x)
        there = ~np.isnan(codes)
        row, column = np.nonzero(there)
        values: Floats = np.zeros((len(x), sum(self.levels)), dtype)
        values[row, self._starts()[column] + codes[row, column].astype(np.intp)] = 1.0
        return Design(values, None if there.all() else there.astype(dtype))

    def spread(self, columns: Array) -> Array:  # noqa: D102
        return np.repeat(columns, self.levels, axis=-1)

    def _columns_of(self, n_parameters: int) -> int:
        return len(self.levels)

    def blocks(self, params: Params, center: Params) -> tuple[Block, ...]:
        """Roots of probabilities lie on a sphere: coordinates in its tangent space at the center.

        A reflection takes the center to the last axis of each column, whose coordinate is dropped.
        """
        z, middle = (2.0 * np.sqrt(one[self.parameter]) for one in (params, center))
        last = self._starts() + np.array(self.levels) - 1
        mirror = 0.5 * middle
        mirror[..., last] += 1.0
        length = self._summed(mirror * mirror)
        turned = z - mirror * self.spread(2.0 * self._summed(mirror * z) / length)
        kept = np.delete(np.arange(z.shape[-1]), last)
        return (Block(self.parameter, turned[..., kept], independent=True),)

    def feature_blocks(self, params: Params, center: Params) -> tuple[Block, ...]:
        """Of each feature the level whose probability deviates most."""
        off = 2.0 * (np.sqrt(params[self.parameter]) - np.sqrt(center[self.parameter]))
        high = np.maximum.reduceat(off, self._starts(), axis=-1)
        low = np.minimum.reduceat(off, self._starts(), axis=-1)
        return (Block(self.singular, np.where(high >= -low, high, low)),)

    def link(self, name: str) -> Link:  # noqa: D102
        return np.log, np.exp

    def expectation(self, params: Params) -> Array:  # noqa: D102
        codes = np.concatenate([np.arange(n) for n in self.levels])
        return self._summed(params[self.parameter] * codes)

    def columns(self, features: list[str]) -> dict[str, list[str]]:  # noqa: D102
        each = zip(features, self.levels, strict=True)
        return {self.singular: [f"{name}={level}" for name, n in each for level in range(n)]}

    def draw(self, eta: Array, rng: np.random.Generator) -> Array:  # noqa: D102
        out = np.empty((len(eta), len(self.levels)))
        for j, (start, n) in enumerate(zip(self._starts(), self.levels, strict=True)):
            reached = np.cumsum(eta[:, start : start + n], axis=1)[:, :-1]
            out[:, j] = (rng.random((len(eta), 1)) > reached).sum(axis=1)
        return out

    def _starts(self) -> NDArray[np.intp]:
        """Return the place of each column's first level."""
        return np.concatenate([[0], np.cumsum(self.levels)[:-1]]).astype(np.intp)

    def _summed(self, values: Array) -> Array:
        """Sum over the levels of each column, (..., q) to (..., d)."""
        return np.asarray(np.add.reduceat(values, self._starts(), axis=-1))
