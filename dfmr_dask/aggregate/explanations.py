"""Which components and which parameters of an estimate deviate, feature by feature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.alignment import aligned
from dfmr_dask.aggregate.distances import component_rows
from dfmr_dask.aggregate.estimates import Estimates
from dfmr_dask.mixture import Mixture

MANY = 2000  # parameters, of which chance makes some deviate by more standard errors than 3
NOTABLE = 3.0  # standard errors from which a deviation is told
Deviations = Mapping[str, NDArray[np.float64]]


class Deviation(NamedTuple):
    """One parameter that is not where the aggregate has it.

    Attributes
    ----------
    component : int
        Of the aggregate.
    parameter : str
        ``"mean"``, ``"variance"`` or ``"weight"``, or the name of a family's block.
    feature : int or None
        None for a weight.
    standard_errors : float
        Signed: above 0 where the estimate is larger.
    """

    component: int
    parameter: str
    feature: int | None
    standard_errors: float

    def __str__(self) -> str:
        """Say it in words."""
        along = "" if self.feature is None else f" along feature {self.feature}"
        return (
            f"{self.parameter} of component {self.component}{along} "
            f"{self.standard_errors:+.3g} standard errors"
        )


def deviations(estimates: Estimates, mixture: Mixture) -> Deviations:
    """Measure how far every parameter of every estimate lies from the aggregate's.

    Parameters
    ----------
    estimates : Estimates
    mixture : Mixture
        The aggregate; its order tells the components.

    Returns
    -------
    mapping of parameters to ndarrays of shape (m, K, d), or (m, K, 1) for weights
        In standard errors of the partition's estimate, were the components well apart; each
        feature on its own, so that correlated features deviate together.
    """
    if mixture.n_components != estimates.weights.shape[1]:
        return {}
    near = aligned(estimates, mixture)
    rows = component_rows(near)
    found = {
        block.name: block.coordinates
        * np.sqrt(near.rows[:, None] if block.shared else rows)[..., None]
        for block in near.family.feature_blocks(near.params, mixture.params)
    }
    off = 2.0 * (np.sqrt(near.weights) - np.sqrt(mixture.weights)) * np.sqrt(near.rows)[:, None]
    return found | {"weight": off[..., None]}


def largest(found: Deviations, i: int, number: int = 3) -> Iterator[Deviation]:
    """Yield the parameters of estimate ``i`` that deviate most, the largest of each kind first."""
    tops = []
    for name, values in found.items():
        k, j = np.unravel_index(int(np.argmax(np.abs(values[i]))), values[i].shape)
        feature = None if name == "weight" else int(j)
        tops.append(Deviation(int(k), name, feature, float(values[i, k, j])))
    tops.sort(key=lambda one: _by_chance(found[one.parameter][i].size) - abs(one.standard_errors))
    yield from (one for one in tops[:number] if abs(one.standard_errors) > NOTABLE)


def _by_chance(size: int) -> float:
    """How far the largest of very many deviations lies by chance, in standard errors."""
    return float(np.sqrt(2.0 * np.log(size))) if size > MANY else 0.0
