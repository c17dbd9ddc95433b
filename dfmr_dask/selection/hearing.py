"""Whose samples are pooled: less than half of the partitions may send rows of their invention.

Two verdicts. The first is the usual one, on the mean and the covariance of each sample: it finds
what a filter finds at K = 1. Rows that imitate both and are of another shape are found after a
first fit: an over-fitted mixture has components for what liars bring, and honest partitions have no
rows there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dfmr_dask.aggregate.aggregators import aggregate
from dfmr_dask.aggregate.blockwise import squared_distances
from dfmr_dask.aggregate.center import LEVEL, coat, inside, wilson_hilferty_cut
from dfmr_dask.aggregate.distances import per_row
from dfmr_dask.errors import DfmrError, TooFewMessages
from dfmr_dask.families.base import Family, Rows
from dfmr_dask.kernels import overall_statistics
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture

NO_ROWS = (ArithmeticError, ValueError, TypeError, LookupError)  # from what is no array of rows
LARGEST = 1e50  # a number whose square is one
FEWEST_VOICES = 4  # among fewer none can be told from the others
MARGIN = 1.2  # of what theory has for the distance of two honest samples
UNLIKE = 12.0  # times theory's mean square at K = 1: then partitions are not alike, and all count


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows (n, d) of a partition in random order, and how often each counts (None: once)."""

    rows: Rows
    weights: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """Samples that count, why others do not, and what is to be said of it.

    Attributes
    ----------
    samples : mapping of partition to Sample
    left_out : mapping of partition to reason
    notes : tuple of str
    alike : bool
        Whether they may be samples of one population, so that who stands apart may go.
    """

    samples: Mapping[int, Sample]
    left_out: Mapping[int, str]
    notes: tuple[str, ...] = ()
    alike: bool = True


def heard(
    samples: Mapping[int, Sample],
    family: Family,
    n_features: int,
    most_rows: int,
    *,
    floor: float = 1e-6,
    shared_weights: bool = True,
) -> Heard:
    """Leave out samples that are none, and those unlike the others' in mean and covariance.

    Where the partitions differ by far more than sampling noise, nobody is left out: they are not
    alike, and an honest one may look like any liar.

    Parameters
    ----------
    samples : mapping of partition to Sample
        What partitions have sent.
    family : Family
    n_features : int
    most_rows : int
        What is sent beyond counts for nothing.
    floor : float
        Smallest eigenvalue of a covariance in units of the sample's variances.
    shared_weights : bool
        Whether honest partitions share the weights of the components; else nobody is left out for
        the mean of its rows.

    Raises
    ------
    TooFewMessages
        When half of the partitions, or more, sent nothing usable.

    References
    ----------
    METHOD 12; EVIDENCE 9 and 11.
    """
    fits, usable, left_out = list[Mixture](), dict[int, Sample](), dict[int, str]()
    for i, sample in samples.items():
        try:
            checked, one = _checked(sample, family, n_features, most_rows, floor)
            usable[i] = checked
            fits.append(one)
        except (DfmrError, *NO_ROWS) as error:
            left_out[i] = f"its sample cannot be used: {error}"[:200]
    if len(left_out) >= max(1, len(usable)):
        some = next(iter(left_out.values()), "no sample came")
        raise TooFewMessages(
            f"{len(usable)} of {len(samples)} partitions sent a sample that can be used; more than "
            f"half are needed to choose the number of components. One of the others: {some}"
        )
    if not shared_weights:
        note = "weights are free: every usable sample counts in the choice of n_components"
        return Heard(usable, left_out, (note,), alike=False)
    return _judged(fits, usable, left_out)


def _judged(
    fits: Sequence[Mixture], usable: Mapping[int, Sample], left_out: Mapping[int, str]
) -> Heard:
    """Pass the verdict at K = 1."""
    ids = list(usable)
    messages = [
        Message(place, "fitted", len(usable[i]), mixture=one)
        for place, (i, one) in enumerate(zip(ids, fits, strict=True))
    ]
    verdict = aggregate(messages).verdict
    wide = max((gate.level for gate in verdict.gates), default=0.0)
    if wide > UNLIKE:
        note = (
            f"means and covariances of the partitions' samples spread {wide**0.5:.1f} times as "
            "wide as sampling noise: all samples were pooled to choose n_components, and rows of "
            "bad partitions are among them"
        )
        return Heard(usable, left_out, (note,), alike=False)
    kept = {ids[place]: usable[ids[place]] for place in verdict.kept}
    said = {ids[place]: f"at K = 1: {why}" for place, why in verdict.dropped.items()}
    return Heard(kept, {**left_out, **said})


def without_strangers(found: Heard, mixture: Mixture) -> Heard:
    """Leave out samples that fill the components of a fit in other proportions than the majority.

    Parameters
    ----------
    found : Heard
    mixture : Mixture
        Fitted to all samples there, with more components than are needed.

    Returns
    -------
    Heard
        The same object where nobody stands apart.

    References
    ----------
    METHOD 12, step 4, with mean responsibilities in place of weights; METHOD 4 and 5.
    """
    if not found.alike or len(found.samples) < FEWEST_VOICES or mixture.n_components == 1:
        return found
    shares = np.stack([_shares(mixture, one) for one in found.samples.values()])
    near = _majority(shares, np.array([float(len(one)) for one in found.samples.values()]))
    if near.all():
        return found
    ids = np.array(list(found.samples))
    said = dict.fromkeys(ids[~near].tolist(), "its rows lie elsewhere than those of the majority")
    kept = {int(i): found.samples[int(i)] for i in ids[near]}
    return Heard(kept, {**found.left_out, **said}, found.notes)


def _majority(shares: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell whose shares (m, K) are the majority's; of few partitions the spread tells little, and
    what theory has at most is the cut: mean responsibilities spread less than counts.
    """
    m, degrees = len(shares), shares.shape[1] - 1
    squares = squared_distances(2.0 * np.sqrt(shares), None) / degrees
    distances = per_row(np.sqrt(squares), rows)
    ball = coat(distances)
    far = distances[ball.center]
    theory = float(np.sqrt(MARGIN * stats.chi2.ppf(1.0 - LEVEL / m, degrees) / degrees))
    cut = min(wilson_hilferty_cut(far, ball, LEVEL / m), theory)
    return inside(far, max(cut, ball.radius))


def _shares(mixture: Mixture, sample: Sample) -> NDArray[np.float64]:
    return np.average(mixture.responsibilities(sample.rows), axis=0, weights=sample.weights)


def _checked(
    sample: Sample, family: Family, n_features: int, most_rows: int, floor: float
) -> tuple[Sample, Mixture]:
    """Return the rows that count, and the mixture of one component that fits them."""
    rows = np.asarray(sample.rows)[:most_rows]
    weights = None if sample.weights is None else np.asarray(sample.weights)[:most_rows]
    if rows.dtype.kind not in "fiu" or rows.ndim != 2 or rows.shape[1] != n_features:
        raise ValueError(f"{rows.dtype} of shape {rows.shape}; wanted rows of {n_features} numbers")
    if weights is not None:
        weights = _checked_weights(weights, len(rows))
        rows, weights = rows[weights > 0.0], weights[weights > 0.0]
        weights = weights / weights.mean()
    if len(rows) < family.min_rows(1, n_features):
        raise ValueError(f"{len(rows)} rows; wanted {family.min_rows(1, n_features)} at least")
    if why := family.complaint(rows):
        raise ValueError(why)
    largest = float(np.abs(np.where(np.isnan(rows), 0.0, rows)).max(initial=0.0))
    if not (family.usable(rows).all() and largest <= LARGEST):
        raise ValueError(f"NaN, infinity, or numbers beyond {LARGEST:g} among its rows")
    return Sample(rows, weights), one_component(family, rows, weights, floor)


def one_component(
    family: Family, rows: Rows, weights: NDArray[np.float64] | None, floor: float
) -> Mixture:
    """Return the mixture of one component that fits rows."""
    overall = overall_statistics(family, rows, weights)
    params = family.from_statistics(overall, family.pseudo_rows(overall, len(rows) ** -0.5, floor))
    return Mixture(family, np.ones(1), params)


def _checked_weights(weights: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """Return weights (rows,) that are numbers, none below 0 and not all of them 0; or raise."""
    good = weights.shape == (rows,) and np.isfinite(weights).all() and (weights >= 0.0).all()
    if not good or not 0.0 < weights.sum() < LARGEST:
        raise ValueError(f"weights of shape {weights.shape} for {rows} rows, or no weights at all")
    return weights
