"""Pictures that geneticists look at: bars of memberships, and the first two principal components.

Lists of SNPs that were thrown out, and for whom, are here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes as Plot
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.data.partitioned import Source
from dfmr_dask.genetics import Axes, in_order

Array = NDArray[np.float64]
BARS = (9.0, 2.4)
SQUARE = (5.2, 4.6)
MOST_SAMPLES = 4000  # bars that a picture has room for


def colors_of(n_components: int) -> list[Any]:
    """Return a color for each component, the same in every picture."""
    named = mpl.colormaps["tab10" if n_components <= 10 else "tab20"]
    return [named(k % named.N) for k in range(n_components)]


def membership_bars(
    memberships: Array,
    groups: Sequence[str] | None = None,
    *,
    ax: Plot | None = None,
) -> Plot:
    """Draw a bar for each sample, cut by how sure it belongs to which component.

    Parameters
    ----------
    memberships : ndarray of shape (n, K)
    groups : sequence of str, length n, optional
        What samples are put together by, such as their site or population; within a group, as
        without any, those of one component stand together, the surest first.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.show.pictures.genetics import membership_bars
    >>> ax = membership_bars(np.array([[0.9, 0.1], [0.2, 0.8]]), ["A", "B"])
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['A', 'B']
    """
    ax = Figure(figsize=BARS, layout="constrained").add_subplot() if ax is None else ax
    names = np.zeros(len(memberships), dtype=int) if groups is None else np.asarray(groups)
    kinds = list(dict.fromkeys(names.tolist()))
    parts = [np.flatnonzero(names == kind) for kind in kinds]
    order = np.concatenate([some[in_order(memberships[some])] for some in parts])
    edges = np.cumsum([0, *map(len, parts)])
    shown = order[np.linspace(0, len(order) - 1, min(len(order), MOST_SAMPLES)).astype(np.intp)]
    at = np.linspace(0, len(order), len(shown) + 1)
    below = np.zeros(len(shown))
    for k, color in enumerate(colors_of(memberships.shape[1])):
        above = below + memberships[shown, k]
        ax.stairs(above, at, baseline=below, fill=True, color=color, label=f"component {k}")
        below = above
    for edge in edges[1:-1]:
        ax.axvline(edge, color="black", linewidth=0.8)
    ax.set(xlim=(0, len(order)), ylim=(0, 1), ylabel="membership", yticks=(0, 0.5, 1))
    middles = 0.5 * (edges[:-1] + edges[1:])
    ax.set_xticks(middles if groups is not None else [], kinds if groups is not None else [])
    ax.tick_params(axis="x", length=0)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize="small")
    return ax


def principal_plot(axes: Axes, labels: NDArray[np.intp], *, ax: Plot | None = None) -> Plot:
    """Draw samples along the first two principal components, colored by component.

    Parameters
    ----------
    axes : Axes
        As :func:`dfmr_dask.genetics.principal_components` returns.
    labels : ndarray of int, (n,)
        The component of each sample; -1 is drawn in grey.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.genetics import Axes
    >>> from dfmr_dask.show.pictures.genetics import principal_plot
    >>> ax = principal_plot(Axes(np.eye(2), np.eye(2), np.array([0.3, 0.1])), np.array([0, 1]))
    >>> ax.get_xlabel()
    'principal component 1 (30.0 %)'
    """
    ax = Figure(figsize=SQUARE, layout="constrained").add_subplot() if ax is None else ax
    for k, color in enumerate(colors_of(len(axes.centers))):
        some = axes.scores[labels == k]
        told = f"component {k}"
        ax.scatter(some[:, 0], some[:, 1], s=7, color=color, alpha=0.6, linewidths=0, label=told)
        x, y = axes.centers[k, :2]
        ax.scatter(x, y, s=70, color=color, edgecolors="black", zorder=3)
    unknown = axes.scores[labels < 0]
    if len(unknown):
        x, y = unknown[:, 0], unknown[:, 1]
        ax.scatter(x, y, s=7, color="0.7", linewidths=0, label="no call")
    names = [f"principal component {i + 1} ({share:.1%})" for i, share in enumerate(axes.explained)]
    ax.set(xlabel=names[0].replace("%", " %"), ylabel=names[1].replace("%", " %"))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize="small")
    return ax


def thrown_out(verdict: Verdict, source: Source) -> pd.DataFrame:
    """Return which features of which partitions were thrown out, a line for each.

    Parameters
    ----------
    verdict : Verdict
        Of a run with ``unit="entry"``, or another one: then features were judged with the rest.
    source : Source

    Returns
    -------
    pandas.DataFrame
        ``partition``, ``location`` and ``feature``: all features of a partition that was dropped
        or failed are one line, with ``feature`` "all" and the ``reason``.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask import open_source
    >>> from dfmr_dask.aggregate.verdict import Verdict
    >>> from dfmr_dask.show.pictures.genetics import thrown_out
    >>> source = open_source(np.zeros((9, 2)), features=["1:5:A:G", "1:9:C:T"], n_partitions=3)
    >>> kept = np.array([[True, False], [True, True], [True, True]])
    >>> verdict = Verdict((0, 1), {2: "frequencies 9 > 1"}, entries_kept=kept)
    >>> thrown_out(verdict, source)[["partition", "feature", "reason"]].values.tolist()
    [[0, '1:9:C:T', 'lies too far from most'], [2, 'all', 'frequencies 9 > 1']]
    """
    lines: list[tuple[int, str, str]] = []
    whole = dict(verdict.dropped) | dict(verdict.failed)
    for i in range(len(source.plan)):
        if i in whole:
            lines.append((i, "all", whole[i]))
        elif verdict.entries_kept is not None and i in verdict.kept:
            bad = np.flatnonzero(~verdict.entries_kept[i])
            lines += [(i, source.features[j], "lies too far from most") for j in bad]
    table = pd.DataFrame(lines, columns=["partition", "feature", "reason"])
    places = {i: source.box_text(i) for i in table["partition"].unique()}
    table.insert(1, "location", table["partition"].map(places))
    return table
