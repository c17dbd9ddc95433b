"""The table of a store's pieces: where each lies, how like the others it is, what was done."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dfmr_dask.data.source import Source
from dfmr_dask.run.results import middles
from dfmr_dask.run.way import Way


def piece_table(source: Source, way: Way) -> xr.Dataset:
    """Return one entry a piece: where it lies, and what its sample was like.

    Parameters
    ----------
    source : Source
        In pieces, as it was opened.
    way : Way

    Returns
    -------
    xarray.Dataset
        Dimension ``piece``. ``location``, ``rows``; ``distance`` from the majority's mean in
        standard errors and ``group`` by likeness (0 is the largest; NaN and -1 of pieces that gave
        no sample); ``misplaced``, ``left_out``, and the ``reason`` of whatever is wrong. The
        coordinates tell where the middle of each piece lies along each dimension of the grid, by
        the source's own coordinates where it has some.
    """
    likeness, parts = way.likeness, source.plan.partitions
    reasons = dict(likeness.off) | dict(likeness.misplaced) | dict(way.left_out) | dict(way.failed)
    numbers = np.arange(len(parts))
    distances, group = np.full(len(parts), np.nan), np.full(len(parts), -1, dtype=np.int64)
    distances[list(likeness.pieces)] = likeness.distances
    group[list(likeness.pieces)] = likeness.groups
    columns: dict[str, Any] = {
        "location": _texts([source.box_text(i) for i in range(len(parts))]),
        "rows": np.array([one.rows for one in parts], dtype=np.int64),
        "distance": distances,
        "group": group,
        "misplaced": np.isin(numbers, list(likeness.misplaced)),
        "left_out": np.isin(numbers, list(way.left_out)),
        "reason": _texts([reasons.get(int(i), "") for i in numbers]),
    }
    centers = middles(source)
    table = xr.Dataset(
        {name: ("piece", column) for name, column in columns.items()},
        coords={"piece": numbers, **{dim: ("piece", at) for dim, at in centers.items()}},
        attrs={"route": likeness.route, "size": float(likeness.size)},
    )
    table["distance"].attrs["units"] = "standard errors"
    return table


def _texts(values: list[str]) -> NDArray[np.object_]:
    return np.array(values, dtype=object)
