"""What became of every partition, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.aggregate.explanations import Deviations, largest
from dfmr_dask.aggregate.gates import FEWEST_PARTITIONS, Gate
from dfmr_dask.aggregate.parts import Parts
from dfmr_dask.mixture import Mixture


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What became of every partition, and why.

    Attributes
    ----------
    kept : tuple of int
        Partitions whose estimates were merged.
    dropped : mapping of partition to reason
        Usable estimates that the filter (or the user) left out.
    failed : mapping of partition to reason
    empty : tuple of int
        Partitions without a single valid row; they count neither way.
    center : int or None
        The partition in the middle.
    gates : tuple of Gate
        One distance a partition of the plan, NaN where there is no usable estimate.
    certified : bool
        Partitions were filtered, and there is no doubt.
    doubts : tuple of str
        What speaks against trusting the result.
    deviations : mapping of parameters to ndarrays of shape (partitions, K, d)
        How far each estimate's parameters lie from the aggregate's, in standard errors, in the
        order of the aggregate's components; (partitions, K, 1) for weights, NaN without a usable
        estimate. See :func:`dfmr_dask.aggregate.explanations.deviations`.
    components_kept : mask of shape (partitions, K), or None
        Which components of each were merged, in the order of the aggregate's, where they were
        judged one by one; a partition is kept when one of them was.
    entries_kept : mask of shape (partitions, d), or None
        Which features of each partition's estimate were looked at, where they were judged one by
        one; the others were thrown out, and the partition is judged by the rest.
    """

    kept: tuple[int, ...]
    dropped: Mapping[int, str] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)
    empty: tuple[int, ...] = ()
    center: int | None = None
    gates: tuple[Gate, ...] = ()
    certified: bool = False
    doubts: tuple[str, ...] = ()
    deviations: Deviations = field(default_factory=dict)
    components_kept: NDArray[np.bool_] | None = None
    entries_kept: NDArray[np.bool_] | None = None

    def doubted(self, doubt: str) -> Verdict:
        """Return the verdict with one more doubt: not certified."""
        return replace(self, certified=False, doubts=(*self.doubts, doubt))

    def __str__(self) -> str:
        """Say it in a few lines."""
        counts = {"kept": self.kept, "dropped": self.dropped, "failed": self.failed}
        counts |= {"empty": self.empty} if self.empty else {}
        told = ", ".join(f"{len(ids)} {fate}" for fate, ids in counts.items())
        lines = [f"{told}; {'certified' if self.certified else 'not certified'}"]
        lines += [f"dropped {i}: {why}" for i, why in self.dropped.items()]
        lines += [f"failed {i}: {why}" for i, why in self.failed.items()]
        return "\n".join([*lines, *(f"doubt: {doubt}" for doubt in self.doubts)])


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """What an aggregator makes of usable estimates: a mixture, and who took part in it."""

    mixture: Mixture
    kept: NDArray[np.bool_]
    center: int
    gates: tuple[Gate, ...] = ()
    doubts: tuple[str, ...] = ()
    reasons: Mapping[int, str] = field(default_factory=dict)  # by position, beside the gates'
    components: NDArray[np.bool_] | None = None  # (m, K), where they were judged one by one
    entries: NDArray[np.bool_] | None = None  # (m, d), the same of features
    parts: Parts | None = None  # where it is an average of what they say


def verdict_on(
    estimates: Estimates,
    merged: Merged,
    found: Deviations,
    n_partitions: int,
    reasons: dict[int, str],
    failed: dict[int, str],
    empty: tuple[int, ...],
) -> Verdict:
    """Say of every partition what became of it."""
    gates = tuple(_spread(gate, estimates, n_partitions) for gate in merged.gates)
    out = np.flatnonzero(~merged.kept)
    dropped = reasons | {
        int(estimates.ids[i]): _reason(
            merged, int(i), [str(one) for one in largest(found, int(i), 1)]
        )
        for i in out
    }
    m = len(estimates)
    majority = 2 * int(merged.kept.sum()) > m >= FEWEST_PARTITIONS
    return Verdict(
        tuple(int(i) for i in estimates.ids[merged.kept]),
        dict(sorted(dropped.items())),
        dict(sorted(failed.items())),
        empty,
        int(estimates.ids[merged.center]),
        gates,
        bool(gates) and majority and not merged.doubts,  # who filters nobody certifies none
        merged.doubts,
        {name: _placed(values, estimates, n_partitions) for name, values in found.items()},
        _masked(merged.components, estimates, n_partitions),
        _masked(merged.entries, estimates, n_partitions),
    )


def _masked(
    mask: NDArray[np.bool_] | None, estimates: Estimates, n_partitions: int
) -> NDArray[np.bool_] | None:
    """Give every partition of the plan its place in a mask; False without a usable estimate."""
    if mask is None:
        return None
    out = np.zeros((n_partitions, mask.shape[1]), dtype=bool)
    out[estimates.ids] = mask
    return out


def _placed(
    values: NDArray[np.float64], estimates: Estimates, n_partitions: int
) -> NDArray[np.float64]:
    """Give every partition of the plan its place; NaN without a usable estimate."""
    out = np.full((n_partitions, *values.shape[1:]), np.nan)
    out[estimates.ids] = values
    return out


def _spread(gate: Gate, estimates: Estimates, n_partitions: int) -> Gate:
    """Give every partition of the plan its place in a gate's distances."""
    return replace(gate, distances=_placed(gate.distances, estimates, n_partitions))


def _reason(merged: Merged, i: int, notable: list[str]) -> str:
    """Say which gates somebody failed, or why else it is out, and what deviates most."""
    if i in merged.reasons:
        return merged.reasons[i]
    failed = [gate for gate in merged.gates if not gate.passed()[i]]
    if failed and all(np.isinf(gate.distances[i]) for gate in failed):
        return "no component of its estimate has rows enough to be tested"
    crossed = [f"{gate.name} {gate.distances[i]:.3g} > {gate.cutoff:.3g}" for gate in failed]
    told = ", ".join(crossed) or "left out by the aggregator"
    return f"{told} ({'; '.join(notable)})" if notable and crossed else told
