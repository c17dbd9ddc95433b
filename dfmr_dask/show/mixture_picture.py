"""A mixture with its uncertainty: densities with bands, ellipses of components and of their means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dfmr_dask.aggregate.uncertainty import StandardErrors
from dfmr_dask.mixture import Mixture

MOST_PAIRS = 3  # of features, each a panel
MOST_FEATURES = 30  # among which the most telling pairs are looked for
MOST_NUMBERS = 30  # components beyond that have no numbers in the picture
POINTS = 400  # of a density
WIDE = 4.0  # deviations to each side of the outermost means that are drawn
INSIDE = 0.5  # mass of a component within its ellipse
LEVEL = 0.95
STYLES = ("-", "--", ":", "-.")  # beside colors, for prints without them
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Marginal:
    """A mixture seen along some of its features.

    Attributes
    ----------
    weights : ndarray of shape (..., K)
    means : ndarray of shape (..., K, p)
    covariances : ndarray of shape (..., K, p, p)
    """

    weights: Array
    means: Array
    covariances: Array


def mixture_picture(
    path: Path,
    mixture: Mixture,
    features: Sequence[str],
    errors: StandardErrors | None = None,
) -> None:
    """Draw a mixture into a PNG file, with 95 % bands and ellipses where errors are known.

    Parameters
    ----------
    path : Path
    mixture : Mixture
        Along one feature its density is drawn; along several, for the pairs of features that tell
        the components apart best, an ellipse that holds half of each component, and around each
        mean the ellipse that covers the true one. Weights stand beside, as bars.
    features : sequence of str
    errors : StandardErrors, optional
        Of the mixture.
    """
    pairs = telling_pairs(mixture) if mixture.n_features > 1 else [(0,)]
    figure = Figure(figsize=(4.6 * len(pairs) + 2.6, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    ratios = [*[4.6] * len(pairs), 2.6]
    axes = figure.subplots(1, len(pairs) + 1, width_ratios=ratios, squeeze=False)[0]
    colors = colors_of(mixture.n_components)
    for axis, pair in zip(axes, pairs, strict=False):
        if len(pair) == 1:
            _density(axis, mixture, errors, colors)
        else:
            _ellipses(axis, mixture, errors, pair, colors)
        axis.set_xlabel(features[pair[0]])
        axis.set_ylabel("density" if len(pair) == 1 else features[pair[1]])
    _weights(axes[-1], mixture, errors, colors)
    figure.suptitle(_title(errors), fontsize=9)
    figure.savefig(path, dpi=150, format="png")


def telling_pairs(mixture: Mixture, most: int = MOST_PAIRS) -> list[tuple[int, int]]:
    """Return the pairs of features along which components differ most, no feature twice if possible.

    A feature tells as much as the spread of the components' means along it, in units of their
    standard deviations; one pair after the other is taken from those that are left.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.mixture import Mixture
    >>> from dfmr_dask.show.mixture_picture import telling_pairs
    >>> means = np.array([[0.0, 0.0, 5.0, 1.0], [0.0, 3.0, 0.0, 0.0]])
    >>> params = {"means": means, "variances": np.ones((2, 4))}
    >>> telling_pairs(Mixture(DiagonalGaussian(), [0.5, 0.5], params))
    [(1, 2), (0, 3)]
    """
    within = np.array([mixture.weights @ _variance(mixture.params, j) for j in range(_d(mixture))])
    means = mixture.params["means"]
    between = mixture.weights @ (means - mixture.weights @ means) ** 2
    order = np.argsort(-between / within, kind="stable")[:MOST_FEATURES]
    if len(order) < 4:
        return list(combinations(sorted(int(j) for j in order), 2))[:most]
    few = order[: 2 * min(most, len(order) // 2)].reshape(-1, 2)
    return [(int(min(pair)), int(max(pair))) for pair in few]
