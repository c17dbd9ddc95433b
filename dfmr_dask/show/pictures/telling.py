"""Which features tell the components of a mixture apart."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import take
from dfmr_dask.families.gaussian import marginal_variances
from dfmr_dask.mixture import Mixture

MOST_PAIRS = 3  # of features, each a panel
Array = NDArray[np.float64]


def telling_pairs(mixture: Mixture, most: int = MOST_PAIRS) -> list[tuple[int, int]]:
    """Return the pairs of features along which components differ most; none of a single feature.

    A feature tells as much as the means of the components are spread along it, in units of their
    standard deviations. From six features on no feature is in two pairs.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.mixture import Mixture
    >>> from dfmr_dask.show.pictures.telling import telling_pairs
    >>> means = np.array([[0.0, 0.0, 5.0], [0.0, 3.0, 0.0]])
    >>> params = {"means": means, "variances": np.ones((2, 3))}
    >>> telling_pairs(Mixture(DiagonalGaussian(), [0.5, 0.5], params), most=1)
    [(1, 2)]
    """
    order = telling_features(mixture)
    if len(order) < 2 * most:
        found = list(combinations(order, 2))[:most]
    else:
        found = [(order[2 * i], order[2 * i + 1]) for i in range(most)]
    return [(min(pair), max(pair)) for pair in found]


def telling_features(mixture: Mixture) -> list[int]:
    """Return all features, those first along which the components differ most.

    Of families other than Gaussians they are measured by what Kullback and Leibler tell a row to be
    worth near the mixture as a whole; in their order where parameters and features don't match.
    """
    if "means" not in mixture.params:
        gains = _gains(mixture)
        return [int(j) for j in np.argsort(-gains, kind="stable")]
    means = mixture.params["means"]
    between = mixture.weights @ (means - mixture.weights @ means) ** 2
    within = mixture.weights @ marginal_variances(mixture.params)
    return [int(j) for j in np.argsort(-between / within, kind="stable")]


def _gains(mixture: Mixture) -> Array:
    """Twice the divergence of components from the whole along each feature, (d,), on average."""
    family, params = mixture.family, mixture.params
    whole = family.pool(
        family.expected_statistics(params, mixture.weights), np.ones((1, mixture.n_components))
    )
    center = take(family.from_statistics(whole), np.zeros(mixture.n_components, dtype=np.intp))
    square = mixture.weights @ family.fisher_coordinates(params, center) ** 2
    return square if len(square) == mixture.n_features else np.zeros(mixture.n_features)
