"""Memory of a whole tree of processes: what belongs to each, and its share of what several use."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from types import TracebackType

import psutil

EVERY = 0.1  # seconds


class Watch:
    """Samples the memory of this process and all that it has started, ten times a second.

    The sum over processes of their proportional set sizes (PSS) counts a page that n processes
    share as 1/n in each of them: the sum is what the machine gives. Linux only.

    Attributes
    ----------
    peak : int
        Most bytes so far.
    """

    def __init__(self) -> None:
        """Begin when it is entered."""
        self.peak = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            self.peak = max(self.peak, used())
            if self._over.wait(EVERY):
                return


def used() -> int:
    """Return the bytes that this process and all that it has started use now."""
    here = psutil.Process()
    return sum(proportional(one.pid) for one in [here, *here.children(recursive=True)])


def proportional(pid: int) -> int:
    """Return the proportional set size of a process in bytes; 0 once it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
