"""A map of the pieces of a store: their groups by likeness, and how far each is from the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from dfmr_dask.run.results import Result
from dfmr_dask.show.pictures.segmentation import NORTH_UP
from dfmr_dask.show.pictures.style import look, write_png

MOST_PANELS = 6  # maps side by side, of places along the first of three or more dimensions
MOST_COLORS = 10  # groups with a color of their own; smaller ones share one
TICKS = 5
REST = (0.35, 0.35, 0.35)
MISSING = (0.9, 0.9, 0.9)
CROSS: dict[str, Any] = {"color": "red", "ms": 8, "mew": 2}  # on a misplaced piece


def write_pieces_picture(folder: Path, result: Result, dims: Sequence[str]) -> dict[str, str]:
    """Draw a map of the pieces into a run's folder if a way was chosen, and name the file."""
    if result.pieces is None:
        return {}
    path = folder / "pieces.png"
    pieces_picture(path, result.pieces, dims)
    return {"pieces_picture": str(path)}


def pieces_picture(path: Path, table: xr.Dataset, dims: Sequence[str]) -> None:
    """Draw the groups of the pieces and their distances where they lie, into a PNG file."""
    with look():
        write_png(path, pieces_figure(table, dims), 130)


def pieces_figure(table: xr.Dataset, dims: Sequence[str]) -> Figure:
    """Draw the groups of the pieces and their distances where they lie.

    Parameters
    ----------
    table : xarray.Dataset
        From :func:`~dfmr_dask.run.pieces.piece_table`.
    dims : sequence of str
        Sample dimensions of the source, in order. Those along which there is but one piece are not
        drawn; of three or more, the first ones become maps side by side, some of them.

    Returns
    -------
    Figure
    """
    axes = [dim for dim in dims if dim in table.coords and len(np.unique(table[dim].values)) > 1]
    if len(axes) < 2:
        return _strip(table, axes[0] if axes else None)
    front, sides = axes[:-2], (axes[-2], axes[-1])
    places = _places(table, front)
    panels = _chosen(len(np.unique(places)) if front else 1)
    shape = (2, len(panels)) if front else (1, 2)
    figure = Figure(figsize=_size(table, sides, shape), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(*shape, squeeze=False).reshape(2, -1)
    for column, panel in enumerate(panels):
        here = places == panel
        for axis, name in zip(grid[:, column], ("group", "distance"), strict=True):
            _map(axis, table, here, sides, name)
            axis.set_title(f"{name}{_place(table, front, here)}", fontsize=9)
    _legends(figure, grid, table)
    return figure


def _size(table: xr.Dataset, sides: tuple[str, str], shape: tuple[int, int]) -> tuple[float, float]:
    """Inches: maps about as high as they have rows of pieces, within reason."""
    rows, columns = (len(np.unique(table[dim].values)) for dim in sides)
    width = 5.2 if shape[0] == 1 else 3.0
    height = width * float(np.clip(rows / columns, 0.5, 1.5))
    return width * shape[1] + 1.0, shape[0] * (height + 0.5)


def _strip(table: xr.Dataset, dim: str | None) -> Figure:
    """Draw pieces that lie in a line: distances as points, colored by group."""
    at = table["piece"].values if dim is None else table[dim].values
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    colors = _colors(table)
    known = np.isfinite(table["distance"].values)
    axis.scatter(at[known], table["distance"].values[known], c=colors[known], s=36)
    low = float(np.nanmin(table["distance"].values, initial=1.0))
    if (~known).any():
        axis.plot(
            at[~known],
            np.full(int((~known).sum()), max(low, 0.1)),
            "x",
            color="gray",
            label="no sample",
        )
    wrong = table["misplaced"].values
    if wrong.any():
        axis.plot(
            at[wrong],
            table["distance"].values[wrong],
            "o",
            mfc="none",
            mec="red",
            ms=11,
            label="misplaced",
        )
    if (~known).any() or wrong.any():
        axis.legend(loc="upper right", fontsize=8)
    if (table["distance"].values[known] > 0.0).any():
        axis.set_yscale("log")
    axis.set_xlabel(dim or "piece")
    axis.set_ylabel("standard errors")
    axis.set_title("distance of each piece from the majority, colored by group")
    return figure


def _map(
    axis: Axes, table: xr.Dataset, here: NDArray[np.bool_], dims: tuple[str, str], name: str
) -> None:
    """Draw one map; the pieces may be more along its sides than there are in it."""
    sides = [np.unique(table[dim].values) for dim in dims]
    index = [
        np.searchsorted(side, table[dim].values) for side, dim in zip(sides, dims, strict=True)
    ]
    picture = np.full((len(sides[0]), len(sides[1]), 3), 1.0)
    colors = _colors(table) if name == "group" else _shades(table)
    picture[index[0][here], index[1][here]] = colors[here]
    north_up = dims[0].lower() in NORTH_UP
    axis.imshow(
        picture, origin="lower" if north_up else "upper", interpolation="nearest", aspect="auto"
    )
    wrong = here & table["misplaced"].values
    axis.plot(index[1][wrong], index[0][wrong], "x", **CROSS)
    for side, dim, put in zip(sides, dims, (axis.set_yticks, axis.set_xticks), strict=True):
        ticks = np.unique(np.linspace(0, len(side) - 1, min(TICKS, len(side))).round().astype(int))
        put(ticks, labels=[_label(side[i]) for i in ticks], fontsize=7)
        (axis.set_ylabel if dim == dims[0] else axis.set_xlabel)(dim, fontsize=8)


def _legends(figure: Figure, grid: NDArray[Any], table: xr.Dataset) -> None:
    """Say which color is which group, and how far the shades are."""
    n = int(min(table["group"].values.max(initial=0) + 1, MOST_COLORS))
    colors = ListedColormap(_palette()[:n])
    groups = mpl.cm.ScalarMappable(BoundaryNorm(np.arange(n + 1) - 0.5, max(n, 1)), colors)
    bar = figure.colorbar(groups, ax=list(grid[0]), ticks=np.arange(n))
    bar.ax.tick_params(labelsize=7)
    shades = mpl.cm.ScalarMappable(_norm(table), mpl.colormaps["viridis"])
    figure.colorbar(shades, ax=list(grid[1])).set_label("standard errors", fontsize=8)
    if table["misplaced"].values.any():
        cross = Line2D([], [], linestyle="none", marker="x", label="misplaced", **CROSS)
        figure.legend(handles=[cross], loc="outside lower left", frameon=False, fontsize=8)


def _colors(table: xr.Dataset) -> NDArray[np.float64]:
    """Return a color a piece by its group; small groups share one, and so do those without one."""
    group = table["group"].values
    palette = np.vstack([_palette(), REST, MISSING])
    return np.asarray(palette[np.where(group < 0, MOST_COLORS + 1, np.minimum(group, MOST_COLORS))])


def _palette() -> NDArray[np.float64]:
    return np.asarray(mpl.colormaps["tab10"](np.arange(MOST_COLORS))[:, :3])


def _shades(table: xr.Dataset) -> NDArray[np.float64]:
    values = table["distance"].values
    shown = mpl.colormaps["viridis"](_norm(table)(np.nan_to_num(values, nan=1.0)))[:, :3]
    return np.where(np.isfinite(values)[:, None], shown, MISSING)


def _norm(table: xr.Dataset) -> LogNorm:
    values = table["distance"].values
    known = values[np.isfinite(values) & (values > 0.0)]
    low, high = (known.min(), known.max()) if len(known) else (1.0, 1.0)
    return LogNorm(min(1.0, high / 4.0) if high < 8.0 else max(0.5, low), max(2.0, high), clip=True)


def _places(table: xr.Dataset, front: Sequence[str]) -> NDArray[np.intp]:
    """Number the places along the first dimensions."""
    out = np.zeros(table.sizes["piece"], dtype=np.intp)
    for dim in front:
        there, index = np.unique(table[dim].values, return_inverse=True)
        out = out * len(there) + index
    return np.asarray(np.unique(out, return_inverse=True)[1])


def _chosen(n: int) -> list[int]:
    """Choose some of n panels, evenly."""
    return sorted({round(i) for i in np.linspace(0, n - 1, min(n, MOST_PANELS))})


def _place(table: xr.Dataset, front: Sequence[str], here: NDArray[np.bool_]) -> str:
    first = int(np.flatnonzero(here)[0])
    told = [f"{dim} {_label(table[dim].values[first])}" for dim in front]
    return f", {', '.join(told)}" if told else ""


def _label(value: Any) -> str:
    if np.issubdtype(type(value), np.datetime64):
        return str(np.datetime_as_string(value, unit="D"))
    if isinstance(value, int | float | np.number):
        return f"{float(value):.4g}"
    return str(value)[:10]
