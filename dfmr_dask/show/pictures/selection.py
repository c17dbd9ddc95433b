"""The curve that a number of components was chosen from: BIC above, gains below."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dfmr_dask.run.results import Result
from dfmr_dask.selection.curve import Selection

INTERVAL = 1.96  # standard errors of an error bar
CURVE, CHOSEN, WANTED = "tab:blue", "tab:red", "0.4"


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
    figure = Figure(figsize=(6.5, 6.0), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    _criterion(upper, found)
    _gains(lower, found)
    for axis in (upper, lower):
        axis.axvline(found.n_components, color=CHOSEN, linestyle=":", linewidth=1.2)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.25)
    figure.savefig(path, dpi=150, format="png")


def _criterion(axis: Axes, found: Selection) -> None:
    """Draw the BIC a row above its smallest value; the far end would hide what is close."""
    height = (found.bic - found.bic.min()) / found.rows
    bars = INTERVAL * np.nan_to_num(found.bic_errors) / found.rows
    axis.errorbar(found.orders, height, bars, color=CURVE, marker="o", capsize=3)
    place = found.orders.index(found.n_components)
    axis.plot(found.n_components, height[place], "o", color=CHOSEN, markersize=9)
    axis.set_yscale("symlog", linthresh=max(1e-4, float(np.partition(height, 1)[1]))
                    if len(height) > 1 else 1e-4)  # fmt: skip
    axis.set_ylim(bottom=0.0)
    axis.set_ylabel("BIC a row over the smallest")
    axis.set_title(f"{found.n_components} components: {found.reason}", fontsize=10, wrap=True)


def _gains(axis: Axes, found: Selection) -> None:
    bars = INTERVAL * np.nan_to_num(found.gain_errors)
    axis.errorbar(found.orders, found.gains, bars, color=CURVE, marker="o", capsize=3)
    positive = found.gains[1:][found.gains[1:] > 0.0]
    if len(positive):
        axis.set_yscale("log")
        axis.set_ylim(0.5 * positive.min(), 2.0 * positive.max())
    if found.min_gain:
        axis.axhline(found.min_gain, color=WANTED, linestyle="--", label="min_gain")
        axis.legend()
    axis.set_xlabel("components")
    axis.set_ylabel("gain of the last component\n(nats a row)")
