"""What is said of the likeness of pieces, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.likeness.pieces import Pieces
from dfmr_dask.likeness.spread import Spread

WHAT = {
    "components": "shares of the components",
    "densities": "mean log densities",
    "features": "means of the features",
}
CANNOT_KNOW = (
    "Content alone cannot tell pieces of another kind from bad ones: twelve bands of sky in a "
    "picture of forty look exactly like twelve pieces that collude"
)
NAMED = 10  # pieces that a sentence lists


def reasoned(
    pieces: Pieces, widest: Spread, route: str, p_value: float, off: Mapping[int, str]
) -> str:
    """Say why a route is taken, with its figures."""
    m, what = len(pieces), WHAT[widest.name]
    if m == 1:
        return "there is one piece, and nothing that it could differ from"
    figures = f"{what} of {m} pieces spread {widest.size:.3g} times as wide as sampling noise"
    if route == "alike":
        apart = f"; {len(off)} of them stand apart: {listed(list(off))}" if off else ""
        return f"{figures} (below {widest.limit:.2g} they count as alike; p = {p_value:.2g}){apart}"
    gain = pieces.usual_gain
    if route == "weights":
        return (
            f"{figures} (alike: below {widest.limit:.2g}), and weights of their own explain the "
            f"rows: own components would gain {gain:.2g} times what chance gains"
        )
    return (
        f"{figures} (alike: below {widest.limit:.2g}), and own weights do not explain the rows: "
        f"own components would gain {gain:.3g} times what chance gains"
    )


def advised(
    route: str,
    m: int,
    off: Mapping[int, str],
    number: NDArray[np.intp],
    wrong: Mapping[int, str],
) -> str:
    """Say what to do, and what cannot be known."""
    if route == "alike":
        rest = "; it decides about those that stand apart" if off else ""
        return f"the filter compares the pieces as samples of one population{rest}"
    if route == "weights":
        return (
            "the pieces share components, and each has weights of its own: the filter compares "
            "components, and leaves the weights free"
        )
    kinds = int(number.max()) + 1 if m else 0
    places = (
        f" By their places, {len(wrong)} are suspect ({listed(list(wrong))}): look at these first."
        if wrong
        else ""
    )
    return (
        f"no piece is dropped for being unlike: rows are fitted in interleaved partitions. By "
        f"likeness the pieces fall into {kinds} groups.{places} {CANNOT_KNOW}"
    )


def off_reason(name: str, distance: float) -> str:
    """Say how a piece stands apart."""
    return f"its {WHAT[name]} lie {distance:.3g} standard errors from the majority's"


def listed(numbers: list[int]) -> str:
    """List the first numbers, and how many more there are."""
    more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
    return ", ".join(str(i) for i in numbers[:NAMED]) + more
