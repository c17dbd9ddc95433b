"""A mixture and how sure it is: densities with bands, components with ellipses of their means."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from numpy.typing import NDArray
from scipy import stats

from dfmr_dask.aggregate.jackknife import LEVEL, covariance
from dfmr_dask.aggregate.uncertainty import StandardErrors
from dfmr_dask.data.files import write_bytes
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.results import Result

PICTURE = "mixture.png"
MOST_PAIRS = 3  # of features, each a panel
MOST_NUMBERS = 20  # components beyond that have no numbers in the picture
POINTS = 500  # of a density
WIDE = 3.5  # standard deviations to each side of the outermost means that are drawn
INSIDE = 0.5  # mass of a component within its ellipse
# Okabe & Ito (2008): told apart by everybody, and in print.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8B5A2B")
Array = NDArray[np.float64]
Colors = list[Any]


def mixture_picture(
    path: Path, mixture: Mixture, features: Sequence[str], errors: StandardErrors | None = None
) -> None:
    """Draw a mixture into a PNG file, with 95 % bands and ellipses where errors are known.

    Along one feature the density is drawn with its band. Along several, for the pairs of features
    that tell the components apart best, each component is an ellipse that holds half of it, and
    each mean has the ellipse that covers the true one. Weights stand beside, as bars.

    Parameters
    ----------
    path : Path
    mixture : Mixture
        Of Gaussians.
    features : sequence of str
    errors : StandardErrors, optional
        Of the mixture.
    """
    pairs = telling_pairs(mixture)
    panels = max(1, len(pairs))
    figure = Figure(figsize=(4.8 * panels + 3.0, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels + 1, width_ratios=[4.8] * panels + [3.0], squeeze=False)[0]
    colors = _colors(mixture.n_components)
    if not pairs:
        _density(axes[0], mixture, errors, colors)
        axes[0].set(xlabel=features[0], ylabel="density")
    for axis, pair in zip(axes, pairs, strict=False):
        _ellipses(axis, mixture, errors, pair, colors)
        axis.set(xlabel=features[pair[0]], ylabel=features[pair[1]])
    _weights(axes[-1], mixture, errors, colors)
    figure.suptitle(_title(errors), fontsize=9)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=150, format="png")
    write_bytes(path, drawn.getvalue())


def draw_result(folder: Path, result: Result, features: Sequence[str]) -> dict[str, str]:
    """Draw the mixture of a result into ``mixture.png`` of a folder, and name the file.

    Of Gaussians alone: what counts and categories look like is drawn elsewhere.
    """
    if "means" not in result.mixture.params:
        return {}
    path = folder / PICTURE
    errors = result.errors if isinstance(result.errors, StandardErrors) else None
    mixture_picture(path, result.mixture, features, errors)
    return {"mixture_picture": str(path)}


def telling_pairs(mixture: Mixture, most: int = MOST_PAIRS) -> list[tuple[int, int]]:
    """Return the pairs of features along which components differ most; none of a single feature.

    A feature tells as much as the means of the components are spread along it, in units of their
    standard deviations. From six features on no feature is in two pairs.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.mixture import Mixture
    >>> from dfmr_dask.show.mixture_picture import telling_pairs
    >>> means = np.array([[0.0, 0.0, 5.0], [0.0, 3.0, 0.0]])
    >>> params = {"means": means, "variances": np.ones((2, 3))}
    >>> telling_pairs(Mixture(DiagonalGaussian(), [0.5, 0.5], params), most=1)
    [(1, 2)]
    """
    means = mixture.params["means"]
    between = mixture.weights @ (means - mixture.weights @ means) ** 2
    within = mixture.weights @ _variances(mixture)
    order = [int(j) for j in np.argsort(-between / within, kind="stable")]
    if len(order) < 2 * most:
        found = list(combinations(order, 2))[:most]
    else:
        found = [(order[2 * i], order[2 * i + 1]) for i in range(most)]
    return [(min(pair), max(pair)) for pair in found]


def _density(axis: Axes, mixture: Mixture, errors: StandardErrors | None, colors: Colors) -> None:
    """Draw the density along the only feature, and the components under it."""
    means, deviations = mixture.params["means"][:, 0], np.sqrt(_variances(mixture)[:, 0])
    low, high = (means - WIDE * deviations).min(), (means + WIDE * deviations).max()
    x = np.unique(np.concatenate([np.linspace(low, high, POINTS), means]))
    for k, color in enumerate(colors):
        one = mixture.weights[k] * stats.norm.pdf(x, means[k], deviations[k])
        axis.plot(x, one, color=color, linewidth=1.0, linestyle="--")
        axis.annotate(
            _number(k, colors), (means[k], one.max()), (0, 4), textcoords="offset points",
            color=color, ha="center",
        )  # fmt: skip
    axis.plot(x, np.exp(mixture.log_density(x[:, None])), color="black", linewidth=1.2)
    if errors is not None:
        sure = errors.of(lambda one: np.exp(one.log_density(x[:, None])))
        axis.fill_between(x, np.maximum(sure.lower, 0.0), sure.upper, color="0.6", linewidth=0.0)


def _ellipses(
    axis: Axes,
    mixture: Mixture,
    errors: StandardErrors | None,
    pair: tuple[int, int],
    colors: Colors,
) -> None:
    """Draw the components along two features, and around each mean where the true one may be."""
    means, index = mixture.params["means"][:, pair], list(pair)
    radius = float(np.sqrt(stats.chi2.ppf(INSIDE, 2)))
    for k, color in enumerate(colors):
        axis.add_patch(
            _ellipse(means[k], _along(mixture, k, pair), radius, fill=False, edgecolor=color)
        )
        axis.plot(*means[k], marker=".", markersize=1.5, color="black", zorder=3)
        axis.annotate(_number(k, colors), means[k], (4, 4), textcoords="offset points", color=color)
    if errors is not None and len(errors) > 2:
        spread = covariance(means, errors.params["means"][..., index], errors.shares)
        for k in set(range(len(colors))) - set(errors.alone):
            reach = _hotelling(len(errors))
            axis.add_patch(_ellipse(means[k], spread[k], reach, color=colors[k], alpha=0.45))
    deviations = np.sqrt(_variances(mixture)[:, index])
    axis.set_title("each outline holds half of its component", fontsize=8)
    axis.set_xlim(*_range(means[:, 0], deviations[:, 0]))
    axis.set_ylim(*_range(means[:, 1], deviations[:, 1]))


def _weights(axis: Axes, mixture: Mixture, errors: StandardErrors | None, colors: Colors) -> None:
    """Draw the weights as bars, with intervals."""
    places = np.arange(mixture.n_components)
    axis.barh(places, mixture.weights, color=colors, alpha=0.6)
    if errors is not None:
        sure = errors.parameters(LEVEL, ("weights",))["weights"]
        reach = np.abs(np.stack([sure.lower, sure.upper]) - sure.value)
        axis.errorbar(sure.value, places, xerr=reach, fmt="none", ecolor="black", capsize=2.5)
    axis.set_yticks(places if len(places) <= MOST_NUMBERS else [])
    axis.invert_yaxis()
    axis.set(xlabel="weight", ylabel="component", xlim=(0.0, None))


def _title(errors: StandardErrors | None) -> str:
    if errors is None:
        return "Nothing tells how sure these are: no standard errors are known."
    return (
        f"Filled: {100 * LEVEL:.0f} % regions, from leaving out each of {len(errors)} parts; they "
        "cover sampling noise alone,\nno bad partitions within it, no wrong model, no unlike pieces"
    )


def _ellipse(middle: Array, spread: Array, radius: float, **style: Any) -> Ellipse:
    """Return the points within a radius of the middle, in the metric of a covariance (2, 2)."""
    values, vectors = np.linalg.eigh(spread)
    width, height = 2.0 * radius * np.sqrt(np.maximum(values, 0.0))
    angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    return Ellipse((middle[0], middle[1]), width, height, angle=angle, **style)


def _hotelling(m: int) -> float:
    """Return the radius of the ellipse that covers a mean of two coordinates from m partitions."""
    return float(np.sqrt(2.0 * (m - 1) / (m - 2) * stats.f.ppf(LEVEL, 2, m - 2)))


def _along(mixture: Mixture, k: int, pair: tuple[int, int]) -> Array:
    """Return the covariance (2, 2) of a component along two features."""
    if "variances" in mixture.params:
        return np.diag(mixture.params["variances"][k, list(pair)])
    return np.asarray(mixture.params["covariances"][k][np.ix_(pair, pair)])


def _variances(mixture: Mixture) -> Array:
    """Return variances (K, d)."""
    params = mixture.params
    if "variances" in params:
        return params["variances"]
    return np.diagonal(params["covariances"], axis1=1, axis2=2)


def _range(means: Array, deviations: Array) -> tuple[float, float]:
    """Return where the ellipses of components end, and some room."""
    return float((means - 1.6 * deviations).min()), float((means + 1.6 * deviations).max())


def _colors(n_components: int) -> Colors:
    if n_components <= len(PALETTE):
        return list(PALETTE[:n_components])
    return list(mpl.colormaps["turbo"](np.linspace(0.03, 0.97, n_components)))


def _number(k: int, colors: Colors) -> str:
    return str(k) if len(colors) <= MOST_NUMBERS else ""
