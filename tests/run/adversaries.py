"""Partitions that lie while a common start is sought: doubles of what they answer in tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dfmr_dask.mixture import Mixture
from dfmr_dask.run import partition, rounds
from dfmr_dask.run.tasks import InProcess, Key

Lie = Callable[[int, Any, tuple[Any, ...]], Any]


def honest(i: int, answer: Any, args: tuple[Any, ...]) -> Any:
    """Say what is true."""
    return answer


@dataclass(frozen=True, slots=True)
class Lies:
    """What a liar says in place of its pilot, of its scores and of its results in a round."""

    propose: Lie = honest
    score: Lie = honest
    improve: Lie = honest


@dataclass(frozen=True, slots=True)
class Attacked(InProcess):
    """Tasks in this process in which some partitions lie."""

    liars: frozenset[int] = frozenset()
    lies: Lies = Lies()
    done: list[str] = field(default_factory=list)

    def submit(self, stage: str, key: Key, function: Callable[..., Any], *args: Any) -> Any:
        """Run a task, and let liars answer something else."""
        self.done.append(function.__name__)
        answer = InProcess.submit(self, stage, key, function, *args)
        tasks: dict[Any, Lie] = {
            partition.propose: self.lies.propose,
            partition.score: self.lies.score,
            rounds.improve: self.lies.improve,
        }
        lie = tasks.get(function)
        return lie(args[0], answer, args) if lie and args[0] in self.liars else answer


def proposing(mixture: Mixture, jitter: float = 0.0) -> Lie:
    """Propose a mixture; with jitter, each liar a copy with means moved by so many sds."""

    def lie(i: int, answer: Any, args: tuple[Any, ...]) -> Any:
        return pulled(mixture, jitter, np.random.default_rng(i)) if jitter else mixture

    return lie


def praising(near: Callable[[Mixture], bool], by: float) -> Lie:
    """Score what is near one's own candidate higher by some nats, and all others lower."""

    def lie(i: int, answer: Any, args: tuple[Any, ...]) -> Any:
        signs = np.where([near(one) for one in args[2]], by, -by)
        return replace(answer, values=answer.values + signs)

    return lie


def pulling(by: float) -> Lie:
    """Move all means of every result by so many sds, all liars in the same direction."""

    def lie(i: int, answer: Any, args: tuple[Any, ...]) -> Any:
        moved = tuple(one and pulled(one, by) for one in answer.mixtures)
        return replace(answer, mixtures=moved)

    return lie


def pulled(mixture: Mixture, by: float, rng: np.random.Generator | None = None) -> Mixture:
    """Move means by so many sds of their components: along a diagonal, or at random."""
    sd = np.sqrt(np.diagonal(mixture.params["covariances"], axis1=1, axis2=2))
    step = np.ones(sd.shape) if rng is None else rng.standard_normal(sd.shape)
    params = {**mixture.params, "means": mixture.params["means"] + by * step * sd}
    return Mixture(mixture.family, mixture.weights, params)
