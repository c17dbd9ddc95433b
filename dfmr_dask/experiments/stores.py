"""Pieces of a simulated store in memory, asked as a run asks its partitions, without a cluster."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.aggregators import Aggregation, aggregate
from dfmr_dask.aggregate.agreement import Agreement, agreement
from dfmr_dask.aggregate.gates import Rule
from dfmr_dask.aggregate.questions import (
    Answers,
    Count,
    Improve,
    Propose,
    Question,
    Resemble,
    Score,
    Terms,
    conclude,
)
from dfmr_dask.corruption import Corruption, lies
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.families.base import Rows
from dfmr_dask.likeness import Likeness, examined
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run import partition, resembling, rounds
from dfmr_dask.run.partition import Drawn, LocalSettings
from dfmr_dask.run.tasks import Failure

FULL = COVARIANCE_TYPES["full"]


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Rows of m pieces, some of which may lie, and what they are asked.

    Attributes
    ----------
    rows : tuple of arrays (n_j, d)
    n_components : int
    seed : int
    positions : ndarray of shape (m, n_dims), optional
    byzantine : frozenset of int
        Pieces that lie in what they say; bad rows stand in ``rows`` already.
    corruption : Corruption, optional
        How they lie.
    samples : dict of piece to Drawn
        Filled as they are needed.
    """

    rows: tuple[Rows, ...]
    n_components: int
    seed: int = 0
    positions: NDArray[np.float64] | None = None
    byzantine: frozenset[int] = frozenset()
    corruption: Corruption | None = None
    samples: dict[int, Drawn | Failure] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def local(self) -> LocalSettings:
        """What a piece knows of the run."""
        return LocalSettings(
            family=FULL,
            n_components=self.n_components,
            features=tuple(str(i) for i in range(self.rows[0].shape[1])),
            seed=self.seed,
            tol=1e-6,
            reg_covar=1e-6,
            max_iter=500,
            n_init=2,
            init_params="overfit",
        )

    @property
    def terms(self) -> Terms:
        """What is known before the first question."""
        total, d = sum(len(x) for x in self.rows), self.rows[0].shape[1]
        return Terms(FULL, self.n_components, d, self.seed, len(self), total)

    def agreed(self) -> Agreement:
        """Agree on a start, as a run does."""
        return conclude(agreement(self.terms, range(len(self))), self.ask)

    def examined(self, start: Mixture) -> Likeness:
        """Find out whether the pieces are alike."""
        return conclude(examined(self.terms, range(len(self)), start, self.positions), self.ask)

    def lying(self, byzantine: Collection[int], corruption: Corruption) -> Pieces:
        """Return the same pieces, some of which lie; samples are drawn already."""
        return replace(self, byzantine=frozenset(byzantine), corruption=corruption)

    def without(self, dropped: Collection[int]) -> Pieces:
        """Return the pieces that are left."""
        left = tuple(x for i, x in enumerate(self.rows) if i not in dropped)
        return Pieces(left, self.n_components, self.seed)

    def ask(self, question: Question) -> Answers:
        """Answer a question as the tasks of a run do."""
        came = {i: self._answer(i, question) for i in question.partitions}
        terms = self.terms
        return Answers(
            {i: value for i, value in came.items() if question.accepts(value, terms)},
            frozenset(one.reason for one in came.values() if isinstance(one, Failure)),
        )

    def _answer(self, i: int, question: Question) -> Any:
        strikes = self.corruption is not None and self.corruption.strikes("proposals")
        attack = self.corruption if strikes and i in self.byzantine else None
        drawn, local = self._drawn(i), self.local
        match question:
            case Count():
                return partition.seen(i, drawn)
            case Propose():
                return partition.propose(i, drawn, local, attack)
            case Score():
                return partition.score(i, drawn, question.candidates, local, attack)
            case Improve():
                counts = question.together, question.iterations
                return rounds.improve(i, drawn, question.candidates, *counts, local, attack)
            case Resemble():
                return resembling.resemble(i, drawn, question.start, local, attack)

    def _drawn(self, i: int) -> Drawn | Failure:
        if i not in self.samples:
            self.samples[i] = partition.draw(i, self.rows[i], self.local)
        return self.samples[i]

    def fitted(self, start: Mixture, shared_components: bool = False) -> list[Message]:
        """Fit every piece in full, honestly; as pieces that have weights of their own, or not."""
        total = sum(len(x) for x in self.rows)
        local = replace(self.local, shared_components=shared_components)
        return [
            partition.fit(i, x, start, None, None, total, local) for i, x in enumerate(self.rows)
        ]

    def told(self, messages: Sequence[Message], known: Mixture) -> list[Message]:
        """Return what everybody says of the fits."""
        if self.corruption is None:
            return list(messages)
        return lies(messages, self.corruption, self.byzantine, known=known, seed=self.seed)


def merged(
    messages: Sequence[Message], aggregator: str = "dfmr", weights: str = "shared"
) -> Aggregation:
    """Merge messages with the default rule."""
    return aggregate(messages, aggregator=aggregator, rule=Rule(weights=weights))


def interleaved(pieces: Pieces, parts: int, seed: int) -> Pieces:
    """Deal all rows of pieces at random into so many partitions."""
    rows = np.concatenate(pieces.rows)
    order = generator(seed, Stage.SHUFFLE).permutation(len(rows))
    dealt = tuple(rows[part] for part in np.array_split(order, parts))
    return Pieces(dealt, pieces.n_components, pieces.seed)
