"""How pictures look: their colors, which a page exchanges for its own, and what they are drawn on.

Every color has a role. In a picture of its own it is the first of :data:`THEME`; a page that knows
light and dark puts a variable of its style sheet in its place, so that no two roles may share one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from dfmr_dask.data.files import write_bytes

# Roles, and their colors on a light and on a dark page. Those of the eight first components are
# after Okabe & Ito (2008): told apart by everybody, and in print.
THEME = {
    "ink": ("#1d2430", "#e8ebf0"),
    "muted": ("#5a6472", "#a9b3c0"),
    "rule": ("#d3d9e1", "#3a424e"),
    "paper": ("#fefefe", "#171b21"),
    "alert": ("#b04700", "#ffa366"),
    "empty": ("#b4bcc7", "#59626f"),
    "failed": ("#7d3c98", "#cf9be6"),
    "c0": ("#0072b2", "#4fabe3"),
    "c1": ("#d55e00", "#ff9147"),
    "c2": ("#009e73", "#2fc79a"),
    "c3": ("#cc79a7", "#e59cc6"),
    "c4": ("#e69f00", "#f3bd45"),
    "c5": ("#56b4e9", "#92d2f7"),
    "c6": ("#4b5158", "#bcc4ce"),
    "c7": ("#8b5a2b", "#c7955f"),
}
INK, MUTED, RULE, PAPER, ALERT = (
    THEME[name][0] for name in ("ink", "muted", "rule", "paper", "alert")
)
PALETTE = tuple(THEME[f"c{k}"][0] for k in range(8))
FATES = {"kept": PALETTE[0], "dropped": PALETTE[1], "failed": THEME["failed"][0]}
FATES |= {"empty": THEME["empty"][0]}
MARKS = {"kept": "o", "dropped": "D", "failed": "X", "empty": "."}
MANY = 600  # points or cells, from which on they are pixels and no shapes
DPI = 150
SIZE = (4.9, 3.7)  # inches
LOOK: dict[Any, Any] = {
    **{"font.size": 9.0, "axes.titlesize": 9.0, "axes.labelsize": 9.0, "legend.fontsize": 8.0},
    **{"xtick.labelsize": 8.0, "ytick.labelsize": 8.0, "axes.linewidth": 0.8},
    **{"text.color": INK, "axes.labelcolor": INK, "axes.titlecolor": INK, "axes.edgecolor": MUTED},
    **{"xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK},
    **{"ytick.labelcolor": INK, "grid.color": RULE, "grid.linewidth": 0.6, "hatch.color": PAPER},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True},
    **{"legend.frameon": False, "figure.facecolor": "white", "axes.facecolor": "none"},
    **{"axes.formatter.limits": (-4, 7), "axes.formatter.use_mathtext": False},
}


@contextmanager
def look() -> Iterator[None]:
    """Draw as the package does, in files and on its pages; what users draw has their own look."""
    with mpl.rc_context(LOOK):
        yield


def axes_of(ax: Axes | None, size: tuple[float, float] = SIZE) -> Axes:
    """Return the axes that came, or new ones of pyplot, which notebooks show."""
    if ax is not None:
        return ax
    from matplotlib import pyplot  # noqa: PLC0415  (it looks for a screen)

    return pyplot.subplots(figsize=size, layout="constrained")[1]


def panels(n: int = 1, size: tuple[float, float] = SIZE, **options: Any) -> tuple[Figure, Any]:
    """Return a figure that nobody shows, and n axes side by side in it."""
    figure = Figure(figsize=(size[0] * n, size[1]), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, n, squeeze=False, **options)[0]


def write_png(path: Path, figure: Figure, dpi: int = DPI) -> None:
    """Write a figure into a file that is whole or not there."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=dpi, format="png")
    write_bytes(path, drawn.getvalue())


def component_colors(n_components: int) -> list[Any]:
    """Return a color for each component."""
    if n_components <= len(PALETTE):
        return list(PALETTE[:n_components])
    return list(mpl.colormaps["turbo"](np.linspace(0.08, 0.92, n_components)))


def ramp(color: str, least: float = 0.0) -> LinearSegmentedColormap:
    """Return a color map from (almost) nothing to a color, which reads on light and dark alike."""
    rgb = to_rgb(color)
    return LinearSegmentedColormap.from_list("ramp", [(*rgb, least), (*rgb, 1.0)])


def plain_colorbar(bar: Colorbar) -> None:
    """Write the numbers of a logarithmic color bar as they are, without a frame."""
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.outline.set_visible(False)


def plain_logarithm(axis: Axis) -> None:
    """Write the numbers of a logarithmic axis as they are, and more of them where it is short."""
    low, high = sorted(axis.get_view_interval())
    short = 0.0 < high < 12.0 * low
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(
        FuncFormatter(lambda value, _: f"{value:,.10g}" if f"{value:.0e}"[0] in "25" else "")
        if short
        else NullFormatter()
    )


def shown_ticks(n: int, most: int = 6) -> list[int]:
    """Return some of n positions, evenly spread, the first and the last among them."""
    return sorted({round(i) for i in np.linspace(0, n - 1, min(n, most))}) if n else []


def shortened(text: Any, most: int = 24) -> str:
    """Return a name in one line, of so many characters at most."""
    words = " ".join(str(text).split())
    return words if len(words) <= most else f"{words[: most - 1]}…"


def literal(text: Any) -> str:
    """Return a name for an axis, as it is: no part of it is taken for mathematics."""
    return shortened(text).replace("$", r"\$")


def named(features: Sequence[str] | None, j: int) -> str:
    """Return the name of a feature for an axis, or its number where it has none."""
    return literal(features[j]) if features is not None and features[j].strip() else f"x{j}"
