"""Penalised EM on the rows of one partition (METHOD 2: Chen & Tan, 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dfmr_dask.errors import DegenerateRows
from dfmr_dask.families.base import Rows, Statistics, observed_share
from dfmr_dask.families.unconstrained import covered
from dfmr_dask.kernels import overall_statistics, pooled
from dfmr_dask.local.climbing import Climb, Fit, Prior, Report, RowBlocks, Weights
from dfmr_dask.local.growing import FEWEST_ROWS, grown, subsamples
from dfmr_dask.local.subsamples import Gathering
from dfmr_dask.mixture import Mixture

__all__ = ["Fit", "checked_rows", "fit"]

ROUGH_TOL = 1e-5  # nats a row: what float32 work can tell apart


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
    prior_rows: float = 0.0,
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
        Stop when an iteration gains less than this, in nats a row; 0 takes no subsamples.
    max_iter : int
        Passes over all rows at most.
    sample_weight : array of shape (n,), optional
        How often each row counts: 2 is the row twice, 0 is the row left out.
    dtype_work : {"float64", "float32"}
        ``float32`` climbs in single precision inside the tiles of rows until that can tell
        nothing any more, and goes on in double precision: the result is as good.
    accelerate : bool
        Try extrapolated steps, and subsamples of many rows first (``growing.py``); a step that
        would lower the objective is never taken.
    report : callable, optional
        Told the number of the pass and the mean log density a row after each.
    prior_rows : float
        On the way up each component has so many rows more, as if drawn from where it starts: one
        that has few rows here stays where it is, instead of fitting what other components have.
        The last M-step is made without them, so that what comes out leans on no start.

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
    accelerate = accelerate and covered(start.family)
    many = not isinstance(x, np.ndarray) or len(x) >= FEWEST_ROWS
    gathered = Gathering() if accelerate and many and tol > 0.0 else None
    overall = checked_rows(start, rows, gathered)
    n = float(overall.count[0])

    def pseudo_rows(share: float) -> Any:
        return start.family.pseudo_rows(overall, strength * share, floor)

    prior = Prior(start.params, prior_rows) if prior_rows else None
    climb = Climb(start.family, rows, n, pseudo_rows(1.0), accelerate, report, prior=prior)
    rough = replace(climb, work=dtype_work)
    smaller = [] if gathered is None else subsamples(rough, gathered, start, pseudo_rows)
    found = _climbed(climb, rough, smaller, start, tol, max_iter)
    found = found if prior is None else _released(climb, found)
    return replace(found, observed=observed_share(overall))


def _climbed(
    climb: Climb, rough: Climb, smaller: list[Climb], start: Mixture, tol: float, max_iter: int
) -> Fit:
    """Climb, first on subsamples or in single precision where that is the way."""
    if smaller:
        return grown(climb, smaller, start, tol, max_iter)
    if rough.work == "float32":
        first = rough.upwards(start, max(tol, ROUGH_TOL), max_iter // 2)
        return climb.upwards(first.mixture, tol, max_iter, first.n_iter)
    return climb.upwards(start, tol, max_iter)


def _released(climb: Climb, found: Fit) -> Fit:
    """Make one more M-step, without the rows of the prior, and score the rows under what it gives.

    The prior has told which rows are whose; what these are like is left to themselves.
    """
    free = replace(climb, prior=None)
    there = free.visited(found.mixture.weights, found.mixture.params, found.n_iter + 1)
    mixture = Mixture(climb.family, *there.image)
    last = free.visited(mixture.weights, mixture.params, found.n_iter + 2)
    return replace(
        found,
        mixture=mixture,
        n_iter=found.n_iter + 2,
        log_likelihood=last.log_likelihood / climb.n,
    )


def checked_rows(start: Mixture, rows: RowBlocks, gathered: Gathering | None = None) -> Statistics:
    """Return the overall statistics of rows that are enough for the order, or raise.

    Those of a subsample are gathered on the way, if that is wanted.
    """
    n, parts = 0, []
    for x, counts in rows:
        if x.shape[1:] != (start.n_features,):  # compiled code does not look
            raise ValueError(f"rows of shape {x.shape}; wanted (n, {start.n_features})")
        if counts is not None and len(counts) != len(x):
            raise ValueError(f"{len(counts)} sample weights for {len(x)} rows; wanted one each")
        n += len(x) if counts is None else int(np.count_nonzero(counts))
        if len(x):
            parts.append(overall_statistics(start.family, x, counts))
        if gathered is not None:
            gathered.add(x, counts)
    needed = start.family.min_rows(start.n_components, start.n_features)
    if n < needed:
        raise DegenerateRows(
            f"{n} valid rows; {start.n_components} components of {start.n_features} features "
            f"need at least {needed}"
        )
    return pooled(start.family, parts)
