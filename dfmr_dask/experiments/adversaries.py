"""Byzantine partitions for simulations: what they answer, in every task that they are asked to do.

Attacks of ``dfmr_dask.corruption`` strike each partition alone. The adversaries here know the
optima of the honest rows, act together, and lie wherever a partition is asked for something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dfmr_dask.aggregate.distances import ctd
from dfmr_dask.aggregate.estimates import collect
from dfmr_dask.aggregate.questions import Improved, Scores
from dfmr_dask.aggregate.rounds import pilot_error
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run import partition, rounds
from dfmr_dask.run.tasks import InProcess, Key

Lie = Callable[[int, Any, tuple[Any, ...]], Any]
JITTER = 0.1  # standard deviations by which copies of one candidate differ
PULL = 0.2  # standard deviations by which colluders move all means
OWN = 5.0  # distance in units of sqrt(p / n) within which colluders take a candidate for theirs
COLLAPSE = 1e-8  # factor of covariances


def honest(i: int, answer: Any, args: tuple[Any, ...]) -> Any:
    """Say what is true."""
    return answer


@dataclass(frozen=True, slots=True)
class Lies:
    """What a Byzantine partition says in place of what it was asked for.

    Each lie is given the partition, the honest answer, and what the task was given.

    Attributes
    ----------
    propose, score, improve, fit : callable
        In place of its pilot, its scores, its results in a round, and its message.
    """

    propose: Lie = honest
    score: Lie = honest
    improve: Lie = honest
    fit: Lie = honest


@dataclass(frozen=True, slots=True)
class Attacked(InProcess):
    """Tasks in this process in which some partitions lie.

    Attributes
    ----------
    liars : frozenset of int
    lies : Lies
    truthful : InProcess
        Who finds out the honest answers.
    done : list of str
        Names of all tasks, in order.
    """

    liars: frozenset[int] = frozenset()
    lies: Lies = Lies()
    truthful: InProcess = field(default_factory=InProcess)
    done: list[str] = field(default_factory=list)

    def submit(self, stage: str, key: Key, function: Callable[..., Any], *args: Any) -> Any:
        """Run a task, and let liars answer something else."""
        self.done.append(function.__name__)
        answer = self.truthful.submit(stage, key, function, *args)
        tasks: dict[Any, Lie] = {
            partition.propose: self.lies.propose,
            partition.score: self.lies.score,
            rounds.improve: self.lies.improve,
            partition.fit: self.lies.fit,
        }
        lie = tasks.get(function)
        return lie(args[0], answer, args) if lie and args[0] in self.liars else answer


def proposing(mixture: Mixture, jitter: float = 0.0) -> Lie:
    """Propose a mixture; with jitter, each liar a copy with means moved by so many deviations."""

    def lie(i: int, answer: Any, args: tuple[Any, ...]) -> Any:
        return pulled(mixture, jitter, np.random.default_rng(i)) if jitter else mixture

    return lie


def praising(own: Callable[[Mixture], bool], by: float) -> Lie:
    """Score what is one's own candidate higher by so many nats, and all others lower."""

    def lie(i: int, answer: Any, args: tuple[Any, ...]) -> Any:
        signs = np.where([own(one) for one in args[2]], by, -by)
        return replace(answer, values=answer.values + signs)

    return lie


def pulling(by: float) -> Lie:
    """Move all means of every result by so many deviations, all liars in the same direction."""

    def lie(i: int, answer: Any, args: tuple[Any, ...]) -> Any:
        moved = tuple(one and pulled(one, by) for one in answer.mixtures)
        return replace(answer, mixtures=moved)

    return lie


def pulling_message(by: float) -> Lie:
    """Move all means of the estimate by so many deviations, too."""

    def lie(i: int, answer: Any, args: tuple[Any, ...]) -> Any:
        return replace(answer, mixture=answer.mixture and pulled(answer.mixture, by))

    return lie


def fitting_from(mixture: Mixture) -> Lie:
    """Send the estimate that EM reaches on the partition's own rows from another start."""

    def lie(i: int, answer: Any, args: tuple[Any, ...]) -> Any:
        _, reader, _, _, drawn, total_rows, settings, *_ = args
        return partition.fit(i, reader, mixture, None, drawn, total_rows, settings)

    return lie


def sending(mixture: Mixture) -> Lie:
    """Send a mixture as the estimate."""
    return lambda i, answer, args: replace(answer, mixture=mixture)


def pulled(mixture: Mixture, by: float, rng: np.random.Generator | None = None) -> Mixture:
    """Move means by so many deviations of their components: along a diagonal, or at random."""
    sd = np.sqrt(np.diagonal(mixture.params["covariances"], axis1=1, axis2=2))
    step = np.ones(sd.shape) if rng is None else rng.standard_normal(sd.shape)
    params = {**mixture.params, "means": mixture.params["means"] + by * step * sd}
    return Mixture(mixture.family, mixture.weights, params)


def collapsed(mixture: Mixture) -> Mixture:
    """Return a mixture of needles."""
    params = {**mixture.params, "covariances": mixture.params["covariances"] * COLLAPSE}
    return Mixture(mixture.family, mixture.weights, params)


def near(mixture: Mixture, rows: int) -> Callable[[Mixture], bool]:
    """Tell of a candidate whether it came from a mixture; pilots are fitted to so many rows."""

    def told(candidate: Mixture) -> bool:
        pair = [Message(i, "fitted", 1, 0, each) for i, each in enumerate((mixture, candidate))]
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            distance = ctd(collect(pair)[0])[0, 1]
        return bool(distance < OWN * np.sqrt(pilot_error(mixture, rows)))

    return told


def silent(i: int, answer: Any, args: tuple[Any, ...]) -> Any:
    """Answer with NaN and nothing."""
    if isinstance(answer, Scores):
        return replace(answer, values=np.full_like(answer.values, np.nan))
    if isinstance(answer, Improved):
        return replace(answer, mixtures=tuple(None for _ in answer.mixtures))
    if isinstance(answer, Message):
        return Message.failed(i, "nothing")
    return None


def garbage(i: int, answer: Any, args: tuple[Any, ...]) -> Any:
    """Answer something of another kind, or numbers that mean nothing."""
    rng = np.random.default_rng(i)
    if isinstance(answer, Scores):
        return replace(answer, values=rng.normal(scale=1e6, size=answer.values.shape))
    if isinstance(answer, Improved):
        moved = tuple(one and pulled(one, 1e3, rng) for one in answer.mixtures)
        return replace(answer, mixtures=moved, rows=10**9)
    if isinstance(answer, Message) and answer.mixture is not None:
        return replace(answer, mixture=pulled(answer.mixture, 1e3, rng))
    return "garbage" if i % 2 else rng.normal(size=5)


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """What adversaries know of a run.

    Attributes
    ----------
    worst : Mixture
        A converged optimum of the honest rows, far below the best.
    close : Mixture
        Another one, not far below the best.
    other : Mixture
        An optimum of another population's rows.
    rows : int
        Rows that a pilot is fitted to.
    """

    worst: Mixture
    close: Mixture
    other: Mixture
    rows: int


def _colluding(mixture: Mixture, rows: int, by: float, jitter: float = 0.0) -> Lies:
    """Propose a mixture, praise it, and send what it leads to on the partition's own rows."""
    return Lies(
        proposing(mixture, jitter),
        praising(near(mixture, rows), by),
        fit=fitting_from(mixture),
    )


def _collapsing(known: Knowledge) -> Lies:
    needles = collapsed(known.worst)
    praise = praising(near(needles, known.rows), 1e6)
    return Lies(proposing(needles), praise, fit=sending(needles))


ADVERSARIES: Mapping[str, Callable[[Knowledge], Lies]] = {
    "other population": lambda known: replace(_colluding(known.other, known.rows, 0.5), fit=honest),
    "worst, lies of .5": lambda known: _colluding(known.worst, known.rows, 0.5),
    "worst, lies of .02": lambda known: _colluding(known.worst, known.rows, 0.02),
    "close, lies of .5": lambda known: _colluding(known.close, known.rows, 0.5),
    "close, lies of .02": lambda known: _colluding(known.close, known.rows, 0.02),
    "close, copies": lambda known: _colluding(known.close, known.rows, 0.02, JITTER),
    "close, copies, pull": lambda known: replace(
        _colluding(known.close, known.rows, 0.02, JITTER), improve=pulling(PULL)
    ),
    "pull": lambda known: Lies(improve=pulling(PULL), fit=pulling_message(PULL)),
    "collapsed": _collapsing,
    "silent": lambda known: Lies(silent, silent, silent, silent),
    "garbage": lambda known: Lies(garbage, garbage, garbage, garbage),
}
OTHER_ROWS = frozenset({"other population"})  # whose partitions hold that population's rows
