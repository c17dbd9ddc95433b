"""Which way a run takes by the likeness of its pieces, as a value that a folder can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from dfmr_dask.data.source import Source
from dfmr_dask.errors import InvalidMessage
from dfmr_dask.likeness import ROUTES, Likeness
from dfmr_dask.run.settings import Settings

ARRAYS = ("distances", "components", "features")


@dataclass(frozen=True, slots=True)
class Shares:
    """How much of its sample each piece gives.

    Attributes
    ----------
    to_fit, to_score : float
        Rows of samples A and B that it gives for each of its valid rows.
    rows : float
        Valid rows for each row of the plan, as the samples tell.
    mass : float or None
        The weight of each row of the plan; None where each valid row counts once.
    partitions : int
        Among how many all of it is dealt.
    """

    to_fit: float
    to_score: float
    rows: float
    mass: float | None
    partitions: int


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """What was found out about the pieces, and what follows for the partitions.

    Attributes
    ----------
    likeness : Likeness
    failed : mapping of piece to reason
        Those that gave no sample.
    left_out : mapping of piece to reason
        Those whose rows are in no interleaved partition.
    shares : Shares or None
        How samples are dealt to interleaved partitions.
    """

    likeness: Likeness
    failed: Mapping[int, str] = field(default_factory=dict)
    left_out: Mapping[int, str] = field(default_factory=dict)
    shares: Shares | None = None

    @property
    def interleaved(self) -> bool:
        """Whether partitions are others than the pieces."""
        return self.likeness.route == "unlike"

    def source(self, pieces: Source) -> Source:
        """Return the partitions that are fitted."""
        return pieces.interleaved(self.left_out) if self.interleaved else pieces

    def settings(self, asked: Settings) -> Settings:
        """Return the settings that follow.

        Interleaved partitions hold rows of all pieces, and what differs between them is noise of
        the dealing: none of them is dropped for it.
        """
        if self.likeness.route == "weights":
            return replace(asked, weights="free", shared_components=True)
        if self.interleaved and asked.aggregator == "dfmr":
            return replace(asked, aggregator="vanilla", unit="partition")
        return asked

    def plain(self) -> dict[str, Any]:
        """Return what JSON knows."""
        told = {one.name: getattr(self.likeness, one.name) for one in fields(Likeness)}
        dealt = None if self.shares is None else asdict(self.shares)
        return {
            **told, "failed": self.failed, "left_out": self.left_out, "shares": dealt,
        }  # fmt: skip

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> Way:
        """Rebuild what :meth:`plain` returned, after JSON.

        Raises
        ------
        InvalidMessage
            When it is something else.
        """
        try:
            return cls._rebuilt(value)
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidMessage(f"no record of the likeness of pieces: {error!r}") from error

    @classmethod
    def _rebuilt(cls, value: Mapping[str, Any]) -> Way:
        if value["route"] not in ROUTES:
            raise ValueError(f"route {value['route']!r}")
        told: dict[str, Any] = {n: str(value[n]) for n in ("route", "reason", "advice")}
        told |= {n: np.nan if value[n] is None else float(value[n]) for n in ("p_value", "size")}
        told |= {n: np.array(value[n], dtype=np.float64) for n in ARRAYS}
        told |= {n: _by_piece(value[n]) for n in ("off", "misplaced")}
        told["groups"] = np.array(value["groups"], dtype=np.intp)
        likeness = Likeness(pieces=tuple(int(i) for i in value["pieces"]), **told)
        dealt = None if value["shares"] is None else Shares(**value["shares"])
        return cls(likeness, _by_piece(value["failed"]), _by_piece(value["left_out"]), dealt)


def _by_piece(value: Mapping[str, Any]) -> dict[int, str]:
    return {int(i): str(text) for i, text in value.items()}
