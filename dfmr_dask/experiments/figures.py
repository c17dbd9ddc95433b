"""A comparison as figures: ratios of errors to the oracle's, and adjusted Rand indices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator

from dfmr_dask.experiments.cells import NO_ATTACK, file_words
from dfmr_dask.experiments.judging import ORACLE

# Okabe & Ito's colors, which most eyes tell apart, then darker ones of Tol's; each aggregator has
# a marker of its own as well, and the oracle is grey in every figure
PALETTE = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#332288", "#882255"),
    *("#999933", "#44aa99", "#661100", "#aa4499", "#000000", "#88ccee"),
)
GREY = "#808080"
MARKERS = "osD^vPX*<>phd8"
COLUMNS = 4  # of panels
DODGE = 0.012  # by which lines of different aggregators are shifted, so that none hides another
NARROWEST = 1.25  # a ratio axis reaches at least from the inverse of this to this

Panel = Callable[[Axes, pd.DataFrame, Sequence[str]], None]


def draw_figures(folder: Path, table: pd.DataFrame, summary: pd.DataFrame) -> dict[str, str]:
    """Draw two PNG files for each population and number of partitions.

    Parameters
    ----------
    folder : Path
    table, summary : DataFrame
        From :mod:`dfmr_dask.experiments.tables`.

    Returns
    -------
    dict
        Names and places of the files: ratios of errors, and adjusted Rand indices where the true
        labels of rows are known.
    """
    files = {}
    for (population, m), group in summary.groupby(["population", "m"], sort=False):
        place = file_words(str(population))
        title = f"{population}, m = {m} partitions"
        names = [name for name in group["aggregator"].unique() if name != ORACLE]
        path = folder / f"ratio-{place}-m{m}.png"
        _drawn(path, f"{title}: mean error over the oracle's", group, names, _ratios)
        files[f"ratio, {title}"] = str(path)
        answers = table[(table["population"] == population) & (table["m"] == m)]
        if answers["ari"].notna().any():
            path = folder / f"ari-{place}-m{m}.png"
            _drawn(path, f"{title}: adjusted Rand index", answers, [ORACLE, *names], _indices)
            files[f"ari, {title}"] = str(path)
    return files


def _drawn(path: Path, title: str, data: pd.DataFrame, names: Sequence[str], panel: Panel) -> None:
    """Draw one panel an attack, the answers without attack at the share 0 of each."""
    attacks = [one for one in data["attack"].unique() if one != NO_ATTACK] or [NO_ATTACK]
    rows = -(-len(attacks) // COLUMNS)
    columns = -(-len(attacks) // rows)
    boxes = 0 if panel is _ratios else len(names) * data["alpha"].nunique()
    width = max(3.6, 0.16 * boxes)
    figure = Figure(figsize=(max(6.0, width * columns), 3.0 * rows + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, attack in zip(axes, attacks, strict=False):
        panel(axis, data[data["attack"].isin([attack, NO_ATTACK])], names)
        axis.set_title(attack, fontsize=10)
    for axis in axes[::columns]:
        axis.set_ylabel("error / oracle's" if panel is _ratios else "adjusted Rand index")
    for axis in axes[len(attacks) :]:
        axis.set_axis_off()
    for axis in axes[max(0, len(attacks) - columns) : len(attacks)]:
        axis.set_xlabel("share of Byzantine partitions α")
    handles = [Patch(color=_color(name, names), label=name) for name in names]
    if panel is _ratios:
        handles = axes[0].get_legend_handles_labels()[0]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(7, len(names) + 1))
    figure.suptitle(title)
    figure.savefig(path, dpi=130, format="png")


def _ratios(axis: Axes, data: pd.DataFrame, names: Sequence[str]) -> None:
    """Ratios against shares, with their intervals; the oracle is the line at 1."""
    axis.set_yscale("log")
    axis.axhline(1.0, color=GREY, linestyle="--", linewidth=1.2, label=ORACLE, zorder=1)
    for i, name in enumerate(names):
        one = data[data["aggregator"] == name].sort_values("alpha")
        middle = one["ratio"].to_numpy()
        ends = one[["low", "high"]].to_numpy().T
        axis.errorbar(
            one["alpha"] + DODGE * (i - 0.5 * (len(names) - 1)) * _span(data),
            middle,
            yerr=np.clip(np.abs(ends - middle), 0.0, None),
            color=_color(name, names),
            marker=MARKERS[i % len(MARKERS)],
            markersize=4.5,
            linewidth=1.3,
            capsize=2.0,
            label=name,
        )
    _plain_ticks(axis)
    axis.set_xticks(sorted(data["alpha"].unique()))
    axis.grid(alpha=0.25)


def _plain_ticks(axis: Axes) -> None:
    """Give a logarithmic axis of ratios ticks that are plain numbers."""
    low, high = axis.get_ylim()
    low, high = min(low, 1.0 / NARROWEST), max(high, NARROWEST)
    axis.set_ylim(low, high)
    steps = (1.0,) if high / low > 100.0 else (1.0, 2.0, 5.0) if high / low > 5.0 else ()
    if steps:
        axis.yaxis.set_major_locator(LogLocator(subs=steps))
    else:
        axis.set_yticks(np.round(np.geomspace(low, high, 6), 2))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.minorticks_off()


def _indices(axis: Axes, data: pd.DataFrame, names: Sequence[str]) -> None:
    """Boxes of adjusted Rand indices over seeds, a group of them at each share."""
    alphas = sorted(data["alpha"].unique())
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        one = data[data["aggregator"] == name]
        found = [one.loc[one["alpha"] == alpha, "ari"].dropna() for alpha in alphas]
        color = _color(name, names)
        boxes: dict[str, Any] = axis.boxplot(
            found,
            positions=np.arange(len(alphas)) + width * (i - 0.5 * (len(names) - 1)),
            widths=0.85 * width,
            patch_artist=True,
            manage_ticks=False,
            medianprops={"color": color, "linewidth": 2.0},
            flierprops={"markersize": 3, "markeredgecolor": color},
        )
        for box in boxes["boxes"]:
            box.set_facecolor(mpl.colors.to_rgba(color, 0.55))
            box.set_edgecolor(color)
    axis.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axis.grid(alpha=0.25, axis="y")


def _color(name: str, names: Sequence[str]) -> Any:
    """Return the color of an aggregator, the same in both kinds of figures."""
    if name == ORACLE:
        return GREY
    others = [one for one in names if one != ORACLE]
    if len(others) <= len(PALETTE):
        return PALETTE[others.index(name)]
    return mpl.colormaps["turbo"](np.linspace(0.0, 0.95, len(others)))[others.index(name)]


def _span(data: pd.DataFrame) -> float:
    return float(np.ptp(data["alpha"])) or 1.0
