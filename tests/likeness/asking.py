"""Pieces that answer in this process, without a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.questions import (
    Answers,
    Question,
    Resemblance,
    Resemble,
    Score,
    Scores,
    Terms,
    conclude,
)
from dfmr_dask.families import DiagonalGaussian
from dfmr_dask.likeness import Likeness, examined
from dfmr_dask.local.resemblance import resemblance
from dfmr_dask.local.start import Sample, score
from dfmr_dask.mixture import Mixture

Array = NDArray[Any]
FAMILY = DiagonalGaussian()
Lie = Callable[[Resemblance], Any]


def mixture(weights: Sequence[float], means: Any) -> Mixture:
    """Unit variances about some means (K, d)."""
    centers = np.asarray(means, dtype=np.float64)
    return Mixture(FAMILY, weights, {"means": centers, "variances": np.ones_like(centers)})


START = mixture([0.3, 0.5, 0.2], [[0.0, 0.0], [4.0, 0.0], [0.0, 5.0]])


def drawn(
    m: int, n: int = 300, seed: int = 0, truth: Mixture = START, drift: float | None = None
) -> list[Array]:
    """Draw m pieces of n rows, with weights of their own where they drift."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(m):
        here = truth
        if drift is not None:
            weights = np.maximum(rng.dirichlet(drift * truth.weights), 1e-9)
            here = Mixture(truth.family, weights / weights.sum(), truth.params)
        out.append(here.sample(n, rng)[0])
    return out


def answers(pieces: Sequence[Array], start: Mixture) -> dict[int, Resemblance]:
    """Return what honest pieces say."""
    return {i: resemblance(_sample(x), start) for i, x in enumerate(pieces)}


def asked(
    pieces: Sequence[Array],
    start: Mixture = START,
    positions: Array | None = None,
    lies: Mapping[int, Lie] | None = None,
) -> Likeness:
    """Examine pieces; some of them lie about what they are like."""
    terms = Terms(start.family, start.n_components, start.n_features, 0, len(pieces))

    def ask(question: Question) -> Answers:
        came = {i: _answer(pieces[i], question) for i in question.partitions}
        if isinstance(question, Resemble):
            came |= {i: lie(came[i]) for i, lie in (lies or {}).items()}
        return Answers({i: one for i, one in came.items() if question.accepts(one, terms)})

    return conclude(examined(terms, range(len(pieces)), start, positions), ask)


def claiming(**what: Any) -> Lie:
    """Lie about some of it."""
    return lambda said: replace(said, **what)


def _sample(x: Array) -> Sample:
    return Sample(x[: 2 * len(x) // 3], x[2 * len(x) // 3 :])


def _answer(x: Array, question: Question) -> Any:
    if isinstance(question, Score):
        return Scores(score(_sample(x), question.candidates), len(x), len(x), len(x))
    assert isinstance(question, Resemble)
    return resemblance(_sample(x), question.start)
