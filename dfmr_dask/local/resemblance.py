"""What the rows of a partition's samples are like, seen from a common start (EVIDENCE 11)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from dfmr_dask.aggregate.questions import Resemblance
from dfmr_dask.families.base import Rows
from dfmr_dask.local.iterations import iterated
from dfmr_dask.local.start import Sample
from dfmr_dask.mixture import Mixture

WEIGHT_ITERATIONS, SETTLED = 50, 1e-5  # of the weights alone, or until none changes more
OWN_ITERATIONS = 10  # of everything, from there
LEAST_WEIGHT = 1e-9  # of a component that the rows do not have
LOWEST_DENSITY = -1e4  # nats: beyond, one row would be all that a mean tells

Floats = NDArray[np.float64]


def resemblance(sample: Sample, start: Mixture, *, floor: float = 1e-6) -> Resemblance:
    """Describe a partition's samples: responsibilities, densities, features, and own fits.

    Parameters
    ----------
    sample : Sample
        Means are taken over both samples A and B; own fits are made on A.
    start : Mixture
    floor : float
        Smallest eigenvalue of a covariance in units of the rows' variances.

    Raises
    ------
    DegenerateRows
        When the rows are too few for the order, or a column is constant.

    References
    ----------
    EVIDENCE 11: the statistics of the test, and what tells whether own weights explain the rows.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.local.resemblance import resemblance
    >>> from dfmr_dask.local.start import Sample
    >>> from dfmr_dask.mixture import Mixture
    >>> start = Mixture(DiagonalGaussian(), [0.5, 0.5],
    ...                 {"means": [[0.0], [9.0]], "variances": [[1.0], [1.0]]})
    >>> rows = np.concatenate([np.linspace(-1, 1, 30), np.linspace(8, 10, 10)])[:, None]
    >>> said = resemblance(Sample(rows[::2], rows[1::2]), start)
    >>> said.rows, said.means[:2].round(3)
    (40.0, array([0.75, 0.25]))
    >>> bool(said.scores[0] < said.scores[1] < said.scores[2])
    True
    """
    x = start.family.floats(np.concatenate([sample.fit, sample.score]))
    told = start.answers(x, ("log_density", "responsibilities"))
    density = np.maximum(told["log_density"], LOWEST_DENSITY)[:, None]
    gone = np.isnan(x)
    if gone.any():  # what is missing tells nothing: it is put where the start expects it
        x = np.where(gone, told["responsibilities"] @ start.family.expectation(start.params), x)
    values = np.concatenate([told["responsibilities"], density, x], axis=1)
    means, covariance, rows = _moments(values, _weights(sample))
    scores, mixture, fitted = _own_fits(sample, start, floor)
    return Resemblance(rows, means, covariance, fitted, scores, mixture)


def _weights(sample: Sample) -> Floats | None:
    if sample.fit_weight is None or sample.score_weight is None:
        return None
    return np.concatenate([sample.fit_weight, sample.score_weight])


def _moments(values: Floats, weight: Floats | None) -> tuple[Floats, Floats, float]:
    """Return the mean (q,) and the covariance (q, q) of rows, and how many they count for."""
    share, count = _shares(len(values), weight)
    means = share @ values
    centered = values - means
    covariance = (share[:, None] * centered).T @ centered * (count / max(count - 1.0, 1.0))
    return means, covariance, count


def _own_fits(sample: Sample, start: Mixture, floor: float) -> tuple[Floats, Mixture | None, float]:
    """Score sample A under the start, with own weights, and after EM iterations from there."""
    x, weight = sample.fit, sample.fit_weight
    share, count = _shares(len(x), weight)
    own_weights = Mixture(start.family, reweighted(start, x, share), start.params)
    # A fit's own penalty would take back what components of few rows gain.
    (own,) = iterated(
        x, [own_weights], OWN_ITERATIONS, strength=1.0 / len(x), floor=floor, sample_weight=weight
    )
    ladder = (start, own_weights, own or own_weights)
    scores = [share @ np.maximum(one.log_density(x), LOWEST_DENSITY) for one in ladder]
    return np.array(scores), own, count


def _shares(n: int, weight: Floats | None) -> tuple[Floats, float]:
    """Return how much of n rows each one is, and Kish's number of rows that say as much."""
    if weight is None:
        return np.full(n, 1.0 / n), float(n)
    share = weight / weight.sum()
    return share, float(1.0 / (share @ share))


def reweighted(start: Mixture, x: Rows, share: Floats) -> Floats:
    """Return the weights (K,) that EM finds for rows whose components stay where they are.

    Parameters
    ----------
    start : Mixture
    x : array of shape (n, d)
    share : ndarray of shape (n,)
        How much each row counts; they sum to 1.
    """
    densities = start.family.log_density(start.params, x)
    weights = start.weights
    for _ in range(WEIGHT_ITERATIONS):
        joint = densities + np.log(weights)
        totals = logsumexp(joint, axis=1, keepdims=True)
        reached = np.isfinite(totals[:, 0])
        mean = share[reached] @ np.exp(joint[reached] - totals[reached])
        before, weights = weights, np.maximum(mean, LEAST_WEIGHT)
        weights = weights / weights.sum()
        if np.max(abs(weights - before)) < SETTLED:
            break
    return np.asarray(weights)
