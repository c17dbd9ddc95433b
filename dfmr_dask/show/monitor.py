"""The page ``/dfmr`` of Dask's dashboard, and the route that tells the same as JSON.

A run installs :class:`Monitor` on the scheduler that it uses, see :mod:`dfmr_dask.show.dashboard`;
clusters may have it from the beginning, by ``dask scheduler --preload dfmr_dask.show.monitor``. It
reads the events that runs log under the topic :data:`TOPIC` and remembers the last few runs. Dask
promises nothing about the inside of its dashboard: where that refuses, the JSON route remains, and
the reason is told. This module is imported by schedulers, and so it imports little.
"""

from __future__ import annotations

import json
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from distributed import SchedulerPlugin
from tornado import web
from tornado.ioloop import IOLoop

from dfmr_dask.run.events import Event
from dfmr_dask.show.partition_columns import Drawing, drawing
from dfmr_dask.show.state import RunState

NAME = "dfmr"
TOPIC = "dfmr"
PAGE = "/dfmr"
ROUTE = "json/dfmr.json"
MOST_RUNS = 6  # that a scheduler remembers
LARGEST_LOG = 32_000_000  # bytes of messages that the scheduler keeps beside what was read of them
NO_DASHBOARD = "this scheduler has no dashboard"

logger = logging.getLogger("distributed.scheduler.dfmr")


class Watched:
    """A run that a scheduler hears of, and what figures draw of it, computed once for all pages.

    Parameters
    ----------
    token : str
    """

    def __init__(self, token: str) -> None:
        """Begin with nothing but a name."""
        self.token = token
        self.state = RunState()
        self.revision = 0
        self.heard = time.monotonic()
        self._known: dict[str | None, Any] = {}

    def take(self, lines: list[str]) -> None:
        """Take in events, each a line of JSON."""
        for line in lines:
            self.state.take(Event.from_json(line))
        self.revision += 1
        self.heard = time.monotonic()
        self._known.clear()

    def silence(self) -> float:
        """Return seconds since something was heard."""
        return time.monotonic() - self.heard

    def snapshot(self) -> dict[str, Any]:
        """Return what is known now."""
        if None not in self._known:
            self._known[None] = self.state.snapshot()
        found: dict[str, Any] = self._known[None]
        return found

    def drawing(self, gate: str = "") -> Drawing:
        """Return what figures draw, with the distances of a gate, or of the one that drops most."""
        if gate not in self._known:
            self._known[gate] = drawing(self.snapshot(), gate or None)
        found: Drawing = self._known[gate]
        return found

    def gates(self) -> list[str]:
        """Return the names of the gates."""
        told = self.snapshot()["verdict"] or self.snapshot()["provisional"] or {}
        return [str(test["gate"]) for test in told.get("distances") or ()]

    def provisional(self) -> bool:
        """Return whether the filter has spoken, and not for the last time."""
        told = self.snapshot()
        return told["verdict"] is None and told["provisional"] is not None

    def label(self) -> str:
        """Return which run this is, for people."""
        told = self.state.about
        began = time.strftime("%H:%M:%S", time.localtime(self.state.began))
        return f"{told.get('run') or told.get('source') or 'rows in memory'} ({began})"


class Monitor(SchedulerPlugin):
    """What a scheduler knows of the runs on it, and the page that shows it.

    Bokeh and Dask's dashboard are imported when there is something to add to: a scheduler may
    lack them.

    Attributes
    ----------
    runs : dict of token to Watched
        The last few, in the order in which they began.
    page : str or None
        Path of the page; None where there is none.
    refused : str
        Why there is none.
    """

    name = NAME
    idempotent = True

    def __init__(self) -> None:
        """Begin without runs."""
        self.runs: OrderedDict[str, Watched] = OrderedDict()
        self.page: str | None = None
        self.refused = ""
        self.scheduler: Any = None
        self.kept_length = 0
        self._served: Any = None
        self._prefix = ""

    async def start(self, scheduler: Any) -> None:
        """Begin on a scheduler: read what was logged before, and add page and route."""
        self.scheduler = scheduler
        for _, message in scheduler.get_events(TOPIC):
            with suppress(Exception):
                self.log_event(TOPIC, message)
        self._tried(self._add_page)
        self._tried(self._add_route)

    async def close(self) -> None:
        """Stop what the page does from time to time."""
        if self._served is not None:
            self._served.stop()

    def log_event(self, topic: str, msg: Any) -> None:
        """Read what runs say; when there are too many, the one silent for longest is forgotten."""
        if topic != TOPIC:
            return
        token, lines = str(msg["token"]), [str(line) for line in msg["events"]]
        run = self.runs.setdefault(token, Watched(token))
        if len(self.runs) > MOST_RUNS:
            del self.runs[min(self.runs, key=lambda one: self.runs[one].heard)]
        self._forget(sum(map(len, lines)))
        run.take(lines)

    def run(self, token: str = "") -> Watched | None:
        """Return the run of a token, or the one that began last; None where there is none."""
        if token in self.runs:
            return self.runs[token]
        return next(reversed(self.runs.values()), None)

    def labels(self) -> dict[str, str]:
        """Return what the runs are called, by token."""
        return {token: run.label() for token, run in self.runs.items()}

    def told(self, token: str = "") -> dict[str, Any]:
        """Return what the JSON route tells: ``page``, ``refused``, ``runs``, ``token``, ``run``."""
        run = self.run(token)
        return {
            "page": self.page,
            "refused": self.refused,
            "runs": self.labels(),
            "token": None if run is None else run.token,
            "run": None if run is None else run.snapshot(),
        }

    def _forget(self, length: int) -> None:
        """Let the scheduler drop messages that were read, once they are many."""
        self.kept_length += length
        if self.kept_length > LARGEST_LOG:
            self.kept_length = 0
            with suppress(AttributeError):  # no promise of Dask's; else it keeps the last thousand
                self.scheduler._broker.truncate(TOPIC)

    def _tried(self, add: Callable[[], None]) -> None:
        """Do what other versions of Dask or Bokeh may refuse in any way, and note that."""
        try:
            add()
        except Exception as error:
            self.refused = "; ".join(filter(None, [self.refused, _told(error)]))
            logger.warning("The dashboard does not show runs of dfmr_dask: %s", _told(error))

    def _add_page(self) -> None:
        """Add the page to the dashboard, and a link to the bar on top of all pages."""
        from bokeh.server.tornado import BokehTornado  # noqa: PLC0415
        from distributed.dashboard.core import BokehApplication  # noqa: PLC0415
        from distributed.dashboard.scheduler import template_variables  # noqa: PLC0415

        from dfmr_dask.show.dashboard_page import dfmr_doc  # noqa: PLC0415

        application = self.scheduler.http_application
        there = [one for one in application.applications if isinstance(one, BokehTornado)]
        if not there:
            self.refused = NO_DASHBOARD
            return
        frame, self._prefix = template_variables(self.scheduler), there[0].prefix
        self._served = BokehApplication(
            {PAGE: dfmr_doc}, self.scheduler, prefix=self._prefix, template_variables=frame
        )
        application.add_application(self._served)
        self._served.initialize(IOLoop.current())
        self._served.start()
        if NAME not in frame["pages"]:
            frame["pages"].append(NAME)
        self.page = PAGE

    def _add_route(self) -> None:
        """Add the route, beside those of Dask that answer with JSON."""
        route = (f"{self._prefix}/{ROUTE}", Told, {"scheduler": self.scheduler})
        self.scheduler.http_application.add_handlers(".*$", [route])


class Told(web.RequestHandler):
    """Answers with the latest run, or with that of ``?token=``."""

    def initialize(self, scheduler: Any) -> None:
        """Remember whom to ask."""
        self.scheduler = scheduler

    def get(self) -> None:
        """Answer."""
        self.set_header("Content-Type", "application/json")
        monitor: Monitor = self.scheduler.plugins[NAME]
        self.write(json.dumps(monitor.told(self.get_query_argument("token", ""))))


async def dask_setup(scheduler: Any) -> None:
    """Begin with a scheduler: ``dask scheduler --preload dfmr_dask.show.monitor``."""
    await scheduler.register_scheduler_plugin(Monitor(), name=NAME, idempotent=True)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
