"""Deviations from what the trusted agree on, in standard errors, coordinate by coordinate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WIDEST = 30.0  # spread of the trusted that is believed, in standard errors
Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Coordinates:
    """One block of variance-stabilised coordinates, laid flat.

    Attributes
    ----------
    name : str
    values : ndarray of shape (m, q)
    rows : ndarray of shape (m, q)
        Effective rows behind each coordinate, 0 where it is not tested: over them its variance is
        1 / rows, between honest partitions.
    trusted : mask of shape (m,)
        Who is trusted at first.
    independent : bool
        As in :class:`dfmr_dask.families.base.Block`.
    """

    name: str
    values: Array
    rows: Array
    trusted: Mask
    independent: bool = False

    @property
    def degrees(self) -> int:
        """How many coordinates there are."""
        return int(self.values.shape[1])


def residuals(block: Coordinates, trusted: Mask) -> Array:
    """Deviations from the trusted's mean in standard errors, (m, q); 0 where not tested.

    A trusted estimate is part of the mean, and lies closer to it than another one.

    Parameters
    ----------
    block : Coordinates
    trusted : mask of shape (m,)
    """
    n = block.rows
    total = np.maximum(n[trusted].sum(axis=0), 1e-300)
    mean = (n[trusted] * block.values[trusted]).sum(axis=0) / total
    share = n / total
    off = np.where(trusted[:, None], np.maximum(1.0 - share, 1e-9), 1.0 + share)
    return np.asarray((block.values - mean) * np.sqrt(n / off))


def spread_of(deviations: Array, rows: Array, members: Mask, first: bool) -> Array:
    """Spread of each coordinate in standard errors, (q,), at least 1.

    At first it is the median absolute deviation of all, which has no half of them to trust.
    """
    some, tested = deviations[members], rows[members] > 0.0
    if first:
        known = np.where(tested, some, np.nan)
        middle = np.nanmedian(np.where(tested.any(axis=0), known, 0.0), axis=0)
        away = np.abs(known - middle)
        spread = 1.4826 * np.nanmedian(np.where(tested.any(axis=0), away, 0.0), axis=0)
    else:
        spread = np.sqrt((some**2).sum(axis=0) / np.maximum(tested.sum(axis=0), 1))
    return np.asarray(np.clip(spread, 1.0, WIDEST))


def mean_squares(deviations: Array, rows: Array) -> Array:
    """Mean over tested coordinates, (m,); infinite without any."""
    tested = (rows > 0.0).sum(axis=1)
    squares = np.einsum("ij,ij->i", deviations, deviations)
    return np.where(tested > 0, squares / np.maximum(tested, 1), np.inf)
