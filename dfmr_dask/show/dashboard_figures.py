"""The figures of the page in the dashboard: one source of columns, four ways to look at it.

All share one source, so that marks chosen in one figure stand out in the others, and a partition
that lies apart on the map is found at its place among all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.core.property.descriptors import UnsetValueError
from bokeh.models import (
    ColumnDataSource,
    CustomJSHover,
    DataRange1d,
    HoverTool,
    PrintfTickFormatter,
)
from bokeh.models.annotations import Label
from bokeh.plotting import figure
from bokeh.transform import factor_cmap, factor_mark

from dfmr_dask.run.events import STATES
from dfmr_dask.show.partition_columns import Columns, Drawing, grid_places, nearer

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
SIZES = ((400, 9), (2000, 6), (float("inf"), 4))  # of points: up to so many, so many pixels
FEW = 10  # columns of which less than a tenth has changed are patched
USUAL_WIDE = 1.6  # width over height of a figure of which nothing is known yet
TOOLS = "tap,box_select,wheel_zoom,reset"
# Name, place and reason come from data: Bokeh escapes what stands for an @name.
TOOLTIP = """<div style="max-width: 24rem; overflow-wrap: anywhere">
<b>partition @name</b>, @state<br>@partition{custom}<br>@place<br><i>@reason</i></div>"""
# What is known of the partition in numbers; the rest is left out.
KNOWN = """
const {rows, seconds, log_likelihood, distance, state} = source.data;
const i = special_vars.index;
const ahead = ["waiting", "fitting", "failed"].includes(state[i]) ? " planned" : "";
const short = number => number === Infinity ? "infinite" : String(Number(number.toPrecision(4)));
return [
  [rows[i], `${rows[i].toLocaleString("en")} rows${ahead}`],
  [log_likelihood[i], `log-likelihood ${short(log_likelihood[i])}`],
  [distance[i], `distance ${short(distance[i])}`],
  [seconds[i], `${short(seconds[i])} s`],
].filter(([number]) => !Number.isNaN(number)).map(([, words]) => words).join(", ");
"""
NUMBERS = ("rows", "seconds", "log_likelihood", "distance", "x", "y", "rank", "height", "level")
TEXTS = ("name", "state", "place", "reason")
RINGS = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6)


class Figures:
    """Grid, map, distances and log-likelihoods of the partitions of one run."""

    def __init__(self) -> None:
        """Begin with nothing."""
        empty: dict[str, Any] = {name: [] for name in (*TEXTS, *NUMBERS, "partition")}
        self.source = ColumnDataSource({**empty, "column": [], "row": []})
        self.rings = ColumnDataSource({name: [] for name in ("radius", "text", "dash", "middle")})
        self.grid = self._grid()
        self.map = self._map()
        self.cut = ColumnDataSource({"x": [], "y": []})
        self.cut_label = Label(x=6, x_units="screen", y=1.0, text_font_size="12px")
        self.distances = self._distances()
        self.likelihoods = self._likelihoods()
        self.points = [one.renderers[0] for one in (self.map, self.distances, self.likelihoods)]

    def roots(self) -> list[Any]:
        """Return the figures."""
        return [self.grid, self.map, self.distances, self.likelihoods]

    def wide(self) -> float:
        """Return how many times as wide as high the grid is where it is shown, coarsely."""
        width = _width(self.grid)
        return round(width / max(self.grid.inner_height, 1), 1) if width else USUAL_WIDE

    def draw(self, shown: Drawing, *, provisional: bool, wide: float = USUAL_WIDE) -> None:
        """Send the columns that have changed, and say what they are."""
        n = len(shown.columns["name"])
        column, row = grid_places(n, wide)
        send(self.source, {**shown.columns, "column": column, "row": row})
        send(self.rings, _rings(shown))
        for points in self.points:
            points.glyph.size = next(size for most, size in SIZES if n <= most)
        self.cells.glyph.line_width = 1 if n <= SIZES[1][0] else 0
        so_far = " (provisional)" if provisional else ""
        self.map.title.text = f"Local estimates around the center{so_far}"
        gate = f" by {shown.gate}" if shown.gate else ""
        self.distances.title.text = f"Distances to the center{gate}, sorted{so_far}"
        known = bool(np.isfinite(shown.cutoff))
        known_ones = np.count_nonzero(~np.isnan(shown.columns["height"]))
        ends = np.array([0.0, known_ones + 1.0]) if known else np.zeros(0)
        send(self.cut, {"x": ends, "y": np.full(len(ends), shown.cutoff)})
        self.cut_label.visible = known
        if known:
            self.cut_label.y, self.cut_label.text = shown.cutoff, f"cut-off {shown.cutoff:.3g}"

    def _grid(self) -> Any:
        """Squares, row by row in the order of the source."""
        out = _figure("dfmr_grid", "Partitions, row by row in the order of the source")
        out.x_range, out.y_range = DataRange1d(), DataRange1d(flipped=True)
        out.match_aspect = True
        out.axis.visible = out.grid.visible = False
        self.cells = out.rect("column", "row", 0.88, 0.88, source=self.source, **_look())
        return self._hovered(out, self.cells)

    def _map(self) -> Any:
        """Estimates around the center, far ones drawn nearer, with rings that tell how far."""
        out = _figure("dfmr_map", "Local estimates around the center")
        out.match_aspect = True
        out.axis.visible = out.grid.visible = False
        points = out.scatter("x", "y", source=self.source, **_look(), **_mark())
        out.circle(
            0, 0, radius="radius", source=self.rings, fill_color=None, line_color="#555555",
            line_dash="dash",
        )  # fmt: skip
        out.text(
            0, "radius", text="text", source=self.rings, text_font_size="11px",
            text_align="center", text_baseline="middle", text_color="#222222",
            background_fill_color="white", background_fill_alpha=0.8, padding=1,
        )  # fmt: skip
        out.scatter(
            "middle", "middle", source=self.rings, marker="cross", size=15, line_color="black",
            line_width=2,
        )  # fmt: skip
        return self._hovered(out, points)

    def _distances(self) -> Any:
        """Distances on a logarithmic axis, with the line that cuts."""
        out = _figure("dfmr_distances", "Distances to the center, sorted", y_axis_type="log")
        points = out.scatter("rank", "height", source=self.source, **_look(), **_mark())
        out.line("x", "y", source=self.cut, line_color=LINE, line_dash="dashed", line_width=1.5)
        out.add_layout(self.cut_label)
        out.xaxis.axis_label, out.yaxis.axis_label = "partitions, nearest first", "distance"
        out.yaxis.formatter = PrintfTickFormatter(format="%g")
        return self._hovered(out, points)

    def _likelihoods(self) -> Any:
        """Mean log density a row of each partition under its own estimate."""
        out = _figure("dfmr_likelihoods", "Local log-likelihoods")
        points = out.scatter("partition", "level", source=self.source, **_look(), **_mark())
        out.xaxis.axis_label, out.yaxis.axis_label = "partition", "nats a row"
        return self._hovered(out, points)

    def _hovered(self, out: Any, marks: Any) -> Any:
        """Let marks tell which partition they are."""
        known: Any = {"@partition": CustomJSHover(args={"source": self.source}, code=KNOWN)}
        out.add_tools(HoverTool(renderers=[marks], tooltips=TOOLTIP, formatters=known))
        return out


def send(source: Any, columns: Columns) -> None:
    """Give a source what is not the same as before: entries where they are few, else columns."""
    before = source.data
    if any(len(before[name]) != len(values) for name, values in columns.items()):
        source.data = {name: _own(values) for name, values in columns.items()}
        return
    changed = {name: _changed(before[name], values) for name, values in columns.items()}
    many = {name: len(where) * FEW > len(columns[name]) for name, where in changed.items()}
    whole = {name: _own(columns[name]) for name in columns if many[name]}
    if whole:
        source.data.update(whole)
    few = {
        name: [(int(i), _plain(columns[name][i])) for i in where]
        for name, where in changed.items()
        if len(where) and not many[name]
    }
    if few:
        source.patch(few)


def _changed(before: Any, now: Any) -> Any:
    """Return the places of entries that differ."""
    if not isinstance(now, np.ndarray):
        return [i for i, (old, new) in enumerate(zip(before, now, strict=True)) if old != new]
    before = np.asarray(before)
    return np.flatnonzero((before != now) & ~(np.isnan(before) & np.isnan(now)))


def _own(values: Any) -> Any:
    """Return a copy: a source writes into its columns, and other pages draw the same ones."""
    return values.copy()


def _plain(value: Any) -> Any:
    return value if isinstance(value, str) else float(value)


def _rings(shown: Drawing) -> dict[str, Any]:
    """Return circles at the radius, and at powers of ten times it as far as there are points."""
    times = [one for one in RINGS if one == 1.0 or one * shown.radius <= shown.farthest]
    if not np.isfinite(shown.radius):  # there is no map yet
        times = []
    names = [f"radius {shown.radius:.3g}" if one == 1.0 else f"{one:,.0f} radii" for one in times]
    return {
        "radius": nearer(np.array(times) * shown.radius, shown.radius, shown.farthest),
        "text": names,
        "dash": ["solid" if one == 1.0 else "dotted" for one in times],
        "middle": np.array([0.0 if one == 1.0 else np.nan for one in times]),
    }


def _width(shown: Any) -> float:
    """Return the width of a figure in pixels; 0 before a browser has told."""
    try:
        return float(shown.inner_width)
    except UnsetValueError:
        return 0.0


def _figure(name: str, title: str, **more: Any) -> Any:
    """Return a figure in the style of Dask's pages."""
    options: dict[str, Any] = {"name": name, "title": title, "tools": TOOLS, **more}
    options |= {"toolbar_location": "above", "active_drag": "box_select"}
    out = figure(sizing_mode="stretch_both", min_height=120, **options)
    out.toolbar.logo = None
    out.outline_line_color = None  # Bokeh strokes the last cell of a grid with it as well
    return out


def _look() -> dict[str, Any]:
    """Return how marks are colored, chosen ones and others."""
    return {
        "fill_color": factor_cmap("state", list(COLORS.values()), list(COLORS)),
        "line_color": factor_cmap("state", list(EDGES.values()), list(EDGES)),
        "nonselection_alpha": 0.15,
    }


def _mark() -> dict[str, Any]:
    """Return the shapes of points."""
    marks = factor_mark("state", list(MARKS.values()), list(MARKS))
    return {"marker": marks, "size": SIZES[0][1], "fill_alpha": 0.75}
