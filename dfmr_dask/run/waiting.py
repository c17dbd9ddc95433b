"""How long a run waits for its partitions, and for how many of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

WORKER_TIMEOUT = 300.0  # seconds; clusters that grow on demand take minutes to start a machine
NOT_AWAITED = "not waited for: "

Stop = Callable[[], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How long a run waits.

    Parameters
    ----------
    partition_timeout : float, optional
        Seconds that one task may run; time in the queue does not count. Then the partition fails,
        and the worker is restarted. None waits for ever.
    quorum : int or float, optional
        The fits end as soon as so many partitions have given an estimate (or are empty): a count,
        or a share of all partitions where it is below 1 or a float of 1. None waits for all.
    deadline : float, optional
        Seconds after which the fits end, whatever has arrived.
    worker_timeout : float
        Seconds that a run waits while there is no worker at all.

    Raises
    ------
    ValueError
        When a value is out of range; the text names it.

    Notes
    -----
    Quorum and deadline end the fits independently, whichever comes first. Such a result depends on
    who was fast, and is not repeated bit by bit. Nothing of this holds for data in memory, which
    are fitted in this process: no task can be stopped there.

    Examples
    --------
    >>> from dfmr_dask.run.waiting import Waiting
    >>> Waiting(quorum=0.9).needed(25), Waiting(quorum=20).needed(25)
    (23, 20)
    """

    partition_timeout: float | None = None
    quorum: float | None = None
    deadline: float | None = None
    worker_timeout: float = WORKER_TIMEOUT

    def __post_init__(self) -> None:
        for name in ("partition_timeout", "quorum", "deadline", "worker_timeout"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not 0 < value < float("inf")):
                raise ValueError(f"{name}={value!r}; wanted a number above 0")
        if self.quorum is not None and self.quorum > 1 and self.quorum != int(self.quorum):
            raise ValueError(
                f"quorum={self.quorum!r}; wanted a share up to 1.0, or a whole number of partitions"
            )

    def needed(self, partitions: int) -> int:
        """Return how many of so many partitions are a quorum; all of them where none is set."""
        if self.quorum is None:
            return partitions
        share = isinstance(self.quorum, float) and self.quorum <= 1.0
        wanted = math.ceil(self.quorum * partitions - 1e-9) if share else int(self.quorum)
        return min(partitions, wanted)


@dataclass(slots=True)
class Patience:
    """Tells when the fits of a run end before all have arrived.

    Parameters
    ----------
    waiting : Waiting
    partitions : int
        How many there are.
    usable : int
        How many have answered with something that can be used; whoever takes answers counts.
    """

    waiting: Waiting
    partitions: int
    usable: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def ends(self) -> bool:
        """Whether there is anything to ask."""
        return self.waiting.quorum is not None or self.waiting.deadline is not None

    def __call__(self) -> str | None:
        """Return why those that are left are not waited for; None while they are."""
        needed = self.waiting.needed(self.partitions)
        if self.waiting.quorum is not None and self.usable >= needed:
            return f"{NOT_AWAITED}the quorum of {needed} among {self.partitions} had arrived"
        deadline = self.waiting.deadline
        if deadline is not None and time.monotonic() - self.began >= deadline:
            return f"{NOT_AWAITED}the deadline of {deadline:g} s for the fits had passed"
        return None
