"""A run's folder from its beginning to its model: the same for the command and the estimator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from dfmr_dask.data.files import plain
from dfmr_dask.data.remote import HIDDEN, without_secrets
from dfmr_dask.data.source import Source
from dfmr_dask.errors import FolderBusy, RunDiffers
from dfmr_dask.run.identity import Pieces, check_same, identity
from dfmr_dask.run.ledger import MESSAGES, SUMMARY, Ledger
from dfmr_dask.run.lock import locked
from dfmr_dask.run.places import aside
from dfmr_dask.run.results import Result
from dfmr_dask.run.sample import write_sample
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.stages import planned_rows
from dfmr_dask.run.standard_errors import write_errors
from dfmr_dask.run.way import Way

WHO_COMPUTES = ("cluster", "waiting")  # sections of a configuration that change no result
SECRETS = "storage_options"  # the key whose values are credentials and the like


@contextmanager
def recording(
    folder: Path,
    told: Mapping[str, Any],
    source: Source,
    settings: Settings,
    *,
    replacement: Source | None = None,
    overwrite: bool = False,
) -> Iterator[Ledger]:
    """Begin a run's folder, or go on in it; an error gets a note of what is left, and where.

    Parameters
    ----------
    folder : Path
    told : mapping
        All settings as in a configuration; the values of storage options are not written down.
    source : Source
    settings : Settings
        Those of them that decide the result.
    replacement : Source, optional
        Rows that an attack puts in the place of others.
    overwrite : bool
        Replace an earlier run.

    Yields
    ------
    Ledger
        Of a finished run, where nothing has changed and nobody is left to be asked again.

    Raises
    ------
    FolderBusy
        When another run works in the folder.
    RunDiffers
        When the run in it was begun with something else.
    RunFolderExists
        When the folder holds something that is no run.
    """
    Ledger.check(folder, overwrite=overwrite)
    fitted = source if overwrite else _fitted(Ledger(folder), source)
    planned = planned_rows(fitted)
    description = {
        "settings": told,
        "source": source.description,
        "planned_rows": None if planned is None else list(planned.values()),
        "identity": identity(source, settings, replacement),
    }
    about = without_credentials(plain(description))
    here = Pieces.of(fitted)
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder))
            if Ledger.holds_run(folder) and not overwrite:
                ledger = _continued(Ledger(folder), about, here)
            else:
                ledger = Ledger.create(folder, about, here.plain(), overwrite=overwrite)
            if ledger.replaced is not None and overwrite:  # the lock was set aside as well
                stack.enter_context(locked(folder))
            yield ledger
        except BaseException as error:
            _add_notes(error, folder)
            raise


def _fitted(ledger: Ledger, source: Source) -> Source:
    """Return the partitions that a run in a folder fits, if it has chosen them already."""
    told = ledger.way() if source.plan.auto and ledger.holds_run(ledger.folder) else None
    return source if told is None else Way.from_plain(told).source(source)


def _continued(ledger: Ledger, about: Mapping[str, Any], here: Pieces) -> Ledger:
    """Return the ledger of a run that goes on, or is finished as it is."""
    before, answered = ledger.description(), ledger.answered()
    was = Pieces.from_plain(ledger.pieces())
    try:
        now = about["identity"]
        stay = check_same(before["identity"], now, was, here, set(answered), _mixed(ledger))
    except RunDiffers as error:
        raise RunDiffers(
            f"the run in {ledger.folder} was begun otherwise: {error}. Choose another folder "
            "(run.folder of a configuration, run= in Python), or let --overwrite replace it"
        ) from error
    everybody = len(stay) == len(here.boxes) and not ledger.unanswered()
    if ledger.is_finished() and everybody and _asked(before) == _asked(about):
        return ledger
    return ledger.go_on(about, here.plain(), stay)


def _mixed(ledger: Ledger) -> bool:
    told = ledger.way()
    return told is not None and Way.from_plain(told).interleaved


def _asked(description: Mapping[str, Any]) -> Any:
    """Return what decides all that a run leaves behind; who computes it does not."""
    settings = {k: v for k, v in description["settings"].items() if k not in WHO_COMPUTES}
    return [settings, description["identity"]]


def _add_notes(error: BaseException, folder: Path) -> None:
    begun = Ledger.holds_run(folder) and not Ledger(folder).is_finished()
    if begun and not isinstance(error, RunDiffers | FolderBusy):
        error.add_note(
            f"{folder} holds the unfinished run: the same command goes on with it, --overwrite "
            "begins anew."
        )
    if aside(folder).is_dir():
        error.add_note(f"The earlier run is kept in {aside(folder)}.")


def write_model(
    ledger: Ledger, source: Source, result: Result, table: xr.Dataset, **facts: Any
) -> dict[str, str]:
    """Write model and tables of partitions and pieces, and return the names of the folder's files.

    Parameters
    ----------
    ledger : Ledger
    source : Source
    result : Result
    table : xarray.Dataset
        From :func:`~dfmr_dask.run.results.partition_table`.
    **facts
        Plain values that stand beside the mixture; features and their units are added.
    """
    facts |= {"features": list(source.features), "units": dict(source.units)}
    model, partitions, text = ledger.record_model(result.mixture, table, **facts)
    errors = write_errors(ledger.folder, result.errors, source.features, source.units)
    pieces: dict[str, str] = {}
    if result.pieces is not None:
        store, rows = ledger.record_table("pieces", result.pieces)
        pieces = {"pieces": str(store), "pieces_csv": str(rows)}
    sample = write_sample(ledger.folder, result.sample, source.features)
    return {
        "model": str(model),
        "partitions": str(partitions),
        "partitions_csv": str(text),
        **errors,
        **pieces,
        **sample,
        "messages": str(ledger.folder / MESSAGES),
        "summary": str(ledger.folder / SUMMARY),
    }


def without_credentials(value: Any) -> Any:
    """Return plain values without those of storage options, and without passwords in URLs.

    Examples
    --------
    >>> from dfmr_dask.run.record import without_credentials
    >>> without_credentials({"path": "s3://me:pw@host/a", "storage_options": {"key": "k"}})
    {'path': 's3://host/a', 'storage_options': {'key': '(not written down)'}}
    """
    if isinstance(value, Mapping):
        return {
            key: _hidden(item) if key == SECRETS else without_credentials(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(without_credentials(item) for item in value)
    return without_secrets(value) if isinstance(value, str) else value


def _hidden(value: Any) -> Any:
    """Keep the names of options, so that a reader knows which ones have to be given again."""
    if isinstance(value, Mapping):
        return dict.fromkeys(value, HIDDEN)
    return value if value is None else HIDDEN
