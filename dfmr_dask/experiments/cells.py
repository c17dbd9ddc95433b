"""One cell of a comparison: the same local fits, spoilt by every attack, merged by everybody.

The fits cost most, and no attack changes those of honest partitions: they are made once for a
population, a number of partitions and a seed, and all answers come from the same messages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfmr_dask.aggregate.aggregators import aggregate
from dfmr_dask.corruption import Corruption, byzantine_partitions, corrupted_rows, lies
from dfmr_dask.experiments.judging import ORACLE, SCORES, Contender, Judge, Record, without
from dfmr_dask.experiments.worlds import World
from dfmr_dask.families.base import Rows
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run import partition
from dfmr_dask.run.partition import LocalSettings

NO_ATTACK = "none"
NAME_LETTERS = 40  # of a population in a file's name; file systems allow 255 bytes in all
STARTS, PENALTIES = ("truth", "own"), ("total", "partition")
CASE = ("population", "draw", "attack", "alpha", "m", "rows", "seed")
COLUMNS = (*CASE, "aggregator", *SCORES, "certified", "failure")


@dataclass(frozen=True, slots=True, eq=False)
class Attack:
    """What Byzantine partitions do.

    Attributes
    ----------
    name : str
        What it is called in the table.
    attack : str
    options : mapping
        Further arguments of :class:`~dfmr_dask.corruption.Corruption`.
    """

    name: str
    attack: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def corruption(self, alpha: float) -> Corruption:
        """Return the attack on a share alpha of the partitions."""
        return Corruption(self.attack, alpha, **self.options)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Design:
    """What is done in every cell.

    Attributes
    ----------
    attacks : tuple of Attack
    alphas : tuple of float
        Shares of Byzantine partitions; at 0 there is no attack, and one set of answers.
    contenders : tuple of Contender
        The oracle takes part whether it is among them or not.
    rows : int or (int, int)
        In each partition; a range is drawn from, uniformly in the logarithm.
    fresh_rows : int
        On which labels and log densities are judged.
    start : {"truth", "own"}
        Where local fits start: at the true mixture, or each at a pilot of its own.
    penalty : {"total", "partition"}
        The penalty's a is N^(-1/2), N all rows, or n^(-1/2) with the partition's own rows, as in
        the paper (METHOD 2).
    weights_dirichlet : float or None
        The weights of each honest partition are drawn from Dirichlet(this times the true ones).
    tol, reg_covar, max_iter, n_init, init_params
        As in a run.
    """

    attacks: tuple[Attack, ...]
    alphas: tuple[float, ...]
    contenders: tuple[Contender, ...]
    rows: int | tuple[int, int]
    fresh_rows: int = 5000
    start: str = "truth"
    penalty: str = "total"
    weights_dirichlet: float | None = None
    tol: float = 1e-6
    reg_covar: float = 1e-6
    max_iter: int = 500
    n_init: int = 2
    init_params: str = "overfit"


@dataclass(frozen=True, slots=True)
class Cell:
    """Which population, how many partitions, which seed."""

    population: str
    draw: int
    m: int
    seed: int


def measured(cell: Cell, world: World, design: Design) -> list[Record]:
    """Fit the partitions of a cell once, and judge every answer to every attack.

    Returns
    -------
    list of dict
        One for each attack, share and aggregator, with the keys :data:`COLUMNS`.

    Raises
    ------
    InvalidConfiguration
        When a population has fewer rows than are asked for.
    """
    sizes = partition_sizes(design.rows, cell.m, cell.seed)
    rows = world.honest(sizes, cell.seed, design.weights_dirichlet)
    fits = Fits(world, design, cell.seed, sum(sizes))
    honest = [fits.message(j, x, world.truth) for j, x in enumerate(rows)]
    judge = Judge(world.truth, *world.fresh(design.fresh_rows, cell.seed))
    fixed = {**_plain(cell), "rows": round(float(np.mean(sizes)))}
    others = (one for one in design.contenders if one.aggregator != ORACLE)
    contenders = (Contender(ORACLE, ORACLE), *others)
    records: list[Record] = []
    for attack, alpha in cases(design):
        corruption = attack.corruption(alpha) if attack else None
        byzantine = byzantine_partitions(corruption, cell.m, cell.seed)
        told = fits.told(honest, rows, corruption, byzantine)
        case = {**fixed, "attack": attack.name if attack else NO_ATTACK, "alpha": alpha}
        for contender in contenders:
            one = judge.record(contender, told, byzantine)
            records.append({key: {**case, **one}[key] for key in COLUMNS})
    return records


def cases(design: Design) -> Iterator[tuple[Attack | None, float]]:
    """Yield every attack at every share; without Byzantine partitions there is one case."""
    if 0.0 in design.alphas:
        yield None, 0.0
    for attack in design.attacks:
        for alpha in design.alphas:
            if alpha > 0.0:
                yield attack, alpha


def partition_sizes(rows: int | tuple[int, int], m: int, seed: int) -> list[int]:
    """Return the rows of each partition; those of a range are uniform in the logarithm.

    Examples
    --------
    >>> from dfmr_dask.experiments.cells import partition_sizes
    >>> partition_sizes(1000, 3, seed=0)
    [1000, 1000, 1000]
    >>> all(300 <= n <= 6000 for n in partition_sizes((300, 6000), 50, seed=0))
    True
    """
    if isinstance(rows, int):
        return [rows] * m
    rng = generator(seed, Stage.PARTITION_SIZES)
    return [round(float(n)) for n in np.exp(rng.uniform(np.log(rows[0]), np.log(rows[1]), size=m))]


@dataclass(frozen=True, slots=True, eq=False)
class Fits:
    """The local fits of a cell; those on alien or spoilt rows are made when a liar needs one."""

    world: World
    design: Design
    seed: int
    total_rows: int
    bad: dict[tuple[Any, ...], Message] = field(default_factory=dict)

    def message(self, j: int, x: Rows, truth: Mixture) -> Message:
        """Return what a partition says of its rows."""
        design, settings = self.design, self._settings(x.shape[1])
        total = self.total_rows if design.penalty == "total" else None
        if design.start == "truth":
            return partition.fit(j, x, truth, None, None, total, settings)
        drawn = partition.draw(j, x, settings)
        return partition.fit(j, x, None, None, drawn, total, settings)

    def told(
        self,
        honest: Sequence[Message],
        rows: Sequence[Rows],
        corruption: Corruption | None,
        byzantine: Sequence[int],
    ) -> list[Message]:
        """Return what everybody says under an attack."""
        if corruption is None:
            return list(honest)
        said = list(honest)
        if "rows" in corruption.stages:
            for j in byzantine:
                said[j] = self._bad(j, rows[j], corruption)
        known = self.world.truth
        if corruption.attack == "duplicate":  # of the honest mean: the truth would do good
            known = aggregate(without(honest, byzantine), aggregator="vanilla").mixture
        return lies(said, corruption, byzantine, known=known, seed=self.seed)

    def _bad(self, j: int, x: Rows, corruption: Corruption) -> Message:
        """Return what a partition says of alien rows, or of its own ones spoilt."""
        key = (j, corruption.attack, corruption.size)
        if key not in self.bad:
            if corruption.attack == "data":
                alien = self.world.alien(j, len(x), self.seed)
                self.bad[key] = self.message(j, alien, self.world.other)
            else:
                highest = self.world.truth.family.options.get("n_trials")
                spoilt = corrupted_rows(x, corruption, self.seed, j, highest)
                self.bad[key] = self.message(j, spoilt, self.world.truth)
        return self.bad[key]

    def _settings(self, n_features: int) -> LocalSettings:
        truth, design = self.world.truth, self.design
        return LocalSettings(
            family=truth.family,
            n_components=truth.n_components,
            features=tuple(str(i) for i in range(n_features)),
            seed=self.seed,
            tol=design.tol,
            reg_covar=design.reg_covar,
            max_iter=design.max_iter,
            n_init=design.n_init,
            init_params=design.init_params,
        )


def file_words(population: str) -> str:
    """Return what stands for a population in names of files: short, and another for each name.

    Examples
    --------
    >>> from dfmr_dask.experiments.cells import file_words
    >>> file_words("overlap 0.1"), file_words("overlap-0.1")
    ('overlap-0-1-b4c88a86', 'overlap-0-1-005f5304')
    """
    letters = population[:NAME_LETTERS]
    words = "".join(letter if letter.isalnum() else "-" for letter in letters)
    return f"{words}-{hashlib.sha256(population.encode()).hexdigest()[:8]}"


def _plain(cell: Cell) -> Record:
    return {name: getattr(cell, name) for name in ("population", "draw", "m", "seed")}
