"""The usable messages as stacked arrays, with row counts that no partition can inflate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import TooFewMessages
from dfmr_dask.families.base import Family, Params, stack, take
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Local estimates of one family and order, stacked.

    Attributes
    ----------
    family : Family
    ids : ndarray of shape (m,)
        Numbers of the partitions.
    weights : ndarray of shape (m, K)
    params : mapping of names to ndarrays of shape (m, K, ...)
    rows : ndarray of shape (m,)
        Trusted row counts, or sums of weights, see :func:`trusted_rows`.
    """

    family: Family
    ids: NDArray[np.intp]
    weights: NDArray[np.float64]
    params: Params
    rows: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)

    def mixture(self, i: int) -> Mixture:
        """Return the i-th estimate."""
        return Mixture(self.family, self.weights[i], take(self.params, i))

    def subset(self, index: Any) -> Estimates:
        """Select partitions by position or mask."""
        return Estimates(
            self.family,
            self.ids[index],
            self.weights[index],
            take(self.params, index),
            self.rows[index],
        )

    def reordered(self, orders: NDArray[np.intp]) -> Estimates:
        """Reorder the components of every estimate; ``orders`` has shape (m, K)."""
        along = np.arange(len(self))[:, None]
        return Estimates(
            self.family,
            self.ids,
            self.weights[along, orders],
            take(self.params, (along, orders)),
            self.rows,
        )


def collect(
    messages: Sequence[Message], planned_rows: Mapping[int, int] | None = None
) -> tuple[Estimates, dict[int, str]]:
    """Stack the usable messages, and say why the others are none.

    Parameters
    ----------
    messages : sequence of Message
    planned_rows : mapping of partition ids to rows, optional
        What the plan gave each partition; a partition without weights cannot claim more.

    Returns
    -------
    estimates : Estimates
    failed : dict of partition id to reason

    Raises
    ------
    TooFewMessages
        When half or more of the partitions that are not empty gave nothing usable.
    """
    failed = {
        m.partition: m.reason or "it gave no reason" for m in messages if m.status == "failed"
    }
    fitted = [m for m in messages if m.mixture is not None]
    kinds = [_kind(m.mixture) for m in fitted if m.mixture is not None]
    usual = Counter(kinds).most_common(1)[0][0] if kinds else None
    good = []
    for message, kind in zip(fitted, kinds, strict=True):
        if planned_rows is not None and message.partition not in planned_rows:
            failed[message.partition] = "it is no partition of the plan"
        elif kind == usual and message.rows > 0:
            good.append(message)
        else:
            failed[message.partition] = f"its estimate is of another kind than the others: {kind}"
    check_majority(len(good), failed)
    mixtures = [m.mixture for m in good if m.mixture is not None]
    rows = trusted_rows(
        [m.size for m in good],
        [_most(m, planned_rows) for m in good],
    )
    ids = np.array([m.partition for m in good], dtype=np.intp)
    weights = np.stack([one.weights for one in mixtures])
    params = stack([one.params for one in mixtures])
    return Estimates(mixtures[0].family, ids, weights, params, rows), failed


def check_majority(good: int, failed: Mapping[int, str]) -> None:
    """Raise when half or more of the non-empty partitions failed."""
    if good > len(failed):
        return
    reasons: dict[str, list[int]] = {}
    for partition, reason in failed.items():
        reasons.setdefault(reason, []).append(partition)
    ledger = "; ".join(f"{reason} (partitions {few(ids)})" for reason, ids in reasons.items())
    raise TooFewMessages(
        f"{good} of {good + len(failed)} partitions gave a usable fit; more than half are needed. "
        f"Reasons: {ledger or 'every partition is empty, without a single valid row'}"
    )


def _most(message: Message, planned_rows: Mapping[int, int] | None) -> float:
    """Return the most rows that a partition can claim; no plan knows the sum of weights."""
    if planned_rows is None or message.mass is not None:
        return float("inf")
    return float(planned_rows[message.partition])


def trusted_rows(
    rows: Sequence[float], planned: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """Cap row counts at the plan's and clip them to [median / 4, 2 median].

    Where rows have weights, the counts are sums of weights. A partition can lie about its count;
    unclipped, a billion claimed rows cost up to 378 times the oracle's error (METHOD 12, step 1).

    Examples
    --------
    >>> from dfmr_dask.aggregate.estimates import trusted_rows
    >>> trusted_rows([1000, 1000, 1_000_000_000, 5])
    array([1000., 1000., 2000.,  250.])
    """
    counts = np.asarray(rows, dtype=np.float64)
    if planned is not None:
        counts = np.minimum(counts, np.asarray(planned, dtype=np.float64))
    middle = float(np.median(counts))
    return np.clip(counts, middle / 4.0, 2.0 * middle)


def _kind(mixture: Mixture) -> str:
    options = ", ".join(f"{k}={v}" for k, v in mixture.family.options.items())
    return (
        f"{mixture.family.name}({options}) of {mixture.n_components} components, "
        f"{mixture.n_features} features"
    )


def few(ids: Sequence[int]) -> str:
    """Name the first of many numbers, and say how many more there are."""
    shown = ", ".join(str(i) for i in sorted(ids)[:8])
    return shown + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
