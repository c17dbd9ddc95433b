"""The curve that a number of components was chosen from: BIC, and gains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dfmr_dask.run.results import Result
from dfmr_dask.selection.curve import Selection
from dfmr_dask.show.pictures.style import (
    MUTED,
    PALETTE,
    RULE,
    axes_of,
    look,
    plain_logarithm,
    write_png,
)

INTERVAL = 1.96  # standard errors of an error bar
CURVE, CHOSEN = PALETTE[0], PALETTE[1]


def write_selection_picture(folder: Path, result: Result) -> dict[str, str]:
    """Draw the curve into a folder, if there is one; return where."""
    if result.selection is None:
        return {}
    path = folder / "selection.png"
    selection_picture(path, result.selection)
    return {"selection_picture": str(path)}


def selection_picture(path: Path, found: Selection) -> None:
    """Draw BIC and gains over orders into a PNG file, with the choice marked.

    Bars are 95 % intervals: of the BIC's difference to that of the chosen order, and of each gain.

    Parameters
    ----------
    path : Path
    found : Selection
    """
    with look():
        figure = Figure(figsize=(6.5, 6.0), layout="constrained")
        FigureCanvasAgg(figure)
        upper, lower = figure.subplots(2, 1, sharex=True)
        plot_criterion(found, ax=upper).set_xlabel("")
        plot_gains(found, ax=lower)
        title = f"{found.n_components} components: {found.reason}"
        upper.set_title(title, wrap=True)
        write_png(path, figure)


def plot_criterion(found: Selection, *, ax: Axes | None = None) -> Axes:
    """Draw the BIC a row above its smallest value; the far end would hide what is close.

    Bars are 95 % intervals of the difference to the chosen order, which a line marks.

    Parameters
    ----------
    found : Selection
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    axis = _orders(axes_of(ax), found)
    height = (found.bic - found.bic.min()) / found.rows
    bars = INTERVAL * np.nan_to_num(found.bic_errors) / found.rows
    axis.errorbar(found.orders, height, bars, color=CURVE, marker="o", capsize=3)
    place = found.orders.index(found.n_components)
    axis.plot(found.n_components, height[place], "o", color=CHOSEN, markersize=8, clip_on=False,
              zorder=4)  # fmt: skip
    linear = float(np.partition(height, 1)[1]) if len(height) > 1 else 0.0
    axis.set_yscale("symlog", linthresh=max(1e-4, linear))
    axis.set_ylim(bottom=0.0)
    plain_logarithm(axis.yaxis)
    axis.set_ylabel("BIC a row over the smallest")
    return axis


def plot_gains(found: Selection, *, ax: Axes | None = None) -> Axes:
    """Draw what each component gains over one fewer, in nats a row, with 95 % intervals.

    Parameters
    ----------
    found : Selection
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    axis = _orders(axes_of(ax), found)
    bars = INTERVAL * np.nan_to_num(found.gain_errors)
    axis.errorbar(found.orders, found.gains, bars, color=CURVE, marker="o", capsize=3)
    gains = found.gains[1:]
    if len(gains) and gains.min() > 0.0:
        axis.set_yscale("log")
        axis.set_ylim(0.5 * gains.min(), 2.0 * gains.max())
    elif len(gains):  # what gains nothing is seen as well
        axis.set_yscale("symlog", linthresh=max(1e-4, 1.5 * float(np.abs(gains[gains <= 0]).max())))
        axis.axhline(0.0, color=MUTED, linewidth=0.8)
    plain_logarithm(axis.yaxis)
    if found.min_gain:
        axis.axhline(found.min_gain, color=MUTED, linestyle="--", label="min_gain")
        axis.legend()
    axis.set_ylabel("gain of the last component\n(nats a row)")
    return axis


def _orders(axis: Axes, found: Selection) -> Axes:
    """Prepare axes over orders, with the chosen one marked."""
    axis.axvline(found.n_components, color=CHOSEN, linestyle=":", linewidth=1.2)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(color=RULE)
    axis.set_xlabel("components")
    return axis
