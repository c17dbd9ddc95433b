"""The number of components from pooled samples: over-fit, merge down, climb at each order."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Family
from dfmr_dask.local.guesses import first_guess
from dfmr_dask.local.merging import Trial, merged
from dfmr_dask.mixture import Mixture
from dfmr_dask.selection.curve import Selection, selected, told
from dfmr_dask.selection.hearing import Heard, Sample, heard, without_strangers

ROWS = 500  # of each partition
ITERATIONS, TOL = 40, 1e-5  # nats a row
ROUNDS = 3  # of fits, while strangers are found among the samples
FEW_PARTITIONS = 10  # below which errors come from the spread between rows


def pooled(
    samples: Mapping[int, Sample],
    family: Family,
    n_features: int,
    max_components: int,
    rng: np.random.Generator,
    *,
    min_gain: float | None = None,
    rows: int = ROWS,
    floor: float = 1e-6,
    shared_weights: bool = True,
) -> Selection:
    """Choose the number of components from random rows of every partition.

    Parameters
    ----------
    samples : mapping of partition to Sample
        Less than half of them may hold anything at all.
    family : Family
    n_features : int
    max_components : int
        The largest order that is tried; fewer where the rows cannot carry it.
    rng : Generator
    min_gain : float, optional
        Nats a row that a further component must bring.
    rows : int
        That count of each partition, at most.
    floor : float
        Smallest eigenvalue of a covariance in units of the rows' variances.
    shared_weights : bool
        Whether honest partitions share the weights of the components.

    Returns
    -------
    Selection
        Its BIC counts the pooled rows.

    Raises
    ------
    TooFewMessages
        When half of the partitions, or more, sent nothing usable.

    References
    ----------
    EVIDENCE 9.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import Gaussian
    >>> from dfmr_dask.selection.hearing import Sample
    >>> from dfmr_dask.selection.pooled import pooled
    >>> rng = np.random.default_rng(0)
    >>> def drawn():
    ...     return Sample(rng.choice([0.0, 9.0, 30.0], (100, 1)) + rng.standard_normal((100, 1)))
    >>> pooled({i: drawn() for i in range(12)}, Gaussian(), 1, 6, rng).n_components
    3
    """
    found = heard(samples, family, n_features, rows, floor=floor, shared_weights=shared_weights)
    most = _most(found, family, n_features, max_components)
    for _ in range(ROUNDS):
        trial, parts = _trial(found, family, floor)
        fits = path(trial, most, rng)
        fewer = without_strangers(found, fits[most])
        if fewer is found:
            break
        found = fewer
    return _curve(found, trial, parts, fits, min_gain)


def rows_wanted(family: Family, max_components: int, n_features: int, partitions: int) -> int:
    """Return how many rows of each partition are pooled."""
    return ROWS


def path(trial: Trial, most: int, rng: np.random.Generator) -> dict[int, Mixture]:
    """Return a fit of every order from 1 to ``most``."""
    here = first_guess(
        trial.x, trial.family, most, rng, init_params="overfit",
        strength=trial.strength, floor=trial.floor, weight=trial.weight,
    )  # fmt: skip
    found: dict[int, Mixture] = {}
    for order in range(most, 0, -1):
        here = merged(here, order) if here.n_components > order else here
        here = trial.climbed(here, ITERATIONS, TOL).mixture
        found[order] = here
    return dict(sorted(found.items()))


def _most(found: Heard, family: Family, n_features: int, wanted: int) -> int:
    """Return the largest order that the rows can carry."""
    rows = sum(len(one) for one in found.samples.values())
    able = (k for k in range(wanted, 1, -1) if family.min_rows(k, n_features) <= rows)
    return next(able, 1)


def _trial(found: Heard, family: Family, floor: float) -> tuple[Trial, NDArray[np.intp]]:
    """Put the samples below each other; return with them the place of each row's partition."""
    samples = list(found.samples.values())
    x = np.concatenate([one.rows for one in samples])
    weighted = any(one.weights is not None for one in samples)
    weights = np.concatenate([_weights(one) for one in samples]) if weighted else None
    parts = np.repeat(np.arange(len(samples)), [len(one) for one in samples])
    order = np.argsort(np.concatenate([np.arange(len(one)) for one in samples]), kind="stable")
    few = None if weights is None else weights[order]
    return Trial(family, x[order], len(x) ** -0.5, floor, few), parts[order]


def _weights(sample: Sample) -> NDArray[np.float64]:
    return np.ones(len(sample)) if sample.weights is None else sample.weights


def _curve(
    found: Heard,
    trial: Trial,
    parts: NDArray[np.intp],
    fits: Mapping[int, Mixture],
    min_gain: float | None,
) -> Selection:
    """Score every fit on the pooled rows, and choose."""
    scores = np.stack([one.log_density(trial.x) for one in fits.values()], axis=1)
    counts = np.ones(len(trial.x)) if trial.weight is None else trial.weight
    pieces, mass = scores, counts
    if len(found.samples) >= FEW_PARTITIONS:
        mass = np.asarray(np.bincount(parts, weights=counts), dtype=np.float64)
        pieces = np.stack([np.bincount(parts, weights=counts * one) for one in scores.T], axis=1)
        pieces /= mass[:, None]
    parameters = [one.n_parameters for one in fits.values()]
    chosen = selected(
        list(fits), pieces, mass, parameters, len(trial.x), scores=None, min_gain=min_gain
    )
    return told(chosen, found.left_out, list(found.samples), found.notes)
