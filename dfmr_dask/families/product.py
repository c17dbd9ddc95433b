"""Tables of several kinds of columns: a product of families, each for a group of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import InvalidMixture
from dfmr_dask.families.base import Block, Family, Floats, Link, Params, Rows, Statistics
from dfmr_dask.families.unconstrained import Chart, JoinedChart, covered

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Product:
    """Independent groups of columns, each of its own family; parameters of all under their names.

    Parameters
    ----------
    parts : tuple of (Family, int)
        Families, and how many columns each has, from the left to the right.

    Raises
    ------
    InvalidMixture
        When there is no part, a part is a product, or a number of columns is not from 1 on.

    Notes
    -----
    The rates of the second part, if that is ``Poisson()``, are ``poisson_1_rates``. Entries may be
    missing where a part allows that; where it does not, as full covariances do not, the row goes.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import DiagonalGaussian, Poisson, Product
    >>> table = Product(((DiagonalGaussian(), 2), (Poisson(), 1)))
    >>> table.n_parameters(3, 3)
    17
    """

    parts: tuple[tuple[Family, int], ...]

    name: ClassVar[str] = "product"
    needs_spread: ClassVar[bool] = False
    takes_missing: ClassVar[bool] = True

    def __post_init__(self) -> None:
        given: Any = self.parts
        right = isinstance(given, tuple | list) and all(
            isinstance(one, tuple | list)
            and len(one) == 2
            and hasattr(one[0], "from_statistics")
            and one[0].name != self.name
            and isinstance(one[1], int | np.integer)
            and one[1] >= 1
            for one in given
        )
        if not right or not given:
            raise InvalidMixture(
                f"parts={given!r:.80}; wanted pairs of a family, no product, and its columns"
            )
        object.__setattr__(self, "parts", tuple((family, int(n)) for family, n in given))

    @property
    def options(self) -> Mapping[str, Any]:  # noqa: D102
        told = (
            {"family": family.name, "options": dict(family.options), "columns": n}
            for family, n in self.parts
        )
        return {"parts": list(told)}

    def n_features(self, params: Params) -> int:  # noqa: D102
        return sum(n for _, n in self.parts)

    def n_parameters(self, n_components: int, n_features: int) -> int:  # noqa: D102
        weights = n_components - 1
        own = (family.n_parameters(n_components, n) - weights for family, n in self.parts)
        return weights + sum(own)

    def min_rows(self, n_components: int, n_features: int) -> int:  # noqa: D102
        return max(family.min_rows(n_components, n) for family, n in self.parts)

    def validated(self, params: Mapping[str, Any]) -> dict[str, Array]:  # noqa: D102
        found: dict[str, Array] = {}
        for i, (family, n) in enumerate(self.parts):
            try:
                own = family.validated(self._own(i, params))
            except InvalidMixture as error:
                raise InvalidMixture(f"{self._prefix(i)}: {error}") from error
            if family.n_features(own) != n:
                raise InvalidMixture(
                    f"{self._prefix(i)}: {family.n_features(own)} columns; wanted {n}"
                )
            found |= self._named(i, own)
        orders = {len(array) for array in found.values()}
        if set(params) != set(found) or len(orders) != 1:
            raise InvalidMixture(
                f"parameters are {list(params)} of {sorted(orders)} components; "
                f"wanted {list(found)} of one number of components"
            )
        return found

    def floats(self, x: Rows) -> Array:  # noqa: D102
        return np.concatenate([one.floats(rows) for one, rows in self._rows(x)], axis=1)

    def complaint(self, x: Rows) -> str:  # noqa: D102
        told = (f"{one.name}: {why}" for one, rows in self._rows(x) if (why := one.complaint(rows)))
        return next(told, "")

    def usable(self, x: Rows) -> NDArray[np.bool_]:  # noqa: D102
        good, some = np.ones(len(x), dtype=bool), np.zeros(len(x), dtype=bool)
        for one, rows in self._rows(x):
            fine = one.usable(rows)
            gone = np.isnan(one.floats(rows)).all(axis=1) & one.takes_missing
            good &= fine | gone
            some |= fine
        return good & some

    def log_density(self, params: Params, x: Rows) -> Array:  # noqa: D102
        parts = enumerate(self._rows(x))
        return _total(one.log_density(self._own(i, params), rows) for i, (one, rows) in parts)

    def statistics(self, x: Rows, responsibilities: Floats) -> Statistics:  # noqa: D102
        found = [one.statistics(rows, responsibilities) for one, rows in self._rows(x)]
        return self._together(found)

    def expected_statistics(self, params: Params, count: Floats) -> Statistics:  # noqa: D102
        parts = ((i, one) for i, (one, _) in enumerate(self.parts))
        return self._together(
            [one.expected_statistics(self._own(i, params), count) for i, one in parts]
        )

    def pool(self, statistics: Statistics, groups: Floats) -> Statistics:  # noqa: D102
        parts = ((i, one) for i, (one, _) in enumerate(self.parts))
        return self._together([one.pool(self._part(i, statistics), groups) for i, one in parts])

    def pseudo_rows(  # noqa: D102
        self, overall: Statistics, strength: float, floor: float
    ) -> tuple[Any, ...]:
        return tuple(
            one.pseudo_rows(self._part(i, overall), strength, floor)
            for i, (one, _) in enumerate(self.parts)
        )

    def penalty(self, params: Params, pseudo_rows: tuple[Any, ...]) -> float:  # noqa: D102
        parts = zip(self.parts, pseudo_rows, strict=True)
        return sum(
            one.penalty(self._own(i, params), own) for i, ((one, _), own) in enumerate(parts)
        )

    def from_statistics(  # noqa: D102
        self, statistics: Statistics, pseudo_rows: tuple[Any, ...] | None = None
    ) -> Params:
        found: dict[str, Array] = {}
        for i, (one, _) in enumerate(self.parts):
            own = None if pseudo_rows is None else pseudo_rows[i]
            found |= self._named(i, one.from_statistics(self._part(i, statistics), own))
        return found

    def kl(self, p: Params, q: Params) -> Array:  # noqa: D102
        return _total(one.kl(self._own(i, p), self._own(i, q)) for i, one in self._families())

    def conjugate(self, params: Params) -> Array:  # noqa: D102
        return _total(one.conjugate(self._own(i, params)) for i, one in self._families())

    def log_inner_product(self, p: Params, q: Params) -> Array:  # noqa: D102
        parts = self._families()
        return _total(one.log_inner_product(self._own(i, p), self._own(i, q)) for i, one in parts)

    def blocks(self, params: Params, center: Params) -> tuple[Block, ...]:  # noqa: D102
        return tuple(
            block._replace(name=f"{self._prefix(i)}_{block.name}")
            for i, one in self._families()
            for block in one.blocks(self._own(i, params), self._own(i, center))
        )

    def feature_blocks(self, params: Params, center: Params) -> tuple[Block, ...]:
        """Blocks of every part over all features, 0 where a feature is of another part."""
        found, before = [], 0
        for i, (one, n) in enumerate(self.parts):
            for block in one.feature_blocks(self._own(i, params), self._own(i, center)):
                width = [(0, 0)] * (block.coordinates.ndim - 1)
                after = self.n_features(params) - before - n
                wide = np.pad(block.coordinates, [*width, (before, after)])
                found.append(
                    block._replace(name=f"{self._prefix(i)}_{block.name}", coordinates=wide)
                )
            before += n
        return tuple(found)

    def link(self, name: str) -> Link | None:  # noqa: D102
        for i, one in self._families():
            if name.startswith(f"{self._prefix(i)}_"):
                return one.link(name.removeprefix(f"{self._prefix(i)}_"))
        return None

    def expectation(self, params: Params) -> Array:  # noqa: D102
        parts = [one.expectation(self._own(i, params)) for i, one in self._families()]
        return np.concatenate(parts, axis=-1)

    def described(self, params: Params) -> dict[str, Array]:  # noqa: D102
        return {
            f"{self._prefix(i)}_{name}": array
            for i, one in self._families()
            for name, array in one.described(self._own(i, params)).items()
        }

    def columns(self, features: list[str]) -> dict[str, list[str]]:  # noqa: D102
        found: dict[str, list[str]] = {}
        before = 0
        for i, (one, n) in enumerate(self.parts):
            own = one.columns(features[before : before + n])
            found |= {f"{self._prefix(i)}_{name}": labels for name, labels in own.items()}
            before += n
        return found

    def fisher_coordinates(self, params: Params, center: Params) -> Array:  # noqa: D102
        parts = [
            one.fisher_coordinates(self._own(i, params), self._own(i, center))
            for i, one in self._families()
        ]
        return np.concatenate(parts, axis=-1)

    def sample(  # noqa: D102
        self, params: Params, labels: NDArray[np.intp], rng: np.random.Generator
    ) -> Array:
        parts = [one.sample(self._own(i, params), labels, rng) for i, one in self._families()]
        return np.concatenate(parts, axis=1)

    @property
    def chart(self) -> Callable[[Params], Chart] | None:
        """Vectors of all parts side by side, where all of them have some."""
        return self._chart if all(covered(one) for one, _ in self.parts) else None

    def _chart(self, center: Params) -> Chart:
        charts = [
            getattr(one, "chart")(self._own(i, center))  # noqa: B009  # what not all have
            for i, one in self._families()
        ]
        return JoinedChart(charts, self._own, self._named, center)

    def _prefix(self, i: int) -> str:
        return f"{self.parts[i][0].name}_{i}"

    def _families(self) -> Iterator[tuple[int, Family]]:
        return ((i, one) for i, (one, _) in enumerate(self.parts))

    def _rows(self, x: Rows) -> Iterator[tuple[Family, Rows]]:
        first = 0
        for one, n in self.parts:
            yield one, x[:, first : first + n]
            first += n

    def _own(self, i: int, params: Mapping[str, Any]) -> dict[str, Any]:
        start = f"{self._prefix(i)}_"
        return {
            name.removeprefix(start): array
            for name, array in params.items()
            if name.startswith(start)
        }

    def _named(self, i: int, params: Params) -> dict[str, Array]:
        return {f"{self._prefix(i)}_{name}": array for name, array in params.items()}

    def _part(self, i: int, statistics: Statistics) -> Statistics:
        return Statistics(statistics.count, self._own(i, statistics.moments))

    def _together(self, parts: list[Statistics]) -> Statistics:
        moments: dict[str, Array] = {}
        for i, part in enumerate(parts):
            moments |= self._named(i, part.moments)
        return Statistics(parts[0].count, moments)


def _total(parts: Iterator[Array]) -> Array:
    """Add up arrays of one shape."""
    return np.asarray(sum(parts))
