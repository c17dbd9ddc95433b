"""Families of independent columns whose entries may be missing: all but what one entry is like.

A row's log density under component k is a sum over the entries that are there,

    log f(x; theta_k) = sum_j { log h(x_j) + t(x_j) theta_kj - F(theta_kj) },

so that E-step, sums, KL divergences and barycentres are matrix products, and what is missing is
left out of sums entry by entry, never imputed. NaN is missing, and -1 in signed integers. A family
tells how one entry behaves; see ``poisson.py`` for the shortest example, ``docs/families.md`` for
another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import InvalidMixture
from dfmr_dask.families.base import (
    OBSERVED,
    Block,
    Floats,
    Link,
    Params,
    Rows,
    Statistics,
    read_params,
)
from dfmr_dask.families.entries import Entries
from dfmr_dask.families.ranges import check_observed
from dfmr_dask.families.unconstrained import NaturalChart

PSEUDO_ROWS = 0.5  # of the overall mean, that each component has beside its own rows
LEAST = 1e-15  # nearest to the border that a parameter may lie
TINY = float(np.finfo(np.float64).tiny)
PAIR_ELEMENTS = 1 << 20  # of the (pairs, columns) temporary of integrals of products
Array = NDArray[np.float64]


class PseudoRows(NamedTuple):
    """Rows of everybody's mean that each component has beside its own, and that mean, (q,)."""

    rows: float
    mean: Array


class Entrywise(Entries):
    """What families of independent columns have in common; parameters are mean statistics.

    A subclass is a frozen dataclass that sets names and writes the methods that raise
    ``NotImplementedError`` in :class:`~dfmr_dask.families.entries.Entries`.
    """

    __slots__ = ()

    def n_features(self, params: Params) -> int:  # noqa: D102
        return int(params[self.parameter].shape[-1])

    def n_parameters(self, n_components: int, n_features: int) -> int:  # noqa: D102
        return n_components - 1 + n_components * n_features

    def min_rows(self, n_components: int, n_features: int) -> int:  # noqa: D102
        return n_components + 1

    def validated(self, params: Mapping[str, Any]) -> dict[str, Array]:  # noqa: D102
        (eta,) = read_params(params, self.parameter)
        if eta.ndim != 2 or not eta.size:
            raise InvalidMixture(
                f"{self.parameter} have shape {eta.shape}; wanted (n_components, n_features)"
            )
        if not np.all((eta >= LEAST) & (eta <= self.highest)):
            raise InvalidMixture(
                f"{self.parameter} hold NaN or values outside of {LEAST:g} to {self.highest:.16g}"
            )
        return {self.parameter: eta}

    def log_density(self, params: Params, x: Rows) -> Array:  # noqa: D102
        eta = params[self.parameter]
        design = self.design(x)
        out = design.values @ self.natural(eta).T
        columns = self.log_partition(eta)
        out -= columns.sum(axis=1) if design.there is None else design.there @ columns.T
        out += self.base(x)[:, None]
        return np.asarray(out)

    def statistics(self, x: Rows, responsibilities: Floats) -> Statistics:  # noqa: D102
        design = self.design(x)
        there = None if design.there is None else responsibilities.T @ design.there
        return self.summed(responsibilities.sum(axis=0), responsibilities.T @ design.values, there)

    def summed(self, count: Array, sums: Array, there: Array | None) -> Statistics:
        """Return statistics from sums (K, q) over rows and, where some are missing, counts (K, d).

        A group without an entry in a column has the mean 0 there, and no share observed.
        """
        n_columns = sums.shape[1] if there is None else there.shape[1]
        if there is None:
            shape = len(count), self._columns_of(n_columns)
            there = np.broadcast_to(count[:, None], shape)
        mass = np.maximum(self.scale * self.spread(there), TINY)
        observed = there / np.maximum(count, TINY)[:, None]
        return Statistics(count, {self.parameter: sums / mass, OBSERVED: observed})

    def _columns_of(self, n_parameters: int) -> int:
        """Return how many columns have so many parameters."""
        return n_parameters

    def expected_statistics(self, params: Params, count: Floats) -> Statistics:  # noqa: D102
        eta = params[self.parameter]
        observed = np.ones((len(eta), self._columns_of(eta.shape[-1])))
        mass = np.asarray(count, dtype=np.float64)
        return Statistics(mass, {self.parameter: eta, OBSERVED: observed})

    def pool(self, statistics: Statistics, groups: Floats) -> Statistics:  # noqa: D102
        mass = np.asarray(groups, dtype=np.float64) * statistics.count
        eta, observed = statistics.moments[self.parameter], statistics.moments[OBSERVED]
        there = mass @ observed
        sums = self.scale * (mass @ (eta * self.spread(observed)))
        return self.summed(mass.sum(axis=1), sums, there)

    def pseudo_rows(  # noqa: D102
        self, overall: Statistics, strength: float, floor: float
    ) -> PseudoRows:
        observed = overall.moments[OBSERVED][0]
        check_observed(observed)
        rows = self.spread(overall.count[0] * observed)
        mean = (rows * overall.moments[self.parameter][0] + self.usual()) / (rows + 1.0)
        return PseudoRows(PSEUDO_ROWS, mean)

    def usual(self) -> Any:
        """Return what one row more is taken to say, so that no mean lies on the border."""
        return 0.5

    def penalty(self, params: Params, pseudo_rows: PseudoRows) -> float:  # noqa: D102
        eta = params[self.parameter]
        likelihood = self.scale * (self.natural(eta) @ pseudo_rows.mean).sum()
        return -pseudo_rows.rows * float(likelihood - self.log_partition(eta).sum())

    def from_statistics(  # noqa: D102
        self, statistics: Statistics, pseudo_rows: PseudoRows | None = None
    ) -> Params:
        eta = statistics.moments[self.parameter]
        if pseudo_rows is not None:
            rows = statistics.count[:, None] * self.spread(statistics.moments[OBSERVED])
            mass, more = rows + pseudo_rows.rows, pseudo_rows.rows * pseudo_rows.mean
            eta = (rows * eta + more) / mass
        return {self.parameter: self.within(eta)}

    def within(self, eta: Array) -> Array:
        """Return the nearest parameters that are possible."""
        return np.asarray(np.clip(eta, LEAST, self.highest))

    # What follows for components.

    def kl(self, p: Params, q: Params) -> Array:  # noqa: D102
        there = q[self.parameter]
        out = self.log_partition(there).sum(axis=1) + self.conjugate(p)[:, None]
        out -= self.scale * (p[self.parameter] @ self.natural(there).T)
        return np.asarray(np.maximum(out, 0.0, out=out))

    def conjugate(self, params: Params) -> Array:  # noqa: D102
        eta = self.within(params[self.parameter])
        own = self.scale * np.einsum("kj,kj->k", eta, self.natural(eta))
        return np.asarray(own - self.log_partition(eta).sum(axis=1))

    def log_inner_product(self, p: Params, q: Params) -> Array:  # noqa: D102
        one, other = p[self.parameter], q[self.parameter]
        step = max(1, PAIR_ELEMENTS // max(1, other.size))
        parts = [
            self.log_products(one[i : i + step, None], other[None]).sum(axis=-1)
            for i in range(0, len(one), step)
        ]
        return np.concatenate(parts)

    def blocks(self, params: Params, center: Params) -> tuple[Block, ...]:  # noqa: D102
        middle = self.stabilized(center[self.parameter])
        off = self.stabilized(params[self.parameter]) - middle
        return (Block(self.parameter, off, independent=True),)

    def feature_blocks(self, params: Params, center: Params) -> tuple[Block, ...]:  # noqa: D102
        return tuple(block._replace(name=self.singular) for block in self.blocks(params, center))

    def fisher_coordinates(self, params: Params, center: Params) -> Array:  # noqa: D102
        middle = center[self.parameter]
        unit = self.scale / np.sqrt(self.variance(middle))
        return np.asarray((params[self.parameter] - middle) * unit)

    def chart(self, center: Params) -> NaturalChart:  # noqa: D102
        eta = center[self.parameter]
        unit = np.sqrt(self.variance(eta))
        return NaturalChart(self.parameter, unit, self.natural, self.from_natural)

    def link(self, name: str) -> Link:  # noqa: D102
        return self.natural, self.from_natural

    def expectation(self, params: Params) -> Array:  # noqa: D102
        return np.asarray(self.scale * params[self.parameter])

    def described(self, params: Params) -> dict[str, Array]:  # noqa: D102
        return {self.singular: params[self.parameter]}

    def columns(self, features: list[str]) -> dict[str, list[str]]:  # noqa: D102
        return {self.singular: features}

    def sample(  # noqa: D102
        self, params: Params, labels: NDArray[np.intp], rng: np.random.Generator
    ) -> Array:
        return self.draw(params[self.parameter][labels], rng)
