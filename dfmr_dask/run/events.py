"""One stream of what happens in a run: what an event is, and how it becomes a line of text.

Whatever shows a run reads this stream and nothing else: the line in a terminal, the page of the
dashboard, ``dfmr show --watch``, the report. A run begins with an event of the stage ``run`` whose
facts say what it is about (see :data:`OPENING`) and ends with one that says how it ended
(:data:`CLOSING`); everything between tells how far its stages are, and what became of single
partitions. The mathematics emits nothing.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dfmr_dask.errors import InvalidEvent

if TYPE_CHECKING:  # a scheduler that reads events needs no more than this file
    from dfmr_dask.message import Message

RUN = "run"  # the stage of the events that open and close a run
STATES = ("waiting", "fitting", "fitted", "failed", "empty", "kept", "dropped")
LONGEST_REASON = 300  # characters of a reason that travel with an event; tables hold all of it
LARGEST_LINE = 1 << 26  # bytes

# Facts that open a run. ``locations`` is empty where there are too many partitions to name each.
OPENING = (
    *("token", "run", "source", "features", "partitions", "planned_rows", "locations"),
    *("n_components", "seed", "dashboard", "version", "process"),
)
# Facts of ``provisional``, while estimates arrive, and of ``verdict``, which has ``certified`` and
# ``doubts`` as well and leaves ``kept`` and ``dropped`` to the arrivals. ``kept`` lists partitions,
# ``dropped`` has reasons by number; ``map`` is null or has ``partition``, ``x``, ``y`` (lists),
# ``center`` (a partition) and ``radius``; ``distances`` lists gates, each with ``gate``,
# ``partition``, ``distance`` (lists) and ``cutoff``; ``of`` counts the estimates that were used.
JUDGED = ("kept", "dropped", "map", "distances", "of", "at")
# Facts that close it: ``failed_with`` is None unless an error ended it. What was found may be told
# before the last event, which alone says ``finished``: labels and pictures take their time.
CLOSING = ("finished", "failed_with", "certified", "doubts", "score")


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of one partition.

    Attributes
    ----------
    partition : int
    state : {"waiting", "fitting", "fitted", "failed", "empty", "kept", "dropped"}
        ``fitting``: its task is with the cluster. ``kept`` and ``dropped`` come with the verdict.
    rows : int or None
        Valid rows; None where nothing new is said of them, as of what follows.
    seconds : float or None
        How long reading and fitting took.
    log_likelihood : float or None
        Mean log density a row under its own estimate, in nats.
    reason : str
        Why it failed, or was dropped.

    Examples
    --------
    >>> from dfmr_dask.run.events import Arrival
    >>> Arrival(3, "failed", reason="chunk 3.0 cannot be decoded").as_list()
    [3, 'failed', None, None, None, 'chunk 3.0 cannot be decoded']
    """

    partition: int
    state: str
    rows: int | None = None
    seconds: float | None = None
    log_likelihood: float | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise InvalidEvent(f"state {self.state!r:.40}; wanted one of {', '.join(STATES)}")
        if isinstance(self.partition, bool) or not 0 <= self.partition < 1 << 63:
            raise InvalidEvent(f"partition {self.partition!r:.40}; wanted a number from 0")

    @classmethod
    def of(cls, message: Message) -> Arrival:
        """Say what a message of a partition says, without its estimate."""
        known = message.status != "failed"
        return cls(
            int(message.partition),
            message.status,
            int(message.rows),
            _finite(message.seconds, 4) if known else None,
            _finite(message.log_likelihood, 6) if known else None,
            message.reason[:LONGEST_REASON],
        )

    def as_list(self) -> list[Any]:
        """Return the fields as JSON knows them, without those at the end that say nothing."""
        values = [
            self.partition,
            self.state,
            self.rows,
            self.seconds,
            self.log_likelihood,
            self.reason or None,
        ]
        while values[-1] is None:
            values.pop()
        return values


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened in a stage.

    Attributes
    ----------
    stage : {"run", "select", "start", "fit", "aggregate", "check", "polish", "label"}
        ``simulate``, ``shuffle`` and ``compare`` are no parts of a run, and are told alike.
    done, total : int
        Tasks of this stage.
    failed : int
        Of those done.
    text : str
        A sentence, where there is something to say.
    at : float
        When, in seconds since the epoch; two events are equal whenever they happened.
    arrivals : tuple of Arrival
        What became of partitions.
    facts : mapping
        What is said once, as plain values: at the beginning (``OPENING``), at the end
        (``CLOSING``), and ``provisional``, ``verdict`` (see
        :data:`JUDGED`) and ``memory`` (bytes, at most so far, of the ``client`` and of the
        largest ``worker``).

    Examples
    --------
    >>> from dfmr_dask.run.events import Arrival, Event
    >>> event = Event("fit", 1, 40, at=7.5, arrivals=(Arrival(3, "fitted", 100, 0.1, -2.5),))
    >>> event.to_json()
    '{"stage":"fit","done":1,"total":40,"at":7.5,"arrivals":[[3,"fitted",100,0.1,-2.5]]}'
    >>> Event.from_json(event.to_json()) == event
    True
    """

    stage: str
    done: int
    total: int
    failed: int = 0
    text: str = ""
    at: float = field(default_factory=lambda: round(time.time(), 3), compare=False)
    arrivals: tuple[Arrival, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Write the event as one line, without what says nothing; NaN and infinity are null."""
        from dfmr_dask.data.files import plain  # noqa: PLC0415  (who only reads does without)

        told: dict[str, Any] = {"stage": self.stage, "done": self.done, "total": self.total}
        told |= {"failed": self.failed} if self.failed else {}
        told |= {"text": self.text} if self.text else {}
        told["at"] = _finite(self.at, 3)
        told |= {"arrivals": [one.as_list() for one in self.arrivals]} if self.arrivals else {}
        told |= {"facts": self.facts} if self.facts else {}

        write = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=plain).encode
        try:
            return write(told)
        except ValueError:  # some number is none
            return write(plain(told))

    @classmethod
    def from_json(cls, line: str | bytes) -> Event:
        """Read what :meth:`to_json` wrote; files and schedulers are not trusted.

        Raises
        ------
        InvalidEvent
            When a line is no event.
        """
        try:
            if len(line) > LARGEST_LINE:
                raise ValueError(f"{len(line)} bytes; wanted at most {LARGEST_LINE}")
            told = json.loads(line)
            done, total, failed = numbers = told["done"], told["total"], told.get("failed", 0)
            at, facts = told.get("at"), told.get("facts", {})
            if not all(type(one) is int and one >= 0 for one in numbers):
                raise ValueError(f"counts {numbers!r:.60}; wanted numbers from 0")
            if not isinstance(facts, dict) or not isinstance(told["stage"], str):
                raise ValueError("the stage is a text, and facts have names")
            arrivals = tuple(_arrival(one) for one in told.get("arrivals", ()))
            text = str(told.get("text", ""))
            when = float(at) if isinstance(at, int | float) else 0.0
            return cls(told["stage"], done, total, failed, text, when, arrivals, facts)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InvalidEvent(f"a line of the stream is no event: {error}") from error


def _arrival(values: Any) -> Arrival:
    """Read one arrival; numbers that are none are refused."""
    partition, state, *more = values
    rows, seconds, likelihood, reason = (*more, None, None, None, None)[:4]
    reason = "" if reason is None else reason
    if type(partition) is not int or type(rows) not in (int, type(None)) or type(reason) is not str:
        raise ValueError(f"arrival {values!r:.60}; wanted a partition, rows, and a reason")
    return Arrival(partition, state, rows, _number(seconds), _number(likelihood), reason)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _finite(value: float, digits: int) -> float | None:
    return round(float(value), digits) if math.isfinite(value) else None


Emit = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Read nothing."""
