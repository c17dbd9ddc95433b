"""Few passes over all rows: most of the way is made on subsamples, each four times as large.

The estimate of a subsample of s rows lies about p / 2s nats a row below that of all rows, where p
counts free parameters. What is left is done by jumps. At a point that all rows have visited, the
EM map of a subsample is shifted, so that there it leads where that of all rows leads; its fixed
point is found by visits of the subsample alone. That is the fixed point of all rows, up to the
distance times the error of the subsample's Jacobian. All rows visit it, and it is taken only if
the penalised likelihood does not fall.

References: Jordan, Lee & Yang (2019), Communication-efficient distributed statistical inference,
J. Amer. Statist. Assoc. 114: the gradient of all rows, the curvature of few.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dfmr_dask.families.base import Params
from dfmr_dask.local.acceleration import History
from dfmr_dask.local.climbing import Climb, Fit, Point, Weights
from dfmr_dask.local.subsamples import SHRINKAGE, Gathering
from dfmr_dask.mixture import Mixture

FEWEST_ROWS, FEWEST_ROWS_A_PARAMETER = 50_000, 500  # in all: with fewer, all climb at once
ROWS_A_PARAMETER = 20  # of the smallest subsample
ROWS_A_SMALL_PARAMETER = 5  # and of its smallest component: with few rows it might collapse there
ROWS_TO_GUIDE = 100  # a parameter, of the subsample that guides jumps, where there is a larger one
ENOUGH = 0.02  # of p / s, in nats a row: a subsample's maximum means no more than that
ENOUGH_IN_FLOAT32 = 1e-5  # nats a row: nothing less can be told apart
FOLLOWED = 0.05  # share of the first residual at which a shifted map has been followed enough
ASTRAY = 10.0  # times the first residual: it leads nowhere
MOST_VISITS = 20  # of a subsample, for one jump
MOST_JUMPS = 8  # what has not arrived by then climbs as without subsamples


def subsamples(
    climb: Climb, gathered: Gathering, start: Mixture, pseudo_rows: Callable[[float], Any]
) -> list[Climb]:
    """Return climbs on subsamples, the smallest first; none where there are too few rows.

    Parameters
    ----------
    climb : Climb
        That on all rows.
    gathered : Gathering
        What was gathered from them.
    start : Mixture
    pseudo_rows : callable
        Given a subsample's share of the rows, returns the penalty's pseudo-rows for it: as many
        fewer, so that objectives a row are alike.
    """
    p = start.n_parameters
    if gathered.seen < max(FEWEST_ROWS, FEWEST_ROWS_A_PARAMETER * p):
        return []
    smallest = start.n_components * float(start.weights.min())
    least = max(ROWS_A_PARAMETER * p, ROWS_A_SMALL_PARAMETER * p / smallest)
    found: list[Climb] = []
    level = gathered.level
    while gathered.seen / SHRINKAGE**level >= least:
        x, weights = gathered.rows(level)
        mass = float(len(x)) if weights is None else float(weights.sum())
        if alike(len(x), weights) < least:
            break
        share = mass / climb.n
        smaller = replace(
            climb,
            rows=[(x, weights)],
            n=mass,
            pseudo_rows=pseudo_rows(share),
            report=None,
            prior=climb.prior and climb.prior.scaled(share),
        )
        found.append(smaller)
        level += 1
    return found[::-1]


def alike(n: int, weights: Weights | None) -> float:
    """Return how many rows of equal weight tell as much as n rows of these weights.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.local.growing import alike
    >>> alike(4, np.array([0.0, 2.0, 2.0, 0.0]))
    2.0
    """
    if weights is None:
        return float(n)
    squares = float(weights @ weights)
    return float(weights.sum()) ** 2 / squares if squares > 0.0 else 0.0


def grown(climb: Climb, smaller: Sequence[Climb], start: Mixture, tol: float, max_iter: int) -> Fit:
    """Climb on subsamples, then jump on all rows until an EM step gains less than ``tol``.

    Each larger subsample begins where the one before it has ended; or at the start again, as long
    as its rows find that better: what few rows tell may be less than what is known already.

    Parameters
    ----------
    climb : Climb
        That on all rows.
    smaller : sequence of Climb
        See :func:`subsamples`; at least one.
    start : Mixture
    tol : float
        In nats a row.
    max_iter : int
        Passes over all rows, and over each subsample, at most.
    """
    p, size = start.n_parameters, alike_rows(smaller)
    found = smaller[0].upwards(start, enough(smaller[0], p), max_iter)
    beaten = False
    for place, one in enumerate([*smaller[1:], climb], 1):
        able = [k for k in range(place) if size[k] >= ROWS_TO_GUIDE * p]
        guides = smaller[able[0] if able else place - 1 : place]
        goal = tol if one is climb else enough(one, p)
        here, passes = one.begun(found.mixture), 0
        if not beaten and max_iter > 0:
            passes, first = 1, one.begun(start, 1)
            beaten = here.objective >= first.objective
            here = here if beaten else first
        found = jumped(one, guides, here, goal, max_iter, passes)
    return found


def jumped(
    climb: Climb, guides: Sequence[Climb], here: Point, tol: float, max_iter: int, passes: int = 0
) -> Fit:
    """Jump along the shifted map of a guide, of the next one where it leads down; then climb on."""
    trace, history, left = [here.objective], None, list(guides)
    for _ in range(MOST_JUMPS):
        arrived = promised(climb, here) < tol
        if arrived or passes >= max_iter:
            return climb.ended(here, passes, arrived, tuple(trace))
        there = climb.leapt(followed(left[0], here), passes + 1)
        passes += there is not None
        if there is not None and there.objective >= here.objective:
            here = there
            trace.append(here.objective)
            continue
        left.pop(0)
        if there is not None:  # it tells at least how all rows' map changes on the way there
            history = History.about(climb.family, here.weights, here.params)
            points = [(there.weights, there.params), there.image]
            history = history.joined(*(history.vector(*one) for one in points))
        if not left:
            break
    return climb.onwards(here, tuple(trace), tol, max_iter, passes, history)


def promised(climb: Climb, here: Point) -> float:
    """Return what the next EM step gains at most, in nats a row, near a maximum.

    It gains 1 + m times what it gains in the complete-data likelihood, where m is the share of
    missing information along the step, between 0 and 1: so no pass is needed to see that little
    is left.

    References
    ----------
    Dempster, Laird & Rubin (1977), J. R. Stat. Soc. B 39, section 3.
    """
    weights, params = here.image
    divergence = np.diagonal(climb.family.kl(params, here.params))
    known = weights if climb.prior is None else weights + climb.prior.rows / climb.n
    return 2.0 * float(known @ divergence + weights @ np.log(weights / here.weights))


def followed(guide: Climb, here: Point) -> tuple[Weights, Params] | None:
    """Return nearly the fixed point of a guide's EM map, shifted to that of all rows at a point.

    None where it leads nowhere.
    """
    history = History.about(guide.family, here.weights, here.params)
    vector, image = history.vector(here.weights, here.params), history.vector(*here.image)
    shift = image - history.vector(*guide.visited(here.weights, here.params, 0).image)
    first = np.linalg.norm((image - vector) * history.metric)
    for _ in range(MOST_VISITS):
        history = history.joined(vector, image)
        tried = history.extrapolated() or history.mixture(image)
        residual = np.linalg.norm((image - vector) * history.metric)
        if residual <= FOLLOWED * first:
            return tried
        there = guide.leapt(tried, 0) if residual <= ASTRAY * first else None
        if there is None:
            return None
        vector = history.vector(there.weights, there.params)
        image = history.vector(*there.image) + shift
    return tried


def enough(climb: Climb, n_parameters: int) -> float:
    """Return the gain, in nats a row, below which a subsample is climbed on no more."""
    least = ENOUGH_IN_FLOAT32 if climb.work == "float32" else 0.0
    return max(least, ENOUGH * n_parameters / alike_rows([climb])[0])


def alike_rows(climbs: Sequence[Climb]) -> list[float]:
    """Return for each climb on one block how many rows it has that count alike."""
    return [alike(len(x), weights) for climb in climbs for x, weights in climb.rows]
