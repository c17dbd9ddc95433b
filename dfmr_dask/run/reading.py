"""Reading a run's folder that somebody else writes, or has written with another version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dfmr_dask.errors import InvalidEvent, NewerRun
from dfmr_dask.run.events import Event

SCHEMA = 1  # of a run's folder; it grows when an earlier version could not read one any more
LARGEST_FILE = 1 << 30  # bytes of a stream that are read


def check_schema(description: Mapping[str, Any], folder: Path) -> None:
    """Raise when a run's folder was written by a version that this one does not understand.

    Raises
    ------
    NewerRun
    """
    from dfmr_dask import __version__  # noqa: PLC0415  (the package imports this module)

    schema = description.get("schema", SCHEMA)
    if isinstance(schema, int) and schema <= SCHEMA:
        return
    identity = description.get("identity")
    there = identity.get("package") if isinstance(identity, Mapping) else None
    raise NewerRun(
        f"the run in {folder} was written by dfmr-dask {there or 'of another version'} (folders of "
        f"schema {schema!r:.20}); this is {__version__}, which reads up to schema {SCHEMA}. "
        "Install that version, or a later one, to read it or to go on with it"
    )


def events_of(path: Path) -> Iterator[Event]:
    """Yield the events of a file; lines that are none are passed over, as a crash leaves them."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in file:
            if file.tell() > LARGEST_FILE:
                return
            yield from event_of(line)


def event_of(line: bytes) -> Iterator[Event]:
    """Yield the event that a line holds, if it holds one."""
    try:
        yield Event.from_json(line)
    except InvalidEvent:
        return
