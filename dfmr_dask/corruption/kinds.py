"""What an attack is, and what a liar knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.corruption.rows import RowStrike
from dfmr_dask.families.base import Params
from dfmr_dask.mixture import Mixture

Attacked = tuple[NDArray[np.float64], Params]


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """What a liar knows beside its own estimate.

    Attributes
    ----------
    known : Mixture
        What all liars know of the honest: the common start, the truth, or the honest mean.
    rows : float
        Rows of its partition.
    usual_rows : float
        Rows of a usual partition: all colluders reckon with the same number.
    own : numpy.random.Generator
        Its own.
    shared : numpy.random.Generator
        In the same state for every liar.
    size : float
        How far the attack goes, in the attack's units.
    components : tuple of int or None
        Components to be struck, as they are numbered in ``known``; None leaves the choice to the
        attack.
    """

    known: Mixture
    rows: float
    usual_rows: float
    own: np.random.Generator
    shared: np.random.Generator
    size: float
    components: tuple[int, ...] | None = None


Strike = Callable[[Mixture, Knowledge], Attacked]


@dataclass(frozen=True, slots=True)
class Attack:
    """One row of the table of attacks.

    Attributes
    ----------
    strike : callable
        Given an honest estimate and the knowledge of a liar, returns weights and parameters.
    size : float or None
        The usual size; None for an attack that has none.
    components : {"none", "one", "some"}
        Whether single components can be named: one of them, or any number.
    harmless : bool
        What it sends is as good as the truth, so that nothing may change by it.
    stages : tuple of str
        Where it can strike.
    rows : callable or None
        What it makes of the rows of a bad partition; None where it leaves them alone, or puts
        those of another population in their place (``data``).
    share : bool
        Whether the size is a share, of SNPs or genotypes.
    spreads : bool
        Whether it changes covariances, which only Gaussians have.
    """

    strike: Strike
    size: float | None = None
    components: Literal["none", "one", "some"] = "none"
    harmless: bool = False
    stages: tuple[str, ...] = ("proposals", "messages")
    rows: RowStrike | None = None
    share: bool = False
    spreads: bool = False
