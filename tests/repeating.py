"""Something that goes on beside a test, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeating(action: Callable[[], None], every: float) -> Iterator[None]:
    """Do something again and again, with so many seconds between, until the block ends."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(every):
            action()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
