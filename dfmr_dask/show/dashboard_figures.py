"""The figures of the page in the dashboard: one source of columns, four ways to look at it.

All share one source, so that marks chosen in one figure stand out in the others, and a partition
that lies apart on the map is found at its place among all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.core.property.descriptors import UnsetValueError
from bokeh.models import ColumnDataSource, CustomJSHover, DataRange1d, HoverTool, Label, Span
from bokeh.plotting import figure
from bokeh.transform import factor_cmap, factor_mark

from dfmr_dask.run.events import STATES
from dfmr_dask.show.partition_columns import Drawing, grid_places, nearer

# Okabe & Ito (2008): told apart by everybody; shapes and strokes tell dropped and failed as well.
COLORS = {
    "waiting": "#dcdcdc",
    "fitting": "#f0e442",
    "fitted": "#56b4e9",
    "failed": "#000000",
    "empty": "#ffffff",
    "kept": "#0072b2",
    "dropped": "#d55e00",
}
EDGES = {name: "#a9a9a9" if name in ("waiting", "empty") else COLORS[name] for name in STATES}
MARKS = dict.fromkeys(STATES, "circle") | {"dropped": "triangle", "failed": "x"}
LINE = "#444444"
USUAL_WIDE = 1.6  # width over height of a figure of which nothing is known yet
TOOLS = "tap,box_select,box_zoom,pan,wheel_zoom,reset"
# The place and the reason come from data: Bokeh escapes what stands for an @name.
TOOLTIP = """<div style="max-width: 24rem; overflow-wrap: anywhere">
<b>partition @name</b>, @state<br>
@rows{custom} rows, log-likelihood @log_likelihood{custom}, distance @distance{custom},
@seconds{custom} s<br>
@place<br><i>@reason</i></div>"""
KNOWN = """
if (value === Infinity) return "infinite";
if (!Number.isFinite(value)) return "unknown";
return Number.isInteger(value) ? value.toLocaleString("en") : value.toPrecision(4);
"""
NUMBERS = ("rows", "seconds", "log_likelihood", "distance", "x", "y", "rank", "height", "level")
TEXTS = ("name", "state", "place", "reason")
RINGS = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6)


class Figures:
    """Grid, map, distances and log-likelihoods of the partitions of one run."""

    def __init__(self) -> None:
        empty: dict[str, Any] = {name: [] for name in (*TEXTS, *NUMBERS, "partition")}
        self.source = ColumnDataSource({**empty, "column": [], "row": []})
        self.rings = ColumnDataSource({"radius": [], "text": [], "dash": []})
        self.middle = ColumnDataSource({"x": [], "y": []})
        self.grid = self._grid()
        self.map = self._map()
        self.cut = Span(dimension="width", line_color=LINE, line_dash="dashed", line_width=1.5)
        self.cut_label = Label(x=6, x_units="screen", y=1.0, text_font_size="12px")
        self.distances = self._distances()
        self.likelihoods = self._likelihoods()

    def roots(self) -> list[Any]:
        """Return the figures."""
        return [self.grid, self.map, self.distances, self.likelihoods]

    def wide(self) -> float:
        """Return how many times as wide as high the grid is where it is shown, coarsely."""
        try:
            return round(self.grid.inner_width / max(self.grid.inner_height, 1), 1)
        except UnsetValueError:  # no browser has told yet
            return USUAL_WIDE

    def draw(self, shown: Drawing, *, provisional: bool, wide: float = USUAL_WIDE) -> None:
        """Send the columns that have changed."""
        so_far = ", provisional" if provisional else ""
        columns = dict(shown.columns)
        columns["column"], columns["row"] = grid_places(len(shown.columns["partition"]), wide)
        send(self.source, columns)
        send(self.rings, _rings(shown))
        known = np.isfinite(shown.radius)
        send(self.middle, {"x": np.zeros(int(known)), "y": np.zeros(int(known))})
        self.map.title.text = f"Local estimates, seen from the center{so_far}"
        title = f"Distances to the center, sorted ({shown.gate}{so_far})"
        self.distances.title.text = title if shown.gate else "Distances to the center, sorted"
        self.cut.visible = self.cut_label.visible = bool(np.isfinite(shown.cutoff))
        if self.cut.visible:
            self.cut.location = self.cut_label.y = shown.cutoff
            self.cut_label.text = f"cut-off {shown.cutoff:.3g}"

    def _grid(self) -> Any:
        """Squares, row by row in the order of the source."""
        out = _figure("dfmr_grid", "Partitions, row by row in the order of the source")
        out.x_range, out.y_range = DataRange1d(), DataRange1d(flipped=True)
        out.match_aspect = True
        out.axis.visible = out.grid.visible = False
        cells = out.rect(
            "column", "row", 0.9, 0.9, source=self.source, **_look(), line_width=1.0,
            line_color=factor_cmap("state", list(EDGES.values()), list(EDGES)),
        )  # fmt: skip
        return _hovered(out, [cells])

    def _map(self) -> Any:
        """Estimates around the center, far ones drawn nearer, with rings that tell how far."""
        out = _figure("dfmr_map", "Local estimates, seen from the center")
        out.match_aspect = True
        out.axis.visible = out.grid.visible = False
        out.circle(
            0, 0, radius="radius", source=self.rings, fill_color=None, line_color="#999999",
            line_dash="dash",
        )  # fmt: skip
        out.text(
            0, "radius", text="text", source=self.rings, text_font_size="11px", text_align="center",
            text_baseline="bottom", text_color=LINE,
        )  # fmt: skip
        points = out.scatter("x", "y", source=self.source, **_look(), **_mark())
        out.scatter(
            "x", "y", source=self.middle, marker="cross", size=16, line_color="black", line_width=2
        )
        return _hovered(out, [points])

    def _distances(self) -> Any:
        """Distances on a logarithmic axis, with the line that cuts."""
        out = _figure("dfmr_distances", "Distances to the center, sorted", y_axis_type="log")
        points = out.scatter("rank", "height", source=self.source, **_look(), **_mark())
        out.add_layout(self.cut)
        out.add_layout(self.cut_label)
        out.xaxis.axis_label, out.yaxis.axis_label = "partitions, nearest first", "distance"
        return _hovered(out, [points])

    def _likelihoods(self) -> Any:
        """Mean log density a row of each partition under its own estimate."""
        out = _figure("dfmr_likelihoods", "Local log-likelihoods")
        points = out.scatter("partition", "level", source=self.source, **_look(), **_mark())
        out.xaxis.axis_label, out.yaxis.axis_label = "partition", "nats a row"
        return _hovered(out, [points])


def send(source: Any, columns: dict[str, Any]) -> None:
    """Give a source the columns that are not the same as before, all at once."""
    before = source.data
    if any(len(before[name]) != len(values) for name, values in columns.items()):
        source.data = columns
        return
    changed = {name: values for name, values in columns.items() if not _same(before[name], values)}
    if changed:
        source.data.update(changed)


def _same(before: Any, now: Any) -> bool:
    if isinstance(now, np.ndarray):
        return isinstance(before, np.ndarray) and np.array_equal(before, now, equal_nan=True)
    return bool(before == now)


def _rings(shown: Drawing) -> dict[str, Any]:
    """Return circles at the radius, and at powers of ten times it as far as there are points."""
    if not np.isfinite(shown.radius) or shown.radius <= 0.0:
        return {"radius": np.zeros(0), "text": [], "dash": []}
    times = [one for one in RINGS if one == 1.0 or one * shown.radius <= shown.farthest]
    names = [f"radius {shown.radius:.3g}" if one == 1.0 else f"{one:,.0f} radii" for one in times]
    drawn = np.asarray(nearer(np.array(times) * shown.radius, shown.radius))
    dashes = ["solid" if one == 1.0 else "dotted" for one in times]
    return {"radius": drawn, "text": names, "dash": dashes}


def _figure(name: str, title: str, **options: Any) -> Any:
    """Return a figure in the style of Dask's pages."""
    out = figure(
        name=name, title=title, tools=TOOLS, toolbar_location="above", active_drag="box_select",
        sizing_mode="stretch_both", min_height=120, **options,
    )  # fmt: skip
    out.toolbar.logo = None
    return out


def _look() -> dict[str, Any]:
    """Return how marks are colored, chosen ones and others."""
    return {
        "fill_color": factor_cmap("state", list(COLORS.values()), list(COLORS)),
        "nonselection_alpha": 0.15,
    }


def _mark() -> dict[str, Any]:
    """Return shapes of points."""
    return {
        "marker": factor_mark("state", list(MARKS.values()), list(MARKS)),
        "size": 9,
        "fill_alpha": 0.75,
        "line_color": factor_cmap("state", list(EDGES.values()), list(EDGES)),
    }


def _hovered(out: Any, renderers: Sequence[Any]) -> Any:
    """Let marks tell which partition they are."""
    known = CustomJSHover(code=KNOWN)
    names = ("rows", "log_likelihood", "distance", "seconds")
    formatters = {f"@{name}": known for name in names}
    hover = HoverTool(
        renderers=list(renderers), tooltips=TOOLTIP, formatters=formatters, point_policy="follow_mouse"
    )  # fmt: skip
    out.add_tools(hover)
    return out
