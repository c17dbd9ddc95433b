"""The page of a run in Dask's dashboard: figures that fill in while its partitions arrive.

It runs on the scheduler, and so it only redraws: the filter, the map and the distances were
computed by who runs the run. A page asks once a second whether something has changed, sends the
columns that have, and then rests so long that it takes a tenth of the scheduler's time at most.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import distributed.http
from bokeh.core.properties import validate
from bokeh.events import DocumentReady
from bokeh.models.widgets import Div, Select
from distributed.dashboard.components.scheduler import BOKEH_THEME
from jinja2 import ChoiceLoader, Environment, FileSystemLoader

from dfmr_dask.run.events import STATES
from dfmr_dask.show.dashboard_figures import COLORS, EDGES, Figures
from dfmr_dask.show.dashboard_words import told_of
from dfmr_dask.show.monitor import NAME, Monitor, Watched
from dfmr_dask.show.partition_columns import drawing
from dfmr_dask.show.state import RunState

EVERY = 1000  # milliseconds between two looks at a run
SHARE = 10.0  # a page rests so many times as long as it took to redraw
LATEST = ""  # the choice that follows whichever run began last
MOST = ""  # the choice that follows the gate that drops most
NOTHING = drawing(RunState().snapshot())

HERE = FileSystemLoader(Path(__file__).parent / "templates")
DASK = FileSystemLoader(Path(distributed.http.__file__).parent / "templates")
# The frame is Dask's, and puts scripts of Bokeh's into the page; nothing of a run's goes there.
FRAME = Environment(loader=ChoiceLoader([HERE, DASK]), autoescape=False)
WORDS = Environment(loader=HERE, autoescape=True)
CSS = """
:host { font-family: Helvetica, Arial, sans-serif; font-size: 14px; color: #222; width: 100%; }
.line { font-size: 17px; line-height: 1.4; }
.badge { display: inline-block; padding: 1px 9px; border-radius: 3px; font-size: 13px;
  font-weight: bold; border: 1px solid #777; background: #fff; margin-right: 4px; }
.badge.provisional { border-style: dashed; background: #fff6dd; }
.badge.certified { background: #0072b2; border-color: #0072b2; color: #fff; }
.badge.doubted { background: #fff; border: 2px solid #b34700; color: #8a3700; }
.badge.failed { background: #000; border-color: #000; color: #fff; }
.more { margin: 2px 0 0 2px; color: #8a3700; overflow-wrap: anywhere; }
.about { color: #555; margin-top: 3px; overflow-wrap: anywhere; }
.counts { margin-top: 5px; }
.count { display: inline-block; margin: 0 18px 2px 0; color: #555; }
.count b { color: #111; font-size: 16px; }
.stage { display: inline-block; margin: 3px 18px 0 0; color: #555; white-space: nowrap; }
.stage.now { color: #111; font-weight: bold; }
.stage i { font-style: normal; color: #777; font-weight: normal; }
.bar { display: inline-block; width: 64px; height: 9px; background: #e4e4e4; margin-right: 3px; }
.bar span { display: block; height: 100%; background: #8a8a8a; }
.stage.now .bar span { background: #0072b2; }
.legend span { display: inline-block; margin-right: 12px; }
.legend span.none { color: #888; }
.legend .hint { color: #777; font-size: 12px; }
.legend .swatch { width: 13px; height: 13px; margin: 0 5px -2px 0; border: 1px solid; }
"""


def dfmr_doc(scheduler: Any, extra: dict[str, Any], doc: Any) -> None:
    """Fill a document with the page; Bokeh calls this for each browser that opens it.

    Parameters
    ----------
    scheduler : distributed.Scheduler
        Whose monitor holds the runs.
    extra : dict
        What the frame of Dask's pages needs.
    doc : bokeh.document.Document
    """
    # Dask's pages switch Bokeh's validation off while they update, for all threads of a process: in
    # one with several clusters, figures that are made meanwhile hold what no browser can draw. It
    # is not switched back: they do that themselves, and this page does not switch it off.
    validate(True)
    page = Page(scheduler.plugins[NAME])
    page.draw()
    doc.add_periodic_callback(page.update, EVERY)
    doc.on_event(DocumentReady, page.begin)
    for root in page.roots():
        doc.add_root(root)
    doc.title = "Dask: dfmr"
    doc.theme = BOKEH_THEME
    doc.template = FRAME.get_template("dashboard_page.html")
    doc.template_variables.update(extra)


class Page:
    """What one browser shows: which run, which gate, and how far it has been told.

    Parameters
    ----------
    monitor : Monitor
    """

    def __init__(self, monitor: Monitor) -> None:
        """Begin with the latest run."""
        self.monitor = monitor
        self.figures = Figures()
        self.told = _words("dfmr_told")
        self.legend = _words("dfmr_legend")
        self.choice = Select(name="dfmr_choice", title="run", sizing_mode="stretch_width")
        self.gate = Select(name="dfmr_gate", title="distances", sizing_mode="stretch_width")
        for one in (self.choice, self.gate):
            one.on_change("value", self._chosen)
        self.shown: tuple[Any, ...] = ()
        self.ready = False
        self.rests_until = self.took = 0.0

    def roots(self) -> list[Any]:
        """Return the parts that the page is made of, by the names that the template knows."""
        return [self.told, self.choice, self.gate, self.legend, *self.figures.roots()]

    def begin(self, event: Any) -> None:
        """Redraw from now on: what changes while a browser first renders it, it gives up."""
        self.ready = True

    def update(self) -> None:
        """Redraw what has changed, unless it is time to rest, or the browser renders it yet."""
        if self.ready and time.perf_counter() >= self.rests_until:
            self.draw()
            self.rests_until = time.perf_counter() + SHARE * self.took

    def draw(self) -> None:
        """Redraw what has changed."""
        began = time.perf_counter()
        self._choices()
        run = self.monitor.run(self.choice.value)
        self._words_of(run)
        self._draw(run)
        self.took = time.perf_counter() - began

    def _chosen(self, attr: str, old: str, new: str) -> None:
        """Show what somebody chose without waiting."""
        self.draw()

    def _choices(self) -> None:
        """Offer the runs that are known, the latest first."""
        runs = self.monitor.labels()
        options: list[Any] = [(LATEST, "the latest"), *reversed(runs.items())]
        if self.choice.options != options:
            self.choice.options = options
        if self.choice.value not in {LATEST, *runs}:
            self.choice.value = LATEST
        self.choice.visible = len(runs) > 1

    def _words_of(self, run: Watched | None) -> None:
        """Say where the run stands; what is the same is not sent again."""
        snapshot, silence = (None, 0.0) if run is None else (run.snapshot(), run.silence())
        _say(self.told, "dashboard_told.html", told=told_of(snapshot, silence))
        shown = NOTHING if run is None else run.drawing()
        states = [
            {"name": name, "color": COLORS[name], "edge": EDGES[name], "count": shown.counts[name]}
            for name in STATES
        ]
        so_far = run is not None and run.provisional()
        _say(self.legend, "dashboard_legend.html", states=states, so_far=so_far,
             together=shown.together)  # fmt: skip

    def _draw(self, run: Watched | None) -> None:
        """Draw the figures, if the run has gone on, or another run or gate was chosen."""
        gates = [] if run is None else run.gates()
        options: list[Any] = [(MOST, "of the gate that drops most"), *((one, one) for one in gates)]
        if self.gate.options != options:
            self.gate.options = options
        self.gate.visible = len(gates) > 1
        if self.gate.value not in {MOST, *gates}:
            self.gate.value = MOST
        wide = self.figures.wide()
        version = (run and run.token, run and run.revision, self.gate.value, wide)
        if version != self.shown:
            self.shown = version
            drawn = NOTHING if run is None else run.drawing(self.gate.value)
            so_far = run is not None and run.provisional()
            self.figures.draw(drawn, provisional=so_far, wide=wide)


def _words(name: str) -> Any:
    return Div(name=name, sizing_mode="stretch_width", stylesheets=[CSS], disable_math=True)


def _say(place: Any, template: str, **values: Any) -> None:
    text = WORDS.get_template(template).render(**values)
    if place.text != text:
        place.text = text
