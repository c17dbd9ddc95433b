"""What insiders know, and how they lay themselves out along a way (see ``insiders``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.aggregators import aggregate
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture

SMALLEST_WEIGHT = 1e-3
NEARLY_NONE = 1e-3  # copies to the last bit count once: those without spread still differ
FARTHER, WIDENING = 2.0, 0.25  # how far those go who widen the spread, and which share of liars
Vector = NDArray[np.float64]
Layout = Callable[["Insider", Vector, float], Vector]


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """Coordinates of estimates around the truth, in standard errors of one partition.

    Means whitened by the truth (K d), logarithms of whitened covariances (K d²), and roots of
    weights (K), one after the other: sampling noise of separated components is 1 in each (and is
    shared by the two entries of a covariance off the diagonal).

    Attributes
    ----------
    truth : Mixture
    rows : int
        Of a partition.
    """

    truth: Mixture
    rows: int

    @property
    def blocks(self) -> dict[str, slice]:
        """Where the coordinates of each block stand."""
        order, d = self.truth.params["means"].shape
        first, second = order * d, order * d * (d + 1)
        return {
            "means": slice(0, first),
            "covariances": slice(first, second),
            "weights": slice(second, second + order),
            "all": slice(0, second + order),
        }

    def coordinates(self, mixture: Mixture) -> Vector:
        """Return the coordinates of an estimate whose components are in the truth's order."""
        lower, scale = self._frame()
        steps = mixture.params["means"] - self.truth.params["means"]
        means = np.linalg.solve(lower, steps[:, :, None])[:, :, 0] * scale[:, None]
        half = np.linalg.solve(lower, mixture.params["covariances"])
        white = np.linalg.solve(lower, half.transpose(0, 2, 1))
        values, vectors = np.linalg.eigh(0.5 * (white + white.transpose(0, 2, 1)))
        logs = (vectors * np.log(values)[:, None, :]) @ vectors.transpose(0, 2, 1)
        logs *= scale[:, None, None] * 0.5**0.5
        weights = 2.0 * (np.sqrt(mixture.weights) - np.sqrt(self.truth.weights)) * self.rows**0.5
        return np.concatenate([means.ravel(), logs.ravel(), weights])

    def mixtures(self, points: Vector) -> list[Mixture]:
        """Return the estimates with the given coordinates, (number, coordinates)."""
        return [self._mixture(point) for point in points]

    def _mixture(self, point: Vector) -> Mixture:
        truth, blocks = self.truth, self.blocks
        lower, scale = self._frame()
        steps = point[blocks["means"]].reshape(truth.params["means"].shape) / scale[:, None]
        means = truth.params["means"] + (lower @ steps[:, :, None])[:, :, 0]
        logs = point[blocks["covariances"]].reshape(lower.shape)
        logs = logs / (scale[:, None, None] * 0.5**0.5)
        values, vectors = np.linalg.eigh(0.5 * (logs + logs.transpose(0, 2, 1)))
        white = (vectors * np.exp(values)[:, None, :]) @ vectors.transpose(0, 2, 1)
        roots = np.sqrt(truth.weights) + 0.5 * point[blocks["weights"]] / self.rows**0.5
        weights = np.maximum(roots, SMALLEST_WEIGHT**0.5) ** 2
        params = {"means": means, "covariances": lower @ white @ lower.transpose(0, 2, 1)}
        return Mixture(truth.family, weights / weights.sum(), params)

    def _frame(self) -> tuple[Vector, Vector]:
        """Roots of the true covariances, and of the rows that each component has."""
        lower = np.linalg.cholesky(self.truth.params["covariances"])
        return np.asarray(lower), np.sqrt(self.rows * self.truth.weights)


@dataclass(frozen=True, slots=True, eq=False)
class Insider:
    """What liars know.

    Attributes
    ----------
    truth : Mixture
    chart : Chart
    estimates : tuple of Mixture
        Of honest partitions.
    middle : ndarray of shape (coordinates,)
        Mean of the honest estimates.
    honest_noise, noise : ndarrays of shape (number, coordinates)
        Deviations from it of honest partitions, and of what liars would honestly say.
    oracle : float
        Error of the honest estimates alone.
    """

    truth: Mixture
    chart: Chart
    estimates: tuple[Mixture, ...]
    middle: Vector
    honest_noise: Vector
    noise: Vector
    oracle: float

    @property
    def honest(self) -> int:
        """Number of honest partitions."""
        return len(self.estimates)

    @property
    def liars(self) -> int:
        """Number of liars."""
        return len(self.noise)

    @property
    def m(self) -> int:
        """Number of partitions."""
        return self.honest + self.liars


def insider(truth: Mixture, fits: Sequence[Mixture], liars: int, rows: int) -> Insider:
    """Tell the last ``liars`` partitions everything."""
    chart, honest = Chart(truth, rows), len(fits) - liars
    points = np.stack([chart.coordinates(one) for one in fits])
    middle = points[:honest].mean(axis=0)
    said = [Message(i, "fitted", rows, mixture=one) for i, one in enumerate(fits[:honest])]
    oracle = error(aggregate(said, aggregator="vanilla").mixture, truth)
    noise = points - middle
    return Insider(
        truth, chart, tuple(fits[:honest]), middle, noise[:honest], noise[honest:], oracle
    )


def _together(spread: float) -> Layout:
    """All take the same step, with so much of their own noise."""

    def laid(known: Insider, way: Vector, length: float) -> Vector:
        return known.middle + max(spread, NEARLY_NONE) * known.noise + length * way

    return laid


def _disguised(known: Insider, way: Vector, length: float) -> Vector:
    """All take the step, and give up as much of their noise as makes them look honest in size."""
    return known.middle + _room(known, way, length) * known.noise + length * way


def _room(known: Insider, way: Vector, length: float) -> Vector:
    """Return the factor of each liar's noise, coordinate by coordinate of the attacked blocks."""
    factor = np.ones_like(way)
    for name, block in known.chart.blocks.items():
        if name != "all":
            usual = float((known.honest_noise[:, block] ** 2).sum(axis=1).mean())
            step = length**2 * float((way[block] ** 2).sum())
            factor[block] = np.sqrt(max(1.0 - step / usual, NEARLY_NONE**2))
    return factor


def _fan(spread: float) -> Layout:
    """Spread evenly between the honest and the target, so that there is no gap."""

    def laid(known: Insider, way: Vector, length: float) -> Vector:
        steps = length * (np.arange(known.liars) + 1.0) / known.liars
        return known.middle + spread * known.noise + steps[:, None] * way

    return laid


def _disguised_fan(known: Insider, way: Vector, length: float) -> Vector:
    """Fan out, each with as much noise as its step leaves room for."""
    steps = length * (np.arange(known.liars) + 1.0) / known.liars
    rooms = np.stack([_room(known, way, step) for step in steps])
    return known.middle + rooms * known.noise + steps[:, None] * way


def _sides(number: int, spread: float) -> Layout:
    """Take the step in groups that also go apart sideways, each its own way."""

    def laid(known: Insider, way: Vector, length: float) -> Vector:
        towards = np.array_split(np.arange(known.liars), number)
        points = known.middle + spread * known.noise + length * way
        aside = np.zeros((number, len(way)))
        for group, members in enumerate(towards):
            if len(members):
                aside[group] = known.noise[members].mean(axis=0) * (way != 0.0)
        aside -= aside.mean(axis=0)
        aside -= (aside @ way)[:, None] * way
        for one, members in zip(aside, towards, strict=True):
            points[members] += length * one / max(float(np.linalg.norm(one)), 1e-12)
        return points

    return laid


def _widen(known: Insider, way: Vector, length: float) -> Vector:
    """Let some go farther, so that the unit grows, while the others take the step."""
    steps = np.full(known.liars, length)
    steps[: int(np.ceil(WIDENING * known.liars))] *= FARTHER
    return known.middle + known.noise + steps[:, None] * way


def _widen_both(known: Insider, way: Vector, length: float) -> Vector:
    """Let some go to both sides, coordinate by coordinate, while the others take the step."""
    points = known.middle + 0.5 * known.noise + length * way
    some = int(np.ceil(WIDENING * known.liars))
    signs = np.where(np.arange(some) % 2, 1.0, -1.0)[:, None]
    points[:some] = known.middle + signs * FARTHER * length * way + 0.5 * known.noise[:some]
    return points


def _center(known: Insider, way: Vector, length: float) -> Vector:
    """Let a few play the center, a little shifted, while the others take the step."""
    points = known.middle + known.noise + length * way
    few = max(1, known.liars // 4)
    points[:few] = known.middle + NEARLY_NONE * known.noise[:few] + 0.5 * length * way
    return points


def _coat(known: Insider, way: Vector, length: float) -> Vector:
    """Take the step from the honest estimate in the middle, and huddle around it."""
    nearest = known.honest_noise[np.argmin((known.honest_noise**2).sum(axis=1))]
    return np.asarray(known.middle + nearest + 0.1 * known.noise + length * way)


def _mirrored(known: Insider, way: Vector, length: float) -> Vector:
    """Turn one's own noise towards the way, and take a third of the step."""
    along = known.noise @ way
    turned = known.noise + (np.abs(along) - along)[:, None] * way
    return known.middle + turned + length / 3.0 * way


LAYOUTS: Mapping[str, Layout] = {
    "spread 0": _together(0.0),
    "spread .1": _together(0.1),
    "spread .5": _together(0.5),
    "spread 1": _together(1.0),
    "spread 1.5": _together(1.5),
    "disguised": _disguised,
    "fan .5": _fan(0.5),
    "fan 1": _fan(1.0),
    "disguised fan": _disguised_fan,
    "two sides": _sides(2, 0.5),
    "three sides": _sides(3, 0.5),
    "widen": _widen,
    "widen both": _widen_both,
    "center": _center,
    "coat": _coat,
    "mirrored": _mirrored,
}

CLAIMS: Mapping[str, Callable[[int, int], list[int]]] = {
    "true": lambda liars, rows: [rows] * liars,
    "5": lambda liars, rows: [5] * liars,
    "1e9": lambda liars, rows: [10**9] * liars,
    "mixed": lambda liars, rows: [5 if i % 2 else 10**9 for i in range(liars)],
}
