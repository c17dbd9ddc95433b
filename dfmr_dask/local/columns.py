"""Rows and mixtures of some of the columns, where each column has one parameter of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Rows
from dfmr_dask.local.climbing import RowBlocks, Weights
from dfmr_dask.mixture import Mixture


@dataclass(frozen=True, slots=True, eq=False)
class SomeColumns(Sequence[tuple[Rows, Weights | None]]):
    """Blocks of rows with some of their columns alone."""

    blocks: RowBlocks
    columns: NDArray[np.intp]

    def __iter__(self) -> Iterator[tuple[Rows, Weights | None]]:
        """Read block after block."""
        return ((x[:, self.columns], weights) for x, weights in self.blocks)

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self.blocks)

    def __getitem__(self, index: Any) -> Any:
        """Read one block."""
        x, weights = self.blocks[index]
        return x[:, self.columns], weights


def of_columns(here: Mixture, columns: NDArray[np.intp]) -> Mixture:
    """Return what a mixture says of some of its columns."""
    params = {name: values[:, columns] for name, values in here.params.items()}
    return Mixture(here.family, here.weights, params)


def put_back(made: Mixture, here: Mixture, columns: NDArray[np.intp]) -> Mixture:
    """Return a mixture of all columns, those that were left out as they were."""
    params = {name: values.copy() for name, values in here.params.items()}
    for name, values in params.items():
        values[:, columns] = made.params[name]
    return Mixture(here.family, made.weights, params)
