"""How well rows fit a mixture: quantiles of their log densities beside those of its own rows."""

from __future__ import annotations

from matplotlib.axes import Axes

from dfmr_dask.aggregate.goodness import GoodnessOfFit
from dfmr_dask.show.pictures.style import MUTED, PALETTE, RULE, axes_of


def plot_goodness(found: GoodnessOfFit, *, ax: Axes | None = None) -> Axes:
    """Draw the quantiles of a sample over those of rows drawn from the mixture.

    Parameters
    ----------
    found : GoodnessOfFit
    ax : Axes, optional

    Returns
    -------
    Axes
        Where the mixture fits, the points lie within the band around the diagonal.
    """
    axis = axes_of(ax)
    axis.fill_between(
        found.expected, found.lower, found.upper, color=MUTED, alpha=0.25, linewidth=0.0,
        label="95 % of samples from the model",
    )  # fmt: skip
    ends = [found.expected[0], found.expected[-1]]
    axis.plot(ends, ends, color=MUTED, linewidth=1.0, linestyle="--")
    axis.plot(found.expected, found.observed, "o", color=PALETTE[0], markersize=3.2, label="sample")
    axis.set(
        xlabel="log density of rows drawn from the model (nats)", ylabel="of the sample (nats)"
    )
    axis.grid(color=RULE)
    axis.legend(loc="upper left")
    return axis
