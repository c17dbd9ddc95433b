"""Parameters as free vectors, for methods that extrapolate: any vector is a valid parameter.

Of Gaussians, positions are counted in the deviations of a center, covariances are relative Cholesky
factors with logarithms on the diagonal, variances are logarithms; of other families they are the
natural parameters: a step of length 1 means the same in every feature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Params
from dfmr_dask.families.factors import factors

Array = NDArray[np.float64]


class Chart(Protocol):
    """Vectors for parameters near a center; a family that has them makes one: ``chart(center)``."""

    def vectors(self, params: Params) -> Array:
        """Return parameters as vectors, shape (K, p)."""
        ...

    def params(self, vectors: Array) -> Params:
        """Return the parameters that vectors (K, p) stand for; the inverse of :meth:`vectors`."""
        ...


def covered(family: object) -> bool:
    """Tell whether a family has vectors for its parameters."""
    return callable(getattr(family, "chart", None))


@dataclass(frozen=True, slots=True, eq=False)
class NaturalChart:
    """Natural parameters, in units in which a step of 1 moves a mean by one deviation of a row.

    Attributes
    ----------
    name : str
        Of the one array of parameters.
    unit : ndarray of shape (K, q)
    natural, inverse : callables
        From parameters to natural ones, and back.
    """

    name: str
    unit: Array
    natural: Callable[[Array], Array]
    inverse: Callable[[Array], Array]

    def vectors(self, params: Params) -> Array:
        """Return parameters as vectors, shape (K, q)."""
        return self.natural(params[self.name]) * self.unit

    def params(self, vectors: Array) -> Params:
        """Return the parameters that vectors (K, q) stand for; the inverse of :meth:`vectors`."""
        return {self.name: self.inverse(vectors / self.unit)}


@dataclass(frozen=True, slots=True, eq=False)
class GaussianChart:
    """Vectors for Gaussian parameters near a center; made by :func:`chart_at`.

    Attributes
    ----------
    means, deviations : ndarray of shape (K, d)
    factors, inverses : ndarray of shape (K, d, d), or None for diagonal covariances
        Cholesky factors of the covariances, and their inverses.
    """

    means: Array
    deviations: Array
    factors: Array | None = None
    inverses: Array | None = None

    def vectors(self, params: Params) -> Array:
        """Return parameters as vectors, shape (K, p)."""
        means = (params["means"] - self.means) / self.deviations
        if self.inverses is None:
            return np.hstack([means, np.log(params["variances"] / self.deviations**2)])
        relative = self.inverses @ factors(params["covariances"])[0]
        diagonal = np.arange(means.shape[1])
        relative[:, diagonal, diagonal] = np.log(relative[:, diagonal, diagonal])
        return np.hstack([means, relative.reshape(len(means), -1)])

    def params(self, vectors: Array) -> Params:
        """Return the parameters that vectors (K, p) stand for; the inverse of :meth:`vectors`."""
        n_components, d = self.means.shape
        means = vectors[:, :d] * self.deviations + self.means
        if self.factors is None:
            return {"means": means, "variances": self.deviations**2 * np.exp(vectors[:, d:])}
        relative = vectors[:, d:].reshape(n_components, d, d).copy()
        diagonal = np.arange(d)
        relative[:, diagonal, diagonal] = np.exp(relative[:, diagonal, diagonal])
        factor = self.factors @ relative
        return {"means": means, "covariances": factor @ factor.swapaxes(1, 2)}


def chart_at(center: Params) -> GaussianChart:
    """Return the chart of Gaussian parameters around a center.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families.unconstrained import chart_at
    >>> chart = chart_at({"means": np.zeros((1, 1)), "variances": np.full((1, 1), 4.0)})
    >>> chart.vectors({"means": np.ones((1, 1)), "variances": np.full((1, 1), 4.0)})
    array([[0.5, 0. ]])
    """
    if "variances" in center:
        return GaussianChart(center["means"], np.sqrt(center["variances"]))
    covariances = center["covariances"]
    deviations = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    return GaussianChart(center["means"], deviations, *factors(covariances))


class JoinedChart:
    """Vectors of the parts of a product, side by side.

    Parameters
    ----------
    charts : list of Chart
        One a part.
    own : callable
        Given the number of a part and all parameters, returns that part's.
    named : callable
        Given the number of a part and its parameters, names them as among those of all parts.
    center : mapping
        Parameters of all parts.
    """

    __slots__ = ("charts", "named", "own", "widths")

    def __init__(  # noqa: D107
        self,
        charts: list[Chart],
        own: Callable[[int, Params], Params],
        named: Callable[[int, Params], Params],
        center: Params,
    ) -> None:
        self.charts, self.own, self.named = charts, own, named
        parts = (chart.vectors(own(i, center)) for i, chart in enumerate(charts))
        self.widths = np.cumsum([one.shape[1] for one in parts])[:-1]

    def vectors(self, params: Params) -> Array:
        """Return parameters as vectors, shape (K, p)."""
        parts = enumerate(self.charts)
        return np.hstack([chart.vectors(self.own(i, params)) for i, chart in parts])

    def params(self, vectors: Array) -> Params:
        """Return the parameters that vectors (K, p) stand for; the inverse of :meth:`vectors`."""
        found: dict[str, Array] = {}
        for i, part in enumerate(np.split(vectors, self.widths, axis=1)):
            found |= self.named(i, self.charts[i].params(part))
        return found
