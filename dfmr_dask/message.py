"""What one partition says: an estimate, or the reason why there is none. Never rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np

from dfmr_dask.errors import InvalidMessage
from dfmr_dask.mixture import Mixture

SCHEMA = 1
LARGEST_COUNT = 2**63 - 1  # what a table of partitions can hold
KINDS: dict[str, Any] = {"status": str, "reason": str, "start": str, "schema": int}
KINDS |= {"converged": (bool, np.bool_), "mixture": (Mixture, type(None))}
MOST = {"mass": float("inf"), "observed": 1.0}
Status = Literal["fitted", "failed", "empty"]


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """The word of one partition.

    Parameters
    ----------
    partition : int
        Its number in the plan.
    status : {"fitted", "failed", "empty"}
        ``empty``: not a single valid row, so it counts neither way (land in an ocean grid).
    rows : int
        Valid rows, those that were fitted.
    dropped_rows : int
        Rows left out: they, or their weights, hold NaN or infinity, or they are outliers. Rows of
        weight 0 count neither way.
    mixture : Mixture or None
        The local estimate of a fitted partition.
    reason : str
        Why a failed partition failed.
    n_iter : int
        EM iterations.
    converged : bool
    log_likelihood : float
        Mean log density a row of its own rows under its own estimate, in nats.
    start : {"common", "own"}
        Whether the fit started where all had agreed.
    seconds : float
        How long reading and fitting took.
    mass : float or None
        Sum of the weights of the rows that were fitted; None where each row counts once.
    observed : float or None
        Share of the rows' entries that are there, above 0; None where none is missing.

    Raises
    ------
    InvalidMessage
        When the fields contradict each other.

    Examples
    --------
    >>> from dfmr_dask.message import Message
    >>> Message.failed(3, "chunk 3.0 cannot be decoded").status
    'failed'
    """

    partition: int
    status: Status
    rows: int = 0
    dropped_rows: int = 0
    mixture: Mixture | None = None
    reason: str = ""
    n_iter: int = 0
    converged: bool = False
    log_likelihood: float = float("nan")
    start: str = "common"
    seconds: float = 0.0
    schema: int = field(default=SCHEMA)
    mass: float | None = None
    observed: float | None = None

    def __post_init__(self) -> None:
        for name, kind in KINDS.items():
            if not isinstance(value := getattr(self, name), kind):
                raise InvalidMessage(f"{name} is {value!r:.40}; wanted another kind of value")
        if self.schema != SCHEMA:
            raise InvalidMessage(f"message schema {self.schema}; this version reads {SCHEMA}")
        if self.status not in ("fitted", "failed", "empty"):
            raise InvalidMessage(f"status {self.status!r}; wanted fitted, failed or empty")
        if (self.status == "fitted") != (self.mixture is not None):
            raise InvalidMessage(
                f"{self.status} message, mixture {self.mixture}; only fitted has one"
            )
        self._check_numbers()
        if (self.status, self.rows > 0) in (("fitted", False), ("empty", True)):
            raise InvalidMessage(
                f"partition {self.partition} is {self.status} with {self.rows} rows"
            )
        if self.start not in ("common", "own"):
            raise InvalidMessage(f"start {self.start!r}; wanted common or own")

    def _check_numbers(self) -> None:
        for name in ("partition", "rows", "dropped_rows", "n_iter"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or not 0 <= int(value) <= LARGEST_COUNT:
                raise InvalidMessage(
                    f"{name} is {value!r:.40}; wanted a whole number, not negative"
                )
        for name in ("log_likelihood", "seconds"):
            if not _is_number(getattr(self, name)):
                raise InvalidMessage(f"{name} is {getattr(self, name)!r:.40}; wanted a number")
        for name, most in MOST.items():
            value = getattr(self, name)
            if value is not None and not (_is_positive(value) and value <= most):
                raise InvalidMessage(
                    f"{name} is {value!r:.40}; wanted a finite number above 0, at most {most}, "
                    "or None"
                )

    @property
    def counted(self) -> float:
        """Rows, or the sum of their weights where they have some."""
        return float(self.rows if self.mass is None else self.mass)

    @property
    def size(self) -> float:
        """How many whole rows tell as much: those counted, less what is missing."""
        return self.counted * (self.observed or 1.0)

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild through the constructor, so that nothing invalid arrives over a wire."""
        return type(self), tuple(getattr(self, name) for name in self.__slots__)

    @classmethod
    def failed(cls, partition: int, reason: str, rows: int = 0, dropped_rows: int = 0) -> Message:
        """Return the message of a partition that has no estimate to give."""
        return cls(partition, "failed", rows, dropped_rows, reason=reason)


def _is_positive(value: Any) -> bool:
    number = _is_number(value) and not isinstance(value, bool)
    return number and 0.0 < float(value) < float("inf")


def _is_number(value: Any) -> bool:
    """Tell whether a value is a real number that fits into a float."""
    try:
        return isinstance(value, Real) and float(value) is not None
    except OverflowError:
        return False
