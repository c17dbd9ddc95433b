"""Questions of a search or a check, put to partitions as tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dfmr_dask.aggregate.questions import (
    Answers,
    Count,
    Improve,
    Propose,
    Question,
    Resemble,
    Score,
    Terms,
)
from dfmr_dask.run import partition, resembling, rounds
from dfmr_dask.run.context import Context
from dfmr_dask.run.tasks import Failure, Key


def terms_of(context: Context) -> Terms:
    """Return what is known of all partitions before the first question."""
    asked, source = context.settings, context.source
    return Terms(
        asked.family,
        asked.n_components,
        source.n_features,
        asked.seed,
        len(source.plan),
        source.plan.rows,
        source.weighted,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Asking:
    """Puts questions to partitions that have drawn samples.

    Attributes
    ----------
    context : Context
    samples : mapping of partition to handle
    stage : str
        Names the tasks.
    honest : bool
        Nobody lies, even in a simulation.
    pilots : dict of partition to handle
        Of all who were asked to propose so far.
    """

    context: Context
    samples: Mapping[int, Any]
    stage: str = "start"
    honest: bool = False
    pilots: dict[int, Any] = field(default_factory=dict)

    def __call__(self, question: Question) -> Answers:
        """Put a question, and return the answers that it accepts."""
        handles = self._submitted(question)
        if isinstance(question, Propose):
            self.pilots.update(handles)
        came = self.context.gathered(self.stage, handles)
        terms = terms_of(self.context)
        return Answers(
            {i: value for i, value in came.items() if question.accepts(value, terms)},
            frozenset(value.reason for value in came.values() if isinstance(value, Failure)),
        )

    def pilot(self, i: int) -> Any:
        """Ask a partition to propose, and return the handle."""
        return self._submitted(Propose((i,)))[i]

    def _submitted(self, question: Question) -> dict[int, Any]:
        name, function, given = self._task(question)
        byzantine = frozenset(() if self.honest else self.context.byzantine)
        attack, submit = self.context.attack("proposals"), self.context.tasks.submit
        name = (*self.context.called, *name)
        handles = {}
        for i in question.partitions:
            said = () if isinstance(question, Count) else (attack if i in byzantine else None,)
            handles[i] = submit(self.stage, (*name, i), function, i, self.samples[i], *given, *said)
        return handles

    def _task(self, question: Question) -> tuple[Key, Callable[..., Any], tuple[Any, ...]]:
        """Return the name of the tasks, what they run, and what they are given in common."""
        local = self.context.local
        match question:
            case Count():
                return ("seen",), partition.seen, ()
            case Propose():
                return ("propose",), partition.propose, (local,)
            case Score():
                return (question.key, "B"), partition.score, (self._shared(question), local)
            case Improve():
                counts = question.together, question.iterations
                return (question.key,), rounds.improve, (self._shared(question), *counts, local)
            case Resemble():
                start = self.context.tasks.share(question.start)
                return (question.key,), resembling.resemble, (start, local)

    def _shared(self, question: Score | Improve) -> Any:
        return self.context.tasks.share(tuple(question.candidates))
