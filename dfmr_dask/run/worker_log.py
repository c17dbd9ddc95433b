"""What tasks write into the log of their worker: which partition, in which stage, and how it went.

Dask collects these logs (``client.get_worker_logs()``, and the pages of the dashboard). What went
well is of level INFO for a fit and DEBUG for a question; what failed is a WARNING, with the reason,
once. Each record has the attributes ``partition`` and ``stage``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from distributed import get_worker

from dfmr_dask.message import Message
from dfmr_dask.run.handles import Failure

LOGGER = "distributed.worker.dfmr"  # Dask collects what is told below distributed.worker

P = ParamSpec("P")
T = TypeVar("T")
Task = Callable[Concatenate[int, P], T]

log = logging.getLogger(LOGGER)


def logged(function: Task[P, T]) -> Task[P, T]:
    """Let a task of a partition, whose number is its first argument, tell its worker's log."""

    @wraps(function)
    def told(partition: int, /, *args: P.args, **options: P.kwargs) -> T:
        began = time.perf_counter()
        value = function(partition, *args, **options)
        if stage := _stage():
            level, text = _outcome(value)
            known = any(arg is value for arg in args)  # a failure that is only passed on
            log.log(
                logging.DEBUG if known else level,
                "dfmr-%s: %s of partition %d: %s (%.3f s)",
                *(stage, function.__name__, partition, text, time.perf_counter() - began),
                extra={"partition": partition, "stage": stage},
            )
        return value

    return told


def _outcome(value: Any) -> tuple[int, str]:
    """Return the level and the words for what a task returned; liars return anything."""
    if isinstance(value, Failure):
        return logging.WARNING, f"failed: {value.reason}"
    if not isinstance(value, Message):
        return logging.DEBUG, "answered"
    if value.status == "failed":
        return logging.WARNING, f"failed: {value.reason}"
    return logging.INFO, f"{value.status}, {value.rows} rows, {value.n_iter} iterations"


def _stage() -> str:
    """Return the stage that this task belongs to by its key.

    It is empty outside of a cluster: a run in this process writes into nobody's log.
    """
    try:
        key: Any = get_worker().get_current_task()
    except ValueError:
        return ""
    _, _, stage = str(key[0] if isinstance(key, tuple) else key).partition("dfmr-")
    return stage.partition("-")[0]
