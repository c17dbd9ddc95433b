"""What is known of a run while it goes on: a fold over its events, which every reader uses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dfmr_dask.run.events import CLOSING, RUN, STATES, Arrival, Event
from dfmr_dask.show.pace import Pace

LARGEST = 1_000_000  # partitions that are told apart, whatever a stream says
CODE = {name: code for code, name in enumerate(STATES)}
HERE = frozenset(("fitted", "empty", "kept", "dropped", "failed"))

Facts = Mapping[str, Any]


@dataclass(slots=True)
class Stage:
    """How far a stage is.

    Attributes
    ----------
    done, total, failed : int
        Of the tasks that it waits for now; a stage that is entered again counts anew.
    seconds : float
        How long it has taken, all times together.
    """

    done: int = 0
    total: int = 0
    failed: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class RunState:
    """What is known of a run from its events so far; each costs as much as it has arrivals.

    Attributes
    ----------
    about : mapping
        The facts that opened the run (:data:`~dfmr_dask.run.events.OPENING`).
    outcome : dict
        How it ended (:data:`~dfmr_dask.run.events.CLOSING`), as far as that is told.
    stage : str
        The one that the last event was about.
    stages : dict of names to Stage
        In the order in which they were entered.
    counts : dict of states to int
        How many partitions are in each.
    rows : int
        Valid rows of the partitions that have arrived.
    provisional, verdict : mappings or None
        What the filter says of the estimates that are there, and at last of all of them.
    memory : mapping
        Bytes of the ``client`` and of the largest ``worker``, at most so far.
    began, at : float
        When the first and the last event happened, in seconds since the epoch.

    Examples
    --------
    >>> from dfmr_dask.run.events import Arrival, Event
    >>> from dfmr_dask.show.state import RunState
    >>> state = RunState()
    >>> state.take(Event("run", 0, 2, facts={"partitions": 2, "source": "ocean.zarr"}))
    >>> state.take(Event("fit", 1, 2, arrivals=(Arrival(1, "fitted", 100),)))
    >>> state.counts["waiting"], state.counts["fitted"], state.rows
    (1, 1, 100)
    """

    about: Facts = field(default_factory=dict)
    outcome: dict[str, Any] = field(default_factory=dict)
    stage: str = ""
    stages: dict[str, Stage] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    rows: int = 0
    provisional: Facts | None = None
    verdict: Facts | None = None
    memory: dict[str, int] = field(default_factory=dict)
    text: str = ""
    began: float = 0.0
    at: float = 0.0
    _states: list[int] = field(default_factory=list)
    _rows: list[int] = field(default_factory=list)
    _seconds: list[float | None] = field(default_factory=list)
    _log_likelihoods: list[float | None] = field(default_factory=list)
    _reasons: dict[int, str] = field(default_factory=dict)
    _pace: Pace = field(default_factory=Pace)

    def take(self, event: Event) -> None:
        """Take in what happened next."""
        if event.stage == RUN and "partitions" in event.facts:
            self._open(event)
        self._spend(event)
        for arrival in event.arrivals:
            self._arrive(arrival)
        self._learn(event.facts)
        self.text = event.text
        if event.stage != RUN:
            now = self.stages[event.stage]
            now.done, now.total, now.failed = event.done, event.total, event.failed
            came = sum(one.rows or 0 for one in event.arrivals if one.state in HERE)
            self._pace.note(event.at, event.done, came)

    @property
    def finished(self) -> bool:
        """Whether the run has ended, well or with an error: nothing more will come."""
        return "finished" in self.outcome

    @property
    def failed_with(self) -> str | None:
        """The error that ended the run, if one did."""
        told = self.outcome.get("failed_with")
        return None if told is None else str(told)

    @property
    def rows_per_second(self) -> float | None:
        """Rows that arrived a second lately; None until it can be told."""
        return self._pace.rows_per_second

    @property
    def seconds_left(self) -> float | None:
        """Seconds that the stage still takes if it goes on as lately; None until that is known."""
        now = self.stages.get(self.stage)
        if now is None or self.finished:
            return None
        return self._pace.seconds_for(now.total - now.done)

    def snapshot(self) -> dict[str, Any]:
        """Return all of it as plain values, for a page.

        Returns
        -------
        dict
            ``run``, ``source``, ``features``, ``stage``; ``finished`` (nothing more will come),
            ``failed_with``; ``stages`` in order, each with name, done, total, failed, seconds;
            ``partitions`` with one entry each in ``state`` (a key of ``codes``), ``rows`` (planned
            ones before it has arrived), ``log_likelihood``, ``seconds``, ``location`` (empty where
            there are too many), and ``reason`` by number; ``counts`` by state; ``rows``,
            ``rows_per_second``, ``seconds_left``, ``seconds``, ``memory``; ``provisional`` and
            ``verdict``, null or with kept, dropped, map, distances, of, at (the verdict with
            certified and doubts as well).
        """
        about = self.about
        return {
            "run": about.get("run"),
            "source": about.get("source"),
            "features": list(about.get("features") or ()),
            "n_components": about.get("n_components"),
            "seed": about.get("seed"),
            "dashboard": about.get("dashboard"),
            "stage": self.stage,
            "text": self.text,
            "finished": self.finished,
            "failed_with": self.failed_with,
            "stages": [_stage(name, one) for name, one in self.stages.items()],
            "partitions": self._partitions(),
            "counts": dict(self.counts),
            "rows": self.rows,
            "rows_per_second": self.rows_per_second,
            "seconds_left": self.seconds_left,
            "seconds": self.at - self.began,
            "at": self.at,
            "memory": dict(self.memory),
            "score": self.outcome.get("score"),
            "provisional": None if self.provisional is None else dict(self.provisional),
            "verdict": None if self.verdict is None else self._judged(self.verdict),
        }

    def state_of(self, partition: int) -> str:
        """Return what is known of one partition."""
        return STATES[self._states[partition]]

    def _open(self, event: Event) -> None:
        """Begin, with the stages of the same attempt: simulated rows, partitions of the plan."""
        fresh = RunState(began=event.at)
        if not self.about or self.about.get("token") == event.facts.get("token"):
            fresh.stages, fresh.stage, fresh.memory = self.stages, self.stage, self.memory
            fresh.began, fresh.at = self.began or event.at, self.at
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))
        self.about = dict(event.facts)
        self._grow(_count(event.facts["partitions"]))
        planned = event.facts.get("planned_rows") or ()
        for i, rows in enumerate(planned[: len(self._rows)]):
            self._rows[i] = _count(rows)

    def _grow(self, partitions: int) -> None:
        more = min(partitions, LARGEST) - len(self._states)
        if more <= 0:
            return
        self._states += [CODE["waiting"]] * more
        self._rows += [0] * more
        self._seconds += [None] * more
        self._log_likelihoods += [None] * more
        self.counts["waiting"] += more

    def _spend(self, event: Event) -> None:
        """Count the time since the last event to the stage that it was spent in."""
        self.began = self.began or event.at
        before = self.stages.get(self.stage)
        if before is not None and self.at:
            before.seconds += max(0.0, event.at - self.at)
        self.at = max(self.at, event.at)
        if event.stage == RUN:
            return
        again = event.stage in self.stages and event.done < self.stages[event.stage].done
        if event.stage != self.stage or again:
            self._pace = Pace()
        self.stage = event.stage
        self.stages.setdefault(event.stage, Stage())

    def _arrive(self, arrival: Arrival) -> None:
        i = arrival.partition
        if i >= LARGEST:
            return
        self._grow(i + 1)
        before = STATES[self._states[i]]
        self.counts[before] -= 1
        self.counts[arrival.state] += 1
        self._states[i] = CODE[arrival.state]
        if arrival.rows is not None:
            self.rows += arrival.rows - (self._rows[i] if before in HERE else 0)
            self._rows[i] = arrival.rows
            self._seconds[i] = arrival.seconds
            self._log_likelihoods[i] = arrival.log_likelihood
        if arrival.reason:
            self._reasons[i] = arrival.reason
        elif arrival.state == "fitting":
            self._reasons.pop(i, None)

    def _learn(self, facts: Facts) -> None:
        """Take what is said beside counts and arrivals."""
        for place, value in (facts.get("memory") or {}).items():
            self.memory[place] = max(self.memory.get(place, 0), int(value))
        if "provisional" in facts:
            self.provisional = facts["provisional"]
        if "verdict" in facts:
            self.verdict = facts["verdict"]
        self.outcome |= {name: facts[name] for name in CLOSING if name in facts}

    def _partitions(self) -> dict[str, Any]:
        return {
            "state": list(self._states),
            "codes": {str(code): name for name, code in CODE.items()},
            "rows": list(self._rows),
            "log_likelihood": list(self._log_likelihoods),
            "seconds": list(self._seconds),
            "reason": {str(i): text for i, text in self._reasons.items()},
            "location": list(self.about.get("locations") or ()),
        }

    def _judged(self, verdict: Facts) -> dict[str, Any]:
        """Return the verdict with who was kept and dropped, which stands in the states."""
        found = {
            name: [i for i, code in enumerate(self._states) if code == CODE[name]]
            for name in ("kept", "dropped")
        }
        dropped = {str(i): self._reasons.get(i, "") for i in found["dropped"]}
        return {"kept": found["kept"], "dropped": dropped, **verdict}


def _stage(name: str, one: Stage) -> dict[str, Any]:
    return {
        "name": name,
        "done": one.done,
        "total": one.total,
        "failed": one.failed,
        "seconds": round(one.seconds, 3),
    }


def _count(value: Any) -> int:
    return value if type(value) is int and value >= 0 else 0
