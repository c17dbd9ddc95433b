"""Where something new may be written, and what becomes of what is there already."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from dfmr_dask.errors import RunFolderExists


def check_place(path: Path) -> None:
    """Raise unless something can be made at a path: before hours are spent on what goes there.

    Raises
    ------
    OSError
        When its folder cannot be made, or nothing can be written in it; the text names both.
    """
    nearest = path.absolute().parent
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise NotADirectoryError(
            f"{path} cannot be written: {nearest} is a file and no folder. Choose another place"
        )
    try:  # rights alone do not tell: a disk may be read-only
        tempfile.TemporaryFile(dir=nearest).close()
    except OSError as error:
        raise PermissionError(
            f"{path} cannot be written: nothing can be made in {nearest} "
            f"({error.strerror or error}). Choose another place"
        ) from error


def check_room(folder: Path, marker: str, *, overwrite: bool) -> None:
    """Raise unless a run may begin in a folder, or go on there.

    Parameters
    ----------
    folder : Path
    marker : str
        The file that tells a run's folder from any other.
    overwrite : bool
        Whether an earlier run may be set aside; nothing but a run's folder ever is.

    Raises
    ------
    RunFolderExists
        When the folder holds something that stays.
    OSError
        When nothing can be written there.
    """
    check_place(folder / marker if folder.is_dir() else folder)
    if not _is_occupied(folder):
        return
    if not (folder / marker).is_file():
        where = "" if overwrite else " (run.folder of a configuration, run= in Python)"
        raise RunFolderExists(
            f"{folder} holds something else than this command writes (there is no {marker} in "
            f"it), so that nothing is written or replaced there. Choose another folder{where}."
        )
    if not overwrite:
        return
    if folder.is_symlink() or Path.cwd().is_relative_to(folder.resolve()):
        raise RunFolderExists(
            f"{folder} is a link, or holds the current directory, so --overwrite does not replace "
            "it. Choose another folder."
        )
    check_place(aside(folder))


def aside(folder: Path) -> Path:
    """Return where earlier runs wait until the one that replaces them is finished.

    Examples
    --------
    >>> from pathlib import Path
    >>> from dfmr_dask.run.places import aside
    >>> aside(Path("runs/a")).name
    '.a.replaced'
    """
    folder = folder.resolve()
    return folder.with_name(f".{folder.name}.replaced")


def set_aside(folder: Path) -> Path | None:
    """Move what a folder holds out of the way, and say where it is; None when there is nothing.

    A run that replaces one that did not finish finds a still earlier one there, and adds to it.
    """
    if not _is_occupied(folder):
        return None
    place = aside(folder)
    if place.is_symlink():
        raise RunFolderExists(f"{place} is a link; remove it, or choose another folder")
    place.mkdir(exist_ok=True)
    taken = [int(entry.name) for entry in place.iterdir() if entry.name.isdigit()]
    folder.rename(place / str(1 + max(taken, default=0)))
    return place


def how_to_go_on(folder: Path) -> str:
    """Say what becomes of a run that did not finish."""
    earlier = aside(folder)
    kept = f" The run that it was to replace is kept in {earlier}." * earlier.is_dir()
    return f"The command that began it goes on where it stopped.{kept}"


def forget(place: Path) -> None:
    """Remove what was set aside; links in it are removed, and not what they lead to."""
    shutil.rmtree(place)


def _is_occupied(folder: Path) -> bool:
    """Tell whether there is something; what is hidden is left by a run that was cut at once."""
    if not folder.is_dir():
        return folder.exists()
    return any(not entry.name.startswith(".") for entry in folder.iterdir())
