"""What deviates most in each partition that was dropped: component by component, in one picture."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from dfmr_dask.aggregate.explanations import NOTABLE, Deviation, largest
from dfmr_dask.show.pictures.partitions import fates_of
from dfmr_dask.show.pictures.style import PALETTE, RULE, axes_of, plain_colorbar, ramp, shown_ticks

DEVIATION = "deviation_"  # what the columns of parameters begin with
MOST_SHOWN = 24  # partitions
MOST_COLUMNS = 90  # components of all parameters together
NUMBERED = 40  # columns, up to which each has its number
FURTHEST = 1e6  # standard errors, beyond which all are the same


class Deviations(NamedTuple):
    """Largest deviations of partitions.

    Attributes
    ----------
    partitions : ndarray of shape (m,)
    columns : list of (parameter, component)
    values : ndarray of shape (m, columns)
        Of the feature that deviates most, in standard errors, without sign.
    """

    partitions: NDArray[np.int64]
    columns: list[tuple[str, int]]
    values: NDArray[np.float64]


def parameters_of(table: xr.Dataset) -> list[str]:
    """Return the names of the parameters whose deviations a table of partitions tells."""
    return [str(n).removeprefix(DEVIATION) for n in table.data_vars if str(n).startswith(DEVIATION)]


def deviations_of(table: xr.Dataset, number: int = 3) -> dict[int, list[Deviation]]:
    """Return what deviates most in each dropped partition, where it has an estimate at all.

    Parameters
    ----------
    table : xarray.Dataset
        Of partitions, from :func:`~dfmr_dask.run.results.partition_table`.
    number : int
        How many parameters of each, the largest first.
    """
    found = {}
    for name in parameters_of(table):
        values = table[f"{DEVIATION}{name}"].values
        found[name] = values[..., None] if values.ndim == 2 else values
    if not found:
        return {}
    known = np.all([np.isfinite(one).all(axis=(1, 2)) for one in found.values()], axis=0)
    dropped = fates_of(table) == "dropped"
    return {
        int(table["partition"].values[i]): list(largest(found, int(i), number))
        for i in np.flatnonzero(known & dropped)
    }


def most_deviating(table: xr.Dataset, most: int = MOST_SHOWN) -> Deviations:
    """Return how far each component of each dropped partition deviates, parameter by parameter.

    Parameters
    ----------
    table : xarray.Dataset
        Of partitions.
    most : int
        Partitions at most: those that deviate most.
    """
    dropped = np.flatnonzero(fates_of(table) == "dropped")
    columns: list[tuple[str, int]] = []
    parts = []
    for name in parameters_of(table):
        values = np.abs(table[f"{DEVIATION}{name}"].values[dropped])
        parts.append(values if values.ndim == 2 else values.max(axis=2, initial=0.0))
        columns += [(name, k) for k in range(parts[-1].shape[1])]
    if not parts or not len(dropped):
        return Deviations(np.empty(0, np.int64), columns, np.empty((0, len(columns))))
    both = np.concatenate(parts, axis=1)
    known = np.isfinite(both).all(axis=1)
    dropped, both = dropped[known], both[known]
    first = np.sort(np.argsort(-both.max(axis=1), kind="stable")[:most])
    shown = _telling(columns, both[first], MOST_COLUMNS // len(parts))
    return Deviations(
        table["partition"].values[dropped[first]],
        [columns[j] for j in shown],
        both[np.ix_(first, shown)],
    )


def _telling(
    columns: list[tuple[str, int]], values: NDArray[np.float64], most: int
) -> NDArray[np.intp]:
    """Return the columns of the components that deviate most, all parameters of each."""
    numbers = np.array([k for _, k in columns])
    if not len(values) or len(np.unique(numbers)) <= most:
        return np.arange(len(columns))
    worst = [values[:, numbers == k].max() for k in range(int(numbers.max()) + 1)]
    return np.flatnonzero(np.isin(numbers, np.argsort(worst)[::-1][:most]))


def plot_deviations(found: Deviations, *, ax: Axes | None = None) -> Axes:
    """Draw how far the components of dropped partitions deviate, in standard errors.

    Parameters
    ----------
    found : Deviations
        From :func:`most_deviating`.
    ax : Axes, optional

    Returns
    -------
    Axes
        Cells within three standard errors are empty.
    """
    shown, columns = found.values, found.columns
    axis = axes_of(ax, (7.2, 0.9 + 0.19 * len(shown)))
    high = min(max(10.0 * NOTABLE, float(shown.max(initial=1.0))), FURTHEST)
    picture = axis.imshow(
        np.ma.masked_less(shown, NOTABLE), cmap=ramp(PALETTE[1], 0.12), aspect="auto",
        norm=LogNorm(NOTABLE, high, clip=True), interpolation="nearest",
    )  # fmt: skip
    bar = axis.figure.colorbar(
        picture, ax=axis, label="standard errors", pad=0.02, fraction=0.025, aspect=24
    )
    plain_colorbar(bar)
    axis.set_yticks(range(len(shown)), labels=[str(i) for i in found.partitions])
    ticks: list[int] = []
    for name in dict.fromkeys(name for name, _ in columns):
        at = [i for i, (one, _) in enumerate(columns) if one == name]
        ticks += at if len(columns) <= NUMBERED else [at[i] for i in shown_ticks(len(at), 7)[:-1]]
        axis.text(float(np.mean(at)), -0.62, name, ha="center", va="bottom", fontsize=8)
        axis.axvline(at[-1] + 0.5, color=RULE, linewidth=1.2)
    axis.set_xticks(ticks, labels=[str(columns[i][1]) for i in ticks])
    axis.set(xlabel="component", ylabel="partition")
    axis.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(len(shown) + 1) - 0.5, minor=True)
    axis.grid(which="minor", color=RULE, linewidth=0.4)
    axis.tick_params(which="both", length=0)
    axis.spines[:].set_visible(False)
    return axis
