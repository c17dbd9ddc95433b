"""Where a fit starts: samples, pilots, scores (METHOD 11, steps 1 to 3 and 7).

Partitions fitted from starts of their own end in different optima, whose average is no optimum.
So each partition proposes a pilot from a small sample, all score all pilots, and the vote in
``dfmr_dask.aggregate.vote`` names the one where everybody starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import DegenerateRows
from dfmr_dask.families.base import Family, Rows
from dfmr_dask.local.guesses import STARTS, first_guess, is_wide, most_split
from dfmr_dask.local.merging import Trial, merged, repaired
from dfmr_dask.mixture import Mixture

__all__ = [
    "STARTS",
    "Order",
    "Sample",
    "draw_sample",
    "first_guess",
    "guarded_start",
    "merged",
    "propose",
    "score",
    "trimmed",
]

ROWS_TO_FIT = 2000  # sample A at least, where the partition has them
ROWS_A_PARAMETER = 17  # 17 rows a parameter were safe against colluders, 8 were not
RICH_ROWS, RICH_ROWS_A_PARAMETER = 5000, 38  # where that is cheap, pilots find better optima
ROWS_TO_SCORE = 1000  # sample B at most
SHARE_TO_FIT = 0.67
ROWS_ALONE, ROWS_A_PARAMETER_ALONE = 10_000, 2  # nobody else to vote with, none to collude
SHARE_TO_SCREEN = 0.5  # of A, on which the starts are tried before one goes on
TRIED_ITERATIONS, PILOT_ITERATIONS = 3, 10
ROUNDS, ROUNDS_ALONE = (0, 1), (1, 6)  # of repairs at most: of each start, and of the best one
PILOT_TOL = 1e-5  # nats a row
GUARD = 0.05  # nats a row by which a partition's own pilot must beat the common start
Weighed = tuple[NDArray[Any], NDArray[np.float64] | None]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Two disjoint random samples of a partition: A to fit on, B to score on.

    Their weights have mean 1 in each; None where each row counts once.
    """

    fit: NDArray[Any]
    score: NDArray[Any]
    fit_weight: NDArray[np.float64] | None = None
    score_weight: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """What a start is wanted for: how large samples must be follows from it.

    Parameters
    ----------
    family : Family
    n_components : int
    n_features : int
    alone : bool
        Whether there is no other partition. It has nobody to score for then, and tries its starts
        on more rows where features are few.
    """

    family: Family
    n_components: int
    n_features: int
    alone: bool = False

    @property
    def least(self) -> int:
        """Rows that a fit needs at the very least."""
        return self.family.min_rows(self.n_components, self.n_features)

    def sample_sizes(self, rows: int) -> tuple[int, int]:
        """Return the sizes of A and B in a partition of so many rows.

        Examples
        --------
        >>> from dfmr_dask.families import Gaussian
        >>> from dfmr_dask.local.start import Order
        >>> Order(Gaussian(), 5, 10).sample_sizes(5000)
        (3350, 1000)
        """
        to_fit, to_score = self._wanted()
        if self.alone:
            return min(to_fit, rows), min(to_score, rows)
        to_fit = min(to_fit, max(int(SHARE_TO_FIT * rows), min(self.least, rows)))
        return to_fit, min(to_score, rows - to_fit)

    def _wanted(self) -> tuple[int, int]:
        """Return the sizes of A and B where rows are as many as anybody wants."""
        if is_wide(self.family, self.n_features):  # few rows tell the groups, the fit does the rest
            most = most_split(self.n_components, self.n_features)
            return most, min(ROWS_TO_SCORE, most // 2)
        p = self.family.n_parameters(self.n_components, self.n_features)
        if self.alone:
            return max(ROWS_ALONE, ROWS_A_PARAMETER_ALONE * p, self.least), ROWS_TO_SCORE
        rich = min(RICH_ROWS, RICH_ROWS_A_PARAMETER * p)
        return max(ROWS_TO_FIT, ROWS_A_PARAMETER * p, rich), ROWS_TO_SCORE


def draw_sample(
    x: Rows,
    order: Order,
    rng: np.random.Generator,
    weights: NDArray[np.float64] | None = None,
) -> Sample:
    """Draw A and B from valid rows (n, d) with their weights; see :class:`Order`."""
    to_fit, to_score = order.sample_sizes(len(x))
    mixed = rng.permutation(len(x))
    a = mixed[:to_fit]
    # From the end, so that neither sample moves when the other, or the order, is another one.
    b = mixed[:to_score] if order.alone else mixed[len(x) - to_score :][::-1]
    if weights is None:
        return Sample(x[a], x[b])
    # of mean 1, so that a pilot's penalty, set by the rows of its sample, fits them
    scaled = (weights[part] / weights[part].sum() * len(part) for part in (a, b))
    return Sample(x[a], x[b], *scaled)


def trimmed(sample: Sample, order: Order, rows: int) -> Sample:
    """Return the samples that would have been drawn for a smaller order, of the same rows.

    Parameters
    ----------
    sample : Sample
        Drawn for more components.
    order : Order
    rows : int
        That it was drawn from.
    """
    to_fit, to_score = order.sample_sizes(rows)
    a, b = _parts(sample, to_fit, to_score)
    return Sample(sample.fit[:to_fit], b[0], _of_mean_one(a[1]), _of_mean_one(b[1]))


def _parts(sample: Sample, to_fit: int, to_score: int) -> tuple[Weighed, Weighed]:
    """Return the first rows of A, and those of B, which goes on backwards through A."""
    back = max(0, to_score - len(sample.score))
    score = np.concatenate([sample.score, sample.fit[::-1][:back]])[:to_score]
    if sample.fit_weight is None or sample.score_weight is None:
        return (sample.fit[:to_fit], None), (score, None)
    both = np.concatenate([sample.score_weight, sample.fit_weight[::-1][:back]])[:to_score]
    return (sample.fit[:to_fit], sample.fit_weight[:to_fit]), (score, both)


def _of_mean_one(weights: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    return None if weights is None else weights / weights.sum() * len(weights)


def propose(
    sample: Sample,
    family: Family,
    n_components: int,
    rng: np.random.Generator,
    *,
    init_params: str = "overfit",
    n_init: int = 2,
    floor: float = 1e-6,
    alone: bool = False,
) -> Mixture:
    """Return a pilot: the best of ``n_init`` starts on half of A, repaired and climbed on A.

    Parameters
    ----------
    sample : Sample
    family : Family
    n_components : int
    rng : Generator
    init_params : {"overfit", "k-means++", "kmeans", "random"}
        How a start is found, see :data:`STARTS`. Only the pilot of ``overfit`` is repaired by
        splits and merges; the others are the starts of that name, and no more. Of discrete rows of
        many columns, ``overfit`` splits the rows along principal components instead, once.
    n_init : int
        Starts that are tried; the one goes on that has the fewest components with fewer rows
        than parameters, and among such the best penalised likelihood.
    floor : float
    alone : bool
        Repair each start, and the best one as long as that helps (some rounds at most), since
        no other partition's pilot can stand in; otherwise the best one only, and once.

    Raises
    ------
    DegenerateRows
        When the sample cannot carry a fit of that order.

    References
    ----------
    METHOD 11, step 2; :func:`dfmr_dask.local.merging.repaired`.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.local.start import Order, draw_sample, propose
    >>> rng = np.random.default_rng(0)
    >>> rows = np.repeat([0.0, 20.0, 90.0], 200)[:, None] + rng.standard_normal((600, 1))
    >>> sample = draw_sample(rows, Order(DiagonalGaussian(), 3, 1, alone=True), rng)
    >>> pilot = propose(sample, DiagonalGaussian(), 3, rng, alone=True)
    >>> np.sort(pilot.params["means"].ravel()).round() + 0.0
    array([ 0., 20., 90.])
    """
    x, weight = _counted(sample)
    rows, d = x.shape
    wide = is_wide(family, d)
    if rows < family.min_rows(n_components, d):
        raise DegenerateRows(
            f"a sample of {rows} rows; {n_components} components of {d} features "
            f"need at least {family.min_rows(n_components, d)}"
        )
    few = min(rows, max(int(SHARE_TO_SCREEN * rows), family.min_rows(2 * n_components, d)))
    screen, whole = (
        Trial(family, x[:size], size**-0.5, floor, None if weight is None else weight[:size])
        for size in (few, rows)  # rows lie in random order, so that the first ones are a sample
    )
    tries = [
        first_guess(
            screen.x,
            family,
            n_components,
            rng,
            init_params=init_params,
            strength=screen.strength,
            floor=floor,
            weight=screen.weight,
        )
        for _ in range(1 if wide and init_params == "overfit" else n_init)
    ]
    repairs = init_params == "overfit" and not wide
    before, after = (ROUNDS_ALONE if alone else ROUNDS) if repairs else (0, 0)
    found = [repaired(screen, screen.climbed(one, TRIED_ITERATIONS), before) for one in tries]
    best = max(found, key=screen.standing)
    pilot = repaired(whole, whole.climbed(best.mixture, TRIED_ITERATIONS, PILOT_TOL), after)
    return whole.climbed(pilot.mixture, PILOT_ITERATIONS, PILOT_TOL).mixture


def score(sample: Sample, pilots: Sequence[Mixture]) -> NDArray[np.float64]:
    """Return the mean log density of B under each pilot, in nats a row."""
    return np.array([pilot.score(sample.score, sample.score_weight) for pilot in pilots])


def guarded_start(sample: Sample, common: Mixture, own: Mixture | None) -> tuple[Mixture, str]:
    """Return the common start, or the partition's own pilot where that is better by far.

    The guard stops disasters only; keeping own optima would bring different basins back.
    """
    if own is None:
        return common, "common"
    common_score, own_score = score(sample, [common, own])
    return (own, "own") if own_score - common_score > GUARD else (common, "common")


def _counted(sample: Sample) -> tuple[Rows, NDArray[np.float64] | None]:
    """Return the rows of A that count, and weights of mean 1 among them."""
    if sample.fit_weight is None:
        return sample.fit, None
    counts = sample.fit_weight > 0.0
    weight = sample.fit_weight[counts]
    return sample.fit[counts], weight * (len(weight) / max(weight.sum(), np.finfo(float).tiny))
