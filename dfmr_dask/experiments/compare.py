"""Aggregators against attacks: a grid of cells as tasks, resumable, and what they add up to.

comparison.json     first: the settings, by which a second call knows that it may go on
cells/*.json        one file a finished cell, as they arrive
table.csv, .zarr    all records, and as table.parquet where pyarrow is there
summary.csv         ratios of mean errors to the oracle's, with their intervals
*.png               the same as figures
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfmr_dask.data.files import plain, read_json, write_json
from dfmr_dask.errors import InvalidConfiguration, InvalidMessage, RunFolderExists, RunUnfinished
from dfmr_dask.experiments.cells import COLUMNS, Cell, Design, file_words, measured
from dfmr_dask.experiments.figures import draw_figures
from dfmr_dask.experiments.judging import Record
from dfmr_dask.experiments.tables import summarized, table_of, write_tables
from dfmr_dask.experiments.worlds import World
from dfmr_dask.run.events import Emit, Event, ignore
from dfmr_dask.run.places import aside, check_place, check_room, forget, set_aside
from dfmr_dask.run.tasks import Failure, InProcess, Tasks

DESCRIPTION, CELLS = "comparison.json", "cells"
STAGE = "compare"
SHOWN = 3  # of several failures


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """A population by name; those that one name stands for differ by their draw.

    Attributes
    ----------
    name : str
    draw : int
    build : callable
        Makes its rows' world; called once, and only when there is something left to compute.
    """

    name: str
    draw: int
    build: Callable[[], World]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What is compared, where, and how often.

    Attributes
    ----------
    populations : tuple of Population
    partitions : tuple of int
        Numbers of partitions m.
    seeds : tuple of int
    design : Design
    """

    populations: tuple[Population, ...]
    partitions: tuple[int, ...]
    seeds: tuple[int, ...]
    design: Design

    def cells(self) -> Iterator[tuple[Cell, Population]]:
        """Yield every cell, in the order of the table."""
        for population in self.populations:
            for m in self.partitions:
                for seed in self.seeds:
                    yield Cell(population.name, population.draw, m, seed), population


def compare(
    comparison: Comparison,
    folder: Path,
    tasks: Tasks,
    *,
    settings: Mapping[str, Any],
    overwrite: bool = False,
    emit: Emit = ignore,
) -> dict[str, Any]:
    """Compute the cells that a folder lacks, then write tables and figures of all.

    Parameters
    ----------
    comparison : Comparison
    folder : Path
        Of an earlier call with the same settings, or new.
    tasks : Tasks
        Where cells are computed; the result does not depend on it.
    settings : mapping
        Plain values that tell this comparison from any other.
    overwrite : bool
        Begin anew; the earlier comparison is removed when this one is finished.
    emit : callable
        Told of each finished cell.

    Returns
    -------
    dict
        ``cells``, ``computed``, ``files``, and ``summary``, the records of the summary table.

    Raises
    ------
    InvalidConfiguration
        When the folder holds a comparison with other settings; the text names what differs.
    RunFolderExists
        When it holds something else.
    RunUnfinished
        When cells failed; the others are kept.
    """
    begin(folder, settings, overwrite=overwrite)
    try:
        computed = _computed(comparison, folder, tasks, emit)
    except BaseException as error:
        error.add_note(f"{folder} keeps the finished cells: the same command goes on from there.")
        raise
    cells = [cell for cell, _ in comparison.cells()]
    table = table_of([record for cell in cells for record in _read(folder, cell)])
    summary = summarized(table)
    files = {**write_tables(folder, table, summary), **draw_figures(folder, table, summary)}
    if aside(folder).is_dir():
        forget(aside(folder))
    return {
        "folder": str(folder),
        "cells": len(cells),
        "computed": computed,
        "files": files,
        "summary": summary.to_dict("records"),
    }


def begin(folder: Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Make the folder of a comparison, or see that what is there may be gone on with.

    Raises
    ------
    InvalidConfiguration, RunFolderExists
        As :func:`compare` says.
    OSError
        When nothing can be written there.
    """
    wanted = plain(settings)
    if overwrite:
        check_room(folder, DESCRIPTION, overwrite=True)
        set_aside(folder)
    elif (folder / DESCRIPTION).is_file():
        _check_same(folder, read_json(folder / DESCRIPTION), wanted)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunFolderExists(
            f"{folder} holds something that is no comparison (there is no {DESCRIPTION} in it). "
            "Choose another folder (run.folder of the configuration)."
        )
    check_place(folder / DESCRIPTION if folder.is_dir() else folder)
    (folder / CELLS).mkdir(parents=True, exist_ok=True)
    if not (folder / DESCRIPTION).is_file():
        write_json(folder / DESCRIPTION, wanted)


def remaining(comparison: Comparison, folder: Path) -> list[tuple[Cell, Population]]:
    """Return the cells that a folder lacks."""
    return [(cell, one) for cell, one in comparison.cells() if not _place(folder, cell).is_file()]


def _computed(comparison: Comparison, folder: Path, tasks: Tasks, emit: Emit) -> int:
    """Compute and write the cells that are not there; return how many."""
    left, total = remaining(comparison, folder), len(list(comparison.cells()))
    done, failed = total - len(left), []
    emit(Event(STAGE, done, total))
    for cell, result in _results(left, comparison.design, tasks):
        if isinstance(result, Failure):
            failed.append(f"{_told(cell)}: {result.reason}")
        else:
            write_json(_place(folder, cell), result)
        done += 1
        emit(Event(STAGE, done, total, len(failed)))
    if failed:
        shown = "; ".join(failed[:SHOWN]) + ("; ..." if len(failed) > SHOWN else "")
        raise RunUnfinished(f"{len(failed)} of {total} cells failed: {shown}")
    return len(left)


def _results(
    left: Sequence[tuple[Cell, Population]], design: Design, tasks: Tasks
) -> Iterator[tuple[Cell, Any]]:
    """Yield cells with their records as they arrive.

    In this process a task is done when it is submitted, so that there they go one by one, and
    each is written before the next begins.
    """
    shared = tasks.share(design)
    worlds: dict[int, Any] = {}
    size = 1 if isinstance(tasks, InProcess) else max(1, len(left))
    for first in range(0, len(left), size):
        handles: dict[int, Any] = {}
        for i, (cell, population) in enumerate(left[first : first + size], first):
            if id(population) not in worlds:
                worlds[id(population)] = tasks.share(population.build())
            world = worlds[id(population)]
            handles[i] = tasks.submit(STAGE, (i,), measured, cell, world, shared)
        for i, result in tasks.results(handles):
            yield left[i][0], result


def _check_same(folder: Path, there: Any, wanted: Any) -> None:
    """Refuse to mix cells of different settings in one table."""
    told = list(_differences("", there, wanted))
    if told:
        raise InvalidConfiguration(
            f"{folder} holds a comparison with other settings: {'; '.join(told)}. Choose another "
            "folder (run.folder), or begin anew with --overwrite"
        )


def _differences(name: str, there: Any, here: Any) -> Iterator[str]:
    """Name the keys whose values differ, and both values."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [*here, *(key for key in there if key not in here)]:
            yield from _differences(f"{name}.{key}" if name else key, there.get(key), here.get(key))
    elif there != here:
        yield f"{name} is {there!r:.200} there, {here!r:.200} here"


def _read(folder: Path, cell: Cell) -> list[Record]:
    """Read the records of a cell; a number that JSON does not know comes back as NaN."""
    records = read_json(_place(folder, cell))
    whole = isinstance(records, list) and all(_is_of(cell, one) for one in records)
    if not whole:
        raise InvalidMessage(
            f"{_place(folder, cell)} holds no records of a cell; remove it, and it is made again"
        )
    return [
        {key: float("nan") if value is None else value for key, value in one.items()}
        for one in records
    ]


def _is_of(cell: Cell, record: Any) -> bool:
    return (
        isinstance(record, dict)
        and set(record) == set(COLUMNS)
        and cell == Cell(*(record[key] for key in ("population", "draw", "m", "seed")))
    )


def _place(folder: Path, cell: Cell) -> Path:
    return folder / CELLS / f"{_name(cell)}.json"


def _name(cell: Cell) -> str:
    return f"{file_words(cell.population)}-{cell.draw}-m{cell.m}-seed{cell.seed}"


def _told(cell: Cell) -> str:
    """Name a cell for people."""
    return f"{cell.population}, draw {cell.draw}, m = {cell.m}, seed {cell.seed}"
