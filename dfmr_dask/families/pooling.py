"""Groups of components that are added up into one each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Floats

GROUP_BLOCK = 1 << 20  # elements of the (groups, components, d) temporary of a pooling step


def shares(count: Floats, groups: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mass of each group, and the share of every member in it."""
    mass = np.asarray(groups, dtype=np.float64) * count
    total = mass.sum(axis=1)
    return total, mass / np.maximum(total, np.finfo(np.float64).tiny)[:, None]


def group_blocks(n_groups: int, size: int) -> list[slice]:
    """Cut groups into runs whose (groups, components, d) temporary stays in cache."""
    step = max(1, GROUP_BLOCK // max(size, 1))
    return [slice(i, i + step) for i in range(0, n_groups, step)]
