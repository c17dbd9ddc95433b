"""Are the pieces alike, and what follows? Questions to partitions, and the answer (EVIDENCE 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.questions import Resemble, Score, Steps, Terms
from dfmr_dask.likeness.groups import groups
from dfmr_dask.likeness.pieces import Array, Pieces
from dfmr_dask.likeness.places import misplaced
from dfmr_dask.likeness.sentences import advised, off_reason, reasoned
from dfmr_dask.likeness.spread import Spread, combined, pair_distances, spread
from dfmr_dask.mixture import Mixture

ROUTES = ("alike", "weights", "unlike")
# Own components gain 1 to 1.3 times what chance gains where only weights differ, up to 3.4 in a
# tenth of the pieces, and 27 or more in each piece of photographs. A quantile below the median is
# looked at, so that almost half of the pieces may be bad.
MOST_GAIN = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """Whether the pieces of a store are samples of one population, and what follows.

    Attributes
    ----------
    route : {"alike", "weights", "unlike"}
        The filter as it is; the filter that leaves weights free; or nobody is dropped for being
        unlike, and rows are fitted in interleaved partitions.
    reason : str
        Why, in one sentence with its figures.
    advice : str
        What to do, and what cannot be known.
    p_value : float
        Chance of such differences among alike pieces, those that are off left out.
    size : float
        How many times sampling noise the majority's spread is: about 1 where pieces are alike.
    off : mapping of partition to text
        Who stands apart although the majority is alike, and why.
    pieces : tuple of int
        Partitions that answered, in order; the arrays go by it.
    distances : ndarray of shape (m,)
        From the majority's mean in standard errors; about 1 is usual.
    groups : ndarray of shape (m,)
        Group by likeness; 0 is the largest.
    components : ndarray of shape (K,)
        How many times sampling noise the share of each component of the start varies.
    features : ndarray of shape (d,)
        The same of the mean of each feature.
    misplaced : mapping of partition to text
        Who fits better at other places than at its own, and why; empty where places are unknown.
    """

    route: str
    reason: str
    advice: str
    p_value: float
    size: float
    off: Mapping[int, str]
    pieces: tuple[int, ...]
    distances: Array
    groups: NDArray[np.intp]
    components: Array
    features: Array
    misplaced: Mapping[int, str] = field(default_factory=dict)


def examined(
    terms: Terms,
    voters: Sequence[int],
    start: Mixture,
    positions: Array | None = None,
) -> Steps[Likeness]:
    """Ask pieces what their samples are like, and find out whether they are alike.

    Parameters
    ----------
    terms : Terms
    voters : sequence of int
        Partitions that have drawn samples.
    start : Mixture
        The common start.
    positions : ndarray of shape (n_partitions, n_dims), optional
        Centers of all partitions on the source's grid, in units of pieces; None where places mean
        nothing.

    Returns
    -------
    Likeness

    References
    ----------
    EVIDENCE 11.
    """
    heard = (yield Resemble(voters, start)).heard
    if not heard:
        return _unknown(start)
    pieces = Pieces.of(heard, start)
    blocks = pieces.blocks()
    spreads = [spread(pieces, name, columns, len(blocks)) for name, columns in blocks.items()]
    route = _route(pieces, spreads)
    wrong: dict[int, str] = {}
    if route != "alike" and positions is not None:
        wrong = yield from _misplaced(pieces, positions)
    return _told(pieces, spreads, route, wrong)


def _route(pieces: Pieces, spreads: Sequence[Spread]) -> str:
    """Tell whether pieces are alike, or differ in their weights alone (EVIDENCE 11)."""
    if all(one.size <= one.limit for one in spreads):
        return "alike"
    explained = pieces.usual_gain <= MOST_GAIN
    return "weights" if pieces.order > 1 and explained else "unlike"


def _misplaced(pieces: Pieces, positions: Array) -> Steps[dict[int, str]]:
    """Let pieces score each other's fits, and find those that fit better elsewhere."""
    able = [i for i, mixture in enumerate(pieces.mixtures) if mixture is not None]
    candidates = [pieces.mixtures[i] for i in able]
    ids = [int(pieces.ids[i]) for i in able]
    heard = (yield Score(ids, [one for one in candidates if one is not None], "places")).heard
    told = [n for n, i in enumerate(ids) if i in heard]
    scores = np.array([heard[ids[n]].values[told] for n in told]).reshape(len(told), len(told))
    here = [ids[n] for n in told]
    widths = pieces.widths[[able[n] for n in told]]
    return misplaced(scores, widths, np.asarray(positions, dtype=np.float64)[here], here)


def _told(
    pieces: Pieces, spreads: Sequence[Spread], route: str, wrong: Mapping[int, str]
) -> Likeness:
    by_name = {one.name: one for one in spreads}
    p_value = combined([one.p_value for one in spreads])
    widest = max(spreads, key=lambda one: one.size / one.limit)
    y = np.concatenate([one.coordinates for one in spreads], axis=1)
    apart = pair_distances(y, pieces.pair_rows) / np.sqrt(max(1, y.shape[1]))
    off = _off(pieces, spreads) if route == "alike" else {}
    number = groups(apart, max(1, y.shape[1]))
    shares = by_name["components"].sizes if pieces.order > 1 else np.zeros(1)
    return Likeness(
        route,
        reasoned(pieces, widest, route, p_value, off),
        advised(route, len(pieces), off, number, wrong),
        p_value,
        widest.size,
        off,
        tuple(int(i) for i in pieces.ids),
        np.max([one.distances for one in spreads], axis=0),
        number,
        shares,
        by_name["features"].sizes,
        wrong,
    )


def _off(pieces: Pieces, spreads: Sequence[Spread]) -> dict[int, str]:
    """Return who stands apart, and in what most."""
    found = {}
    for j, piece in enumerate(pieces.ids):
        if any(one.off[j] for one in spreads):
            worst = max((one for one in spreads if one.off[j]), key=lambda one: one.distances[j])
            found[int(piece)] = off_reason(worst.name, float(worst.distances[j]))
    return found


def _unknown(start: Mixture) -> Likeness:
    """Return what is said where nobody answered."""
    nothing = np.zeros(0)
    return Likeness(
        "alike",
        "no piece described its sample, so that nothing is known of their likeness",
        "the filter goes on as it is",
        1.0,
        0.0,
        {},
        (),
        nothing,
        np.zeros(0, dtype=np.intp),
        np.zeros(start.n_components),
        np.zeros(start.n_features),
    )
