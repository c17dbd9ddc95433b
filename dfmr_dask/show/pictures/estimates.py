"""Who agrees with whom: distances between local estimates, and a map of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import Circle
from numpy.typing import NDArray

from dfmr_dask.aggregate.map import EstimateMap
from dfmr_dask.aggregate.matrix import DistanceMatrix
from dfmr_dask.show.pictures.style import (
    ALERT,
    FATES,
    INK,
    MANY,
    MARKS,
    MUTED,
    PALETTE,
    RULE,
    axes_of,
    plain_colorbar,
    ramp,
)

PULL = 0.7  # of the first ring, by which each tenfold distance lies further out
NUMBERED = 40  # partitions up to which a matrix names each one
Array = NDArray[np.float64]


def plot_matrix(
    found: DistanceMatrix, dropped: Collection[int] = (), *, ax: Axes | None = None
) -> Axes:
    """Draw the distances between estimates, those closest to the center first.

    Parameters
    ----------
    found : DistanceMatrix
    dropped : collection of int
        Partitions that the filter left out; ticks in their color.
    ax : Axes, optional

    Returns
    -------
    Axes
        The stronger a cell's color, the further apart its two estimates are; empty where no
        component of both has rows enough to be compared.
    """
    axis, m = axes_of(ax), len(found.ids)
    apart = found.distances[~np.eye(m, dtype=bool) & np.isfinite(found.distances)]
    high = max(float(apart.max(initial=0.0)), 1e-9)
    low = min(max(float(apart.min(initial=high)), 1e-4 * high), 0.25 * high)
    shown = np.ma.masked_invalid(np.maximum(found.distances, low))
    picture = axis.imshow(
        shown, cmap=ramp(PALETTE[1], 0.03), norm=LogNorm(low, high), interpolation="nearest"
    )
    bar = axis.figure.colorbar(picture, ax=axis, shrink=0.85, label=found.unit)
    plain_colorbar(bar)
    axis.spines[:].set_visible(True)
    axis.spines[:].set_color(RULE)
    _named(axis, found, frozenset(dropped))
    return axis


def _named(axis: Axes, found: DistanceMatrix, dropped: frozenset[int]) -> None:
    """Name the partitions beside the matrix, or say how they are ordered."""
    m = len(found.ids)
    axis.set(xlabel="partition, closest to the center first", xticks=[], yticks=[])
    kept = sum(int(i) not in dropped for i in found.ids)
    if m > NUMBERED:
        axis.axhline(kept - 0.5, color=INK, linewidth=0.8, linestyle="--")
        axis.axvline(kept - 0.5, color=INK, linewidth=0.8, linestyle="--")
        return
    size = 7 if m <= 30 else 5.5
    axis.set_yticks(range(m), labels=[str(i) for i in found.ids], fontsize=size)
    axis.tick_params(length=0)
    for tick, i in zip(axis.get_yticklabels(), found.ids, strict=True):
        tick.set_color(ALERT if int(i) in dropped else INK)


def plot_estimates(
    found: EstimateMap, dropped: Collection[int] = (), *, ax: Axes | None = None
) -> Axes:
    """Draw estimates as points around the one in the middle, far ones pulled in.

    Parameters
    ----------
    found : EstimateMap
    dropped : collection of int
        Partitions that the filter left out.
    ax : Axes, optional

    Returns
    -------
    Axes
        Rings tell the distance. Up to the first one, which holds more than half of the estimates,
        it is as it is, and beyond it grows with its logarithm.
    """
    axis, x, y = axes_of(ax), found.x, found.y
    scale = found.radius if found.radius > 0.0 else 1.0
    far = np.hypot(x, y)
    drawn = _pulled(far / scale)
    pull = np.divide(drawn, far, out=np.zeros_like(far), where=far > 0.0)
    reach = 1.12 * max(float(drawn.max(initial=1.0)), 1.0)
    _rings(axis, scale, reach)
    out = np.isin(found.partitions, list(dropped))
    for fate, here in (("kept", ~out), ("dropped", out)):
        if here.any():
            axis.scatter(
                (x * pull)[here], (y * pull)[here], s=18, c=FATES[fate], marker=MARKS[fate],
                alpha=0.85, linewidths=0.0, rasterized=len(x) > MANY, label=fate, zorder=3,
            )  # fmt: skip
    axis.plot(0.0, 0.0, marker="+", markersize=10, color=INK, linestyle="none", label="center")
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.legend(loc="upper left", bbox_to_anchor=(0.97, 1.0))
    return axis


def _pulled(ratio: Array) -> Any:
    """Leave distances up to 1 as they are, and let them grow with their logarithm beyond."""
    return np.where(ratio <= 1.0, ratio, 1.0 + PULL * np.log10(np.maximum(ratio, 1.0)))


def _rings(axis: Axes, radius: float, reach: float) -> None:
    """Draw the circle that holds more than half, and others at powers of ten, with their sizes."""
    axis.add_patch(Circle((0, 0), 1.0, facecolor=PALETTE[0], alpha=0.08, linewidth=0.0))
    for times in (1.0, *10.0 ** np.arange(1, 13)):
        ring = float(_pulled(np.array(times)))
        if ring > reach:
            break
        style = {"color": MUTED, "linewidth": 0.8} if times == 1.0 else {"color": RULE}
        axis.add_patch(Circle((0, 0), ring, fill=False, **style))
        far, place = radius * times, -ring * np.sqrt(0.5)
        told = f"{float(f'{far:.2g}'):,.10g}"
        axis.text(place, place, told, fontsize=7, color=MUTED, ha="right", va="top")
