"""A run's folder from its beginning to its model: the same for the command and the estimator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from dfmr_dask.data.files import plain
from dfmr_dask.data.remote import HIDDEN, without_secrets
from dfmr_dask.data.source import Source
from dfmr_dask.run.ledger import DESCRIPTION, MESSAGES, SUMMARY, Ledger
from dfmr_dask.run.places import aside
from dfmr_dask.run.results import Result
from dfmr_dask.run.stages import planned_rows

SECRETS = "storage_options"  # the key whose values are credentials and the like


@contextmanager
def recording(
    folder: Path, settings: Mapping[str, Any], source: Source, *, overwrite: bool = False
) -> Iterator[Ledger]:
    """Begin a run's folder; an error in the run gets a note of what is left, and where.

    Parameters
    ----------
    folder : Path
    settings : mapping
        As in a configuration; the values of storage options are not written down.
    source : Source
    overwrite : bool
        Replace an earlier run.

    Yields
    ------
    Ledger

    Raises
    ------
    RunFolderExists
        When the folder holds something that stays.
    """
    planned = planned_rows(source)
    description = {
        "settings": settings,
        "source": source.description,
        "planned_rows": None if planned is None else list(planned.values()),
    }
    told = without_credentials(plain(description))
    Ledger.check(folder, overwrite=overwrite)
    try:
        yield Ledger.create(folder, told, overwrite=overwrite)
    except BaseException as error:
        if (folder / DESCRIPTION).is_file() and not (folder / SUMMARY).exists():
            error.add_note(
                f"{folder} holds the unfinished run: replace it with --overwrite, or remove it."
            )
        if aside(folder).is_dir():
            error.add_note(f"The earlier run is kept in {aside(folder)}.")
        raise


def write_model(
    ledger: Ledger, source: Source, result: Result, table: xr.Dataset, **facts: Any
) -> dict[str, str]:
    """Write model and table of partitions, and return the names of the folder's files.

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
    return {
        "model": str(model),
        "partitions": str(partitions),
        "partitions_csv": str(text),
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
