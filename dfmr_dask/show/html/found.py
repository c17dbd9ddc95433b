"""All that a report tells of, gathered: from a run that has just ended, or from its folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr
from packaging.version import InvalidVersion, Version

from dfmr_dask import __version__
from dfmr_dask.aggregate.uncertainty import StandardErrors
from dfmr_dask.errors import DfmrError, InvalidMessage, NoStandardErrors, RunUnfinished
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.lock import holder
from dfmr_dask.run.results import Result
from dfmr_dask.run.sample import FILE, Sample
from dfmr_dask.run.standard_errors import read_standard_errors
from dfmr_dask.selection.curve import Selection

AGGREGATES = "aggregates"
FEWEST_ROWS = 20  # of a sample


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """All that a report tells of.

    Attributes
    ----------
    summary : mapping
        From :func:`~dfmr_dask.show.summary.summarize`.
    description : mapping
        Settings, source and identity of the run.
    partitions : xarray.Dataset
    messages : tuple of Message
    mixture : Mixture
    errors : StandardErrors or None
    selection : Selection or None
    pieces : xarray.Dataset or None
    sample : Sample or None
    picture : Path or None
        Labels drawn on a grid.
    """

    summary: Mapping[str, Any]
    description: Mapping[str, Any]
    partitions: xr.Dataset
    messages: tuple[Message, ...]
    mixture: Mixture
    errors: StandardErrors | None = None
    selection: Selection | None = None
    pieces: xr.Dataset | None = None
    sample: Sample | None = None
    picture: Path | None = None

    @property
    def features(self) -> list[str]:
        """Names of the features, and numbers of those that have none."""
        names = [str(name) for name in self.summary["features"]]
        return [name if name.strip() else f"x{j}" for j, name in enumerate(names)]

    @property
    def dims(self) -> list[str]:
        """Sample dimensions of the source, in order."""
        return [str(dim) for dim in self.description["source"]["sample_dims"]]

    @property
    def rows(self) -> Any:
        """Sampled rows (n, d) of the partitions that were kept; None where there are too few."""
        if self.sample is None or self.sample.rows.shape[1] != self.mixture.n_features:
            return None
        rows = self.sample.of(self.summary["kept"]).rows
        return rows if len(rows) >= FEWEST_ROWS else None

    @property
    def planned_rows(self) -> dict[int, int] | None:
        """Rows that the plan gave each partition, where they are known."""
        planned = self.description.get("planned_rows")
        return None if planned is None else dict(enumerate(planned))

    @classmethod
    def of(
        cls,
        ledger: Ledger,
        summary: Mapping[str, Any],
        partitions: xr.Dataset,
        result: Result,
        picture: str | None = None,
    ) -> Found:
        """Gather what a run that has just ended, or an aggregate of it, left in memory."""
        sample = result.sample or _sample(ledger.folder)
        return cls(
            summary,
            ledger.description(),
            partitions,
            result.messages,
            result.mixture,
            result.errors if isinstance(result.errors, StandardErrors) else None,
            result.selection,
            result.pieces,
            sample,
            None if picture is None else Path(picture),
        )


def found_in(folder: str | os.PathLike[str]) -> Found:
    """Gather what lies in the folder of a finished run, or of one of its aggregates.

    Parameters
    ----------
    folder : path

    Raises
    ------
    RunUnfinished
        When there is no run, it did not finish, or it is still going.
    InvalidMessage
        When a newer version of the package wrote it, or files do not hold what they should.
    """
    place = Path(folder)
    inside = place.parent.name == AGGREGATES and not Ledger.holds_run(place)
    ledger = _opened(place.parent.parent if inside else place)
    description = ledger.description()
    check_version(description, ledger.folder)
    if inside and not Ledger(place).is_finished():
        raise RunUnfinished(f"{place} holds no aggregate of a run: there is no summary.json in it")
    here = Ledger(place)
    pieces = place / "pieces.zarr"
    picture = place / "segmentation.png"
    try:
        return Found(
            here.summary(),
            description,
            here.partitions(),
            ledger.messages(),
            here.model(),
            _errors(place),
            ledger.selection(),
            xr.open_zarr(pieces, chunks=None).load() if pieces.is_dir() else None,
            _sample(ledger.folder),
            picture if picture.is_file() else None,
        )
    except (OSError, KeyError, ValueError) as error:
        if isinstance(error, DfmrError):
            raise
        raise InvalidMessage(
            f"{place} lacks something that a report is made of: {error}. `dfmr run` with the same "
            "configuration writes what is missing"
        ) from error


def _opened(folder: Path) -> Ledger:
    """Open a finished run; of one that is still going, say so."""
    try:
        return Ledger.open(folder)
    except RunUnfinished as error:
        if Ledger.holds_run(folder) and (who := holder(folder)):
            raise RunUnfinished(
                f"the run in {folder} is still going ({who}): it writes its report when it ends"
            ) from error
        raise


def check_version(description: Mapping[str, Any], folder: Path) -> None:
    """Refuse the folder of a run that a newer version of the package wrote.

    Raises
    ------
    InvalidMessage
    """
    wrote = str(dict(description.get("identity", {})).get("package", "0"))
    try:
        newer = Version(wrote) > Version(__version__)
    except InvalidVersion:
        newer = True
    if newer:
        raise InvalidMessage(
            f"the run in {folder} was written by dfmr_dask {wrote:.40}; this is {__version__}, "
            "which may misread it: install that version, or a later one"
        )


def _sample(folder: Path) -> Sample | None:
    return Sample.read(folder / FILE) if (folder / FILE).is_file() else None


def _errors(folder: Path) -> StandardErrors | None:
    try:
        return read_standard_errors(folder)
    except NoStandardErrors:
        return None
