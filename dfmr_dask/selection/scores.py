"""The number of components from messages and scores alone: no row leaves a partition."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.estimates import trusted_rows
from dfmr_dask.errors import TooFewMessages
from dfmr_dask.selection.curve import Selection, selected, told

FAR = 5.0  # robust standard deviations (1.4826 MAD)
Floats = NDArray[np.float64]


def from_scores(
    orders: Sequence[int],
    kept: Mapping[int, Collection[int]],
    scores: Mapping[int, Mapping[int, float]],
    rows: Mapping[int, float],
    parameters: Sequence[int],
    *,
    min_gain: float | None = None,
) -> Selection:
    """Choose the number of components from what partitions score the aggregate of each order.

    A partition is heard on an order where it is kept there, and at more than half of all orders; a
    verdict of one order would be passed by who lies at another. Who gives a score, or a gain of one
    order over the one before, that is far off the others', is not heard at all. The curve
    is the sum of the median gains.

    Parameters
    ----------
    orders : sequence of int
        Without a gap, in increasing order.
    kept : mapping of orders to partitions
        Whom the verdict of each order let stand.
    scores : mapping of orders to mappings of partition to float
        Mean log density of a partition's sample under the aggregate, in nats a row. Each
        partition's sample must be the same rows for every order.
    rows : mapping of partition to number
        Of its sample, as it says.
    parameters : sequence of int
        Free parameters of each order.
    min_gain : float, optional
        Nats a row that a further component must bring.

    Raises
    ------
    TooFewMessages
        When half, or more, of those who are kept at most orders are not heard on the first two.

    References
    ----------
    EVIDENCE 9.

    Examples
    --------
    >>> from dfmr_dask.selection.scores import from_scores
    >>> sites = range(5)
    >>> scores = {k: {i: [-3.0, -2.0, -1.999][k - 1] + 0.01 * i for i in sites} for k in (1, 2, 3)}
    >>> kept = {1: sites, 2: sites, 3: [0, 1, 2, 3]}
    >>> from_scores([1, 2, 3], kept, scores, dict.fromkeys(sites, 400), [2, 5, 8]).n_components
    2
    """
    ids = sorted({i for some in scores.values() for i in some})
    left_out = {i: why for i in ids if (why := _reason(i, orders, kept))}
    among = [i for i in ids if i not in left_out]
    table = _table(among, orders, kept, scores)
    far = _far(table)
    left_out |= {i: far[place] for place, i in enumerate(among) if place in far}
    near = [place for place in range(len(among)) if place not in far]
    table, heard = table[near], [among[place] for place in near]
    end = _heard_orders(table, orders, len(among))
    notes = _note(orders, end, len(among))
    orders, parameters, table = orders[:end], parameters[:end], table[:, :end]
    steps = np.nanmedian(np.diff(table, axis=1), axis=0)
    curve = np.concatenate([[np.nanmedian(table[:, 0])], steps]).cumsum()
    counts = trusted_rows([rows.get(i, 1.0) for i in heard])
    whole = np.isfinite(table).all(axis=1)
    found = selected(
        orders, table[whole], counts[whole], parameters, max(2, round(counts.sum())),
        scores=curve, min_gain=min_gain,
    )  # fmt: skip
    return told(found, left_out, heard, notes)


def _reason(i: int, orders: Sequence[int], kept: Mapping[int, Collection[int]]) -> str:
    """Say why a partition is not heard; nothing where it is kept at most orders."""
    times = sum(i in kept[k] for k in orders)
    return "" if 2 * times > len(orders) else f"kept at {times} of {len(orders)} orders only"


def _table(
    ids: Sequence[int],
    orders: Sequence[int],
    kept: Mapping[int, Collection[int]],
    scores: Mapping[int, Mapping[int, float]],
) -> Floats:
    """Return scores (partitions, orders), NaN where one was dropped or said nothing."""
    rows = [[scores[k].get(i, np.nan) if i in kept[k] else np.nan for k in orders] for i in ids]
    table = np.array(rows, dtype=np.float64).reshape(len(ids), len(orders))
    return np.where(np.isfinite(table), table, np.nan)


def _far(table: Floats) -> dict[int, str]:
    """Tell which rows hold a score or a gain that is far off the others', and what."""
    out: dict[int, str] = {}
    for name, values in (("score", table), ("gain", np.diff(table, axis=1))):
        for column in values.T:
            known = column[np.isfinite(column)]
            if len(known) < 3:
                continue
            middle = np.median(known)
            spread = 1.4826 * np.median(abs(known - middle))
            apart = abs(column - middle) > FAR * spread + 1e-12 * max(1.0, abs(middle))
            for place in np.flatnonzero(apart):
                why = f"a {name} of {column[place]:.4g} nats a row where others have {middle:.4g}"
                out.setdefault(int(place), why)
    return out


def _heard_orders(table: Floats, orders: Sequence[int], partitions: int) -> int:
    """Return how many orders, from the first on, more than half of the partitions are heard on.

    Components that nobody needs differ from partition to partition, and a filter then keeps few:
    such an order cannot be judged, and what comes before it can.
    """
    counts = np.isfinite(table).sum(axis=0) if len(table) else np.zeros(len(orders))
    few = np.flatnonzero(2 * counts <= partitions)
    end = int(few[0]) if len(few) else len(orders)
    if end < min(2, len(orders)):
        raise TooFewMessages(
            f"{int(counts[end])} of {partitions} partitions that are kept at most orders are "
            f"heard on {orders[end]} components; more than half are needed to choose their number"
        )
    return end


def _note(orders: Sequence[int], end: int, partitions: int) -> tuple[str, ...]:
    if end == len(orders):
        return ()
    return (
        f"the curve ends at {orders[end - 1]} components: half of the {partitions} partitions, or "
        f"more, are not heard on {orders[end]}",
    )
