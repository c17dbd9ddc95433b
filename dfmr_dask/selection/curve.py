"""The curve over orders, and which order it speaks for (EVIDENCE 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import InvalidMessage

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """A curve over orders K, and the order that was chosen.

    Attributes
    ----------
    orders : tuple of int
        K, without a gap, in increasing order.
    scores : ndarray of shape (orders,)
        Mean log density a row under the mixture of each order, in nats.
    gains : ndarray of shape (orders,)
        What each order scores more than the one before, in nats a row; NaN for the first.
    gain_errors : ndarray of shape (orders,)
        Standard errors of the gains, between partitions (between rows where they are few).
    parameters : ndarray of shape (orders,)
        Free parameters p.
    rows : int
        Rows S behind the scores.
    bic, aic : ndarrays of shape (orders,)
        -2 S score + p log S, and -2 S score + 2 p: scikit-learn's, on these rows. Less is better.
    bic_errors : ndarray of shape (orders,)
        Standard errors of the difference of the BIC to that of the chosen order.
    n_components : int
        The chosen order.
    reason : str
        Why this one.
    min_gain : float or None
        What a further component had to bring, in nats a row, where that was asked.
    left_out : mapping of partition to reason
        Whose samples, or scores, were not heard.
    partitions : tuple of int
        Whose were.
    notes : tuple of str
        What users should know of it.
    """

    orders: tuple[int, ...]
    scores: Floats
    gains: Floats
    gain_errors: Floats
    parameters: NDArray[np.int64]
    rows: int
    bic: Floats
    aic: Floats
    bic_errors: Floats
    n_components: int
    reason: str
    min_gain: float | None = None
    left_out: Mapping[int, str] = field(default_factory=dict)
    partitions: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def selected(
    orders: Sequence[int],
    pieces: Floats,
    weights: Floats,
    parameters: Sequence[int],
    rows: int,
    *,
    scores: Floats | None = None,
    min_gain: float | None = None,
) -> Selection:
    """Choose the order of the smallest BIC, or an earlier one that has enough.

    Parameters
    ----------
    orders : sequence of int
        Without a gap, in increasing order.
    pieces : ndarray of shape (m, orders)
        Scores of m pieces of the rows, in nats a row: partitions, or single rows. Errors come
        from the spread between them.
    weights : ndarray of shape (m,)
        How much each piece counts in the mean.
    parameters : sequence of int
        Free parameters of each order.
    rows : int
        Rows S of all pieces.
    scores : ndarray of shape (orders,), optional
        In place of the means over the pieces.
    min_gain : float, optional
        The smallest order whose next component gains less than this, in nats a row, is chosen
        where that comes before the smallest BIC.

    References
    ----------
    Schwarz (1978) for the BIC, Akaike (1974) for the AIC; EVIDENCE 9.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.selection.curve import selected
    >>> pieces = np.array([[-3.0, -2.0, -1.99], [-3.1, -2.0, -2.0]])
    >>> selected([1, 2, 3], pieces, np.ones(2), [2, 5, 8], 1000).n_components
    2
    """
    p = np.array(parameters, dtype=np.int64)
    share = weights / weights.sum()
    mean = share @ pieces if scores is None else scores
    bic = -2.0 * rows * mean + p * np.log(rows)
    gains = np.append(np.nan, np.diff(mean))
    errors = np.append(np.nan, _errors(np.diff(pieces, axis=1), share))
    best, reason = _chosen(tuple(orders), bic, gains, min_gain)
    apart = _errors(pieces - pieces[:, [best]], share)
    return Selection(
        tuple(orders), mean, gains, errors, p, rows, bic, -2.0 * rows * mean + 2.0 * p,
        2.0 * rows * apart, orders[best], reason, min_gain,
    )  # fmt: skip


def told(
    found: Selection,
    left_out: Mapping[int, str],
    partitions: Sequence[int],
    notes: Sequence[str] = (),
) -> Selection:
    """Return a selection that says whose numbers it stands on."""
    return replace(
        found,
        left_out=dict(sorted(left_out.items())),
        partitions=tuple(int(i) for i in partitions),
        notes=(*found.notes, *notes),
    )


def _chosen(
    orders: tuple[int, ...], bic: Floats, gains: Floats, min_gain: float | None
) -> tuple[int, str]:
    """Return the place of the chosen order, and why it is this one."""
    best = int(np.argmin(bic))
    enough = len(orders) - 1
    if min_gain is not None:
        little = np.flatnonzero(gains[1:] < min_gain)
        enough = int(little[0]) if len(little) else enough
    if min_gain is not None and enough < best:
        gained = gains[enough + 1]
        return enough, f"one more component gains {gained:.3g} nats a row, less than {min_gain:g}"
    if best == len(orders) - 1 and best > 0:
        return best, (
            f"the BIC still falls at {orders[best]} components, the most that were tried; allow "
            "more (max_components=), or say what a component must bring (min_gain=)"
        )
    return best, "the smallest BIC"


def _errors(differences: Floats, share: Floats) -> Floats:
    """Return standard errors of weighted means of differences (m, orders)."""
    m = len(share)
    if m < 2:
        return np.full(differences.shape[1], np.nan)
    apart = differences - share @ differences
    return np.asarray(np.sqrt((share**2) @ apart**2 * m / (m - 1)))


def as_plain(found: Selection) -> dict[str, Any]:
    """Return a selection as plain lists, numbers and texts."""
    out = {name: getattr(found, name) for name in Selection.__slots__}
    lists = {name: value.tolist() for name, value in out.items() if isinstance(value, np.ndarray)}
    left_out = [{"id": int(i), "reason": why} for i, why in found.left_out.items()]
    names = {name: list(out[name]) for name in ("orders", "partitions", "notes")}
    return {**out, **lists, **names, "left_out": left_out}


def selection_from(value: Any) -> Selection:
    """Rebuild what :func:`as_plain` returned, from a file that may say anything.

    Raises
    ------
    InvalidMessage
        When it is no such thing.
    """
    try:
        return _rebuilt(dict(value))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidMessage(f"no selection of an order: {type(error).__name__} {error}") from error


def _rebuilt(told: dict[str, Any]) -> Selection:
    orders = tuple(int(k) for k in told["orders"])
    curves = {
        name: np.array([np.nan if one is None else one for one in told[name]], dtype=np.float64)
        for name in ("scores", "gains", "gain_errors", "bic", "aic", "bic_errors")
    }
    if int(told["n_components"]) not in orders or orders[0] < 1:
        raise ValueError(f"n_components {told['n_components']!r:.40} among {orders!r:.80}")
    if any(one.shape != (len(orders),) for one in curves.values()):
        raise ValueError("curves of other lengths than the orders")
    gain = told["min_gain"]
    return Selection(
        orders=orders,
        **curves,
        parameters=np.array(told["parameters"], dtype=np.int64),
        rows=int(told["rows"]),
        n_components=int(told["n_components"]),
        reason=str(told["reason"]),
        min_gain=None if gain is None else float(gain),
        left_out={int(one["id"]): str(one["reason"]) for one in told["left_out"]},
        partitions=tuple(int(i) for i in told["partitions"]),
        notes=tuple(str(note) for note in told["notes"]),
    )
