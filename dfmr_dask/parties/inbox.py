"""What lies in the folder of a hub: files that can be read, and why others were rejected."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from dfmr_dask.errors import InvalidExchange, InvalidMessage
from dfmr_dask.parties.letters import (
    Answer,
    Ballot,
    History,
    LocalFit,
    Place,
    Proposal,
    Start,
    sha256,
)
from dfmr_dask.parties.naming import FILE, OF_THE_HUB, belongs
from dfmr_dask.parties.opening import opened, read_bytes

NUMBER = re.compile(r"-(\d+)\.npz$")
MOST_FILES = 10_000
MOST_BYTES = 1 << 30  # of all files together; what is read stays in memory
Said = TypeVar("Said", Proposal, Answer, LocalFit)


@dataclass(frozen=True, slots=True, eq=False)
class Received(Generic[Said]):
    """A file of a site: its name, what it says, and the SHA-256 of its bytes."""

    name: str
    letter: Said
    digest: str

    @property
    def site(self) -> str:
        """Whose it is."""
        return self.letter.site

    @property
    def round(self) -> tuple[str, str]:
        """What it is about; a site may send one file for each."""
        if isinstance(self.letter, Answer):
            return self.letter.of, self.letter.ballot
        return ("fit", self.letter.start) if isinstance(self.letter, LocalFit) else ("", "")


@dataclass(frozen=True, slots=True, eq=False)
class Inbox:
    """The files of a folder.

    Attributes
    ----------
    folder : Path
    received : tuple of Received
        Files of sites, in the order of their names.
    rejected : dict of file names to reasons
        Grows as more is found out.
    """

    folder: Path
    received: tuple[Received[Any], ...]
    rejected: dict[str, str] = field(default_factory=dict)

    def reject(self, one: Received[Any], reason: str) -> None:
        """Note why a file is not heard."""
        self.rejected.setdefault(one.name, reason)

    def of_kind(self, kind: type[Said]) -> list[Received[Said]]:
        """Return the files of one kind that nothing speaks against so far."""
        return [
            one
            for one in self.received
            if isinstance(one.letter, kind) and one.name not in self.rejected
        ]

    def sites_rejected(self, known: Collection[str]) -> set[str]:
        """Name the sites whose files were all rejected, as far as the names of files tell."""
        stems = {name.removesuffix(".npz") for name in self.rejected if FILE.fullmatch(name)}
        return {stem for stem in stems if not any(belongs(stem, site) for site in known)}

    def history(self, prefix: str) -> History | None:
        """Return whose files were heard before the last ballot of a kind; None without one.

        For the ballots of the search, the start tells more than any of them.
        """
        numbers = [int(NUMBER.findall(one.name)[0]) for one in self.folder.glob(f"{prefix}-*.npz")
                   if re.fullmatch(rf"{prefix}-\d{{1,4}}\.npz", one.name)]  # fmt: skip
        names = [f"{prefix}-{max(numbers)}.npz"] if numbers else []
        if prefix == "ballot" and (self.folder / "start.npz").is_file():
            names = ["start.npz"]
        for name in names:
            letter = opened_own(self.folder / name)
            return letter.history
        return None


def opened_own(path: Path) -> Ballot | Start:
    """Read a file that the hub wrote itself.

    Raises
    ------
    InvalidExchange
        When it is none.
    """
    try:
        letter = opened(read_bytes(path))
    except InvalidMessage as error:
        raise InvalidExchange(f"{path} is not as the hub wrote it: {error}; remove it") from error
    if not isinstance(letter, Ballot | Start):
        raise InvalidExchange(f"{path} is named like a file of the hub, and is none; remove it")
    return letter


def read_inbox(folder: Place) -> Inbox:
    """Read the files that lie directly in a folder.

    No link and no folder in it is followed, sizes are checked before anything is read or
    inflated, and a file that cannot be read is one that is rejected with its reason. Of files that
    have more than 1 GiB together the smallest are read: large ones crowd out nobody else's.

    Raises
    ------
    InvalidExchange
        When there is no such folder, or it has more than 10000 entries.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InvalidExchange(f"{place} is no folder; wanted the one where the sites' files lie")
    with os.scandir(place) as entries:
        listed = [entry for entry in entries if not entry.name.startswith(".")]
    if len(listed) > MOST_FILES:
        raise InvalidExchange(
            f"{place} has {len(listed)} entries; up to {MOST_FILES} are looked at"
        )
    rejected: dict[str, str] = {}
    received: list[Received[Any]] = []
    room = MOST_BYTES
    for entry in sorted(listed, key=lambda entry: (_size(entry), entry.name)):
        if OF_THE_HUB.fullmatch(entry.name):
            continue
        try:
            received.append(_received(entry, room))
        except InvalidMessage as error:
            rejected[entry.name] = str(error)
        room -= _size(entry)
    in_order = tuple(sorted(received, key=lambda one: one.name))
    inbox = Inbox(place, in_order, rejected)
    _once(inbox)
    return inbox


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:  # gone since it was listed, which reading it will tell
        return 0


def _received(entry: os.DirEntry[str], room: int) -> Received[Any]:
    if entry.is_symlink():
        raise InvalidMessage("it is a link, and links are not followed")
    if entry.is_dir(follow_symlinks=False):
        raise InvalidMessage("it is a folder; files lie directly in the inbox")
    if not FILE.fullmatch(entry.name):
        raise InvalidMessage("its name is none of a site's file, as in A.npz or A-1.npz")
    data = read_bytes(Path(entry.path), room)
    letter = opened(data)
    if isinstance(letter, Ballot | Start):
        raise InvalidMessage("it is a file of a hub, under a name of a site's")
    if not belongs(entry.name, letter.site):
        raise InvalidMessage(f"it is signed by {letter.site}, and its name is another site's")
    return Received(entry.name, letter, sha256(data))


def _once(inbox: Inbox) -> None:
    """Reject all files of a site that sent several for one round: nobody knows which is its."""
    rounds: dict[tuple[str, tuple[str, str]], list[Received[Any]]] = {}
    for one in inbox.received:
        rounds.setdefault((one.site, one.round), []).append(one)
    for (site, _), same in rounds.items():
        for one in same if len(same) > 1 else ():
            inbox.reject(one, f"site {site} sent {len(same)} files for one round: {_names(same)}")


def _names(files: Iterable[Received[Any]]) -> str:
    return ", ".join(sorted(one.name for one in files)[:5])
