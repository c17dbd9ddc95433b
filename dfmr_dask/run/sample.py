"""Some rows of the kept partitions, for the pictures of a run.

They are written into the run's own folder and nowhere else. No message has rows in it, and the
files that parties exchange have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.data.archive import packed
from dfmr_dask.data.files import BROKEN, plain, read_plain, short, write_bytes
from dfmr_dask.errors import DfmrError, InvalidMessage

FILE = "sample.npz"
ROWS = 2000  # unless told otherwise
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows of partitions, each row with the same chance.

    Attributes
    ----------
    rows : ndarray of shape (n, d)
    partitions : ndarray of shape (n,)
        Where each row comes from.
    """

    rows: Array
    partitions: NDArray[np.intp]

    def of(self, kept: Sequence[int]) -> Sample:
        """Return the rows of some partitions."""
        here = np.isin(self.partitions, list(kept))
        return Sample(self.rows[here], self.partitions[here])

    def write(self, path: Path, features: Sequence[str]) -> None:
        """Write rows as plain arrays, with the names of their features."""
        header = {"what": "rows", "format": 1, "features": plain(list(features))}
        arrays = {"rows": self.rows, "partitions": self.partitions.astype(np.float64)}
        write_bytes(path, packed(header, arrays))

    @classmethod
    def read(cls, path: Path) -> Sample:
        """Read what :meth:`write` wrote.

        Raises
        ------
        InvalidMessage
            When the file holds anything else.
        """
        try:
            header, arrays = read_plain(path, "rows", ("features",))
            rows, partitions = arrays["rows"], arrays["partitions"]
            if rows.shape != (len(partitions), len(header["features"])):
                raise InvalidMessage(f"rows have shape {rows.shape}")
            return cls(rows, partitions.astype(np.intp))
        except (DfmrError, *BROKEN) as error:
            raise InvalidMessage(f"{path} is no sample of rows: {short(error)}") from error


def write_sample(folder: Path, sample: Sample | None, features: Sequence[str]) -> dict[str, str]:
    """Write rows into a run's folder, and name the file; remove those of before if there are none.

    Parameters
    ----------
    folder : Path
    sample : Sample or None
    features : sequence of str
    """
    path = folder / FILE
    if sample is None:
        path.unlink(missing_ok=True)
        return {}
    sample.write(path, features)
    return {"sample": str(path)}
