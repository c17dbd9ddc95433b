"""Where partitions lie, what became of them, and how far each is from the majority."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from dfmr_dask.show.pictures.segmentation import NORTH_UP
from dfmr_dask.show.pictures.style import (
    FATES,
    INK,
    MANY,
    MARKS,
    PALETTE,
    PAPER,
    RULE,
    axes_of,
    literal,
    plain_logarithm,
    ramp,
    shortened,
    shown_ticks,
)

DISTANCE = "distance_"  # what the columns of the gates begin with
WIDEST = 40  # cells of a row, until there are more rows than columns
NUMBERED = 120  # cells up to which those that were left out carry their numbers
SHADE = {"kept": 0.3, "empty": 0.35, "dropped": 1.0, "failed": 1.0}  # of cells
BIG = {"failed": 34}  # sizes of marks that would be too small otherwise
CLOSEST = 1e-2  # of the cut-off; what lies closer is drawn there
Fates = NDArray[Any]


def fates_of(table: xr.Dataset) -> Fates:
    """Return what became of each partition, as an array of texts."""
    return table["fate"].values.astype(object).astype(str)  # Zarr's texts know objects only


def gates_of(table: xr.Dataset) -> list[str]:
    """Return the names of the gates of a table of partitions, in their order."""
    found = {str(n).removeprefix(DISTANCE) for n in table.data_vars if str(n).startswith(DISTANCE)}
    told = [str(name) for name in table.attrs.get("gates", ()) if name in found]
    return [*told, *sorted(found - set(told))]


def ratios(table: xr.Dataset) -> NDArray[np.float64]:
    """Return how many cut-offs each partition is from the majority, at its worst gate.

    NaN of those without a usable estimate, and where nothing was filtered.
    """
    distances = [table[f"{DISTANCE}{gate}"] for gate in gates_of(table)]
    if not distances:
        return np.full(table.sizes["partition"], np.nan)
    each = np.array([one.values / max(one.attrs["cutoff"], 1e-300) for one in distances])
    known = np.isfinite(each).any(axis=0) | np.isposinf(each).any(axis=0)
    return np.where(known, np.max(np.nan_to_num(each, nan=-np.inf, posinf=np.inf), axis=0), np.nan)


def varying(table: xr.Dataset, dims: Sequence[str] | None = None) -> list[str]:
    """Return the dimensions of the source's grid along which partitions lie at several places."""
    known = [str(n) for n, at in table.coords.items() if at.dims == ("partition",)]
    wanted = [n for n in known if n != "partition"] if dims is None else dims
    return [n for n in wanted if n in known and len(np.unique(table[n].values)) > 1]


def plot_order(table: xr.Dataset, *, ax: Axes | None = None) -> Axes:
    """Draw a cell for each partition in the order of the source, colored by what became of it.

    Parameters
    ----------
    table : xarray.Dataset
        Of partitions, from :func:`~dfmr_dask.run.results.partition_table`.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    fates = fates_of(table)
    m = len(fates)
    columns = min(m, max(WIDEST, int(np.ceil(np.sqrt(2.5 * m)))))
    lines = -(-m // columns)
    axis = axes_of(ax, (7.2, max(0.8, 7.2 * lines / columns)))
    (_cells if m <= MANY else _pixels)(axis, fates, columns, lines)
    if m <= NUMBERED:
        for i in np.flatnonzero(np.isin(fates, ("dropped", "failed"))):
            place = (i % columns + 0.5, i // columns + 0.5)
            number = str(table["partition"].values[i])
            axis.text(*place, number, color=PAPER, fontsize=6.5, weight="bold", ha="center",
                      va="center")  # fmt: skip
    axis.set(xlim=(0, columns), ylim=(lines, 0), aspect="equal", xticks=[])
    starts = shown_ticks(lines)
    axis.set_yticks([i + 0.5 for i in starts], [f"{i * columns:,}" for i in starts])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return axis


def plot_along(table: xr.Dataset, dim: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw how far each partition is from the majority, along a dimension of the source.

    Parameters
    ----------
    table : xarray.Dataset
        Of partitions.
    dim : str, optional
        A dimension of the source's grid; by default the partitions in their order.
    ax : Axes, optional

    Returns
    -------
    Axes
        Distances are those of each partition's worst gate, in units of its cut-off.
    """
    axis = axes_of(ax, (7.2, 3.0))
    at = table["partition" if dim is None else dim].values
    _scatter(axis, at, ratios(table), fates_of(table), 1.0)
    axis.set_xlabel("partition" if dim is None else literal(dim))
    axis.set_ylabel("distance / cut-off")
    return axis


def plot_distances(table: xr.Dataset, gate: str | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the distances of one gate in increasing order, with its cut-off.

    Parameters
    ----------
    table : xarray.Dataset
        Of partitions.
    gate : str, optional
        The first one by default.
    ax : Axes, optional

    Returns
    -------
    Axes
    """
    name = gates_of(table)[0] if gate is None else gate
    column = table[f"{DISTANCE}{name}"]
    known = np.isfinite(column.values)
    order = np.argsort(column.values[known], kind="stable")
    axis, fates = axes_of(ax), fates_of(table)[known][order]
    cut = float(column.attrs["cutoff"])
    _scatter(axis, np.arange(len(order)), column.values[known][order], fates, cut)
    axis.set(xlabel="partitions, closest first", ylabel=f"distance in {name}")
    return axis


def plot_map(
    table: xr.Dataset, dims: Sequence[str] | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw where the partitions that were left out lie on the last two dimensions of the grid.

    Parameters
    ----------
    table : xarray.Dataset
        Of partitions, with the places of their middles as coordinates.
    dims : sequence of str, optional
        Dimensions of the source, in order.
    ax : Axes, optional

    Returns
    -------
    Axes
        The stronger a cell's color, the more of the partitions there were dropped or failed.
    """
    rows, columns = varying(table, dims)[-2:]
    sides = [np.unique(table[dim].values, return_inverse=True) for dim in (rows, columns)]
    flat = sides[0][1] * len(sides[1][0]) + sides[1][1]
    shape = len(sides[0][0]), len(sides[1][0])
    fates = fates_of(table)
    out = np.isin(fates, ("dropped", "failed"))
    there, bad = (np.bincount(flat, minlength=shape[0] * shape[1], weights=w).reshape(shape)
                  for w in (fates != "empty", out))  # fmt: skip
    axis = axes_of(ax)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(there > 0, bad / there, np.nan)
    back = np.where(np.isnan(share)[..., None], 0.0, to_rgba(PALETTE[0], 0.18))
    origin = "lower" if rows.lower() in NORTH_UP else "upper"
    look: dict[str, Any] = {"origin": origin, "interpolation": "nearest", "aspect": "auto"}
    axis.imshow(back, **look)
    shown = axis.imshow(share, cmap=ramp(PALETTE[1]), vmin=0.0, vmax=1.0, **look)
    if len(varying(table, dims)) > 2:
        axis.figure.colorbar(shown, ax=axis, label="share left out", shrink=0.9)
    for dim, (values, _), put in zip(
        (rows, columns), sides, (axis.set_yticks, axis.set_xticks), strict=True
    ):
        ticks = shown_ticks(len(values), 5)
        put(ticks, labels=[place_text(values[i]) for i in ticks])
        (axis.set_ylabel if dim == rows else axis.set_xlabel)(literal(dim))
    return axis


def place_text(value: Any) -> str:
    """Return a coordinate in few characters."""
    if np.issubdtype(type(value), np.datetime64):
        return str(np.datetime_as_string(value, unit="D"))
    if isinstance(value, int | float | np.number):
        return f"{float(value):.4g}"
    return literal(shortened(value, 10))


def _cells(axis: Axes, fates: Fates, columns: int, lines: int) -> None:
    """Draw cells as shapes, which stay sharp and take the colors of a page."""
    for fate, color in FATES.items():
        cells = [
            Rectangle((i % columns + 0.06, i // columns + 0.06), 0.88, 0.88)
            for i in np.flatnonzero(fates == fate)
        ]
        axis.add_collection(
            PatchCollection(cells, facecolor=color, alpha=SHADE[fate], linewidth=0.0)
        )


def _pixels(axis: Axes, fates: Fates, columns: int, lines: int) -> None:
    """Draw cells as pixels, where shapes would be too many."""
    picture = np.zeros((lines * columns, 4))
    for fate, color in FATES.items():
        picture[np.flatnonzero(fates == fate)] = to_rgba(color, SHADE[fate])
    axis.imshow(
        picture.reshape(lines, columns, 4), extent=(0, columns, lines, 0), interpolation="nearest"
    )


def _scatter(
    axis: Axes, at: NDArray[Any], far: NDArray[np.float64], fates: Fates, cut: float
) -> None:
    """Draw distances over places, on a logarithm, with a cut-off; what has none lies on top."""
    finite = far[np.isfinite(far)]
    top = 3.0 * max(float(finite.max(initial=0.0)), 2.0 * cut)
    shown = np.clip(np.where(np.isfinite(far), far, top), CLOSEST * cut, None)
    for fate, color in FATES.items():
        here = fates == fate
        if not here.any() or fate == "empty":
            continue
        size = BIG.get(fate, 16) if len(at) <= MANY else 7
        axis.scatter(
            at[here], shown[here], s=size, c=color, marker=MARKS[fate],
            alpha=0.9, linewidths=0.0, rasterized=len(at) > MANY, label=fate, zorder=3,
        )  # fmt: skip
    axis.axhline(cut, color=INK, linewidth=1.0, linestyle="--", label="cut-off")
    axis.set_yscale("log")
    plain_logarithm(axis.yaxis)
    axis.grid(axis="y", color=RULE)
    axis.margins(x=0.02)
    if len(axis.get_legend_handles_labels()[0]) > 1:
        axis.legend(loc="best", ncols=2)
