"""How fast a stage goes lately, and how long the rest of it will take."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW = 30.0  # seconds that rates are taken over
SHORTEST = 2.0  # seconds before a rate can be told
FEWEST = 3  # tasks before it can be told how long the others take


@dataclass(slots=True)
class Pace:
    """What came when, in the last half a minute.

    Examples
    --------
    >>> from dfmr_dask.show.pace import Pace
    >>> pace = Pace()
    >>> for done in range(5):
    ...     pace.note(at=100.0 + done, done=done, rows=50 if done else 0)
    >>> pace.rows_per_second, pace.seconds_for(8)
    (50.0, 8.0)
    """

    _recent: deque[tuple[float, int, int]] = field(default_factory=deque)

    def note(self, at: float, done: int, rows: int) -> None:
        """Note how many tasks are done at a time, and the rows that came since the last note."""
        self._recent.append((at, done, rows))
        while len(self._recent) > 2 and at - self._recent[1][0] > WINDOW:
            self._recent.popleft()

    @property
    def rows_per_second(self) -> float | None:
        """Rows that came a second; None until it can be told."""
        span = self._span()
        return None if span is None else sum(rows for _, _, rows in list(self._recent)[1:]) / span

    def seconds_for(self, tasks: int) -> float | None:
        """Return how long so many tasks take, going on like that; None until it can be told.

        That takes a few tasks, and seconds: a stage of one task never says anything.
        """
        span = self._span()
        came = self._recent[-1][1] - self._recent[0][1] if self._recent else 0
        return None if span is None or came < FEWEST else tasks * span / came

    def _span(self) -> float | None:
        span = self._recent[-1][0] - self._recent[0][0] if self._recent else 0.0
        return span if span >= SHORTEST else None
