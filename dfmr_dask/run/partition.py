"""What runs inside the tasks of one partition: read, sample, propose, score, fit.

Each function takes a reader of the partition's own rows and returns plain values. Whatever goes
wrong with the rows becomes a reason, never an exception that stops the run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.questions import Scores
from dfmr_dask.corruption import (
    Corruption,
    corrupted,
    corrupted_message,
    corrupted_scores,
)
from dfmr_dask.errors import DegenerateRows
from dfmr_dask.families.base import Family
from dfmr_dask.local import em, start
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.tasks import Failure, described
from dfmr_dask.run.valid import Reader, Valid, read_valid
from dfmr_dask.run.worker_log import logged

# A feature: of the common start, for each component, where partitions share components. Such a
# partition has few rows of some of them, which would fit noise, or what other components have.
PRIOR_ROWS = 3.0
ALL = 1.0 - 1e-9  # of the entries are there, up to rounding


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
    outliers: float | None = None
    dtype_work: str = "float64"
    most_components: int | None = None  # that samples are drawn for, where the order is chosen
    shared_components: bool = False  # partitions have weights of their own, and all else in common

    @property
    def order(self) -> start.Order:
        """What samples are drawn for: the largest order, where that is yet to be chosen."""
        return self.order_of(self.most_components or self.n_components)

    def order_of(self, n_components: int) -> start.Order:
        """Return what a start of so many components is wanted for."""
        return start.Order(self.family, n_components, len(self.features), self.alone)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A partition's samples, and what it drew them from.

    Attributes
    ----------
    sample : Sample
    rows : int
        Valid rows.
    mass : float or None
        The sum of their weights; None where each row counts once.
    read : int
        All rows that were read.
    """

    sample: start.Sample
    rows: int
    mass: float | None = None
    read: int = 0


@logged
def draw(partition: int, reader: Reader, settings: LocalSettings) -> Drawn | Failure:
    """Draw the samples A and B of a partition."""
    try:
        valid = read_valid(reader, settings.outliers, settings.family)
        x = valid.table
        _check_rows(valid, settings)
        rng = generator(settings.seed, Stage.SAMPLE, partition)
        sample = start.draw_sample(x, settings.order, rng, valid.weights)
        return Drawn(sample, len(x), valid.mass, valid.read)
    except Exception as error:  # a bad partition is data
        return Failure(_told(error))


def trimmed(drawn: Drawn | Failure, settings: LocalSettings) -> Drawn | Failure:
    """Return what a partition would have drawn for the order that was chosen since."""
    if isinstance(drawn, Failure):
        return drawn
    order = settings.order_of(settings.n_components)
    if drawn.rows < order.least:
        return Failure(_too_few(drawn.rows, order))
    return replace(drawn, sample=start.trimmed(drawn.sample, order, drawn.rows))


def seen(partition: int, drawn: Drawn | Failure) -> int | Failure:
    """Return how many valid rows a partition has drawn its samples from."""
    return drawn.rows if isinstance(drawn, Drawn) else drawn


@logged
def propose(
    partition: int,
    drawn: Drawn | Failure,
    settings: LocalSettings,
    attack: Corruption | None = None,
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
            alone=settings.alone,
        )
    except Exception as error:  # a bad partition is data
        return Failure(_told(error))
    if attack is None:
        return pilot
    lie: Any = corrupted(
        pilot,
        attack,
        generator(settings.seed, Stage.CORRUPT_PROPOSAL, partition),
        rows=len(drawn.sample.fit),
        shared=generator(settings.seed, Stage.COLLUDE),
        turn=partition,
    )
    return lie  # type: ignore[no-any-return]  # liars send what they like


@logged
def score(
    partition: int,
    drawn: Drawn | Failure,
    candidates: Sequence[Mixture],
    settings: LocalSettings,
    attack: Corruption | None = None,
) -> Scores | Failure:
    """Score candidates on the partition's sample B."""
    if isinstance(drawn, Failure):
        return drawn
    if not len(drawn.sample.score):
        return Failure(f"{drawn.rows} rows leave none to score candidates on")
    values = start.score(drawn.sample, candidates)
    if attack is not None:
        rng = generator(settings.seed, Stage.CORRUPT_SCORES, partition)
        values = corrupted_scores(values, rng, attack.attack)
    to_fit, to_score = len(drawn.sample.fit), len(drawn.sample.score)
    return Scores(values, to_fit, to_score, drawn.rows, drawn.mass, drawn.read)


@logged
def fit(
    partition: int,
    reader: Reader,
    common: Mixture | None,
    own: Mixture | Failure | None,
    drawn: Drawn | Failure | None,
    total_rows: int | None,
    settings: LocalSettings,
    attack: Corruption | None = None,
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
        N of the penalty N^(-1/2), the total weight; None takes the partition's own.
    settings : LocalSettings
    attack : Corruption or None
        What a Byzantine partition says in place of its estimate.
    """
    began = time.perf_counter()
    rows = dropped = 0
    try:
        valid = read_valid(reader, settings.outliers, settings.family)
        rows, dropped, mass = valid.rows, valid.dropped, valid.mass
        if not rows and valid.lost:
            return Message.failed(partition, f"none of its chunks can be read: {valid.why}")
        if not rows:
            return Message(partition, "empty", 0, dropped)
        _check_rows(valid, settings)
        first, name = _start(partition, common, own, drawn, settings)
        lean = settings.shared_components and name == "common"
        local = em.fit(
            valid.x,
            first,
            strength=(total_rows or mass or rows) ** -0.5,
            floor=settings.reg_covar,
            tol=settings.tol,
            max_iter=settings.max_iter,
            sample_weight=valid.weights,
            dtype_work=settings.dtype_work,
            prior_rows=PRIOR_ROWS * len(settings.features) if lean else 0.0,
        )
    except Exception as error:  # a bad partition is data
        return Message.failed(partition, _told(error), rows, dropped)
    message = Message(
        partition,
        "fitted",
        rows,
        dropped,
        local.mixture,
        reason=f"{valid.lost} rows were left out: {valid.why}" if valid.lost else "",
        n_iter=local.n_iter,
        converged=local.converged,
        log_likelihood=local.log_likelihood,
        start=name,
        seconds=time.perf_counter() - began,
        mass=mass,
        observed=local.observed if local.observed < ALL else None,
    )
    if attack is None:
        return message
    lie: Any = corrupted_message(message, attack, settings.seed, known=common)
    return lie  # type: ignore[no-any-return]  # liars send what they like


def log_likelihoods(
    reader: Reader, mixtures: Sequence[Mixture], outliers: float | None = None
) -> tuple[NDArray[np.float64], float]:
    """Sum the log density of a partition's valid rows under each mixture, and their weights.

    Without weights each row counts once. Outliers are left out as in the fit.
    """
    valid = read_valid(reader, outliers, mixtures[0].family)
    totals = np.zeros(len(mixtures))
    for x, weights in valid.blocks:
        mass = len(x) if weights is None else float(weights.sum())
        if mass:
            totals += mass * np.array([mixture.score(x, weights) for mixture in mixtures])
    return totals, valid.rows if valid.mass is None else valid.mass


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


def _check_rows(valid: Valid, settings: LocalSettings) -> None:
    """Raise when rows are too few, or a feature does not vary."""
    order = settings.order_of(settings.n_components)
    if valid.rows < order.least:
        raise DegenerateRows(_too_few(valid.rows, order))
    if settings.family.needs_spread and len(valid.constant):
        names = ", ".join(repr(settings.features[i]) for i in valid.constant)
        raise DegenerateRows(f"constant in every row: feature {names}")


def _too_few(rows: int, order: start.Order) -> str:
    wanted = f"{order.n_components} components of {order.n_features} features"
    return f"{rows} valid rows; {wanted} need at least {order.least}"


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, DegenerateRows) else described(error)
