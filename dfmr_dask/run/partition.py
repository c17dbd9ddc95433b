"""What runs inside the tasks of one partition: read, sample, propose, score, fit.

Each function takes a reader of the partition's own rows and returns plain values. Whatever goes
wrong with the rows becomes a reason, never an exception that stops the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.corruption import corrupted, corrupted_scores
from dfmr_dask.errors import DegenerateRows
from dfmr_dask.families.base import Family, Rows
from dfmr_dask.local import em, start
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.tasks import Failure, described

Reader = Callable[[], Rows] | Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """What a partition must know of the run; ``alone`` when there is no other one."""

    family: Family
    n_components: int
    features: tuple[str, ...]
    seed: int
    tol: float
    reg_covar: float
    max_iter: int
    n_init: int
    init_params: str
    alone: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Mean log density of a partition's sample B under each candidate, and rows it has seen."""

    values: NDArray[np.float64]
    rows_to_fit: int
    rows_to_score: int
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A partition's samples, and how many valid rows it drew them from."""

    sample: start.Sample
    rows: int


def draw(partition: int, reader: Reader, settings: LocalSettings) -> Drawn | Failure:
    """Draw the samples A and B of a partition."""
    try:
        x, _ = valid_rows(load(reader))
        _check_rows(x, settings)
        p = settings.family.n_parameters(settings.n_components, x.shape[1])
        least = settings.family.min_rows(settings.n_components, x.shape[1])
        rng = generator(settings.seed, Stage.SAMPLE, partition)
        return Drawn(start.draw_sample(x, p, rng, least=least, alone=settings.alone), len(x))
    except Exception as error:  # a bad partition is data
        return Failure(_told(error))


def seen(drawn: Drawn | Failure) -> int | Failure:
    """Return how many valid rows a partition has drawn its samples from."""
    return drawn.rows if isinstance(drawn, Drawn) else drawn


def propose(
    partition: int, drawn: Drawn | Failure, settings: LocalSettings, attack: str | None = None
) -> Mixture | Failure:
    """Return the partition's pilot."""
    if isinstance(drawn, Failure):
        return drawn
    try:
        pilot = start.propose(
            drawn.sample,
            settings.family,
            settings.n_components,
            generator(settings.seed, Stage.PROPOSE, partition),
            init_params=settings.init_params,
            n_init=settings.n_init,
            floor=settings.reg_covar,
        )
    except Exception as error:  # a bad partition is data
        return Failure(_told(error))
    if attack is None:
        return pilot
    return corrupted(pilot, attack, generator(settings.seed, Stage.CORRUPT_PROPOSAL, partition))


def score(
    partition: int,
    drawn: Drawn | Failure,
    candidates: Sequence[Mixture],
    settings: LocalSettings,
    attack: str | None = None,
) -> Scores | Failure:
    """Score candidates on the partition's sample B."""
    if isinstance(drawn, Failure):
        return drawn
    if not len(drawn.sample.score):
        return Failure(f"{drawn.rows} rows leave none to score candidates on")
    values = start.score(drawn.sample, candidates)
    if attack is not None:
        rng = generator(settings.seed, Stage.CORRUPT_SCORES, partition)
        values = corrupted_scores(values, rng)
    return Scores(values, len(drawn.sample.fit), len(drawn.sample.score), drawn.rows)


def fit(
    partition: int,
    reader: Reader,
    common: Mixture | None,
    own: Mixture | Failure | None,
    drawn: Drawn | Failure | None,
    total_rows: int | None,
    settings: LocalSettings,
    attack: str | None = None,
) -> Message:
    """Fit a partition in full and return its message.

    Parameters
    ----------
    partition : int
    reader : callable or array
    common : Mixture or None
        The common start; None lets the partition start from its own pilot (``paper``).
    own : Mixture or None
        The partition's own pilot, kept only where the common start is a disaster.
    drawn : Drawn or None
        Its samples.
    total_rows : int or None
        N of the penalty N^(-1/2); None takes the partition's own rows.
    settings : LocalSettings
    attack : str or None
        What a Byzantine partition says in place of its estimate.
    """
    began = time.perf_counter()
    rows = dropped = 0
    try:
        x, dropped = valid_rows(load(reader))
        rows = len(x)
        if not rows:
            return Message(partition, "empty", 0, dropped)
        _check_rows(x, settings)
        first, name = _start(partition, common, own, drawn, settings)
        local = em.fit(
            x,
            first,
            strength=(total_rows or rows) ** -0.5,
            floor=settings.reg_covar,
            tol=settings.tol,
            max_iter=settings.max_iter,
        )
    except Exception as error:  # a bad partition is data
        return Message.failed(partition, _told(error), rows, dropped)
    message = Message(
        partition,
        "fitted",
        rows,
        dropped,
        local.mixture,
        n_iter=local.n_iter,
        converged=local.converged,
        log_likelihood=local.log_likelihood,
        start=name,
        seconds=time.perf_counter() - began,
    )
    return message if attack is None else corrupted_message(message, attack, settings.seed)


def corrupted_message(message: Message, attack: str, seed: int) -> Message:
    """Return a Byzantine partition's message: its estimate replaced, the rest as it was."""
    if message.mixture is None:
        return message
    rng = generator(seed, Stage.CORRUPT_MESSAGE, message.partition)
    return replace(message, mixture=corrupted(message.mixture, attack, rng))


def log_likelihoods(reader: Reader, mixtures: Sequence[Mixture]) -> tuple[NDArray[np.float64], int]:
    """Sum the log density of a partition's valid rows under each mixture, and count them."""
    x, _ = valid_rows(load(reader))
    return np.array([mixture.log_density(x).sum() for mixture in mixtures]), len(x)


def load(reader: Reader) -> Rows:
    """Read the rows of a partition; blocks of Dask collections are here already."""
    return reader() if callable(reader) else reader


def valid_rows(x: Rows) -> tuple[Rows, int]:
    """Return the rows without NaN and infinity, and how many were left out."""
    if not np.issubdtype(x.dtype, np.floating):
        return x, 0
    valid = np.isfinite(x).all(axis=1)
    left_out = int(len(x) - np.count_nonzero(valid))
    return (x[valid], left_out) if left_out else (x, 0)


def _start(
    partition: int,
    common: Mixture | None,
    own: Mixture | Failure | None,
    drawn: Drawn | Failure | None,
    settings: LocalSettings,
) -> tuple[Mixture, str]:
    if common is None:
        pilot = propose(partition, drawn or Failure("no sample was drawn"), settings)
        if isinstance(pilot, Failure):
            raise DegenerateRows(pilot.reason)
        return pilot, "own"
    if isinstance(drawn, Drawn) and isinstance(own, Mixture):
        return start.guarded_start(drawn.sample, common, own)
    return common, "common"


def _check_rows(x: Rows, settings: LocalSettings) -> None:
    """Raise when rows are too few, or a feature does not vary."""
    needed = settings.family.min_rows(settings.n_components, len(settings.features))
    if len(x) < needed:
        raise DegenerateRows(
            f"{len(x)} valid rows; {settings.n_components} components of "
            f"{len(settings.features)} features need at least {needed}"
        )
    constant = np.flatnonzero((x == x[0]).all(axis=0))
    if len(constant):
        names = ", ".join(repr(settings.features[i]) for i in constant)
        raise DegenerateRows(f"constant in every row: feature {names}")


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, DegenerateRows) else described(error)
