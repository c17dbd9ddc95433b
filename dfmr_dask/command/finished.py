"""What can be done with a run that is finished: aggregate its messages again, label other rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from dfmr_dask.aggregate.aggregators import Aggregation, aggregate
from dfmr_dask.aggregate.uncertainty import StandardErrors, reported_errors
from dfmr_dask.command.config import configuration
from dfmr_dask.command.jobs import Say, silent, tasks_for
from dfmr_dask.command.preparation import fit_settings, opened
from dfmr_dask.command.schema import RunConfig, SourceSection
from dfmr_dask.data.files import read_facts, write_bytes, write_json, write_mixture
from dfmr_dask.data.source import Source
from dfmr_dask.data.stores import appearing_whole, write_dataset
from dfmr_dask.errors import InvalidConfiguration, InvalidSource, RunFolderExists
from dfmr_dask.run.events import Emit, ignore
from dfmr_dask.run.label_folder import check_path
from dfmr_dask.run.label_store import Written, write_answers
from dfmr_dask.run.labelling import QUESTIONS
from dfmr_dask.run.ledger import SUMMARY, Ledger
from dfmr_dask.run.results import Result, as_csv, verdict_table
from dfmr_dask.run.standard_errors import FILE as ERRORS
from dfmr_dask.run.standard_errors import write_errors
from dfmr_dask.run.way import Way
from dfmr_dask.show.html.found import Found
from dfmr_dask.show.html.page import with_report
from dfmr_dask.show.pictures.mixture import PICTURE, draw_result
from dfmr_dask.show.summary import Summary, summarize


def aggregate_again(
    folder: Path,
    changes: Mapping[str, Any],
    *,
    keep: Collection[int] = (),
    drop: Collection[int] = (),
    name: str | None = None,
) -> Summary:
    """Aggregate the stored messages of a finished run in another way; nothing is refitted.

    Parameters
    ----------
    folder : Path
        Of the run; the outcome goes to ``aggregates/<name>`` in it.
    changes : mapping
        Keys of the section ``aggregate`` that differ from those of the run. With another method,
        ``gates`` and ``rho`` are that method's own unless they are given.
    keep, drop : collections of int
        Partitions forced in or out.
    name : str, optional
        By default the aggregator and the method.

    Raises
    ------
    RunUnfinished
        When the folder holds no finished run.
    RunFolderExists
        When there is an aggregate of that name.
    InvalidConfiguration
        When settings or partitions are none.
    """
    ledger = Ledger.open(folder)
    about, before, messages = ledger.description(), ledger.summary(), ledger.messages()
    section = _changed(_as_taken(about["settings"]["aggregate"], ledger.way()), changes)
    config = configuration({**about["settings"], "aggregate": section})
    out = _new_folder(folder / "aggregates", name or _free_name(folder / "aggregates", config))
    planned = about["planned_rows"]
    try:
        found = aggregate(
            messages,
            aggregator=config.aggregate.aggregator,
            rule=fit_settings(config).rule,
            planned_rows=None if planned is None else dict(enumerate(planned)),
            byzantine=before["byzantine"],
            keep=keep,
            drop=drop,
        )
    except ValueError as error:  # partitions that cannot be forced in or out
        raise InvalidConfiguration(str(error)) from error
    result = _only_aggregated(found, ledger, before["byzantine"])
    return _aggregate_written(out, before, config, ledger, result)


def predict(
    folder: Path,
    data: str,
    out: Path,
    *,
    group: str | None = None,
    features: str | tuple[str, ...] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    what: Sequence[str] = ("labels",),
    overwrite: bool = False,
    strict: bool = False,
    emit: Emit = ignore,
    say: Say = silent,
) -> Written:
    """Label every row of a store with the model of a finished run, into a Zarr group.

    Called again after it was cut short, it goes on where it stopped.

    Parameters
    ----------
    folder : Path
        Of the run.
    data : str
        Path or URL of the store; its features must be those of the run.
    out : Path
        A new Zarr group, with the variables ``label``, ``posterior``, ``log_density``.
    group : str, optional
        Group in the store.
    features : str or tuple of str, optional
        By default what the configuration of the run said.
    storage_options : mapping, optional
        Of the store; those of the run were not written down.
    what : sequence of {"labels", "posterior", "log_density"}
        What is written, from one pass over the rows.
    overwrite : bool
        Begin anew, and replace labels that are there.
    strict : bool
        Raise when a block of the store cannot be read; else its rows get no labels, and it is
        named in what is returned, and in the attributes of the group.
    emit, say : callable
        Told how far it is, and where the dashboard is.

    Raises
    ------
    RunUnfinished
        When the folder holds no finished run.
    InvalidSource
        When the store cannot be opened or read, has other features, or ``out`` is there already.
    InvalidConfiguration
        When group or features do not fit the store.
    LabelsDiffer, LabelsUnfinished, FolderBusy
        See :func:`~dfmr_dask.run.label_store.write_answers`.
    OSError
        When nothing can be written at ``out``.
    """
    if out.exists() and not overwrite:  # said before a cluster is started
        raise InvalidSource(
            f"{out} is there already; remove it, choose another path, or replace it with "
            "--overwrite"
        )
    check_path(out)
    ledger = Ledger.open(folder)
    wanted = tuple(ledger.summary()["features"])
    config = configuration(ledger.description()["settings"])
    chosen = config.source.features if features is None else features
    options = dict(storage_options or {}) or None
    section = SourceSection(
        path=data, group=group, features=chosen, storage_options=options,
        missing_chunks=config.source.missing_chunks,
    )  # fmt: skip
    source = _opened_again(section, config)
    if source.features != wanted:
        raise InvalidSource(
            f"{source.location} has features {source.features}; the model has {wanted}. Name the "
            "same ones, in the same order, with --features"
        )
    questions = [question for name, question in QUESTIONS.items() if name in what]
    with tasks_for(config.cluster, source.in_memory, say) as tasks:
        return write_answers(
            out, ledger.model(), source, tasks, questions,
            emit=emit, overwrite=overwrite, strict=strict,
        )  # fmt: skip


def _as_taken(section: Mapping[str, Any], way: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the section as the way that the run took by the likeness of its pieces changed it."""
    route = None if way is None else way["route"]
    taken = {"weights": "free"} if route == "weights" else {}
    if route == "unlike" and section["aggregator"] == "dfmr":
        taken = {"aggregator": "vanilla"}
    return {**section, **taken}


def _changed(before: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay changes over the section of a run; what a method is tuned by does not fit another."""
    other = changes.get("method", before["method"]) != before["method"]
    tuning: dict[str, Any] = {"gates": None, "rho": None} if other else {}
    return {**before, **tuning, **changes, "compare": []}


def _opened_again(section: SourceSection, config: RunConfig) -> Source:
    """Open a store for labels; the run's own may need what was not written down."""
    try:
        return opened(section, config.run.seed, "SOURCE")
    except InvalidSource as error:
        names = config.source.storage_options
        if section.storage_options or not names:
            raise
        raise InvalidSource(
            f"{error}. The run had storage options ({', '.join(names)}), which are not written "
            "down: give them again with --storage-option KEY=VALUE"
        ) from error


def _free_name(parent: Path, config: RunConfig) -> str:
    """Return aggregator and method, with a number where that name is taken."""
    usual = f"{config.aggregate.aggregator}-{config.aggregate.method}"
    names = (usual if i == 1 else f"{usual}-{i}" for i in count(1))
    return next(name for name in names if not (parent / name).exists())


def _new_folder(parent: Path, name: str) -> Path:
    """Return the place of a new aggregate; its name may not lead out of the run's folder."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise InvalidConfiguration(f"--out {name}: wanted letters, digits, '-', '_' and '.'")
    if (parent / name).exists():
        raise RunFolderExists(f"{parent / name} is there already; choose another name with --out")
    return parent / name


def _only_aggregated(found: Aggregation, ledger: Ledger, byzantine: Collection[int]) -> Result:
    """Return a result that knows nothing of rows, and is compared with the model of the run."""
    way = ledger.way()
    return Result(
        mixture=found.mixture,
        verdict=found.verdict,
        messages=ledger.messages(),
        start=None,
        compared={"the run's model": ledger.model()},
        score=float("nan"),
        score_rows=0,
        scores={},
        seconds={},
        byzantine=tuple(byzantine),
        chosen="",
        errors=reported_errors(ledger.messages(), found.parts, found.mixture, "aggregate", 0),
        selection=ledger.selection(),
        way=None if way is None else Way.from_plain(way),
    )


def _aggregate_written(
    out: Path, before: Mapping[str, Any], config: RunConfig, ledger: Ledger, result: Result
) -> Summary:
    """Write an aggregate, whose folder appears when it is whole."""
    before_it = ledger.partitions()
    locations = [str(text) for text in before_it["location"].values]
    table = verdict_table(locations, result.messages, result.verdict)
    table = table.assign_coords({k: v for k, v in before_it.coords.items() if k != "partition"})
    names = {"model": "model.npz", "partitions_csv": "partitions.csv", "summary": SUMMARY}
    names |= {"partitions": "partitions.zarr"}
    names |= {"mixture_picture": PICTURE}
    names |= {"standard_errors": ERRORS} if isinstance(result.errors, StandardErrors) else {}
    summary = summarize(
        {key: before[key] for key in ("source", "features", "plan", "partitions")},
        result,
        fit_settings(config),
        seconds={},
        files={key: str(out / name) for key, name in names.items()},
    )
    facts = read_facts(ledger.folder / names["model"])

    def told(summary: Summary) -> Found:
        return Found.of(ledger, summary, table, result)

    with appearing_whole(out) as partial:
        partial.mkdir()
        write_mixture(partial / names["model"], result.mixture, **facts)
        write_bytes(partial / names["partitions_csv"], as_csv(table))
        write_dataset(partial / names["partitions"], table)
        write_errors(partial, result.errors, before["features"], facts.get("units"))
        draw_result(partial, result, before["features"])
        summary = with_report(partial, summary, told, out) if config.run.report else summary
        write_json(partial / names["summary"], summary)
    return summary
