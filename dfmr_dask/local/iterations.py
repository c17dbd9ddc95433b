"""A given number of plain EM iterations, for rounds in which partitions take turns (METHOD 11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import DfmrError
from dfmr_dask.families.base import Rows
from dfmr_dask.kernels import expected_sums
from dfmr_dask.local.climbing import RowBlocks, maximize
from dfmr_dask.local.em import checked_rows
from dfmr_dask.mixture import Mixture


def iterated(
    x: Rows,
    starts: Sequence[Mixture],
    iterations: int,
    *,
    strength: float,
    floor: float = 1e-6,
    sample_weight: NDArray[np.float64] | None = None,
) -> list[Mixture | None]:
    """Make plain EM iterations from each of several starts, each one pass over the rows (METHOD 2).

    Nothing is extrapolated: what several partitions make of one start stays comparable component
    by component, and so can be averaged.

    Parameters
    ----------
    x : array of shape (n, d), finite
    starts : sequence of Mixture
        Of one family and order.
    iterations : int
    strength : float
        The penalty's a: each component gets 2a pseudo-rows of the rows' own covariance.
    floor : float
        Smallest eigenvalue of a covariance in units of the rows' variances.
    sample_weight : array of shape (n,), optional
        How often each row counts.

    Returns
    -------
    list of (Mixture or None)
        None where the rows cannot be reached from a start.

    Raises
    ------
    DegenerateRows
        When the rows are too few for the order, or a column is constant.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.local.iterations import iterated
    >>> from dfmr_dask.mixture import Mixture
    >>> rows = np.concatenate([np.linspace(-1, 1, 50), np.linspace(9, 11, 50)])[:, None]
    >>> start = Mixture(DiagonalGaussian(), [0.5, 0.5],
    ...                 {"means": [[1.0], [8.0]], "variances": [[1.0], [1.0]]})
    >>> made, = iterated(rows, [start], 3, strength=0.1)
    >>> made.params["means"].round().ravel() + 0.0
    array([ 0., 10.])
    """
    overall = checked_rows(starts[0], [(x, sample_weight)])
    pseudo_rows = starts[0].family.pseudo_rows(overall, strength, floor)
    return [_climbed(x, sample_weight, start, iterations, pseudo_rows) for start in starts]


def stepped(
    x: Rows | RowBlocks,
    start: Mixture,
    *,
    strength: float,
    floor: float = 1e-6,
    sample_weight: NDArray[np.float64] | None = None,
) -> tuple[Mixture | None, float]:
    """Make one plain EM iteration, and say how well the rows know the mixture it left from.

    Parameters
    ----------
    x : array of shape (n, d), finite; or a sequence of blocks, gone through twice
    start : Mixture
    strength, floor, sample_weight
        As in :func:`iterated`.

    Returns
    -------
    mixture : Mixture or None
        None where the rows cannot be reached from the start.
    score : float
        Mean log density a row under the start, in nats; the iteration needs it anyway.

    Raises
    ------
    DegenerateRows
        When the rows are too few for the order.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.local.iterations import stepped
    >>> from dfmr_dask.mixture import Mixture
    >>> one = {"means": [[1.0]], "variances": [[1.0]]}
    >>> start = Mixture(DiagonalGaussian(), [1.0], one)
    >>> made, score = stepped(np.linspace(-3, 3, 99)[:, None], start, strength=0.1)
    >>> made.params["means"].round(9) + 0.0, round(score, 2)
    (array([[0.]]), -2.95)
    """
    overall = checked_rows(start, [(x, sample_weight)] if isinstance(x, np.ndarray) else x)
    pseudo_rows = start.family.pseudo_rows(overall, strength, floor)
    mixture, total = _iterated_once(x, sample_weight, start, pseudo_rows)
    return mixture, total / float(overall.count[0])


def _iterated_once(
    x: Rows | RowBlocks, sample_weight: NDArray[np.float64] | None, start: Mixture, pseudo_rows: Any
) -> tuple[Mixture | None, float]:
    """Return what one iteration makes of a start, and the log likelihood of the rows there."""
    statistics, total = expected_sums(start.family, start.weights, start.params, x, sample_weight)
    try:
        made = maximize(start.family, statistics, start.params, pseudo_rows)
        return (Mixture(start.family, *made) if np.isfinite(total) else None), total
    except (DfmrError, ArithmeticError, np.linalg.LinAlgError):
        return None, total


def _climbed(
    x: Rows,
    sample_weight: NDArray[np.float64] | None,
    start: Mixture,
    iterations: int,
    pseudo_rows: Any,
) -> Mixture | None:
    weights, params = start.weights, start.params
    try:
        for _ in range(iterations):
            statistics, total = expected_sums(start.family, weights, params, x, sample_weight)
            if not np.isfinite(total):
                return None
            weights, params = maximize(start.family, statistics, params, pseudo_rows)
        return Mixture(start.family, weights, params)
    except (DfmrError, ArithmeticError, np.linalg.LinAlgError):
        return None
