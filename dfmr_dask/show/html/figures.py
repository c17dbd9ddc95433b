"""The figures of a report, each with what it shows in words."""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from dfmr_dask.aggregate.estimates import Estimates, collect
from dfmr_dask.aggregate.map import estimate_map
from dfmr_dask.aggregate.matrix import distance_matrix
from dfmr_dask.errors import TooFewMessages
from dfmr_dask.show.html.found import Found
from dfmr_dask.show.html.numbers import counted, listed, number
from dfmr_dask.show.html.svg import Picture, as_svg, drawn
from dfmr_dask.show.pictures import deviations, estimates, partitions, selection
from dfmr_dask.show.pictures.pieces import pieces_figure
from dfmr_dask.show.pictures.style import look

WIDE, THIRD = (7.6, 2.9), (3.9, 3.1)  # inches
MOST_ALONG = 3  # dimensions with a figure of their own, beside the two of the map


def places(found: Found) -> list[Picture]:
    """Draw where partitions lie: in their order, along each dimension, and on a map."""
    table, fates = found.partitions, partitions.fates_of(found.partitions)
    out = [str(i) for i in table["partition"].values[np.isin(fates, ("dropped", "failed"))]]
    m = len(fates)
    cells = drawn(
        "order",
        lambda axis: partitions.plot_order(table, ax=axis),
        f"{counted(m, 'partition')} in the order of the source; left out: {listed(out) or 'none'}",
        "Each cell is a partition, in the order of the source, from left to right and line by "
        "line. Numbers on the left are those of the first of each line.",
        size=(7.6, 0.35 + 7.3 * _lines(m)),
        wide=True,
    )
    dims = partitions.varying(table, found.dims)
    shown = [cells]
    if np.isfinite(partitions.ratios(table)).any():
        for k, dim in enumerate(dims if len(dims) == 1 else dims[:-2][:MOST_ALONG]):
            shown.append(_along(found, dim, f"along{k}"))
    if len(dims) >= 2:
        shown.append(_map(found, dims))
    return shown


def _lines(m: int) -> float:
    """Return how high the cells are, in widths."""
    columns = min(m, max(partitions.WIDEST, int(np.ceil(np.sqrt(2.5 * m)))))
    return -(-m // columns) / max(columns, partitions.WIDEST)


def _along(found: Found, dim: str, key: str) -> Picture:
    table = found.partitions
    far = partitions.ratios(table)
    beyond = table[dim].values[far > 1.0]
    places = [partitions.place_text(value) for value in np.unique(beyond)]
    return drawn(
        key,
        lambda axis: partitions.plot_along(table, dim, ax=axis),
        f"distance from the majority along {dim}; beyond the cut-off: {listed(places) or 'none'}",
        f"How far each partition is from the majority, along {dim}: at its worst gate, in units "
        "of that gate's cut-off. What lies above the line was dropped.",
        size=WIDE,
        wide=True,
    )


def _map(found: Found, dims: list[str]) -> Picture:
    rows, columns = dims[-2:]
    return drawn(
        "map",
        lambda axis: partitions.plot_map(found.partitions, found.dims, ax=axis),
        f"map of the partitions over {rows} and {columns}; those left out stand out",
        f"Where what was left out lies over {rows} and {columns}. The stronger the color, the "
        "more of the partitions at that place were left out.",
    )


def distances(found: Found) -> list[Picture]:
    """Draw the sorted distances of each gate, with its cut-off."""
    table = found.partitions
    return [
        drawn(
            f"gate{k}",
            partial(_gate, table, gate),
            _gate_words(found, gate),
            f"Distances in {gate}, closest first. The dashed line is the cut-off at "
            f"{number(table[f'distance_{gate}'].attrs['cutoff'])}.",
            size=THIRD,
        )
        for k, gate in enumerate(partitions.gates_of(table))
    ]


def _gate(table: xr.Dataset, gate: str, axis: Axes) -> None:
    partitions.plot_distances(table, gate, ax=axis)


def _gate_words(found: Found, gate: str) -> str:
    column = found.partitions[f"distance_{gate}"]
    values = column.values[np.isfinite(column.values)]
    beyond = int((values > column.attrs["cutoff"]).sum())
    return f"sorted distances in {gate} of {len(values)} partitions, {beyond} beyond the cut-off"


def deviating(found: Found) -> list[Picture]:
    """Draw how far the components of dropped partitions deviate."""
    largest = deviations.most_deviating(found.partitions)
    if not len(largest.partitions) or not largest.columns:
        return []
    i, j = np.unravel_index(int(np.argmax(largest.values)), largest.values.shape)
    name, k = largest.columns[int(j)]
    return [
        drawn(
            "deviations",
            lambda axis: deviations.plot_deviations(largest, ax=axis),
            f"deviations of {counted(len(largest.partitions), 'dropped partition')}; the largest "
            f"is the {name} of component {k} in partition {largest.partitions[i]}",
            "What is wrong with each dropped partition: how far the parameters of its components "
            "lie from the model's, along the feature that deviates most. Empty cells lie within "
            "three standard errors.",
            size=(7.6, max(2.0, 1.15 + 0.19 * len(largest.partitions))),
            wide=True,
        )
    ]


def agreement(found: Found) -> list[Picture]:
    """Draw the distances between estimates, and a map of them."""
    said = _estimates(found)
    center = int(found.partitions.attrs.get("center", -1))
    if said is None or center not in said.ids or len(said) < 2:
        return []
    dropped = [one["id"] for one in found.summary["dropped"]]
    matrix = distance_matrix(said, center, dropped)
    some = f" {matrix.left_out:,} of the partitions are not shown." if matrix.left_out else ""
    if np.isinf(matrix.distances).any():
        some += " Empty cells: no component has rows enough to be compared."
    return [
        drawn(
            "matrix",
            lambda axis: estimates.plot_matrix(matrix, dropped, ax=axis),
            f"distances between the estimates of {len(matrix.ids)} partitions, closest to the "
            f"center first: {listed([str(i) for i in matrix.ids[:12]])}",
            "Distances between the estimates of all pairs of partitions, those closest to the "
            f"center first. Pale blocks agree; strong stripes agree with nobody.{some}",
            size=(4.9, 4.2),
        ),
        _laid(found, said, center, dropped),
    ]


def _laid(found: Found, said: Estimates, center: int, dropped: list[int]) -> Picture:
    laid = estimate_map(said, center)
    far = [int(i) for i in laid.partitions[np.hypot(laid.x, laid.y) > 3.0 * laid.radius]]
    return drawn(
        "estimates",
        lambda axis: estimates.plot_estimates(laid, dropped, ax=axis),
        f"map of {len(laid.partitions)} estimates around that of partition {laid.center}; more "
        f"than three times as far as most: {listed([str(i) for i in far]) or 'none'}",
        "Each point is the estimate of a partition, on the plane in which most of them differ "
        "most. The first ring holds more than half; numbers are distances in standard errors, and "
        "grow tenfold from ring to ring.",
        size=(4.9, 4.2),
    )


def _estimates(found: Found) -> Estimates | None:
    """Stack the usable estimates; None where they are too few for any picture."""
    try:
        return collect(found.messages, found.planned_rows)[0]
    except TooFewMessages:
        return None


def orders(found: Found) -> list[Picture]:
    """Draw the curve that the number of components was chosen from."""
    curve = found.selection
    if curve is None or found.summary.get("selection") is None:
        return []
    chosen = counted(curve.n_components, "component")
    return [
        drawn(
            "bic",
            lambda axis: selection.plot_criterion(curve, ax=axis),
            f"BIC over the number of components; {chosen} were chosen",
            "BIC a row above the smallest one, with 95 % intervals of the difference to the "
            "choice, which the dotted line marks. Less is better.",
        ),
        drawn(
            "gains",
            lambda axis: selection.plot_gains(curve, ax=axis),
            f"gain of each further component; {chosen} were chosen",
            "What each component gains over one fewer, with 95 % intervals.",
        ),
    ]


def pieces(found: Found) -> list[Picture]:
    """Draw the map of the pieces, where the way was chosen by them."""
    if found.pieces is None:
        return []
    with look():
        figure = pieces_figure(found.pieces, found.dims)
        title = f"map of {counted(found.pieces.sizes['piece'], 'piece')} of the source by likeness"
        caption = (
            "Where the pieces of the source lie: their groups by likeness, and how far each is "
            "from the majority, in standard errors."
        )
        made = as_svg(figure, "pieces", title, caption)
    return [Picture("pieces", title, caption, made, wide=True)]
