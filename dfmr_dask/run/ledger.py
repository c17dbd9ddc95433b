"""A run's folder: what is written down, when, and when it counts as finished.

run.json            first: the settings, state "running"
start.npz           the common start, once it is agreed
messages/00000.npz  one file a partition, as they arrive
model.npz           the mixture
partitions.zarr     the table of partitions, and as partitions.csv
summary.json        last: its presence is the mark of a finished run
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import xarray as xr

from dfmr_dask.data.files import (
    read_json,
    read_message,
    read_mixture,
    write_bytes,
    write_json,
    write_message,
    write_mixture,
)
from dfmr_dask.data.stores import write_dataset
from dfmr_dask.errors import InvalidMessage, RunUnfinished
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.places import aside, check_room, forget, set_aside
from dfmr_dask.run.results import as_csv

DESCRIPTION, SUMMARY, MESSAGES = "run.json", "summary.json", "messages"
LARGEST_JSON = 1 << 26


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
        """Raise unless :meth:`create` could begin a run in a folder; nothing is written.

        Raises
        ------
        RunFolderExists
            When the folder holds something that stays.
        OSError
            When nothing can be written there.
        """
        check_room(Path(folder), DESCRIPTION, overwrite=overwrite)

    @classmethod
    def create(
        cls, folder: str | Path, description: Mapping[str, Any], *, overwrite: bool = False
    ) -> Ledger:
        """Begin a run in a new folder.

        Parameters
        ----------
        folder : path
        description : mapping
            Settings and source, as plain values.
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
        ledger = cls(folder, set_aside(folder))
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / DESCRIPTION, {"state": "running", **description})
        (folder / MESSAGES).mkdir()
        return ledger

    @classmethod
    def open(cls, folder: str | Path) -> Ledger:
        """Open the folder of a finished run.

        Raises
        ------
        RunUnfinished
            When there is no run, or it was cut short.
        """
        folder = Path(folder)
        if not (folder / DESCRIPTION).is_file():
            raise RunUnfinished(f"{folder} holds no run: there is no {DESCRIPTION} in it")
        if not (folder / SUMMARY).is_file():
            earlier = aside(folder)
            kept = f" The run that it was to replace is kept in {earlier}." * earlier.is_dir()
            raise RunUnfinished(
                f"the run in {folder} did not finish: there is no {SUMMARY}. Start it again, with "
                f"`dfmr run CONFIG --overwrite` or in another folder.{kept}"
            )
        return cls(folder)

    def record_start(self, mixture: Mixture) -> None:
        """Write the common start."""
        write_mixture(self.folder / "start.npz", mixture)

    def record_message(self, message: Message) -> None:
        """Write what a partition said."""
        write_message(self._place(message.partition), message)

    def record_messages(self, messages: Sequence[Message]) -> None:
        """Write what the partitions of one task said."""
        for message in messages:
            self.record_message(message)

    def record_model(self, mixture: Mixture, table: xr.Dataset, **facts: Any) -> list[Path]:
        """Write the mixture and the table of partitions, and name the files."""
        model, partitions = self.folder / "model.npz", self.folder / "partitions.zarr"
        text = self.folder / "partitions.csv"
        write_mixture(model, mixture, **facts)
        write_dataset(partitions, table)
        write_bytes(text, as_csv(table))
        return [model, partitions, text]

    def finish(self, summary: Mapping[str, Any]) -> Path:
        """Write the summary, which marks the run as finished, and remove what it replaces."""
        write_json(self.folder / SUMMARY, summary)
        if self.replaced is not None:
            forget(self.replaced)
        return self.folder / SUMMARY

    def description(self) -> dict[str, Any]:
        """Return settings and source of the run."""
        return dict(read_json(self.folder / DESCRIPTION, LARGEST_JSON))

    def summary(self) -> dict[str, Any]:
        """Return the summary of the finished run."""
        return dict(read_json(self.folder / SUMMARY, LARGEST_JSON))

    def model(self) -> Mixture:
        """Return the mixture of the finished run."""
        return read_mixture(self.folder / "model.npz")

    def messages(self) -> tuple[Message, ...]:
        """Return the messages of all partitions, in order."""
        found = []
        for path in (self.folder / MESSAGES).glob("*.npz"):
            message = read_message(path)
            if path != self._place(message.partition):
                raise InvalidMessage(f"{path} holds the message of partition {message.partition}")
            found.append(message)
        return tuple(sorted(found, key=lambda message: message.partition))

    def _place(self, partition: int) -> Path:
        return self.folder / MESSAGES / f"{partition:05d}.npz"

    def partitions(self) -> xr.Dataset:
        """Return the table of partitions."""
        table: xr.Dataset = xr.open_zarr(self.folder / "partitions.zarr", chunks=None).load()
        return table
