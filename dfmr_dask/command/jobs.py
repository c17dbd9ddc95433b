"""What ``dfmr run`` does: the whole of a configuration."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dfmr_dask.command.config import GaussianRecipe, RunConfig, settings_of
from dfmr_dask.command.inputs import Inputs, fit_settings, make_store, open_inputs
from dfmr_dask.command.outputs import write_labels, write_picture
from dfmr_dask.data.files import read_mixture
from dfmr_dask.data.source import Source
from dfmr_dask.errors import RunFolderExists
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.experiments.populations import truth_path
from dfmr_dask.run.cluster import open_tasks
from dfmr_dask.run.events import Emit, Event, ignore
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.pipeline import fit
from dfmr_dask.run.results import Result, partition_table
from dfmr_dask.run.tasks import Tasks
from dfmr_dask.show.summary import Summary, facts_of, summarize

Say = Callable[[str], None]


def silent(text: str) -> None:
    """Say nothing."""


def run(
    config: RunConfig, *, overwrite: bool = False, emit: Emit = ignore, say: Say = silent
) -> Summary:
    """Do all that a configuration asks for, and return the summary that is in its run folder.

    Raises
    ------
    DfmrError
        Of the kind that tells what is wrong; see :mod:`dfmr_dask.errors`.
    """
    folder, settings = Path(config.run.folder), fit_settings(config)
    if not overwrite and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunFolderExists(  # said before hours are spent on a simulation
            f"{folder} holds something already. Choose another folder (--set run.folder=...), or "
            "replace an earlier run with --overwrite."
        )
    seconds: dict[str, float] = {}
    if config.simulate is not None:
        with _timed(seconds, "simulate"):
            make_store(config, lambda done, total: emit(Event("simulate", done, total)))
    inputs = open_inputs(config)
    with tasks_for(config, inputs.source, say) as tasks:
        ledger = Ledger.create(folder, _description(config, inputs.source), overwrite=overwrite)
        result = fit(
            inputs.source,
            settings,
            tasks,
            ledger=ledger,
            emit=emit,
            replacement=inputs.replacement,
        )
        return _written(config, inputs, ledger, result, {**seconds, **result.seconds}, emit)


@contextmanager
def tasks_for(config: RunConfig, source: Source, say: Say) -> Iterator[Tasks]:
    """Open where tasks run, and say where its dashboard is.

    The processes of a local cluster are born deaf to Ctrl-C, which reaches everyone in a
    terminal: the command closes them itself, and they would only add tracebacks.
    """
    with ExitStack() as stack:
        with _deaf_to_interrupts():
            tasks = stack.enter_context(
                open_tasks(in_memory=source.in_memory, **config.cluster.model_dump())
            )
        if tasks.dashboard_link:
            say(f"dashboard: {tasks.dashboard_link}")
        yield tasks


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only it may set handlers
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _description(config: RunConfig, source: Source) -> dict[str, Any]:
    """Return what stands in ``run.json``."""
    known = source.plan.rows is not None
    return {
        "settings": settings_of(config),
        "source": source.description,
        "planned_rows": [p.rows for p in source.plan.partitions] if known else None,
    }


def _written(
    config: RunConfig,
    inputs: Inputs,
    ledger: Ledger,
    result: Result,
    seconds: dict[str, float],
    emit: Emit,
) -> Summary:
    """Write model, table, labels and picture; last of all the summary."""
    folder, source = ledger.folder, inputs.source
    table = partition_table(source, result)
    facts = {"features": list(source.features), "units": dict(source.units)}
    written = ledger.record_model(result.mixture, table, **facts)
    files = dict(zip(("model", "partitions", "partitions_csv"), map(str, written), strict=True))
    shares: dict[str, float] = {}
    if config.labels.write:
        emit(Event("label", 0, 1))
        with _timed(seconds, "label"):
            write_labels(folder / "labels.zarr", result.mixture, inputs.labeled)
        files["labels"] = str(folder / "labels.zarr")
        emit(Event("label", 1, 1))
    if config.picture:
        picture = folder / "segmentation.png"
        with _timed(seconds, "picture"):
            shares = write_picture(
                picture,
                inputs.labeled,
                result.mixture,
                result.compared,
                config.aggregate.aggregator,
            )
        files["picture"] = str(picture)
    return _finished(config, facts_of(source), ledger, result, seconds, files, shares)


def _finished(
    config: RunConfig,
    facts: Mapping[str, Any],
    ledger: Ledger,
    result: Result,
    seconds: Mapping[str, float],
    files: dict[str, str],
    shares: Mapping[str, float],
) -> Summary:
    files["messages"] = str(ledger.folder / "messages")
    files["summary"] = str(ledger.folder / "summary.json")
    summary = summarize(
        facts,
        result,
        aggregator=config.aggregate.aggregator,
        method=config.aggregate.method,
        seconds=seconds,
        files=files,
        disagreement=shares,
        errors=_errors(config, result),
    )
    ledger.finish(summary)
    return summary


def _errors(config: RunConfig, result: Result) -> dict[str, float]:
    """Return how far each aggregate lies from the truth, where a simulation knows it."""
    if not isinstance(config.simulate, GaussianRecipe):
        return {}
    truth = read_mixture(truth_path(Path(config.source.path)))
    found = {config.aggregate.aggregator: result.mixture, **result.compared}
    return {name: error(mixture, truth) for name, mixture in found.items()}


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - begun
