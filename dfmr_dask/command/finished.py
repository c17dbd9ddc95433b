"""What can be done with a run that is finished: aggregate its messages again, label other rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from dfmr_dask.aggregate.aggregators import Aggregation, aggregate
from dfmr_dask.command.config import RunConfig, configuration
from dfmr_dask.command.inputs import fit_settings
from dfmr_dask.command.jobs import Say, silent, tasks_for
from dfmr_dask.command.outputs import write_labels
from dfmr_dask.data.files import read_facts, write_bytes, write_json, write_mixture
from dfmr_dask.data.source import Source, open_source
from dfmr_dask.errors import InvalidConfiguration, InvalidSource, RunFolderExists
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.results import Result, verdict_table
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
        Keys of the section ``aggregate`` that differ from those of the run.
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
    section = {**about["settings"]["aggregate"], **changes, "compare": []}
    config = configuration({**about["settings"], "aggregate": section})
    out = _new_folder(
        folder / "aggregates", name or f"{config.aggregate.aggregator}-{config.aggregate.method}"
    )
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
    say: Say = silent,
) -> Source:
    """Label every row of a store with the model of a finished run, into a Zarr group.

    Parameters
    ----------
    folder : Path
        Of the run.
    data : str
        Path or URL of the store; its features must be those of the run.
    out : Path
        A new Zarr group, with the variable ``label``.
    group : str, optional
        Group in the store.
    features : str or tuple of str, optional
        By default what the configuration of the run said.

    Raises
    ------
    RunUnfinished
        When the folder holds no finished run.
    InvalidSource
        When the store cannot be opened, has other features, or ``out`` is there already.
    """
    if out.exists():  # said before a cluster is started
        raise InvalidSource(f"{out} is there already; remove it, or choose another path")
    ledger = Ledger.open(folder)
    about, wanted = ledger.description(), tuple(ledger.summary()["features"])
    chosen = features or about["settings"]["source"]["features"]
    source = open_source(data, group=group, features=chosen)
    if source.features != wanted:
        raise InvalidSource(
            f"{source.location} has features {source.features}; the model has {wanted}. Name the "
            "same ones, in the same order, with --features"
        )
    with tasks_for(configuration(about["settings"]), source, say):
        write_labels(out, ledger.model(), source)
    return source


def _new_folder(parent: Path, name: str) -> Path:
    """Return the place of a new aggregate; its name may not lead out of the run's folder."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise InvalidConfiguration(f"--out {name}: wanted letters, digits, '-', '_' and '.'")
    if (parent / name).exists():
        raise RunFolderExists(f"{parent / name} is there already; choose another name with --out")
    return parent / name


def _only_aggregated(found: Aggregation, ledger: Ledger, byzantine: Collection[int]) -> Result:
    """Return a result that knows nothing of rows, and is compared with the model of the run."""
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
    )


def _aggregate_written(
    out: Path, before: Mapping[str, Any], config: RunConfig, ledger: Ledger, result: Result
) -> Summary:
    facts = {key: before[key] for key in ("source", "features", "plan", "partitions")}
    stored = xr.open_zarr(ledger.folder / "partitions.zarr", chunks=None, consolidated=False)
    locations = [str(text) for text in stored["location"].values]
    table = verdict_table(locations, result.messages, result.verdict)
    names = {"model": "model.npz", "partitions_csv": "partitions.csv", "summary": "summary.json"}
    files = {key: str(out / name) for key, name in names.items()}
    out.mkdir(parents=True)
    write_mixture(out / "model.npz", result.mixture, **read_facts(ledger.folder / "model.npz"))
    write_bytes(out / "partitions.csv", table.to_dataframe().to_csv().encode())
    summary = summarize(
        facts,
        result,
        aggregator=config.aggregate.aggregator,
        method=config.aggregate.method,
        seconds={},
        files=files,
    )
    write_json(out / "summary.json", summary)
    return summary
