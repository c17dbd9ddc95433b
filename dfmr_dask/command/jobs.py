"""What ``dfmr run`` does: the whole of a configuration."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path

import dask.config

from dfmr_dask.command.config import settings_of
from dfmr_dask.command.outputs import write_picture
from dfmr_dask.command.preparation import (
    Inputs,
    fit_settings,
    make_store,
    open_inputs,
    truth_of,
)
from dfmr_dask.command.schema import ClusterSection, RunConfig
from dfmr_dask.data.files import read_mixture
from dfmr_dask.data.source import Source
from dfmr_dask.errors import InvalidSource, LabelsDiffer
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.cluster import PATIENT, open_tasks
from dfmr_dask.run.context import Context
from dfmr_dask.run.events import Emit, Event, ignore
from dfmr_dask.run.label_store import Written, write_answers
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.outlets import watched
from dfmr_dask.run.pipeline import fit, timed
from dfmr_dask.run.record import recording, write_model
from dfmr_dask.run.results import Result, partition_table
from dfmr_dask.run.selection import choose_order
from dfmr_dask.run.tasks import Tasks
from dfmr_dask.run.waiting import Waiting
from dfmr_dask.selection.curve import Selection
from dfmr_dask.show.html.found import Found
from dfmr_dask.show.html.page import with_report
from dfmr_dask.show.pictures.mixture import draw_result
from dfmr_dask.show.pictures.pieces import write_pieces_picture
from dfmr_dask.show.pictures.selection import write_selection_picture
from dfmr_dask.show.summary import Summary, facts_of, summarize

Say = Callable[[str], None]
PRELOAD = "distributed.worker.preload"
# Workers that are closed in the middle of a task complain of it, which is no news to who does it.
QUIET = """import logging
logging.getLogger("distributed.worker.state_machine").setLevel(logging.ERROR)
logging.getLogger("distributed.worker").addFilter(lambda told: "heartbeat" not in str(told.msg))
"""


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
    folder = Path(config.run.folder)
    Ledger.check(folder, overwrite=overwrite)  # before hours are spent on a simulation
    seconds: dict[str, float] = {}
    if config.simulate is not None:
        with timed(seconds, "simulate"):
            make_store(config, lambda done, total: emit(Event("simulate", done, total)))
    inputs = open_inputs(config)
    settings, in_memory = fit_settings(config), inputs.source.in_memory
    with recording(
        folder,
        settings_of(config),
        inputs.source,
        settings,
        replacement=inputs.replacement,
        overwrite=overwrite,
    ) as ledger:
        if ledger.is_finished():
            say(f"{folder} is finished, and nothing has changed since: nothing is computed")
            return ledger.summary()
        waiting = config.waiting.waiting()
        with (
            tasks_for(config.cluster, in_memory, say, waiting) as tasks,
            watched(tasks, ledger, emit) as tell,
        ):
            result = fit(
                inputs.source,
                settings,
                tasks,
                ledger=ledger,
                emit=tell,
                replacement=inputs.replacement,
            )
            return _written(
                config, inputs, ledger, result, {**seconds, **result.seconds}, tasks, tell
            )


def select(config: RunConfig, *, emit: Emit = ignore, say: Say = silent) -> Selection:
    """Choose the number of components for a configuration, and fit nothing.

    Raises
    ------
    DfmrError
        Of the kind that tells what is wrong.
    """
    if config.simulate is not None:
        make_store(config, lambda done, total: emit(Event("simulate", done, total)))
    mixture = config.mixture.model_copy(update={"n_components": "auto"})
    config = config.model_copy(update={"mixture": mixture})
    inputs = open_inputs(config)
    settings, source = fit_settings(config), inputs.source
    with tasks_for(config.cluster, source.in_memory, say, config.waiting.waiting()) as tasks:
        context = Context(source, settings, tasks, emit, replacement=inputs.replacement)
        return choose_order(context)[1]


@contextmanager
def tasks_for(
    cluster: ClusterSection, in_memory: bool, say: Say, waiting: Waiting = PATIENT
) -> Iterator[Tasks]:
    """Open where tasks run, and say where its dashboard is.

    The processes of a local cluster are born deaf to Ctrl-C, which reaches everyone in a
    terminal: the command closes them itself, and they would only add tracebacks.
    """
    with ExitStack() as stack:
        preload = [*dask.config.get(PRELOAD, []), QUIET]
        with _deaf_to_interrupts(), dask.config.set({PRELOAD: preload}):
            tasks = stack.enter_context(
                open_tasks(in_memory=in_memory, say=say, waiting=waiting, **cluster.model_dump())
            )
        try:
            yield tasks
        except KeyboardInterrupt:
            logging.getLogger("distributed.nanny").setLevel(logging.ERROR)
            raise


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C; the command hears it as soon as they are there.

    A blocked signal waits, an ignored one is lost; both are inherited. What multiprocessing starts
    with its first process lets signals through again, so it is started before.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _written(
    config: RunConfig,
    inputs: Inputs,
    ledger: Ledger,
    result: Result,
    seconds: dict[str, float],
    tasks: Tasks,
    emit: Emit,
) -> Summary:
    """Write model, table, labels and picture; last of all the summary."""
    folder, source = ledger.folder, result.source or inputs.source
    settings = result.settings or fit_settings(config)
    table = partition_table(source, result)
    files = write_model(ledger, source, result, table)
    files |= draw_result(folder, result, source.features)
    shares: dict[str, float] = {}
    if config.labels.write:
        place = folder / "labels.zarr"
        with timed(seconds, "label"):
            written = _write_labels(place, result.mixture, inputs.labeled, tasks, emit)
        if written.unread:
            told = f"{len(written.unread)} of {written.blocks} blocks could not be read again"
            result = replace(result, notes=(*result.notes, f"{told}, and have no labels"))
        files["labels"] = str(place)
    files |= write_selection_picture(folder, result)
    if config.picture:
        picture, name = folder / "segmentation.png", settings.aggregator
        with timed(seconds, "picture"):
            shares = write_picture(picture, inputs.labeled, result.mixture, result.compared, name)
        files["picture"] = str(picture)
    files |= write_pieces_picture(folder, result, source.sample_dims)
    summary = summarize(
        facts_of(source),
        result,
        settings,
        seconds=seconds,
        files=files,
        disagreement=shares,
        errors=_errors(config, result, settings.aggregator),
    )
    found = partial(Found.of, ledger, partitions=table, result=result, picture=files.get("picture"))
    summary = with_report(folder, summary, found)
    ledger.finish(summary)
    return summary


def _write_labels(
    place: Path, mixture: Mixture, source: Source, tasks: Tasks, emit: Emit
) -> Written:
    """Write labels, or go on with them; those of a model that the run had before are replaced."""
    try:
        return write_answers(place, mixture, source, tasks, emit=emit)
    except (LabelsDiffer, InvalidSource):
        return write_answers(place, mixture, source, tasks, emit=emit, overwrite=True)


def _errors(config: RunConfig, result: Result, name: str) -> dict[str, float]:
    """Return how far each aggregate lies from the truth, where a simulation knows it."""
    path = truth_of(config)
    if path is None or not path.is_file():
        return {}
    truth = read_mixture(path)
    found = {name: result.mixture, **result.compared}
    return {name: error(mixture, truth) for name, mixture in found.items()}
