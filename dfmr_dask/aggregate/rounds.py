"""One round of the search for a common start, as mathematics (METHOD 11, step 6).

In a round every partition improves a candidate by a few EM iterations on a sample of its own.
All of them left from the same components, so the results need no alignment: component k is still
component k. What is not like the majority's is left out, and the rest is matched in its moments.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.center import LEVEL, attention, inside, wilson_hilferty_cut
from dfmr_dask.aggregate.distances import ctd, fisher, per_row
from dfmr_dask.aggregate.estimates import Estimates, trusted_rows
from dfmr_dask.aggregate.reduction import barycenters
from dfmr_dask.errors import InvalidMixture
from dfmr_dask.families.base import stack
from dfmr_dask.mixture import Mixture

DUPLICATE = 0.3  # distance in units of sqrt(p / n) below which two candidates are one


def pilot_error(candidate: Mixture, rows: float) -> float:
    """Return p / n: how far, in nats a row, two pilots of one optimum lie apart.

    A maximum likelihood estimate with p parameters from n rows falls short of the best by
    p / (2 n) on average. So pilots whose scores differ by no more than p / n are equally good, as
    far as n rows can tell.

    Parameters
    ----------
    candidate : Mixture
    rows : float
        Rows of the sample that a pilot is fitted to.
    """
    return candidate.n_parameters / rows


def groups(
    candidates: Sequence[Mixture], rows: float, within: float = DUPLICATE
) -> tuple[tuple[int, ...], ...]:
    """Put candidates together that are near-duplicates of each other.

    Parameters
    ----------
    candidates : sequence of Mixture
        Of one family, order and number of features; the better ones first.
    rows : float
        Rows n of the sample that a pilot is fitted to.
    within : float
        CTD-KL distance, in units of sqrt(p / n), below which two candidates are one.

    Returns
    -------
    tuple of tuples of int
        Positions. Each candidate joins the nearest of those that lead a group, or leads one itself
        when none is near; leaders stand first.

    References
    ----------
    METHOD 11, step 6; the distance is that of Zhang & Chen (JMLR 2022), section 3.

    Examples
    --------
    >>> from dfmr_dask.aggregate.rounds import groups
    >>> from dfmr_dask.experiments.populations import population
    >>> one, other = population(3, 2, seed=0), population(3, 2, seed=1)
    >>> groups([one, one, other], rows=1000)
    ((0, 1), (2,))
    """
    radius = within * np.sqrt(pilot_error(candidates[0], rows))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        distances = ctd(_stacked(candidates, np.full(len(candidates), rows)))
    found: dict[int, list[int]] = {}
    for i in range(len(candidates)):
        leader = min(found, key=lambda one: distances[i, one], default=i)
        if leader != i and distances[i, leader] < radius:
            found[leader].append(i)
        else:
            found[i] = [i]
    return tuple(tuple(members) for members in found.values())


def distinct(
    candidates: Sequence[Mixture], rows: float, within: float = DUPLICATE
) -> tuple[int, ...]:
    """Return which candidates are no near-duplicates of an earlier one; see :func:`groups`."""
    return tuple(members[0] for members in groups(candidates, rows, within))


def gated_match(
    candidate: Mixture, answers: Sequence[Mixture | None], rows: Sequence[float]
) -> Mixture | None:
    """Merge what partitions made of a candidate, without those that are not like the majority.

    Fisher coordinates around the candidate, components as they are numbered; COAT and the
    Wilson-Hilferty cut; then the moment match of each component over those that are kept, with
    weights in proportion to their clipped row counts.

    Parameters
    ----------
    candidate : Mixture
        Where all of them left from.
    answers : sequence of (Mixture or None)
        One a partition; None where a partition got nowhere from this candidate.
    rows : sequence of float
        Rows of each partition's sample, as it claims.

    Returns
    -------
    Mixture or None
        None when half of the partitions or more got nowhere, or the match is no mixture.

    References
    ----------
    METHOD 11, step 6; the filter is that of Zhang, Tan & Chen (arXiv 2407.13980), section 3.
    """
    found = matched(candidate, answers, rows)
    return None if found is None else found[0]


def matched(
    candidate: Mixture,
    answers: Sequence[Mixture | None],
    rows: Sequence[float],
    gated: bool = True,
) -> tuple[Mixture, NDArray[np.bool_]] | None:
    """Merge as :func:`gated_match` does, and say whose answers took part: a mask of shape (m,).

    Beyond 2000 answers the center is found by random references, so that no matrix of all pairs
    is ever held (METHOD 4). Where it is not ``gated`` all take part, so that EM iterations of the
    partitions make one on all rows.
    """
    arrived = [i for i, one in enumerate(answers) if one is not None]
    if 2 * len(arrived) <= len(answers):
        return None
    mixtures = [one for one in answers if one is not None]
    estimates = _stacked(mixtures, trusted_rows([rows[i] for i in arrived]))
    try:
        everybody = np.ones(len(arrived), dtype=bool)
        heard = _like_the_majority(estimates, candidate) if gated else everybody
        kept = estimates.subset(heard)
        share = (kept.rows / kept.rows.sum())[:, None] * kept.weights
        params = barycenters(kept.family, share, kept.params)
        mixture = Mixture(kept.family, share.sum(axis=0), params)
    except (InvalidMixture, np.linalg.LinAlgError):
        return None
    mask = np.zeros(len(answers), dtype=bool)
    mask[np.array(arrived)[heard]] = True
    return mixture, mask


def _like_the_majority(estimates: Estimates, candidate: Mixture) -> NDArray[np.bool_]:
    """Tell who lies around the center of attention, in Fisher coordinates around a candidate."""
    m = len(estimates)

    def columns(to: NDArray[np.intp] | None) -> NDArray[np.float64]:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            distances = per_row(fisher(estimates, candidate, to), estimates.rows, to)
        distances = np.where(np.isnan(distances), np.inf, distances)
        there = np.arange(m) if to is None else to
        distances[there, np.arange(len(there))] = 0.0
        return distances

    ball, to_center = attention(columns, m)
    return inside(to_center, wilson_hilferty_cut(to_center, ball, LEVEL / m))


def _stacked(mixtures: Sequence[Mixture], rows: NDArray[np.float64]) -> Estimates:
    return Estimates(
        mixtures[0].family,
        np.arange(len(mixtures)),
        np.stack([one.weights for one in mixtures]),
        stack([one.params for one in mixtures]),
        rows,
    )
