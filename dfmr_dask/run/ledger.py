"""A run's folder: what is written down, when, and when it counts as finished.

run.json            first: settings, source, and the identity of the run; state "running"
pieces.json         where each partition lies, and which chunks were there
selection.json      how the number of components was chosen, where it was
likeness.json       which way the run takes by the likeness of its pieces
start.npz           the common start, once it is agreed, and N
messages/00000.npz  what the partitions of one task said, as it arrives
events.jsonl        what happened, a line at a time, as it happens; one that goes on appends
unanswered.json     partitions that gave no answer at all, and why: asked again when a run goes on
model.npz           the mixture
partitions.zarr     the table of partitions, pieces.zarr of pieces that the way was chosen by; .csv
standard_errors.zarr how sure the mixture is, where that is known; mixture.png draws it
sample.npz          some rows of the kept partitions, for pictures (run.sample_rows: 0 leaves none)
report.html         all of it for people, made from the other files
performance.html    Dask's report of what its cluster did, on request
summary.json        last: its presence is the mark of a finished run

Every file appears whole or not at all, and nothing but the summary says that the rest is complete.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, cast

import xarray as xr

from dfmr_dask.data.files import (
    plain,
    read_facts,
    read_json,
    read_mixture,
    write_bytes,
    write_json,
    write_mixture,
)
from dfmr_dask.data.messages import read_folder, write_messages
from dfmr_dask.data.stores import write_dataset
from dfmr_dask.errors import InvalidMessage, RunFolderExists, RunUnfinished
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.lock import is_held
from dfmr_dask.run.places import aside, check_room, forget, how_to_go_on, set_aside
from dfmr_dask.run.reading import SCHEMA, check_schema
from dfmr_dask.run.results import as_csv
from dfmr_dask.selection.curve import Selection, as_plain, selection_from

DESCRIPTION, SUMMARY, MESSAGES = "run.json", "summary.json", "messages"
PIECES, START, UNANSWERED = "pieces.json", "start.npz", "unanswered.json"
SELECTION, WAY = "selection.json", "likeness.json"
EVENTS, PERFORMANCE = "events.jsonl", "performance.html"
LARGEST_JSON = 1 << 28


@dataclass(frozen=True, slots=True)
class Ledger:
    """What one run has written down.

    Attributes
    ----------
    folder : Path
    replaced : Path or None
        Where the earlier run is that this one replaces; it is removed when this one is finished.
    """

    folder: Path
    replaced: Path | None = None

    @staticmethod
    def check(folder: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Raise unless a run could begin or go on in a folder; nothing is written.

        Raises
        ------
        RunFolderExists
            When the folder holds something that is no run, or a link leads to it.
        OSError
            When nothing can be written there.
        """
        check_room(Path(folder), DESCRIPTION, overwrite=overwrite)

    @staticmethod
    def holds_run(folder: Path) -> bool:
        """Tell whether a run was begun in a folder."""
        return (folder / DESCRIPTION).is_file()

    @classmethod
    def create(
        cls,
        folder: str | Path,
        description: Mapping[str, Any],
        pieces: Mapping[str, Any] | None = None,
        *,
        overwrite: bool = False,
    ) -> Ledger:
        """Begin a run in a new folder.

        Parameters
        ----------
        folder : path
        description : mapping
            Settings, source and identity, as plain values.
        pieces : mapping, optional
            From :meth:`~dfmr_dask.run.identity.Pieces.plain`.
        overwrite : bool
            Set an earlier run aside until this one is finished, and remove it then; nothing but
            a run's folder is ever set aside.

        Raises
        ------
        RunFolderExists
            When the folder holds something that stays.
        OSError
            When nothing can be written there.
        """
        folder = Path(folder)
        cls.check(folder, overwrite=overwrite)
        if cls.holds_run(folder) and not overwrite:
            raise RunFolderExists(
                f"{folder} holds a run; go on with it, or let --overwrite replace it"
            )
        ledger = cls(folder, set_aside(folder) if overwrite else None)
        folder.mkdir(parents=True, exist_ok=True)
        ledger.describe(description, pieces or {})
        return ledger

    @classmethod
    def open(cls, folder: str | Path) -> Ledger:
        """Open the folder of a finished run.

        Raises
        ------
        RunUnfinished
            When there is no run, it is still going, or it was cut short.
        NewerRun
            When a later version has written it.
        """
        folder = Path(folder)
        if not cls.holds_run(folder):
            raise RunUnfinished(f"{folder} holds no run: there is no {DESCRIPTION} in it")
        if not (folder / SUMMARY).is_file():
            now = f"is still going: `dfmr show {folder} --watch` follows it"
            cut = f"did not finish: there is no {SUMMARY}. {how_to_go_on(folder)}"
            raise RunUnfinished(f"the run in {folder} {now if is_held(folder) else cut}")
        cls(folder).description()  # refuses one of a later version
        return cls(folder)

    def describe(self, description: Mapping[str, Any], pieces: Mapping[str, Any]) -> None:
        """Write what the run is about; that it is running, which the summary overrules."""
        write_json(self.folder / DESCRIPTION, {"state": "running", "schema": SCHEMA, **description})
        write_json(self.folder / PIECES, pieces)
        (self.folder / MESSAGES).mkdir(exist_ok=True)

    def go_on(
        self, description: Mapping[str, Any], pieces: Mapping[str, Any], stay: Collection[int]
    ) -> Ledger:
        """Let the run go on with the messages of some partitions; it is unfinished from here."""
        (self.folder / SUMMARY).unlink(missing_ok=True)
        (self.folder / UNANSWERED).unlink(missing_ok=True)
        for path, said in read_folder(self.folder / MESSAGES):
            left = [message for message in said if message.partition in stay]
            if len(left) < len(said) or not left:
                path.unlink()  # first: a file is called by the lowest number in it
                self.record_messages(left)
        self.describe(description, pieces)
        earlier = aside(self.folder)
        return Ledger(self.folder, earlier if earlier.is_dir() else None)

    def record_selection(self, found: Selection) -> None:
        """Write how the number of components was chosen; no row is in it."""
        write_json(self.folder / SELECTION, plain(as_plain(found)))

    def selection(self) -> Selection | None:
        """Return how the number of components was chosen, if that is there."""
        told = self._told(SELECTION)
        return selection_from(told) if told else None

    def record_start(self, mixture: Mixture, **facts: Any) -> None:
        """Write the common start, and what was agreed with it."""
        write_mixture(self.folder / START, mixture, **facts)

    def start(self) -> tuple[Mixture, dict[str, Any]] | None:
        """Return the common start and what was agreed with it, if it is there."""
        path = self.folder / START
        return (read_mixture(path), read_facts(path)) if path.is_file() else None

    def record_way(
        self, way: Mapping[str, Any], planned_rows: Sequence[int], pieces: Mapping[str, Any]
    ) -> None:
        """Write which way the run takes, and the partitions that are fitted there."""
        write_json(self.folder / WAY, way)
        write_json(self.folder / PIECES, pieces)
        described = {**self.description(), "planned_rows": list(planned_rows)}
        write_json(self.folder / DESCRIPTION, described)

    def way(self) -> dict[str, Any] | None:
        """Return which way the run takes; None before its start is final, or if it had none."""
        return (self._told(WAY) or None) if (self.folder / START).is_file() else None

    def record_messages(self, messages: Sequence[Message]) -> None:
        """Write what the partitions of one task said, as one file."""
        if messages:
            first = min(message.partition for message in messages)
            write_messages(self.folder / MESSAGES / f"{first:05d}.npz", messages)

    def record_unanswered(self, reasons: Mapping[int, str]) -> None:
        """Write which partitions gave no answer: they are asked again when the run goes on."""
        if reasons:
            write_json(self.folder / UNANSWERED, {str(i): text for i, text in reasons.items()})

    def unanswered(self) -> dict[int, str]:
        """Return partitions that gave no answer, and why."""
        return {int(i): str(text) for i, text in self._told(UNANSWERED).items()}

    def record_model(self, mixture: Mixture, table: xr.Dataset, **facts: Any) -> list[Path]:
        """Write the mixture and the table of partitions, and name the files."""
        model = self.folder / "model.npz"
        write_mixture(model, mixture, **facts)
        return [model, *self.record_table("partitions", table)]

    def record_table(self, name: str, table: xr.Dataset) -> list[Path]:
        """Write a table as Zarr and as text, and name both."""
        text = self.folder / f"{name}.csv"
        write_bytes(text, as_csv(table))
        return [self._stored(name, table), text]

    def _stored(self, name: str, table: xr.Dataset) -> Path:
        """Write a table in place of what the run had before it went on."""
        path = self.folder / f"{name}.zarr"
        if path.exists():
            shutil.rmtree(path)
        write_dataset(path, table)
        return path

    def finish(self, summary: Mapping[str, Any]) -> Path:
        """Write the summary, which marks the run as finished, and remove what it replaces."""
        write_json(self.folder / SUMMARY, summary)
        if self.replaced is not None:
            forget(self.replaced)
        return self.folder / SUMMARY

    def is_finished(self) -> bool:
        """Tell whether everything is there."""
        return (self.folder / SUMMARY).is_file()

    def description(self) -> dict[str, Any]:
        """Return settings, source and identity of the run; one of a later version raises."""
        told = dict(read_json(self.folder / DESCRIPTION, LARGEST_JSON))
        check_schema(told, self.folder)
        return told

    def pieces(self) -> dict[str, Any]:
        """Return where partitions lay and what was there when the run began."""
        return self._told(PIECES)

    def summary(self) -> dict[str, Any]:
        """Return the summary of the finished run."""
        return dict(read_json(self.folder / SUMMARY, LARGEST_JSON))

    def model(self) -> Mixture:
        """Return the mixture of the finished run."""
        return read_mixture(self.folder / "model.npz")

    def messages(self) -> tuple[Message, ...]:
        """Return the messages of all partitions, those that never answered among them, in order.

        Raises
        ------
        InvalidMessage
            When a file holds something else, or two tell of one partition.
        """
        found = [
            message
            for _, said in read_folder(self.folder / MESSAGES, strict=True)
            for message in said
        ]
        found += [Message.failed(i, reason) for i, reason in self.unanswered().items()]
        if len({message.partition for message in found}) < len(found):
            raise InvalidMessage(f"{self.folder / MESSAGES} holds two messages of one partition")
        return tuple(sorted(found, key=lambda message: message.partition))

    def answered(self) -> dict[int, Message]:
        """Return the messages that can be read; what a disk has spoiled is fitted again."""
        return {
            one.partition: one for _, said in read_folder(self.folder / MESSAGES) for one in said
        }

    def partitions(self) -> xr.Dataset:
        """Return the table of partitions."""
        return cast(xr.Dataset, xr.open_zarr(self.folder / "partitions.zarr", chunks=None).load())

    def _told(self, name: str) -> dict[str, Any]:
        """Return what a file says; nothing where it is not there."""
        path = self.folder / name
        return dict(read_json(path, LARGEST_JSON)) if path.is_file() else {}
