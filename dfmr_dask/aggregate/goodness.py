"""How well a mixture fits rows: are their log densities those of rows drawn from it?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.mixture import Mixture

TIMES = 20  # rows that are drawn for each one of the sample
VALUES = 4_000_000  # numbers that are drawn at most
REPEATS = 200  # samples of the model's own that tell what chance does
LEVELS = 99  # quantiles
RARE = 0.01  # share of the model's own rows that lie where it expects fewest
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class GoodnessOfFit:
    """Quantiles of log densities: of a sample, and of rows drawn from the mixture.

    Attributes
    ----------
    rows : int
        Of the sample.
    observed, expected : ndarrays of shape (q,)
        Quantiles at equal steps, in nats.
    lower, upper : ndarrays of shape (q,)
        Between which those of samples of this size from the mixture lie, 95 of 100 times each.
    distance : float
        Largest difference between both distribution functions (Kolmogorov & Smirnov).
    usual : float
        What chance alone stays below 95 of 100 times.
    rare : float
        Share of the sample that lies where 1 % of the mixture's own rows do: beyond the rest.
    """

    rows: int
    observed: Array
    expected: Array
    lower: Array
    upper: Array
    distance: float
    usual: float
    rare: float

    @property
    def fits(self) -> bool:
        """Whether chance alone explains the difference."""
        return self.distance <= self.usual

    def __str__(self) -> str:
        """Say it in words."""
        share = f"{100.0 * self.rare:.1f} % of {self.rows:,} rows lie where the model expects 1 %"
        if self.fits:
            return f"No misfit shows: rows drawn from the model look like the sample; {share}."
        return (
            f"The model is not all there is to the rows: their log densities are distributed "
            f"otherwise than those of rows drawn from it (by {self.distance:.3f}, where chance "
            f"gives up to {self.usual:.3f}); {share}."
        )


def goodness_of_fit(mixture: Mixture, rows: Array, rng: np.random.Generator) -> GoodnessOfFit:
    """Compare the log densities of rows with those of rows drawn from a mixture.

    Parameters
    ----------
    mixture : Mixture
    rows : ndarray of shape (n, d)
        A sample, n > 0, each row of which counts once.
    rng : Generator

    Returns
    -------
    GoodnessOfFit

    Notes
    -----
    Whatever bends a density bends this distribution, in any number of features; that rows are too
    many in one component and too few in another equal one does not.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.aggregate.goodness import goodness_of_fit
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.mixture import Mixture
    >>> rng = np.random.default_rng(0)
    >>> model = Mixture(DiagonalGaussian(), [1.0], {"means": [[0.0]], "variances": [[1.0]]})
    >>> goodness_of_fit(model, rng.normal(size=(500, 1)), rng).fits
    True
    >>> goodness_of_fit(model, rng.standard_t(2, size=(500, 1)), rng).fits
    False
    """
    n = len(rows)
    drawn = min(TIMES * n, max(n, VALUES // mixture.n_features))
    x = mixture.sample(drawn, rng)[0]
    if (gone := np.isnan(rows)).any():  # what is missing in rows is missing in those drawn, too
        x[gone[rng.integers(n, size=drawn)]] = np.nan
    own, seen = (np.sort(mixture.log_density(one)) for one in (x, rows))
    steps = (np.arange(LEVELS) + 0.5) / LEVELS
    chance = np.sort(rng.choice(own, size=(REPEATS, n)), axis=1)
    lower, upper = np.quantile(np.quantile(chance, steps, axis=1), (0.025, 0.975), axis=1)
    return GoodnessOfFit(
        n,
        np.quantile(seen, steps),
        np.quantile(own, steps),
        lower,
        upper,
        _apart(seen, own),
        float(np.quantile([_apart(one, own) for one in chance], 0.95)),
        float(np.mean(seen < np.quantile(own, RARE))),
    )


def _apart(few: Array, many: Array) -> float:
    """Return the largest difference between the distribution functions of sorted numbers."""
    below = np.searchsorted(many, few, side="right") / len(many)
    steps = np.arange(len(few) + 1) / len(few)
    return float(np.maximum(steps[1:] - below, below - steps[:-1]).max())
