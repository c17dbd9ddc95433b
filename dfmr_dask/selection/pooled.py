"""The number of components from pooled samples: over-fit, merge down, climb at each order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Family, take
from dfmr_dask.local.em import Fit
from dfmr_dask.local.guesses import first_guess
from dfmr_dask.local.merging import Trial, cut, merged, repaired
from dfmr_dask.mixture import Mixture
from dfmr_dask.selection.curve import Selection, selected, told
from dfmr_dask.selection.hearing import Heard, Sample, heard, without_strangers

ROWS = 500  # of each partition at least
ROWS_A_PARAMETER, ROWS_A_PARAMETER_OF_ONE = 4, 2  # of all together; of one component in each
MOST_NUMBERS = 1 << 25  # in all rows together: 256 MiB
SHARE_TO_MERGE, LEAST_TO_MERGE = 0.25, 4000  # rows on which components are merged
MERGED_ITERATIONS, ITERATIONS, LAST_ITERATIONS = 20, 5, 40
LITTLE, CLOSE, TOL = 0.01, 0.5, 1e-5  # of the price of a component; nats a row
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
        largest = overfitted(trial, most, rng)
        fewer = without_strangers(found, largest)
        if fewer is found:  # what they bring may be too little to be seen in a quick fit
            fits = path(trial, largest)
            best = min(fits.values(), key=lambda one: _bic(trial, one))
            fewer = without_strangers(found, best.mixture)
            if fewer is found:
                return _curve(found, trial, parts, fits, min_gain)
        found = fewer
    trial, parts = _trial(found, family, floor)
    fits = path(trial, overfitted(trial, most, rng))
    return _curve(found, trial, parts, fits, min_gain)


def rows_wanted(family: Family, max_components: int, n_features: int, partitions: int) -> int:
    """Return how many rows of each partition are pooled.

    What a component gains must outweigh the penalty for its parameters: of 10 components in 50
    dimensions, BIC found 2 with .7 rows a parameter, 8 or 9 with 2, and all 10 with 4.

    Examples
    --------
    >>> from dfmr_dask.families import Gaussian
    >>> from dfmr_dask.selection.pooled import rows_wanted
    >>> rows_wanted(Gaussian(), 10, 2, 40), rows_wanted(Gaussian(), 10, 50, 40)
    (500, 2651)
    """
    p = family.n_parameters(max_components, n_features)
    each = ROWS_A_PARAMETER * p // max(1, partitions)
    wanted = max(ROWS, each, ROWS_A_PARAMETER_OF_ONE * p // max_components)
    return max(1, min(wanted, MOST_NUMBERS // (n_features * max(1, partitions))))


def overfitted(trial: Trial, most: int, rng: np.random.Generator) -> Mixture:
    """Return a mixture of the largest order, climbed on a part of the rows."""
    screen = _screen(trial)
    first = first_guess(
        screen.x, trial.family, most, rng, init_params="overfit",
        strength=screen.strength, floor=trial.floor, weight=screen.weight,
    )  # fmt: skip
    return screen.climbed(first, MERGED_ITERATIONS, LITTLE * _price(trial, most)).mixture


def path(trial: Trial, largest: Mixture) -> dict[int, Fit]:
    """Return a fit of every order, from 1 to that of a mixture.

    Components are merged on a part of the rows first. All rows then climb until a pass gains next
    to nothing beside what the BIC takes for a component; only around its smallest value they
    climb on.
    """
    most, here = largest.n_components, largest
    screen, tol = _screen(trial), LITTLE * _price(trial, most)
    found: dict[int, Fit] = {}
    for order in range(most, 0, -1):
        if order < most:
            here = screen.climbed(merged(here, order), MERGED_ITERATIONS, tol).mixture
        found[order] = trial.climbed(here, ITERATIONS, tol)
    return _refined(trial, _mended(trial, dict(sorted(found.items()))))


def _screen(trial: Trial) -> Trial:
    """Return the trial on the first rows, which are a random part of them."""
    few = min(len(trial.x), max(LEAST_TO_MERGE, int(SHARE_TO_MERGE * len(trial.x))))
    weight = None if trial.weight is None else trial.weight[:few]
    return Trial(trial.family, trial.x[:few], few**-0.5, trial.floor, weight)


def _mended(trial: Trial, found: Mapping[int, Fit]) -> dict[int, Fit]:
    """Split and merge where an order gains clearly less than the next one.

    Each further component usually gains less than the one before; where it does not, the fit may
    be a poor optimum, and ``min_gain`` would stop at it.
    """
    out, price = dict(found), _price(trial, max(found))
    for order in range(2, max(found)):
        before, here, after = (out[k].log_likelihood for k in (order - 1, order, order + 1))
        if (after - here) - (here - before) > CLOSE * price:
            other = repaired(trial, out[order], 1)
            out[order] = max(out[order], other, key=lambda one: one.log_likelihood)
    return out


def _refined(trial: Trial, found: dict[int, Fit]) -> dict[int, Fit]:
    """Climb on at the order of the smallest BIC and those close to it, until none is left."""
    margin = CLOSE * 2.0 * len(trial.x) * _price(trial, max(found))
    done: set[int] = set()
    while True:
        found = _rising(trial, found)
        least = min(_bic(trial, one) for one in found.values())
        near = [k for k, one in found.items() if _bic(trial, one) <= least + margin]
        left = [k for k in near if k not in done]
        if not left:
            return found
        for order in left:
            found[order] = trial.climbed(found[order].mixture, LAST_ITERATIONS, TOL)
        done |= set(left)


def _rising(trial: Trial, found: Mapping[int, Fit]) -> dict[int, Fit]:
    """Find another fit of an order that scores less than the one before: one of its components
    is cut in two.
    """
    out = dict(found)
    for order in found:
        if order + 1 not in out or out[order + 1].log_likelihood >= out[order].log_likelihood:
            continue
        fewer = out[order]
        same = replace(fewer, mixture=_doubled(fewer.mixture))
        others = [same, *_one_more(trial, fewer.mixture)]
        out[order + 1] = max(others, key=lambda one: one.log_likelihood)
    return out


def _one_more(trial: Trial, mixture: Mixture) -> list[Fit]:
    """Return a fit of one more component, if the rows carry the halves of all components."""
    order = mixture.n_components
    if len(trial.x) < trial.family.min_rows(2 * order, mixture.n_features):
        return []
    halves = trial.climbed(cut(trial, mixture), ITERATIONS).mixture
    return [trial.climbed(merged(halves, order + 1), LAST_ITERATIONS, TOL)]


def _doubled(mixture: Mixture) -> Mixture:
    """Return the same density with one more component: the heaviest one is there twice."""
    heaviest = int(mixture.weights.argmax())
    order = np.append(np.arange(mixture.n_components), heaviest)
    halves = np.where(order == heaviest, 0.5, 1.0)
    return Mixture(mixture.family, mixture.weights[order] * halves, take(mixture.params, order))


def _price(trial: Trial, most: int) -> float:
    """Return what the BIC takes for one more component, in nats a row."""
    n, d = trial.x.shape
    p = trial.family.n_parameters(most + 1, d) - trial.family.n_parameters(most, d)
    return float(p * np.log(n) / (2.0 * n))


def _bic(trial: Trial, found: Fit) -> float:
    n = len(trial.x)
    return float(found.mixture.n_parameters * np.log(n) - 2.0 * n * found.log_likelihood)


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
    fits: Mapping[int, Fit],
    min_gain: float | None,
) -> Selection:
    """Score every fit on the pooled rows, and choose."""
    mixtures = [one.mixture for one in fits.values()]
    scores = np.stack([one.log_density(trial.x) for one in mixtures], axis=1)
    counts = np.ones(len(trial.x)) if trial.weight is None else trial.weight
    pieces, mass = scores, counts
    if len(found.samples) >= FEW_PARTITIONS:
        mass = np.asarray(np.bincount(parts, weights=counts), dtype=np.float64)
        pieces = np.stack([np.bincount(parts, weights=counts * one) for one in scores.T], axis=1)
        pieces /= mass[:, None]
    parameters = [one.n_parameters for one in mixtures]
    chosen = selected(
        list(fits), pieces, mass, parameters, len(trial.x), scores=None, min_gain=min_gain
    )
    return told(chosen, found.left_out, list(found.samples), found.notes)
