"""One process at a time in a folder, for as long as it lives.

The kernel lets go of the lock when its process dies, by ``kill -9`` too, so that nothing has to be
cleaned up before somebody else goes on.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dfmr_dask.errors import FolderBusy

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"  # hidden, since it may stay
LONGEST = 200  # characters of a lock file that are quoted


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made if it is not there, against all other processes and threads.

    Raises
    ------
    FolderBusy
        When somebody else holds it, with the process and the machine that the lock file names.
    OSError
        When nothing can be written there.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from dfmr_dask.run.lock import locked
    >>> with tempfile.TemporaryDirectory() as place, locked(pathlib.Path(place, "run")):
    ...     pathlib.Path(place, "run", ".lock").read_text().startswith("process ")
    True
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    descriptor = _taken(path)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        if sys.platform == "win32":
            path.unlink(missing_ok=True)
        os.close(descriptor)  # and with it the lock is gone; the file may stay


def holder(folder: Path) -> str:
    """Return who holds a folder, as far as its lock file tells; nothing where nobody does.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from dfmr_dask.run.lock import holder, locked
    >>> with tempfile.TemporaryDirectory() as place:
    ...     with locked(pathlib.Path(place)):
    ...         busy = holder(pathlib.Path(place))
    ...     busy.startswith("process "), holder(pathlib.Path(place))
    (True, '')
    """
    path = folder / LOCK
    if not path.is_file():
        return ""
    if sys.platform == "win32":
        return _who(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _who(path)
    finally:
        os.close(descriptor)
    return ""


def _taken(path: Path) -> int:
    """Open the lock file and hold it, or raise."""
    if sys.platform == "win32":  # no such locks: the file itself is the lock
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except FileExistsError as error:
            raise FolderBusy(f"{_told(path)}; if that is not so, remove {path}") from error
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # whoever held it may have removed the folder between the two lines above
        if not path.exists() or not os.path.samestat(os.fstat(descriptor), path.stat()):
            raise BlockingIOError
    except BaseException as error:
        os.close(descriptor)
        if not isinstance(error, BlockingIOError):
            raise
        raise FolderBusy(f"{_told(path)}; wait for it, or stop it") from error
    return descriptor


def _told(path: Path) -> str:
    return f"{path.parent} is in use by {_who(path)}"


def _who(path: Path) -> str:
    """Say who is there, as far as the lock file tells."""
    try:
        who = path.read_text(errors="replace").strip()[:LONGEST]
    except OSError:
        who = ""
    return who or "another process"
