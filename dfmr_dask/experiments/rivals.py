"""Euclidean robust aggregators of the literature, for comparison (METHOD 7).

An estimate is turned into a vector, and the vectors are averaged as if they were gradients or
points. Everything in their favor is done first: estimates are aligned to the center of attention
in CTD-KL, and coordinates are those of :mod:`dfmr_dask.families.unconstrained`, in which any vector
is a valid mixture (log-Cholesky factors relative to the center's, so that an average is positive
definite without a projection) and honest noise has about the same size everywhere: means and
covariances times the root of the component's weight, and weights as twice their roots.

Under ``NAME_unaligned`` the components stand as if each partition had numbered its own, which shows
what label switching costs. Partitions count alike, whatever their rows. The averages themselves are
those of :mod:`dfmr_dask.experiments.averages`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from dfmr_dask.aggregate.alignment import aligned
from dfmr_dask.aggregate.center import coat
from dfmr_dask.aggregate.distances import ctd
from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.aggregate.gates import Rule
from dfmr_dask.aggregate.verdict import Merged
from dfmr_dask.experiments.averages import AVERAGES, Array, Averaged, Mask
from dfmr_dask.families.base import take
from dfmr_dask.families.unconstrained import Chart
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator


@dataclass(frozen=True, slots=True, eq=False)
class Coordinates:
    """Mixtures as vectors, around a center.

    Attributes
    ----------
    center : Mixture
    chart : Chart
    """

    center: Mixture
    chart: Chart

    def vectors(self, estimates: Estimates) -> Array:
        """Return aligned estimates as vectors, shape (m, p)."""
        many = [self.chart.vectors(take(estimates.params, i)) for i in range(len(estimates))]
        scaled = np.stack(many) * np.sqrt(self.center.weights)[:, None]
        roots = 2.0 * np.sqrt(estimates.weights)
        return np.concatenate([scaled.reshape(len(estimates), -1), roots], axis=1)

    def mixture(self, vector: Array) -> Mixture:
        """Return the mixture that a vector (p,) stands for."""
        order = self.center.n_components
        weights = np.maximum(vector[-order:], np.finfo(np.float64).tiny ** 0.25) ** 2
        scaled = vector[:-order].reshape(order, -1) / np.sqrt(self.center.weights)[:, None]
        return Mixture(self.center.family, weights / weights.sum(), self.chart.params(scaled))


def merged(
    average: Callable[[Array], Averaged],
    alignment: bool,
    estimates: Estimates,
    rule: Rule,
    byzantine: Mask,
    forced_in: Mask,
) -> Merged:
    """Merge estimates as vectors; the signature of an aggregator once the first two are given.

    Parameters
    ----------
    average : callable
        Given vectors (m, p), returns one of them all (p,) and who took part in it (m,).
    alignment : bool
        Without it, every estimate comes with its components in an order of its own.
    estimates, rule, byzantine, forced_in
        As every aggregator has them; a rival looks at the estimates alone.
    """
    center = coat(ctd(estimates)).center
    middle = estimates.mixture(center)
    near = aligned(estimates, middle) if alignment else _shuffled(estimates)
    space = Coordinates(middle, _chart(middle))
    vector, kept = average(space.vectors(near))
    return Merged(space.mixture(vector), kept, center)


RIVALS: Mapping[str, Callable[[Estimates, Rule, Mask, Mask], Merged]] = {
    name + ending: partial(merged, average, not ending)
    for ending in ("", "_unaligned")
    for name, average in AVERAGES.items()
}


def _shuffled(estimates: Estimates) -> Estimates:
    """Give the components of every estimate an order of its own, as separate fits would."""
    order = estimates.weights.shape[1]
    orders = [generator(int(i), Stage.LABELS).permutation(order) for i in estimates.ids]
    return estimates.reordered(np.stack(orders))


def _chart(center: Mixture) -> Chart:
    """Return vectors about a mixture, of a family that has them."""
    made: Chart = getattr(center.family, "chart")(center.params)  # noqa: B009
    return made
