"""A run's folder: what is written down, when, and when it counts as finished.

run.json            first: the settings, state "running"
start.npz           the common start, once it is agreed
messages/00000.npz  one file a partition, as they arrive
model.npz           the mixture
partitions.zarr     the table of partitions, and as partitions.csv
summary.json        last: its presence is the mark of a finished run
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
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
from dfmr_dask.errors import InvalidMessage, RunFolderExists, RunUnfinished
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture

DESCRIPTION, SUMMARY, MESSAGES = "run.json", "summary.json", "messages"
LARGEST_JSON = 1 << 26


@dataclass(frozen=True, slots=True)
class Ledger:
    """What one run has written down.

    Attributes
    ----------
    folder : Path
    """

    folder: Path

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
            Remove what an earlier run left there; nothing but a run's folder is ever removed.

        Raises
        ------
        RunFolderExists
            When the folder holds something.
        """
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            _make_room(folder, overwrite)
        (folder / MESSAGES).mkdir(parents=True, exist_ok=True)
        write_json(folder / DESCRIPTION, {"state": "running", **description})
        return cls(folder)

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
            raise RunUnfinished(
                f"the run in {folder} did not finish: there is no {SUMMARY}. Start it again with "
                "`dfmr run CONFIG --overwrite`."
            )
        return cls(folder)

    def record_start(self, mixture: Mixture) -> None:
        """Write the common start."""
        write_mixture(self.folder / "start.npz", mixture)

    def record_message(self, message: Message) -> None:
        """Write what a partition said."""
        write_message(self._place(message.partition), message)

    def record_model(self, mixture: Mixture, table: xr.Dataset, **facts: Any) -> list[Path]:
        """Write the mixture and the table of partitions, and name the files."""
        model, partitions = self.folder / "model.npz", self.folder / "partitions.zarr"
        text = self.folder / "partitions.csv"
        write_mixture(model, mixture, **facts)
        write_dataset(partitions, table)
        write_bytes(text, table.to_dataframe().to_csv().encode())
        return [model, partitions, text]

    def finish(self, summary: Mapping[str, Any]) -> Path:
        """Write the summary, which marks the run as finished."""
        write_json(self.folder / SUMMARY, summary)
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
        table: xr.Dataset = xr.open_zarr(
            self.folder / "partitions.zarr", chunks=None, consolidated=False
        ).load()
        return table


def _make_room(folder: Path, overwrite: bool) -> None:
    if not overwrite:
        raise RunFolderExists(
            f"{folder} holds something already. Choose another folder (--set run.folder=...), or "
            "remove an earlier run with --overwrite."
        )
    if not (folder / DESCRIPTION).is_file():
        raise RunFolderExists(
            f"{folder} holds something that is no run (there is no {DESCRIPTION} in it), so "
            "--overwrite does not remove it. Choose another folder."
        )
    shutil.rmtree(folder)
