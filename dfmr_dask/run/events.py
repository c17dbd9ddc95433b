"""One stream of what happens in a run; readers of it live in ``dfmr_dask.show``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened in a stage.

    Attributes
    ----------
    stage : {"start", "fit", "aggregate", "check", "polish", "label"}
    done, total : int
        Tasks of this stage.
    failed : int
        Of those done.
    text : str
        A sentence, where there is something to say.
    """

    stage: str
    done: int
    total: int
    failed: int = 0
    text: str = ""


Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Read nothing."""
