"""Penalised EM on the rows of one partition (METHOD 2: Chen & Tan, 2009)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import DegenerateRows
from dfmr_dask.families.base import Family, Params, Rows, Statistics
from dfmr_dask.families.unconstrained import covered
from dfmr_dask.kernels import expected_sums, overall_statistics, pooled
from dfmr_dask.local.acceleration import History
from dfmr_dask.mixture import Mixture

SMALLEST_WEIGHT = 1e-12  # a component without rows keeps this much, so that it can come back
CERTAIN = 1e100  # rows beside which pseudo-rows count nothing, and only the floor is at work
FEWEST_ROWS = 1e-6  # below this many expected rows a component's mean is not its own
ROUGH_TOL = 1e-5  # nats a row: what float32 work can tell apart
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
        Passes over the rows, less the one that every fit needs.
    converged : bool
        The last iteration gained less than ``tol`` nats a row.
    log_likelihood : float
        Mean log density a row under the estimate, in nats.
    trace : tuple of float
        Penalised log likelihood a row of each estimate on the way; it never falls.
    """

    mixture: Mixture
    n_iter: int
    converged: bool
    log_likelihood: float
    trace: tuple[float, ...]


class Point(NamedTuple):
    """A mixture, what the rows say of it, and where EM goes from there."""

    weights: Weights
    params: Params
    log_likelihood: float
    objective: float
    image: tuple[Weights, Params]


def fit(
    x: Rows | RowBlocks,
    start: Mixture,
    *,
    strength: float,
    floor: float = 1e-6,
    tol: float = 1e-6,
    max_iter: int = 500,
    sample_weight: Weights | None = None,
    dtype_work: str = "float64",
    accelerate: bool = True,
    report: Report | None = None,
) -> Fit:
    """Climb from ``start`` to a local maximum of the penalised likelihood.

    Parameters
    ----------
    x : array of shape (n, d), finite; or a sequence of blocks
        A block is a pair of such an array and its sample weights (or None). Blocks are gone
        through again in each iteration, so they may be read anew each time.
    start : Mixture
        Its order and family are those of the result.
    strength : float
        The penalty's a: each component gets 2a pseudo-rows of the rows' own covariance.
    floor : float
        Smallest eigenvalue of a covariance in units of the rows' variances.
    tol : float
        Stop when an iteration gains less than this, in nats a row.
    max_iter : int
        Passes over the rows at most.
    sample_weight : array of shape (n,), optional
        How often each row counts: 2 is the row twice, 0 is the row left out.
    dtype_work : {"float64", "float32"}
        ``float32`` climbs in single precision inside the tiles of rows until that can tell
        nothing any more, and goes on in double precision: the result is as good.
    accelerate : bool
        Try extrapolated steps; one that would lower the objective is never taken.
    report : callable, optional
        Told the number of the pass and the mean log density a row after each.

    Raises
    ------
    DegenerateRows
        When the rows are too few for the order, or a column is constant.
    TypeError, ValueError
        When blocks can be gone through once only, or weights are not one for each row.

    References
    ----------
    Chen & Tan (2009); METHOD 2.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.local.em import fit
    >>> from dfmr_dask.mixture import Mixture
    >>> rows = np.concatenate([np.linspace(-1, 1, 50), np.linspace(9, 11, 50)])[:, None]
    >>> start = Mixture(DiagonalGaussian(), [0.5, 0.5],
    ...                 {"means": [[1.0], [8.0]], "variances": [[1.0], [1.0]]})
    >>> fit(rows, start, strength=0.1).mixture.params["means"].round().ravel() + 0.0
    array([ 0., 10.])
    """
    rows = [(x, sample_weight)] if isinstance(x, np.ndarray) else x
    if not isinstance(rows, Sequence):
        raise TypeError("blocks are gone through many times; wanted a sequence, not an iterator")
    overall = checked_rows(start, rows)
    climb = Climb(
        start.family,
        rows,
        float(overall.count[0]),
        start.family.pseudo_rows(overall, strength, floor),
        accelerate and covered(start.params),
        report,
    )
    if dtype_work == "float32":
        rough = replace(climb, work=dtype_work).upwards(start, max(tol, ROUGH_TOL), max_iter // 2)
        return climb.upwards(rough.mixture, tol, max_iter, rough.n_iter)
    return climb.upwards(start, tol, max_iter)


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

    def upwards(self, start: Mixture, tol: float, max_iter: int, passes: int = 0) -> Fit:
        """Iterate until an EM step gains less than ``tol``, or the passes are used up."""
        here = self.visited(start.weights, start.params, passes)
        if not np.isfinite(here.objective):
            raise DegenerateRows(
                "the likelihood of the rows is zero: they lie too far from the start"
            )
        trace, gain, plain = [here.objective], np.inf, False
        history = History.about(start.weights, start.params) if self.accelerate else None
        while passes < max_iter and not (plain and gain < tol):
            there = None
            if history is not None:
                history = history.extended((here.weights, here.params), here.image)
                leap = gain >= tol and passes + 2 <= max_iter  # in vain, it costs a pass
                there = self.leapt(history, passes + 1) if leap else None
            passes += there is not None
            plain = there is None or not there.objective >= here.objective
            if history is not None and there is not None and plain:  # it was no guide here
                history = history.restarted(*here.image)
            if there is None or plain:
                passes += 1
                there = self.visited(*here.image, passes)
            gain, here = there.objective - here.objective, there
            trace.append(here.objective)
        mixture = Mixture(self.family, here.weights, here.params)
        converged = plain and gain < tol
        return Fit(mixture, passes, converged, here.log_likelihood / self.n, tuple(trace))

    def leapt(self, history: History, number: int) -> Point | None:
        """Visit the extrapolated mixture; None when there is none to be visited."""
        tried = history.extrapolated()
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
        objective = (total - self.family.penalty(params, self.pseudo_rows)) / self.n
        if self.report is not None:
            self.report(number, total / self.n)
        image = maximize(self.family, statistics, params, self.pseudo_rows)
        return Point(weights, params, total, objective, image)


def maximize(
    family: Family, statistics: Statistics, params: Params, pseudo_rows: Any
) -> tuple[Weights, Params]:
    """M-step; a component that has lost its rows keeps its place and next to no weight."""
    lost = statistics.count < FEWEST_ROWS
    if lost.any():
        where = {name: lost.reshape(-1, *[1] * (a.ndim - 1)) for name, a in params.items()}
        moments = {
            name: np.where(where[name], params[name], array)
            for name, array in statistics.moments.items()
        }
        statistics = Statistics(np.where(lost, 0.0, statistics.count), moments)
    weights = np.maximum(statistics.count / statistics.count.sum(), SMALLEST_WEIGHT)
    return weights / weights.sum(), family.from_statistics(statistics, pseudo_rows)


def checked_rows(start: Mixture, rows: RowBlocks) -> Statistics:
    """Return the overall statistics of rows that are enough for the order, or raise."""
    n, parts = 0, []
    for x, counts in rows:
        if counts is not None and len(counts) != len(x):
            raise ValueError(f"{len(counts)} sample weights for {len(x)} rows; wanted one each")
        n += len(x) if counts is None else int(np.count_nonzero(counts))
        if len(x):
            parts.append(overall_statistics(start.family, x, counts))
    needed = start.family.min_rows(start.n_components, start.n_features)
    if n < needed:
        raise DegenerateRows(
            f"{n} valid rows; {start.n_components} components of {start.n_features} features "
            f"need at least {needed}"
        )
    return pooled(start.family, parts)
