"""How good an aggregator's answer is: its error, what it says of fresh rows, whom it has kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sklearn.metrics import adjusted_rand_score

from dfmr_dask.aggregate.aggregators import Aggregation, aggregate
from dfmr_dask.aggregate.gates import Rule
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.experiments.worlds import Labels
from dfmr_dask.families.base import Rows
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture

ORACLE = "oracle"
SCORES = ("error", "ari", "log_likelihood", "honest_kept", "byzantine_kept", "seconds")
Record = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """An aggregator that takes part.

    Attributes
    ----------
    name : str
        What it is called in the table.
    aggregator : str or callable
        As :func:`~dfmr_dask.aggregate.aggregators.aggregate` takes it.
    rule : Rule
        How ``dfmr`` filters.
    """

    name: str
    aggregator: str | Callable[..., Any] = "dfmr"
    rule: Rule = field(default_factory=Rule)


EVERYBODY = Contender("vanilla", "vanilla")


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """Who asks each aggregator, and says how good its answer is."""

    truth: Mixture
    rows: Rows
    labels: Labels | None
    known: dict[tuple[int, ...], Record] = field(default_factory=dict)

    def record(
        self, contender: Contender, messages: Sequence[Message], byzantine: Sequence[int]
    ) -> Record:
        """Return the name, scores and verdict of an aggregator, or why it gave no answer."""
        if contender.aggregator != ORACLE:
            return {"aggregator": contender.name, **self._judged(contender, messages, byzantine)}
        who = tuple(byzantine)  # what liars say does not reach the oracle
        if who not in self.known:
            self.known[who] = self._judged(EVERYBODY, without(messages, who), byzantine)
        return {"aggregator": contender.name, **self.known[who]}

    def _judged(
        self, contender: Contender, messages: Sequence[Message], byzantine: Sequence[int]
    ) -> Record:
        began = time.perf_counter()
        try:
            found = aggregate(messages, aggregator=contender.aggregator, rule=contender.rule)
        except Exception as problem:  # the others still answer, and the table tells of this one
            nothing = dict.fromkeys(SCORES, float("nan"))
            return {**nothing, "certified": False, "failure": _told(problem)}
        seconds = time.perf_counter() - began
        return {
            **self._scores(found.mixture),
            **_kept(found, {one.partition for one in messages}, byzantine),
            "seconds": seconds,
            "certified": found.verdict.certified,
            "failure": "",
        }

    def _scores(self, mixture: Mixture) -> Record:
        ari = float("nan")
        if self.labels is not None:
            ari = float(adjusted_rand_score(self.labels, mixture.labels(self.rows)))
        likelihood = mixture.score(self.rows)
        return {"error": error(mixture, self.truth), "ari": ari, "log_likelihood": likelihood}


def without(messages: Sequence[Message], byzantine: Collection[int]) -> list[Message]:
    """Return the messages of honest partitions."""
    return [one for one in messages if one.partition not in byzantine]


def _kept(found: Aggregation, asked: Collection[int], byzantine: Sequence[int]) -> Record:
    """Shares of the honest and of the Byzantine partitions that were kept."""
    kept, bad = set(found.verdict.kept), set(byzantine)
    honest = set(asked) - bad
    return {
        "honest_kept": len(kept & honest) / len(honest),
        "byzantine_kept": len(kept & bad) / len(bad) if bad else float("nan"),
    }


def _told(problem: Exception) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split())}"
