"""The way up: EM steps over given rows, extrapolated where that helps (METHOD 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import DegenerateRows
from dfmr_dask.families.base import Family, Params, Rows, Statistics
from dfmr_dask.kernels import expected_sums
from dfmr_dask.local.acceleration import History
from dfmr_dask.mixture import Mixture

SMALLEST_WEIGHT = 1e-12  # a component without rows keeps this much, so that it can come back
CERTAIN = 1e100  # rows beside which pseudo-rows count nothing, and only the floor is at work
FEWEST_ROWS = 1e-6  # below this many expected rows a component's mean is not its own
Weights = NDArray[np.float64]
RowBlocks = Sequence[tuple[Rows, Weights | None]]
Report = Callable[[int, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A local estimate and how it came about.

    Attributes
    ----------
    mixture : Mixture
    n_iter : int
        Passes over all rows, less the one that every fit needs; those over subsamples are not
        counted.
    converged : bool
        An EM iteration gains less than ``tol`` nats a row there.
    log_likelihood : float
        Mean log density a row under the estimate, in nats.
    trace : tuple of float
        Penalised log likelihood a row of each estimate on the way; it never falls.
    observed : float
        Share of the rows' entries that are there.
    """

    mixture: Mixture
    n_iter: int
    converged: bool
    log_likelihood: float
    trace: tuple[float, ...]
    observed: float = 1.0


class Prior(NamedTuple):
    """Rows that each component has as if drawn from where it began, before it has seen any."""

    params: Params
    rows: float

    def scaled(self, share: float) -> Prior:
        """Return the prior for a share of the rows."""
        return Prior(self.params, self.rows * share)

    def cost(self, family: Family, params: Params) -> float:
        """Return what it takes off the log likelihood, up to a constant."""
        return self.rows * float(np.diagonal(family.kl(self.params, params)).sum())

    def joined(self, family: Family, statistics: Statistics) -> Statistics:
        """Return statistics with the prior's rows among them."""
        k = len(statistics.count)
        own = family.expected_statistics(self.params, np.full(k, self.rows))
        moments = {
            name: np.concatenate([array, own.moments[name]])
            for name, array in statistics.moments.items()
        }
        both = Statistics(np.concatenate([statistics.count, own.count]), moments)
        return family.pool(both, np.hstack([np.eye(k), np.eye(k)]))


class Point(NamedTuple):
    """A mixture, what the rows say of it, and where EM goes from there."""

    weights: Weights
    params: Params
    log_likelihood: float
    objective: float
    image: tuple[Weights, Params]


@dataclass(frozen=True, slots=True, eq=False)
class Climb:
    """What stays the same on the way up."""

    family: Family
    rows: RowBlocks
    n: float
    pseudo_rows: Any
    accelerate: bool
    report: Report | None
    work: str = "float64"
    prior: Prior | None = None

    def upwards(self, start: Mixture, tol: float, max_iter: int, passes: int = 0) -> Fit:
        """Iterate until an EM step gains less than ``tol``, or the passes are used up."""
        here = self.begun(start, passes)
        return self.onwards(here, (here.objective,), tol, max_iter, passes)

    def begun(self, start: Mixture, passes: int = 0) -> Point:
        """Visit the start; raise DegenerateRows where the rows are impossible."""
        here = self.visited(start.weights, start.params, passes)
        if not np.isfinite(here.objective):
            raise DegenerateRows(
                "the likelihood of the rows is zero: they lie too far from the start"
            )
        return here

    def onwards(
        self,
        here: Point,
        before: tuple[float, ...],
        tol: float,
        max_iter: int,
        passes: int,
        history: History | None = None,
    ) -> Fit:
        """Go on from a point that was visited after so many passes; its objective ends ``before``.

        A history holds other points that were visited.
        """
        trace, gain, plain = list(before), np.inf, False
        if history is None and self.accelerate:
            history = History.about(self.family, here.weights, here.params)
        while passes < max_iter and not (plain and gain < tol):
            there = None
            if history is not None:
                history = history.extended((here.weights, here.params), here.image)
                leap = gain >= tol and passes + 2 <= max_iter  # in vain, it costs a pass
                there = self.leapt(history.extrapolated(), passes + 1) if leap else None
            passes += there is not None
            plain = there is None or not there.objective >= here.objective
            if history is not None and there is not None and plain:  # it was no guide here
                history = history.restarted(*here.image)
            if there is None or plain:
                passes += 1
                there = self.visited(*here.image, passes)
            gain, here = there.objective - here.objective, there
            trace.append(here.objective)
        return self.ended(here, passes, plain and gain < tol, tuple(trace))

    def ended(self, here: Point, passes: int, converged: bool, trace: tuple[float, ...]) -> Fit:
        """Return what came out."""
        mixture = Mixture(self.family, here.weights, here.params)
        return Fit(mixture, passes, converged, here.log_likelihood / self.n, trace)

    def leapt(self, tried: tuple[Weights, Params] | None, number: int) -> Point | None:
        """Visit an extrapolated mixture; None when there is none to be visited."""
        if tried is None:
            return None
        weights, params = tried
        try:
            certain = self.family.expected_statistics(params, np.full(len(weights), CERTAIN))
            floored = self.family.from_statistics(certain, self.pseudo_rows)
            return self.visited(weights, floored, number)
        except np.linalg.LinAlgError:  # a covariance that is none up to rounding
            return None

    def visited(self, weights: Weights, params: Params, number: int) -> Point:
        """Go through the rows once: the objective there, and where EM goes next."""
        statistics, total = expected_sums(
            self.family, weights, params, self.rows, work=np.dtype(self.work)
        )
        cost = self.family.penalty(params, self.pseudo_rows)
        if self.prior is not None:
            cost += self.prior.cost(self.family, params)
        objective = (total - cost) / self.n
        if self.report is not None:
            self.report(number, total / self.n)
        image = maximize(self.family, statistics, params, self.pseudo_rows, self.prior)
        return Point(weights, params, total, objective, image)


def maximize(
    family: Family,
    statistics: Statistics,
    params: Params,
    pseudo_rows: Any,
    prior: Prior | None = None,
) -> tuple[Weights, Params]:
    """M-step; a component that has lost its rows keeps its place and next to no weight."""
    lost = statistics.count < FEWEST_ROWS
    if lost.any():
        kept = family.expected_statistics(params, statistics.count).moments
        moments = {
            name: np.where(lost.reshape(-1, *[1] * (array.ndim - 1)), kept[name], array)
            for name, array in statistics.moments.items()
        }
        statistics = Statistics(np.where(lost, 0.0, statistics.count), moments)
    weights = np.maximum(statistics.count / statistics.count.sum(), SMALLEST_WEIGHT)
    if prior is not None:
        statistics = prior.joined(family, statistics)
    return weights / weights.sum(), family.from_statistics(statistics, pseudo_rows)
