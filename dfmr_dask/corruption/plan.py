"""The plan of a simulation: which partitions lie, how, and where in a run."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import numpy as np

from dfmr_dask.corruption.attacks import ATTACKS
from dfmr_dask.corruption.kinds import Attack
from dfmr_dask.families.base import Family
from dfmr_dask.message import LARGEST_COUNT
from dfmr_dask.randomness import Stage, generator

STAGES = ("rows", "proposals", "messages")

Components = int | tuple[int, ...] | Literal["random"] | None


@dataclass(frozen=True, slots=True)
class Corruption:
    """An attack on a share of the partitions.

    Parameters
    ----------
    attack : str
        A name in :data:`ATTACKS`. ``data`` puts rows of another population in place of the
        partition's own, those of :mod:`dfmr_dask.corruption.rows` spoil genotypes; the others
        replace parameters of what a partition says. ``none`` leaves the estimate as it is, to go
        with ``claimed_rows``.
    fraction : float
        alpha in [0, 1); floor(alpha m) partitions are Byzantine.
    stages : tuple of {"rows", "proposals", "messages"}, optional
        Where it strikes. ``data`` and faults of genotypes strike at the rows, ``none`` at
        messages; the others strike
        at messages, and at proposals, scores and rounds as well unless told otherwise.
    size : float, optional
        How far the attack goes: the deviation of drawn means (``mean``, 100); c of a shift by
        c n^(-1/2) deviations in every feature (``shift``, ``collude``, ``imitate`` and ``huddle``;
        10); deviations that a component is moved by (``wide`` 20, ``component`` 15,
        ``sneak`` 1000); the factor of covariances (``shrink`` .25, ``needle`` 1e-6); the share of
        SNPs (``flipped_alleles`` 1, ``own_flipped_alleles`` .05) or of genotypes
        (``missing_as_reference`` .3); samples of one family or person (``relatives`` and
        ``repeated_samples``, 10).
    component : int, tuple of int or "random", optional
        Strike only at these components, as the mixture that all liars know numbers them, or at
        one that each liar draws for itself. By default attacks on whole machines strike at all,
        the others at a component of their choice.
    claimed_rows : int, optional
        Liars claim to have so many rows, together with any attack.

    Raises
    ------
    ValueError
        When attack, fraction, stages and the rest do not fit together.

    References
    ----------
    Zhang, Tan & Chen (arXiv 2407.13980), section 5, for ``mean``, ``covariance``, ``weight`` and
    ``data``; Baruch, Baruch & Goldberg (NeurIPS 2019) for shifts that are hidden in the noise.

    Examples
    --------
    >>> from dfmr_dask.corruption import Corruption, byzantine_partitions
    >>> len(byzantine_partitions(Corruption("mean", 0.3), 40, seed=0))
    12
    >>> Corruption("shift", 0.3, size=5.0, claimed_rows=10**9).stages
    ('proposals', 'messages')
    """

    attack: str
    fraction: float
    stages: tuple[str, ...] = ()
    size: float | None = None
    component: Components = None
    claimed_rows: int | None = None

    def __post_init__(self) -> None:
        if self.attack not in ATTACKS:
            raise ValueError(f"attack {self.attack!r}; known are {list(ATTACKS)}")
        if not 0.0 <= self.fraction < 1.0:
            raise ValueError(f"fraction {self.fraction}; wanted a share in [0, 1)")
        row = ATTACKS[self.attack]
        stages = tuple(self.stages) or row.stages
        if not set(stages) <= set(row.stages):
            raise ValueError(f"attack {self.attack!r} strikes at {row.stages}, not at {stages}")
        object.__setattr__(self, "stages", stages)
        _check_size(self.attack, row, self.size)
        object.__setattr__(self, "component", _component(self.attack, row, self.component))
        _check_claim(self.claimed_rows)

    @classmethod
    def of(cls, attack: str | Corruption) -> Corruption:
        """Return an attack; a name stands for the attack with its usual size."""
        return cls(attack, 0.0) if isinstance(attack, str) else attack

    def check_order(self, n_components: int) -> None:
        """Raise ValueError when a component is named that mixtures of this order do not have."""
        named = () if isinstance(self.component, str) else self.component or ()
        for k in (named,) if isinstance(named, int) else named:
            if k >= n_components:
                raise ValueError(
                    f"component {k} is to be struck; mixtures of {n_components} components have "
                    f"0 to {n_components - 1}"
                )

    def check_family(self, family: Family) -> None:
        """Raise ValueError when the attack changes covariances, and the family has none."""
        if ATTACKS[self.attack].spreads and not family.needs_spread:
            able = [name for name, one in ATTACKS.items() if not one.spreads]
            raise ValueError(
                f"attack {self.attack!r} changes covariances, which family {family.name!r} does "
                f"not have; those that it can be attacked by: {able}"
            )

    def strikes(self, stage: str) -> bool:
        """Tell whether something is said there that is not so."""
        claims = stage == "messages" and self.claimed_rows is not None
        return claims or stage in self.stages


def byzantine_partitions(
    corruption: Corruption | None, n_partitions: int, seed: int
) -> tuple[int, ...]:
    """Return the partitions that are Byzantine in this simulation, in order."""
    if corruption is None:
        return ()
    count = int(np.floor(corruption.fraction * n_partitions + 1e-9))
    chosen = generator(seed, Stage.BYZANTINE).choice(n_partitions, size=count, replace=False)
    return tuple(int(i) for i in np.sort(chosen))


def _check_size(attack: str, row: Attack, size: float | None) -> None:
    if size is None:
        return
    if row.size is None:
        sized = [name for name, one in ATTACKS.items() if one.size is not None]
        raise ValueError(f"size {size!r}: attack {attack!r} has none; those with a size: {sized}")
    if isinstance(size, bool) or not isinstance(size, int | float) or not 0.0 < size < 1e50:
        raise ValueError(f"size {size!r}; wanted a number above 0 (and below 1e50)")
    if row.share and size > 1.0:
        raise ValueError(f"size {size!r}; attack {attack!r} wants a share, up to 1")


def _component(attack: str, row: Attack, component: Components) -> Components:
    """Return components in one form, or raise when they cannot be struck by this attack."""
    if component is None:
        return None
    if row.components == "none":
        able = [name for name, one in ATTACKS.items() if one.components != "none"]
        raise ValueError(
            f"component {component!r}: attack {attack!r} takes none; those that do: {able}"
        )
    if component == "random":
        return component
    named: Any = (component,) if _is_count(component) else component
    if not isinstance(named, tuple | list) or not named or not all(map(_is_count, named)):
        raise ValueError(
            f"component {component!r}; wanted 'random', or numbers of components from 0"
        )
    if len(set(named)) < len(named) or (row.components == "one" and len(named) > 1):
        many = "one component" if row.components == "one" else "each component once"
        raise ValueError(f"component {component!r}; attack {attack!r} takes {many}")
    return tuple(int(k) for k in named)


def _check_claim(claimed_rows: int | None) -> None:
    if claimed_rows is None:
        return
    if not _is_count(claimed_rows) or not 0 < claimed_rows <= LARGEST_COUNT:
        raise ValueError(
            f"claimed_rows {claimed_rows!r}; wanted a whole number from 1 to {LARGEST_COUNT}"
        )


def _is_count(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= 0
