"""Fewer passes: Anderson's extrapolation of the EM map, in a metric that weighs components.

The EM map g has the wanted estimate as its fixed point. From the last few points u_i and their
residuals f_i = g(u_i) - u_i, the next point is that combination of them whose residuals cancel
best. It is tried, and taken only if the penalised likelihood does not fall: see ``em.py``.

References: Walker & Ni (2011), SIAM J. Numer. Anal. 49; Henderson & Varadhan (2019), J. Comput.
Graph. Stat. 28 (damping and monotonicity for EM).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Family, Params
from dfmr_dask.families.unconstrained import Chart

Array = NDArray[np.float64]
DEPTH = 8  # points that are remembered
DAMPING = 1e-6  # in units of the residuals' squares: what is nearly parallel is not trusted
LONGEST = 3.0  # deviations, or logarithms, that a step may change a coordinate by


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The last points and their images under EM, as vectors about a center."""

    family: Family
    chart: Chart
    metric: Array
    points: tuple[Array, ...] = ()
    images: tuple[Array, ...] = ()
    last: Params | None = None
    patience: int = 2  # points that are wanted before a step is tried

    @classmethod
    def about(cls, family: Family, weights: Array, params: Params) -> History:
        """Return an empty history around a mixture; each component counts by its weight."""
        chart: Any = getattr(family, "chart")  # noqa: B009  # what not every family has
        return cls(family, chart(params), np.sqrt(weights)[:, None])

    def extended(self, point: tuple[Array, Params], image: tuple[Array, Params]) -> History:
        """Return a history with one more point and where EM sends it."""
        known = self.images and point[1] is self.last  # an EM step leads to the last image
        vector = self.images[-1] if known else self.vector(*point)
        return replace(self.joined(vector, self.vector(*image)), last=image[1])

    def joined(self, point: Array, image: Array) -> History:
        """Return a history with one more pair of vectors, the oldest left out of more than 8."""
        points, images = (*self.points, point)[-DEPTH:], (*self.images, image)[-DEPTH:]
        return replace(self, points=points, images=images, last=None)

    def restarted(self, weights: Array, params: Params) -> History:
        """Return an empty history after a step that led down, slower to try the next one."""
        patience = min(self.patience + 1, DEPTH)
        return replace(History.about(self.family, weights, params), patience=patience)

    def extrapolated(self) -> tuple[Array, Params] | None:
        """Return the mixture where the residuals should vanish; None before there is one."""
        if len(self.points) < self.patience:
            return None
        residuals = (np.stack(self.images) - np.stack(self.points)) * self.metric
        last, image = residuals[-1].ravel(), self.images[-1]
        changes = residuals[:-1].reshape(len(residuals) - 1, -1) - last
        gram = changes @ changes.T
        gram[np.diag_indices(len(gram))] *= 1.0 + DAMPING
        shares = _solved(gram, changes @ last)
        vector = image - np.tensordot(shares, np.stack(self.images[:-1]) - image, axes=1)
        moved: Any = np.abs(vector - self.points[-1])
        if not np.all(moved <= LONGEST):  # NaN is no step either
            return None
        return self.mixture(vector)

    def vector(self, weights: Array, params: Params) -> Array:
        """Return a mixture as a vector about the center, a row for each component."""
        return np.hstack([np.log(weights)[:, None], self.chart.vectors(params)])

    def mixture(self, vector: Array) -> tuple[Array, Params]:
        """Return the mixture that a vector stands for."""
        weights = np.exp(vector[:, 0] - vector[:, 0].max())
        return weights / weights.sum(), self.chart.params(vector[:, 1:])


def _solved(gram: Array, right: Array) -> Array:
    """Solve a small damped system; all zeros where nothing moves any more."""
    try:
        return np.asarray(np.linalg.solve(gram, right))
    except np.linalg.LinAlgError:
        return np.zeros(len(right))
