"""A mixture: family, weights, parameters. Immutable, and valid whenever it exists."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask import kernels
from dfmr_dask.errors import InvalidMixture, InvalidSource
from dfmr_dask.families.base import Family, Params, Rows, read_only, take


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """A finite mixture f(x) = sum of w_k f(x; theta_k) (METHOD 1: Zhang, Tan & Chen, section 1).

    Relabelling its components changes nothing: compare two of them with the distances in
    ``dfmr_dask.aggregate``, never component by component.

    Parameters
    ----------
    family : Family
    weights : array-like of shape (K,)
        Positive numbers that sum to 1 (within 1e-6; they are normalised).
    params : mapping of names to array-likes with leading axis K

    Raises
    ------
    InvalidMixture
        When shapes, signs, sums, symmetry or definiteness are wrong.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.mixture import Mixture
    >>> g = Mixture(DiagonalGaussian(), [0.4, 0.6],
    ...             {"means": [[-1.0], [1.0]], "variances": [[1.0], [1.0]]})
    >>> g.responsibilities(np.zeros((1, 1))).round(3)
    array([[0.4, 0.6]])
    """

    family: Family
    weights: NDArray[np.float64]
    params: Params

    def __post_init__(self) -> None:
        if not (hasattr(self.family, "validated") and isinstance(self.params, Mapping)):
            raise InvalidMixture(f"{self.family!r:.40}, {self.params!r:.40}: no family and mapping")
        weights = read_only(self.weights)
        params = self.family.validated(self.params)
        n_components = len(next(iter(params.values())))
        if weights.shape != (n_components,):
            raise InvalidMixture(
                f"weights have shape {weights.shape}; parameters have {n_components} components"
            )
        total = weights.sum()
        if not (np.all(weights > 0.0) and abs(total - 1.0) <= 1e-6):
            raise InvalidMixture("weights must be positive and sum to 1")
        if abs(total - 1.0) > n_components * np.finfo(np.float64).eps:
            # Only beyond rounding, so that a copy or another order keeps the same bits.
            weights = read_only(weights / total)
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "params", MappingProxyType(params))

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild through the constructor, so that nothing invalid arrives over a wire."""
        return type(self), (self.family, self.weights, dict(self.params))

    @property
    def n_components(self) -> int:
        """The order K."""
        return len(self.weights)

    @property
    def n_features(self) -> int:
        """The number of columns d of a row."""
        return self.family.n_features(self.params)

    @property
    def n_parameters(self) -> int:
        """Free parameters, weights included."""
        return self.family.n_parameters(self.n_components, self.n_features)

    def log_density(self, x: Rows) -> NDArray[np.float64]:
        """Log density of each row in nats, shape (n,), for rows of any numeric dtype.

        Raises
        ------
        InvalidSource
            When the rows are no table (n, d) with the d columns of the mixture.
        """
        return kernels.log_density(self.family, self.weights, self.params, self._checked(x))

    def score(self, x: Rows, sample_weight: NDArray[np.float64] | None = None) -> float:
        """Mean log density a row, in nats; rows count as often as ``sample_weight`` says."""
        return float(np.average(self.log_density(x), weights=sample_weight))

    def responsibilities(self, x: Rows) -> NDArray[np.float64]:
        """Posterior probability of each component given each row, shape (n, K)."""
        return kernels.responsibilities(self.family, self.weights, self.params, self._checked(x))

    def labels(self, x: Rows) -> NDArray[np.intp]:
        """Most probable component of each row, shape (n,)."""
        return kernels.labels(self.family, self.weights, self.params, self._checked(x))

    def answers(self, x: Rows, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """Several of log_density, responsibilities, labels at once, by name, from one E-step."""
        return kernels.answers(self.family, self.weights, self.params, self._checked(x), names)

    def _checked(self, x: Rows) -> Rows:
        if x.ndim != 2 or x.shape[1] != self.n_features:
            raise InvalidSource(f"rows have shape {x.shape}; wanted (n, {self.n_features})")
        return x

    def sample(
        self, n: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Draw n rows (n, d) and the components that they come from (n,)."""
        labels = rng.choice(self.n_components, size=n, p=self.weights)
        return self.family.sample(self.params, labels, rng), labels

    def reordered(self, order: Any) -> Mixture:
        """Return the same mixture with its components in another order."""
        return Mixture(self.family, self.weights[order], take(self.params, order))

    def canonical(self) -> Mixture:
        """Heaviest component first, ties by parameters: labels mean the same in every run."""
        return self.reordered(self.canonical_order())

    def canonical_order(self) -> NDArray[np.intp]:
        """Which component stands where in the canonical order, shape (K,)."""
        flat = [array.reshape(self.n_components, -1) for array in self.params.values()]
        return np.lexsort((*np.hstack(flat).T[::-1], -self.weights))


def described(mixture: Mixture) -> Mapping[str, Any]:
    """Return family name and options, as they are written into files."""
    return {"family": mixture.family.name, "options": dict(mixture.family.options)}
