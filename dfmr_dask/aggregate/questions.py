"""What partitions are asked while they agree, and what counts as an answer (METHOD 11).

A search for a start, or a check at the end, is a generator: it yields questions, is sent the
answers that count, and returns what it found. Whether tasks on a cluster answer, or files that
sites send, is nothing that it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Family
from dfmr_dask.mixture import Mixture

MOST_ROWS = 1 << 62  # no partition has that many; what claims more is no answer
MOST_MASS = 1e100
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Terms:
    """What is known of all partitions before the first question.

    Attributes
    ----------
    family : Family
    n_components, n_features : int
    seed : int
    n_partitions : int
    planned_rows : int or None
        Rows of all partitions; None where only they know them.
    weighted : bool
        Whether rows have weights.
    """

    family: Family
    n_components: int
    n_features: int
    seed: int
    n_partitions: int
    planned_rows: int | None = None
    weighted: bool = False

    def fit(self, mixture: Any) -> bool:
        """Tell whether something is a mixture of this family, order and number of features."""
        return (
            isinstance(mixture, Mixture)
            and mixture.family == self.family
            and mixture.n_components == self.n_components
            and mixture.n_features == self.n_features
        )


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Mean log density of a partition's sample B under each candidate, and rows it has seen.

    Attributes
    ----------
    values : ndarray of shape (candidates,)
        In nats a row.
    rows_to_fit, rows_to_score : int
        Of the samples A and B.
    rows : int
        Valid rows that the samples were drawn from.
    mass : float or None
        The sum of their weights; None where each row counts once.
    read : int
        All rows that were read.
    """

    values: NDArray[np.float64]
    rows_to_fit: int
    rows_to_score: int
    rows: int
    mass: float | None = None
    read: int = 0

    @property
    def mass_to_score(self) -> float:
        """What the rows of sample B count for, by the mean weight of the partition's rows."""
        return self.rows_to_score * (1.0 if self.mass is None else self.mass / max(1, self.rows))


@dataclass(frozen=True, slots=True, eq=False)
class Improved:
    """What a partition made of each candidate, and the rows of the sample that it used.

    Attributes
    ----------
    mixtures : tuple of (Mixture or None)
        None where the partition's rows cannot be reached from a candidate.
    rows : int
    """

    mixtures: tuple[Mixture | None, ...]
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class Resemblance:
    """What the rows of a partition's samples are like, seen from a start (EVIDENCE 11).

    Attributes
    ----------
    rows : float
        Rows of both samples; where they have weights, the number that says as much.
    means : ndarray of shape (q,)
        Of the K responsibilities, of the log density in nats, and of the d features: q = K + 1 + d.
    covariance : ndarray of shape (q, q)
        Of the same, from row to row.
    fitted_rows : float
        Rows of sample A.
    scores : ndarray of shape (3,)
        Mean log density of sample A in nats: under the start, with weights of its own, and after
        some EM iterations of everything from there.
    mixture : Mixture or None
        What these iterations end in; None where the rows cannot be reached.
    """

    rows: float
    means: NDArray[np.float64]
    covariance: NDArray[np.float64]
    fitted_rows: float
    scores: NDArray[np.float64]
    mixture: Mixture | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """How many valid rows have these partitions? The answer is an int."""

    partitions: Sequence[int]

    def accepts(self, value: Any, terms: Terms) -> bool:
        """Tell whether something is an answer."""
        return isinstance(value, int)


@dataclass(frozen=True, slots=True)
class Propose:
    """Where would these partitions start? The answer is a Mixture."""

    partitions: Sequence[int]

    def accepts(self, value: Any, terms: Terms) -> bool:
        """Tell whether something is an answer."""
        return terms.fit(value)


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """How well do candidates fit the samples B? The answer is :class:`Scores`.

    ``key`` names the question among those of a search.
    """

    partitions: Sequence[int]
    candidates: Sequence[Mixture]
    key: str = "score"

    def accepts(self, value: Any, terms: Terms) -> bool:
        """Tell whether a partition scored every candidate, and said on how many rows."""
        return (
            isinstance(value, Scores)
            and isinstance(value.values, np.ndarray)
            and value.values.dtype == np.float64
            and value.values.shape == (len(self.candidates),)
            and all(
                isinstance(rows, int) and 0 <= rows < MOST_ROWS
                for rows in (value.rows_to_fit, value.rows_to_score, value.rows, value.read)
            )
            and is_mass(value.mass, weighted=terms.weighted)
        )


@dataclass(frozen=True, slots=True, eq=False)
class Improve:
    """Where do EM iterations on the samples A lead? The answer is :class:`Improved`.

    ``together`` is how many rows all samples A have, which is what the penalty goes by.
    """

    partitions: Sequence[int]
    candidates: Sequence[Mixture]
    together: int
    iterations: int
    key: str

    def accepts(self, value: Any, terms: Terms) -> bool:
        """Tell whether a partition answered about every candidate, with a number of rows."""
        return (
            isinstance(value, Improved)
            and isinstance(value.mixtures, tuple)
            and len(value.mixtures) == len(self.candidates)
            and isinstance(value.rows, int)
            and 0 < value.rows < MOST_ROWS
        )


@dataclass(frozen=True, slots=True, eq=False)
class Resemble:
    """What are the samples like, seen from a start? The answer is a :class:`Resemblance`."""

    partitions: Sequence[int]
    start: Mixture
    key: str = "resemble"

    def accepts(self, value: Any, terms: Terms) -> bool:
        """Tell whether a partition described its samples in finite numbers that may be true."""
        q = self.start.n_components + 1 + self.start.n_features
        return (
            isinstance(value, Resemblance)
            and all(isinstance(n, float) and 1.0 <= n < MOST_ROWS for n in _counts(value))
            and _finite(value.means, (q,))
            and _finite(value.covariance, (q, q))
            and _finite(value.scores, (3,))
            and bool(np.all(np.diagonal(value.covariance) >= 0.0))
            and (value.mixture is None or terms.fit(value.mixture))
        )


Question = Count | Propose | Score | Improve | Resemble


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What partitions answered to a question.

    Attributes
    ----------
    heard : mapping of partition to answer
        Those that the question accepts, in the order of the partitions.
    reasons : frozenset of str
        Why others gave none.
    """

    heard: Mapping[int, Any]
    reasons: frozenset[str] = frozenset()


Steps = Generator[Question, Answers, Found]


def conclude(steps: Steps[Found], ask: Callable[[Question], Answers]) -> Found:
    """Answer question after question, until something is found.

    Examples
    --------
    >>> from dfmr_dask.aggregate.questions import Answers, Count, conclude
    >>> def largest():
    ...     answers = yield Count((0, 1, 2))
    ...     return max(answers.heard.values())
    >>> conclude(largest(), lambda question: Answers({i: 10 * i for i in question.partitions}))
    20
    """
    try:
        question = next(steps)
        while True:
            question = steps.send(ask(question))
    except StopIteration as done:
        found: Found = done.value
        return found


def is_mass(mass: Any, *, weighted: bool) -> bool:
    """Tell whether a partition may say so of the weight of its rows: only where rows have any.

    Where they have none, a liar would be the only one to claim a weight, and rule the total.
    """
    if mass is None:
        return True
    return weighted and isinstance(mass, float) and 0.0 < mass < MOST_MASS


def _counts(value: Resemblance) -> tuple[Any, Any]:
    return value.rows, value.fitted_rows


def _finite(value: Any, shape: tuple[int, ...]) -> bool:
    """Tell whether something is an array of that shape, of numbers that can be computed with."""
    return (
        isinstance(value, np.ndarray)
        and value.dtype == np.float64
        and value.shape == shape
        and bool(np.all(abs(value) < MOST_MASS))
    )
