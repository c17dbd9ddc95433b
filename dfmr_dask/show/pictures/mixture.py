"""A mixture and how sure it is: densities with bands, components with ellipses of their means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy import stats

from dfmr_dask.aggregate.jackknife import LEVEL, covariance
from dfmr_dask.aggregate.uncertainty import StandardErrors
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.results import Result
from dfmr_dask.show.pictures.geometry import (
    along,
    ellipse,
    hotelling,
    shades,
    variances,
    window_of,
)
from dfmr_dask.show.pictures.style import (
    INK,
    MUTED,
    PAPER,
    axes_of,
    component_colors,
    look,
    named,
    panels,
    write_png,
)
from dfmr_dask.show.pictures.telling import telling_pairs

PICTURE = "mixture.png"
MOST_NUMBERS = 20  # components beyond that have no numbers in the picture
POINTS = 500  # of a density along one feature
WIDE = 3.5  # standard deviations to each side of the outermost means that are drawn
INSIDE = 0.5  # mass of a component within its ellipse
MOST_DOTS = 800  # rows of a sample
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
    n = max(1, len(pairs)) + 1
    with look():
        figure, axes = panels(n, (4.4, 4.6), width_ratios=[4.8] * (n - 1) + [3.0])
        if not pairs:
            plot_density(mixture, features[0], errors=errors, ax=axes[0])
        for axis, pair in zip(axes, pairs, strict=False):
            plot_components(mixture, pair, features, errors=errors, ax=axis)
        plot_weights(mixture, errors=errors, ax=axes[-1])
        figure.suptitle(_title(errors), fontsize=9)
        write_png(path, figure)


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


def plot_density(
    mixture: Mixture,
    feature: str = "x",
    *,
    errors: StandardErrors | None = None,
    rows: Array | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the density along the only feature, and the components under it.

    Parameters
    ----------
    mixture : Mixture
        Of Gaussians, of one feature.
    feature : str
        What it is called.
    errors : StandardErrors, optional
        Draws a 95 % band.
    rows : ndarray of shape (n, 1), optional
        A sample, drawn as a histogram behind the density.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    axis, colors = axes_of(ax), component_colors(mixture.n_components)
    means, deviations = mixture.params["means"][:, 0], np.sqrt(variances(mixture)[:, 0])
    low, high = (means - WIDE * deviations).min(), (means + WIDE * deviations).max()
    rows = whole(rows, [0])
    if rows is not None and len(rows):
        spread = min(200, max(20, int(5 * len(rows) ** (1 / 3))))
        low, high = min(low, rows.min()), max(high, rows.max())
        axis.hist(rows[:, 0], spread, density=True, color=MUTED, alpha=0.25, label="sample")
    x = np.unique(np.concatenate([np.linspace(low, high, POINTS), means]))
    if errors is not None:
        sure = errors.of(lambda one: np.exp(one.log_density(x[:, None])))
        axis.fill_between(
            x,
            np.maximum(sure.lower, 0.0),
            sure.upper,
            color="0.6",
            linewidth=0.0,
            label="95 % band",
        )
    for k, color in enumerate(colors):
        one = mixture.weights[k] * stats.norm.pdf(x, means[k], deviations[k])
        axis.plot(x, one, color=color, linewidth=1.0, linestyle="--")
        axis.annotate(
            _number(k, colors), (means[k], one.max()), (0, 4), textcoords="offset points",
            color=color, ha="center",
        )  # fmt: skip
    axis.plot(x, np.exp(mixture.log_density(x[:, None])), color=INK, linewidth=1.3, label="mixture")
    axis.set(xlabel=named([feature], 0), ylabel="density", ylim=(0.0, None))
    axis.legend(loc="best")
    return axis


def whole(rows: Array | None, index: Sequence[int]) -> Array | None:
    """Return some columns of the rows in which none of these entries is missing."""
    if rows is None:
        return None
    some = rows[:, list(index)]
    return np.asarray(some[~np.isnan(some).any(axis=1)])


def plot_components(
    mixture: Mixture,
    pair: tuple[int, int] | None = None,
    features: Sequence[str] | None = None,
    *,
    errors: StandardErrors | None = None,
    rows: Array | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the components along two features, and around each mean where the true one may be.

    Each outline holds half of its component; the shades hold 50, 80 and 95 % of the mixture.

    Parameters
    ----------
    mixture : Mixture
        Of Gaussians.
    pair : two ints, optional
        Numbers of the features; those that tell most by default.
    features : sequence of str, optional
        What all of them are called.
    errors : StandardErrors, optional
        Fills the ellipse that covers the true mean, at 95 %.
    rows : ndarray of shape (n, d), optional
        A sample, of which some rows are drawn as dots.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    axis, colors = axes_of(ax), component_colors(mixture.n_components)
    pair = telling_pairs(mixture, 1)[0] if pair is None else pair
    means, index = mixture.params["means"][:, pair], list(pair)
    covariances = np.stack([along(mixture, k, pair) for k in range(len(colors))])
    rows = whole(rows, index)
    window = window_of(means, covariances, rows)
    shades(axis, mixture.weights, means, covariances, window)
    if rows is not None and len(rows):
        dots = rows[:MOST_DOTS]
        axis.scatter(
            dots[:, 0], dots[:, 1], s=3.0, c="0.5", alpha=0.5, linewidths=0.0, rasterized=True
        )
    radius = float(np.sqrt(stats.chi2.ppf(INSIDE, 2)))
    for k, color in enumerate(colors):
        axis.add_patch(ellipse(means[k], covariances[k], radius, fill=False, edgecolor=color,
                                linewidth=1.4))  # fmt: skip
        axis.plot(*means[k], marker=".", markersize=1.5, color=INK, zorder=3)
    if errors is not None and len(errors) > 2:
        spread = covariance(means, errors.params["means"][..., index], errors.shares)
        for k in set(range(len(colors))) - set(errors.alone):
            reach = hotelling(len(errors))
            axis.add_patch(ellipse(means[k], spread[k], reach, color=colors[k], alpha=0.45))
    _numbers(axis, means, covariances, radius, colors)
    axis.set(xlim=window[0], ylim=window[1])
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.set(xlabel=named(features, pair[0]), ylabel=named(features, pair[1]))
    return axis


def plot_weights(
    mixture: Mixture, *, errors: StandardErrors | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the weights as bars, with 95 % intervals where errors are known.

    Parameters
    ----------
    mixture : Mixture
    errors : StandardErrors, optional
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    axis, places = axes_of(ax), np.arange(mixture.n_components)
    axis.barh(places, mixture.weights, color=component_colors(len(places)), alpha=0.75)
    if errors is not None:
        sure = errors.parameters(LEVEL, ("weights",))["weights"]
        reach = np.abs(np.stack([sure.lower, sure.upper]) - sure.value)
        axis.errorbar(sure.value, places, xerr=reach, fmt="none", ecolor=INK, capsize=2.5)
    axis.set_yticks(places if len(places) <= MOST_NUMBERS else [])
    axis.invert_yaxis()
    axis.set(xlabel="weight", ylabel="component", xlim=(0.0, None))
    return axis


def _title(errors: StandardErrors | None) -> str:
    held = "Each outline holds half of its component. "
    if errors is None:
        return held + "Nothing tells how sure these are: no standard errors are known."
    return (
        f"{held}Filled: {100 * LEVEL:.0f} % regions, from leaving out each of {len(errors)} parts; "
        "they cover\nsampling noise alone, no bad partitions within it, no wrong model, no unlike "
        "pieces"
    )


def _numbers(axis: Axes, means: Array, covariances: Array, radius: float, colors: Colors) -> None:
    """Number the outlines, each at the end that is further from the middle of all."""
    if len(colors) > MOST_NUMBERS:
        return
    for k, color in enumerate(colors):
        values, vectors = np.linalg.eigh(covariances[k])
        reach = radius * np.sqrt(max(values[1], 0.0)) * vectors[:, 1]
        outward = 1.0 if reach @ (means[k] - means.mean(axis=0)) >= 0.0 else -1.0
        box = {"boxstyle": "circle,pad=0.18", "facecolor": PAPER, "edgecolor": color}
        axis.annotate(
            str(k), means[k] + outward * reach, color=INK, fontsize=7, ha="center", va="center",
            bbox={**box, "linewidth": 1.0}, annotation_clip=True,
        )  # fmt: skip


def _number(k: int, colors: Colors) -> str:
    return str(k) if len(colors) <= MOST_NUMBERS else ""
