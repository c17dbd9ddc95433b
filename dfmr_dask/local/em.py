"""Penalised EM on the rows of one partition (METHOD 2: Chen & Tan, 2009)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import DegenerateRows
from dfmr_dask.families.base import Family, Params, Rows, Statistics
from dfmr_dask.local.kernels import expected_sums, overall_statistics
from dfmr_dask.mixture import Mixture

SMALLEST_WEIGHT = 1e-12  # a component without rows keeps this much, so that it can come back
FEWEST_ROWS = 1e-6  # below this many expected rows a component's mean is not its own


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A local estimate and how it came about.

    Attributes
    ----------
    mixture : Mixture
    n_iter : int
    converged : bool
        The last iteration gained less than ``tol`` nats a row.
    log_likelihood : float
        Mean log density a row under the estimate, in nats.
    trace : tuple of float
        Penalised log likelihood a row before each iteration, and at the end; it never falls.
    """

    mixture: Mixture
    n_iter: int
    converged: bool
    log_likelihood: float
    trace: tuple[float, ...]


def fit(
    x: Rows,
    start: Mixture,
    *,
    strength: float,
    floor: float = 1e-6,
    tol: float = 1e-6,
    max_iter: int = 500,
) -> Fit:
    """Climb from ``start`` to a local maximum of the penalised likelihood.

    Parameters
    ----------
    x : array of shape (n, d), finite
    start : Mixture
        Its order and family are those of the result.
    strength : float
        The penalty's a: each component gets 2a pseudo-rows of the rows' own covariance.
    floor : float
        Smallest eigenvalue of a covariance in units of the rows' variances.
    tol : float
        Stop when an iteration gains less than this, in nats a row.
    max_iter : int

    Raises
    ------
    DegenerateRows
        When the rows are too few for the order, or a column is constant.

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
    family = start.family
    pseudo_rows = family.pseudo_rows(checked_rows(family, x, start.n_components), strength, floor)
    weights, params = start.weights, start.params
    trace: list[float] = []
    while True:
        statistics, total = expected_sums(family, weights, params, x)
        trace.append((total - family.penalty(params, pseudo_rows)) / len(x))
        if not np.isfinite(trace[-1]):
            raise DegenerateRows(
                "the likelihood of the rows is zero: they lie too far from the start"
            )
        converged = len(trace) > 1 and trace[-1] - trace[-2] < tol
        if converged or len(trace) > max_iter:
            break
        weights, params = maximize(family, statistics, params, pseudo_rows)
    mixture = Mixture(family, weights, params)
    return Fit(mixture, len(trace) - 1, converged, total / len(x), tuple(trace))


def maximize(
    family: Family, statistics: Statistics, params: Params, pseudo_rows: Any
) -> tuple[NDArray[np.float64], Params]:
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


def checked_rows(family: Family, x: Rows, n_components: int) -> Statistics:
    """Return the overall statistics of rows that are enough for the order, or raise."""
    needed = family.min_rows(n_components, x.shape[1])
    if len(x) < needed:
        raise DegenerateRows(
            f"{len(x)} valid rows; {n_components} components of {x.shape[1]} features "
            f"need at least {needed}"
        )
    return overall_statistics(family, x)
