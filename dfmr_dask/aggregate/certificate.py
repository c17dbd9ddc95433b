"""What speaks against trusting the result: without such a doubt it is certified.

Less than half of the partitions can be caught lying; a majority cannot. What can be detected of one
all the same is said here: then the tool cannot know, and says so. A majority that colludes and
imitates sampling noise leaves no trace.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.estimates import few
from dfmr_dask.aggregate.gates import FEWEST_PARTITIONS, Filtered, Rule
from dfmr_dask.aggregate.hellinger import longest, yardstick

NEAR_HALF = 0.55  # kept share up to which the rest may have been the honest one
MOST_NOISE = 2.0  # of the yardstick, which is 1 for honest partitions, up to 1.5 where they overlap
HIGHEST_LEVEL = 12.0  # times theory's mean square: 1 to 2 on simulated rows, up to 9 on photographs
MEASURED, MEASURED_ROWS = 20, 1000  # partitions and rows that the yardstick is taken with
FREE_WEIGHTS = ": where honest partitions may have components in other shares, say weights='free'"
Mask = NDArray[np.bool_]


def doubts(
    result: Filtered, rule: Rule, kept: Mask, forced_in: Mask, thin: list[int]
) -> Iterator[str]:
    """Yield every detectable sign that the kept partitions may not be the honest ones.

    Parameters
    ----------
    result : Filtered
    rule : Rule
    kept, forced_in : masks of shape (m,)
        Whose estimates are merged; whom the user forced in.
    thin : list of int
        Components that were too small to be tested in every kept partition.
    """
    yield from result.doubts
    yield from _too_few(result)
    if not rule.paper:
        yield from _noise(result, kept)
        yield from _support(result, kept)
    if (against := forced_in & ~result.kept()).any():
        ids = few(result.estimates.ids[against].tolist())
        yield f"partitions {ids} fail the filter and were forced in"
    if thin:
        yield f"components of too few rows to be tested in every kept partition: {thin}"
    if result.copies:
        same = sorted({*result.copies, *result.copies.values()})
        ids = few(result.estimates.ids[same].tolist())
        yield f"partitions {ids} sent estimates that are equal to the last bit: copies?"


def _too_few(result: Filtered) -> Iterator[str]:
    m, passed = len(result.estimates) - len(result.copies), int(result.kept().sum())
    if m < FEWEST_PARTITIONS:
        yield f"{m} usable partitions are too few to tell an outlier reliably"
    if 2 * passed <= m:
        strictest = min(result.gates, key=lambda gate: int(gate.passed().sum()))
        yield (
            f"only {passed} of {m} usable partitions pass (more than half should); "
            f"the strictest gate is {strictest.name!r}"
            + (FREE_WEIGHTS if strictest.name == "weights" else "")
        )
    elif passed <= NEAR_HALF * m and m >= FEWEST_PARTITIONS:
        yield f"{passed} of {m} usable partitions pass: a majority so narrow may be the wrong one"


def _noise(result: Filtered, kept: Mask) -> Iterator[str]:
    """Compare the spread of those who are kept with that of sampling, which is absolute."""
    for gate in result.gates:
        if gate.level > HIGHEST_LEVEL:
            yield (
                f"the {gate.name} of those who agree spread {np.sqrt(gate.level):.1f} times as "
                "wide as sampling noise: they may be no samples of one population"
            )
    others = np.flatnonzero(kept & (np.arange(len(kept)) != result.center))
    if len(others) < 2:
        return
    chosen = others[np.linspace(0, len(others) - 1, min(MEASURED, len(others))).astype(np.intp)]
    near, middle = result.estimates, result.estimates.mixture(result.center)
    some = near.subset(np.append(result.center, chosen))
    if np.median(longest(some, [0])[1:]) <= MOST_NOISE:  # as of thousands of variants
        return
    noise = yardstick(some, middle, to=[0], rows=MEASURED_ROWS)[1:, 0]
    if (usual := float(np.median(noise))) > MOST_NOISE:
        yield (
            f"those who agree differ by {usual:.1f} times what sampling noise explains (squared "
            "Hellinger distances): they may be no samples of one population"
        )


def _support(result: Filtered, kept: Mask) -> Iterator[str]:
    """Name components that most of the kept partitions have too few rows of."""
    share = result.tested[kept].mean(axis=0) if kept.any() else np.ones(1)
    if len(weak := np.flatnonzero((share > 0.0) & (share < 0.5))):
        yield f"fewer than half of the kept partitions support components {weak.tolist()}"
