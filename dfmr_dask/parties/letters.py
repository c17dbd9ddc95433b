"""What sites and hub write to each other: values, each of which is one file of plain arrays.

No row is ever in one of them. The same values make the same bytes, so that a file is known by its
SHA-256: an answer names the ballot that it is about, a fit the start that it began from.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.questions import Improve, Improved, Score, Scores
from dfmr_dask.data.archive import packed
from dfmr_dask.data.files import plain, write_bytes
from dfmr_dask.errors import InvalidExchange
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.parties.exchange import Exchange
from dfmr_dask.parties.naming import belongs

FORMAT = 1
COUNTS = ("rows_to_fit", "rows_to_score", "rows", "read")
FACTS = (
    *("rows", "dropped_rows", "n_iter", "converged", "log_likelihood", "start", "mass"),
    "observed",
)
Place = str | os.PathLike[str]
History = tuple[Mapping[str, str], ...]  # of each round: whose file was heard, and its SHA-256


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """Where a site would start; ``rows`` are its valid rows."""

    exchange: Exchange
    site: str
    mixture: Mixture
    rows: int

    @property
    def name(self) -> str:
        """What its file is called unless it is told otherwise."""
        return f"{self.site}.npz"

    def pack(self) -> bytes:
        """Return the bytes of its file."""
        return _bytes("proposal", self, {"site": self.site, "rows": self.rows}, [self.mixture])

    def save(self, place: Place) -> Path:
        """Write the file at a path, or into a folder under its own name; return the path."""
        return _saved_by(self.site, place, self.name, self.pack())


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a site answers to a ballot.

    Attributes
    ----------
    of, ballot : str
        The name of the ballot and the SHA-256 of its file.
    value : Scores or Improved
    """

    exchange: Exchange
    site: str
    of: str
    ballot: str
    value: Scores | Improved

    @property
    def name(self) -> str:
        """What its file is called unless it is told otherwise."""
        return f"{self.site}-{self.of.removeprefix('ballot-')}.npz"

    def pack(self) -> bytes:
        """Return the bytes of its file."""
        told: dict[str, Any] = {"site": self.site, "of": self.of, "ballot": self.ballot}
        if isinstance(self.value, Improved):
            made = self.value.mixtures
            told |= {"rows": self.value.rows, "present": [one is not None for one in made]}
            return _bytes("improved", self, told, [one for one in made if one is not None])
        told |= {name: getattr(self.value, name) for name in (*COUNTS, "mass")}
        return _bytes("scores", self, told, [], {"scores": self.value.values})

    def save(self, place: Place) -> Path:
        """Write the file at a path, or into a folder under its own name; return the path."""
        return _saved_by(self.site, place, self.name, self.pack())


@dataclass(frozen=True, slots=True, eq=False)
class LocalFit:
    """A site's estimate, from the start whose file has the SHA-256 ``start``.

    ``message`` is what a partition says; its number is the hub's business.
    """

    exchange: Exchange
    site: str
    start: str
    message: Message

    @property
    def name(self) -> str:
        """What its file is called unless it is told otherwise."""
        return f"{self.site}-fit.npz"

    def pack(self) -> bytes:
        """Return the bytes of its file."""
        facts = {name: getattr(self.message, name) for name in FACTS}
        told = {"site": self.site, "begun": self.start, "facts": plain(facts)}
        mixture = self.message.mixture
        return _bytes("fit", self, told, [] if mixture is None else [mixture])

    def save(self, place: Place) -> Path:
        """Write the file at a path, or into a folder under its own name; return the path."""
        return _saved_by(self.site, place, self.name, self.pack())


@dataclass(frozen=True, slots=True, eq=False)
class Ballot:
    """What the hub asks sites next.

    Attributes
    ----------
    exchange : Exchange
    label : str
        ``ballot-1``, ``ballot-check-1``.
    question : Score or Improve
        Its partitions are those sites who are asked, by number.
    sites : tuple of str
        All sites, in the order of their numbers.
    history : tuple of mappings
        Whose files were heard in the rounds before, and their SHA-256.
    missing : tuple of str
        Sites that have not answered yet; not in the file.
    rejected : mapping of file names to reasons
        What was wrong with files in the inbox; not in the file.
    """

    exchange: Exchange
    label: str
    question: Score | Improve
    sites: tuple[str, ...]
    history: History
    missing: tuple[str, ...] = ()
    rejected: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What its file is called unless it is told otherwise."""
        return f"{self.label}.npz"

    @property
    def asked(self) -> tuple[str, ...]:
        """The sites that are asked."""
        return tuple(self.sites[i] for i in self.question.partitions)

    @property
    def digest(self) -> str:
        """SHA-256 of its file."""
        return sha256(self.pack())

    def pack(self) -> bytes:
        """Return the bytes of its file."""
        asked = self.question
        told: dict[str, Any] = {
            "label": self.label,
            "asked": [int(i) for i in asked.partitions],
            "key": asked.key,
            "sites": list(self.sites),
            "history": [dict(one) for one in self.history],
            "rounds": None,
        }
        if isinstance(asked, Improve):
            told["rounds"] = {"together": asked.together, "iterations": asked.iterations}
        return _bytes("ballot", self, told, asked.candidates)

    def save(self, place: Place) -> Path:
        """Write the file at a path, or into a folder under its own name; return the path."""
        return _saved(place, self.name, self.pack())


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What was agreed: where every site starts its fit.

    Attributes
    ----------
    exchange : Exchange
    mixture : Mixture
    total_rows : int
        N of the penalty.
    sample_rows : int
        Rows of all samples A together.
    sites : tuple of str
    history : tuple of mappings
        Whose files were heard in which round, and their SHA-256.
    rejected : mapping of file names to reasons
        What was wrong with files in the inbox; not in the file.
    """

    exchange: Exchange
    mixture: Mixture
    total_rows: int
    sample_rows: int
    sites: tuple[str, ...]
    history: History
    rejected: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What its file is called unless it is told otherwise."""
        return "start.npz"

    @property
    def digest(self) -> str:
        """SHA-256 of its file."""
        return sha256(self.pack())

    def pack(self) -> bytes:
        """Return the bytes of its file."""
        told = {
            "total_rows": self.total_rows,
            "sample_rows": self.sample_rows,
            "sites": list(self.sites),
            "history": [dict(one) for one in self.history],
        }
        return _bytes("start", self, told, [self.mixture])

    def save(self, place: Place) -> Path:
        """Write the file at a path, or into a folder under its own name; return the path."""
        return _saved(place, self.name, self.pack())


Letter = Proposal | Answer | LocalFit | Ballot | Start


def sha256(data: bytes) -> str:
    """Return the SHA-256 of a file's bytes, by which other files refer to it."""
    return hashlib.sha256(data).hexdigest()


def _bytes(
    what: str,
    letter: Letter,
    told: Mapping[str, Any],
    mixtures: Sequence[Mixture],
    arrays: Mapping[str, NDArray[np.float64]] | None = None,
) -> bytes:
    header = {"what": what, "format": FORMAT, "exchange": letter.exchange.plain, **told}
    stacked = {"weights": np.stack([one.weights for one in mixtures])} if mixtures else {}
    for name in mixtures[0].params if mixtures else ():
        stacked[name] = np.stack([one.params[name] for one in mixtures])
    return packed(header, {**(arrays or {}), **stacked})


def _saved_by(site: str, place: Place, name: str, data: bytes) -> Path:
    path = _path(place, name)
    if not belongs(path.name, site) or path.suffix != ".npz":
        raise InvalidExchange(
            f"{path.name} is no name for a file of site {site}: the hub takes {site}.npz, or "
            f"{site}-....npz, so that it knows whose file it is"
        )
    return _saved(path, name, data)


def _saved(place: Place, name: str, data: bytes) -> Path:
    path = _path(place, name)
    write_bytes(path, data)
    return path


def _path(place: Place, name: str) -> Path:
    path = Path(place)
    return path / name if path.is_dir() else path
