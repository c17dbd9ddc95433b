"""One process at a time writes in a folder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from dfmr_dask.errors import FolderBusy

LOCK = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, so that no other process works in it; the end of a process lets it go.

    The system keeps the lock, not the file: one that a killed process has left stops nobody.

    Raises
    ------
    FolderBusy
        When another process holds it.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from dfmr_dask.run.lock import locked
    >>> with tempfile.TemporaryDirectory() as folder, locked(pathlib.Path(folder)):
    ...     sorted(path.name for path in pathlib.Path(folder).iterdir())
    ['.lock', '.lock.holder']
    """
    holder = folder / f"{LOCK}.holder"
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        told = holder.read_text() if holder.is_file() else "another process"
        raise FolderBusy(
            f"{told:.200} works in {folder}; wait until it is done, or choose another folder"
        ) from None
    try:
        holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()
