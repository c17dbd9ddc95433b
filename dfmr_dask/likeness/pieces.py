"""What the pieces said of their samples, as arrays (EVIDENCE 11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.estimates import trusted_rows
from dfmr_dask.aggregate.questions import Resemblance
from dfmr_dask.mixture import Mixture

Array = NDArray[np.float64]
GAIN_QUANTILE = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Answers of m pieces in order.

    Attributes
    ----------
    ids : ndarray of shape (m,)
    rows : ndarray of shape (m,)
        Of their samples; none can claim many more than the others.
    pair_rows : ndarray of shape (m,)
        The same, nor far fewer: who claims none would be close to everybody.
    means : ndarray of shape (m, q)
        Responsibilities, log density and features, see
        :class:`~dfmr_dask.aggregate.questions.Resemblance`.
    covariances : ndarray of shape (m, q, q)
    gains : ndarray of shape (m,)
        What an own fit gains over own weights, in units of what it gains by chance alone.
    mixtures : tuple of (Mixture or None)
    order : int
        Components K.
    """

    ids: NDArray[np.intp]
    rows: Array
    pair_rows: Array
    means: Array
    covariances: Array
    gains: Array
    mixtures: tuple[Mixture | None, ...]
    order: int

    @classmethod
    def of(cls, heard: Mapping[int, Resemblance], start: Mixture) -> Pieces:
        """Put valid answers, of one piece at least, side by side."""
        said = list(heard.values())
        clipped = np.asarray(trusted_rows([one.rows for one in said]))
        fitted = trusted_rows([one.fitted_rows for one in said])
        scores = np.stack([one.scores for one in said])
        free = max(1, start.n_parameters - (start.n_components - 1))
        return cls(
            np.array(list(heard), dtype=np.intp),
            np.minimum([one.rows for one in said], clipped),
            clipped,
            np.stack([one.means for one in said]),
            np.stack([one.covariance for one in said]),
            (scores[:, 2] - scores[:, 1]) * 2.0 * fitted / free,
            tuple(one.mixture for one in said),
            start.n_components,
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def usual_gain(self) -> float:
        """What a usual piece's own fit gains; almost half of the pieces may say what they like."""
        return float(np.quantile(self.gains, GAIN_QUANTILE))

    @property
    def widths(self) -> Array:
        """Standard deviation of each feature in each piece, (m, d)."""
        variances = np.diagonal(self.covariances, axis1=1, axis2=2)[:, self.order + 1 :]
        return np.asarray(np.sqrt(variances))

    def blocks(self) -> dict[str, slice]:
        """Return which columns of the means are what; one component has no responsibilities."""
        k, q = self.order, self.means.shape[1]
        out = {"densities": slice(k, k + 1), "features": slice(k + 1, q)}
        return {"components": slice(0, k), **out} if k > 1 else out
