"""What became of every partition, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.aggregate.filtering import FEWEST_PARTITIONS, Gate
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
        Enough partitions, and more than half of them kept.
    doubts : tuple of str
        What speaks against trusting the result.
    """

    kept: tuple[int, ...]
    dropped: Mapping[int, str] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)
    empty: tuple[int, ...] = ()
    center: int | None = None
    gates: tuple[Gate, ...] = ()
    certified: bool = False
    doubts: tuple[str, ...] = ()

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


def verdict_on(
    estimates: Estimates,
    merged: Merged,
    n_partitions: int,
    reasons: dict[int, str],
    failed: dict[int, str],
    empty: tuple[int, ...],
) -> Verdict:
    """Say of every partition what became of it."""
    gates = tuple(_spread(gate, estimates, n_partitions) for gate in merged.gates)
    out = estimates.ids[~merged.kept]
    dropped = reasons | {int(i): _reason(gates, int(i)) for i in out}
    doubts = list(merged.doubts)
    m = len(estimates)
    if 3 <= m < FEWEST_PARTITIONS:
        doubts.append(f"{m} usable partitions are too few to tell an outlier reliably")
    majority = 2 * int(merged.kept.sum()) > m >= FEWEST_PARTITIONS
    certified = bool(gates) and majority and not merged.doubts  # who filters nobody certifies none
    return Verdict(
        tuple(int(i) for i in estimates.ids[merged.kept]),
        dict(sorted(dropped.items())),
        dict(sorted(failed.items())),
        empty,
        int(estimates.ids[merged.center]),
        gates,
        certified,
        tuple(doubts),
    )


def _spread(gate: Gate, estimates: Estimates, n_partitions: int) -> Gate:
    """Give every partition of the plan its place in a gate's distances."""
    distances = np.full(n_partitions, np.nan)
    distances[estimates.ids] = gate.distances
    return Gate(gate.name, distances, gate.cutoff, gate.radius)


def _reason(gates: tuple[Gate, ...], partition: int) -> str:
    crossed = [
        f"{gate.name} {gate.distances[partition]:.3g} > {gate.cutoff:.3g}"
        for gate in gates
        if not gate.passed()[partition]
    ]
    return ", ".join(crossed) or "left out by the aggregator"
