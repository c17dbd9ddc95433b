"""From what was asked for to the plan that gives it."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import Any, cast

from dask.utils import parse_bytes

from dfmr_dask.data import layouts as plans
from dfmr_dask.data.backends import FrameBackend, GridBackend, Opened, RowsBackend
from dfmr_dask.data.fitting import cut_to_fit, held_to
from dfmr_dask.data.grid import Axis, Box, Grid, boxes_of, runs
from dfmr_dask.data.mixing import Chunked, mixed
from dfmr_dask.data.plan import Kind, Plan
from dfmr_dask.errors import InvalidSource
from dfmr_dask.randomness import Stage, generator

KINDS = ("auto", "chunks", "rows", "interleaved")


@dataclass(frozen=True, slots=True)
class Wish:
    """The partitions that were asked for.

    Raises
    ------
    InvalidSource
        When the parts of it contradict each other.
    """

    plan: str | None = None
    rows_per_partition: int | None = None
    n_partitions: int | None = None
    seed: int = 0
    memory_per_worker: int | str | None = None

    def __post_init__(self) -> None:
        for name in ("rows_per_partition", "n_partitions"):
            _check_whole(name, getattr(self, name))
        if self.plan is not None and self.plan not in KINDS:
            raise InvalidSource(f"plan={self.plan!r}; wanted one of {', '.join(KINDS)}")
        by_rows, by_number = self.rows_per_partition is not None, self.n_partitions is not None
        if by_rows and by_number:
            raise InvalidSource("give rows_per_partition= or n_partitions=, not both")
        if self.kind == "chunks" and (by_rows or by_number):
            raise InvalidSource("plan='chunks' makes each chunk a partition; give no other size")
        if self.kind == "rows" and not (by_rows or by_number):
            raise InvalidSource("plan='rows' wants rows_per_partition= or n_partitions=")
        if self.kind == "interleaved" and by_rows:
            raise InvalidSource("plan='interleaved' takes n_partitions=, or finds a number itself")
        check_bytes("memory_per_worker", self.memory_per_worker)

    @property
    def memory(self) -> int | None:
        """Bytes of a worker, as far as they were told."""
        given = self.memory_per_worker
        return None if given is None else int(parse_bytes(given))

    @property
    def kind(self) -> Kind:
        """The kind of plan that was asked for, or that follows from the rest."""
        if self.plan is not None and self.plan != "auto":
            return cast(Kind, self.plan)
        if self.rows_per_partition is not None:
            return "rows"
        return "chunks" if self.n_partitions is None else "interleaved"

    @property
    def auto(self) -> bool:
        """Whether a run may make other partitions: consecutive rows only where that is said."""
        return self.kind == "chunks" if self.plan is None else self.plan == "auto"


def _check_whole(name: str, value: Any) -> None:
    try:
        operator.index(0 if value is None else value)
    except TypeError as error:
        raise InvalidSource(f"{name}={value!r}; wanted a whole number") from error


def check_bytes(name: str, value: Any) -> None:
    """Refuse what is no amount of memory.

    Raises
    ------
    InvalidSource
    """
    try:
        given = 1 if value is None else parse_bytes(value)
    except (ValueError, TypeError, AttributeError, OverflowError):
        given = 0
    if isinstance(value, bool) or given < 1:
        raise InvalidSource(f"{name}={value!r}; wanted an amount of memory, such as '2GiB'")


def planned(opened: Opened, wish: Wish) -> tuple[Plan, Opened]:
    """Make the plan; tables in memory may get a random order on the way.

    Raises
    ------
    InvalidSource
        When the source has too few rows for it, or their number is unknown.
    """
    made, opened = _cut(opened, wish)
    in_pieces = isinstance(opened.backend, GridBackend) and made.kind != "interleaved"
    made = replace(made, auto=wish.auto and in_pieces)
    if opened.cost is None:
        return replace(made, memory_per_worker=wish.memory), opened
    return held_to(made, opened.cost, wish.memory), opened


def chunked(opened: Opened, wish: Wish) -> Chunked | None:
    """Return what it takes to plan a source anew; None where rows do not lie in chunks."""
    if not isinstance(opened.backend, GridBackend) or opened.cost is None:
        return None
    units = opened.backend.layout.units
    return Chunked(units, opened.cost, wish.seed, wish.memory, opened.notes)


def _cut(opened: Opened, wish: Wish) -> tuple[Plan, Opened]:
    if isinstance(opened.backend, RowsBackend):
        return _in_memory(opened, opened.backend, wish)
    if isinstance(opened.backend, FrameBackend):
        if wish.kind != "chunks":
            raise InvalidSource(
                f"plan={wish.kind!r} needs to know the rows; a dask.dataframe has one partition "
                "for each of its own: use repartition() before"
            )
        return plans.unknown(len(opened.backend.parts), opened.notes), opened
    return _over_chunks(opened, wish), opened


def _over_chunks(opened: Opened, wish: Wish) -> Plan:
    grid, cost = opened.grid, opened.cost
    assert isinstance(opened.backend, GridBackend)
    assert grid is not None
    assert cost is not None
    if wish.rows_per_partition is not None:
        return plans.rows(grid, cost, wish.rows_per_partition, opened.notes)
    units = opened.backend.layout.units
    if wish.auto and wish.n_partitions is None and cost.streams:
        return cut_to_fit(grid, units, cost, wish.memory, opened.notes)
    if wish.n_partitions is None and wish.kind == "interleaved":
        return mixed(list(boxes_of(grid)), units, cost, wish.memory, wish.seed, opened.notes)
    if wish.n_partitions is None:
        return plans.chunks(grid, cost, opened.notes)
    if wish.kind == "rows":
        return plans.equal_rows(grid, cost, wish.n_partitions, opened.notes)
    if opened.in_memory:  # any row can be taken out alone
        units = _blocks(grid, wish.n_partitions)
    return plans.interleaved(units, cost, wish.n_partitions, wish.seed, opened.notes)


def _blocks(grid: Grid, n_partitions: int) -> Grid:
    """Cut dimensions, the first one first, until there are blocks enough to deal."""
    wanted, axes = plans.BLOCKS * n_partitions, []
    for axis in grid:
        pieces = min(axis.size, wanted)
        axes.append(Axis(axis.size, edges=(0, *(stop for _, stop in runs(axis.size, pieces)))))
        wanted = -(-wanted // pieces)
    return tuple(axes)


def _in_memory(opened: Opened, backend: RowsBackend, wish: Wish) -> tuple[Plan, Opened]:
    """Plan contiguous rows, or runs of a random order: random access costs nothing here."""
    assert opened.grid is not None
    assert opened.cost is not None
    if wish.rows_per_partition is not None:
        return plans.rows(opened.grid, opened.cost, wish.rows_per_partition, opened.notes), opened
    total = opened.grid[0].size
    if wish.kind == "interleaved" and wish.n_partitions is None:
        raise InvalidSource("plan='interleaved' wants n_partitions= for a table in memory")
    n = 1 if wish.n_partitions is None else wish.n_partitions
    plans.check_range("n_partitions", n, total)
    spans: list[list[Box]] = [[(span,)] for span in runs(total, n)]
    plan = plans.finished(wish.kind, spans, opened.cost, opened.notes)
    if wish.kind != "interleaved" or n == 1:
        return plan, opened
    order = generator(wish.seed, Stage.PLAN).permutation(total)
    return plan, replace(opened, backend=replace(backend, order=order))
