"""Where tasks run, with a page in Dask's dashboard that shows a run while it goes on."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client

from dfmr_dask.run.cluster import Say, open_tasks
from dfmr_dask.run.handles import described
from dfmr_dask.run.tasks import OnCluster, Tasks
from dfmr_dask.run.workers import asked
from dfmr_dask.show.monitor import NAME, NO_DASHBOARD, Monitor


def aside(text: str) -> None:
    """Say something beside the output."""
    print(text, file=sys.stderr)


@contextmanager
def open_shown_tasks(*, say: Say = aside, **where: Any) -> Iterator[Tasks]:
    """Choose where a run's tasks run, and put the page there.

    Parameters
    ----------
    say : callable
        Told where dashboard and page are, of a client that was not there before; on standard error
        by default.
    **where
        As in :func:`~dfmr_dask.run.cluster.open_tasks`, which tells what may be raised.

    Yields
    ------
    Tasks
    """
    heard: list[str] = []
    with open_tasks(say=heard.append, **where) as tasks:
        page = install(tasks.client) if isinstance(tasks, OnCluster) else None
        for line in heard:
            say(line)
        if heard and page is not None:
            say(f"this run: {page}")
        yield tasks


def install(client: Client) -> str | None:
    """Put the page onto the scheduler of a client, unless it is there.

    Parameters
    ----------
    client : distributed.Client

    Returns
    -------
    str or None
        Address of the page; None where there is none. A warning says why, unless the scheduler
        has no dashboard since nobody wanted one.
    """
    try:
        client.register_plugin(Monitor())
        page, refused = asked(client, _question())
    except Exception as error:  # of whatever kind: nobody loses a fit for a page
        page, refused = None, described(error)
    if page is None and refused != NO_DASHBOARD:
        warnings.warn(f"Dask's dashboard does not show this run: {refused}", stacklevel=2)
    link = client.dashboard_link
    return None if page is None or link is None else link.removesuffix("/status") + page


def _question() -> Any:
    """Return a function for the scheduler, sent by value, that says what became of the page."""
    name = NAME

    def ask(dask_scheduler: Any) -> tuple[str | None, str]:
        found = dask_scheduler.plugins[name]
        return found.page, found.refused

    return ask
