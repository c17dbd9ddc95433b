"""What stands for a task of a cluster before its result is there, and how its arguments travel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from distributed import Future

from dfmr_dask.data.readers import BoxReader
from dfmr_dask.data.streaming import Stream

Key = tuple[str | int, ...]
SHARE = "share"


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason why a task gave no result."""

    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Several:
    """What one task returned for several partitions, by their numbers."""

    results: Mapping[int, Any]


@dataclass(slots=True, eq=False)
class Handle:
    """A task: what it does, and what has become of it.

    It is sent to the scheduler when somebody waits for it, not before, so that the scheduler holds
    few tasks at a time and a worker that dies takes few innocent ones along. It is sent again when
    it was lost; randomness is addressed, so that the same comes out.

    Attributes
    ----------
    stage : str
    key : tuple
    function : callable
    args : tuple
        Handles among them stand for their results.
    apart : callable, optional
        For a task of several partitions: returns one handle for each of them.
    future : Future or None
        While it is under way, or its result is held by a worker.
    sent : int
        How often it was sent.
    verdict : Failure or None
        The reason, once it is known that it kills or blocks its worker: it is not sent again.
    """

    stage: str
    key: Key
    function: Callable[..., Any]
    args: tuple[Any, ...]
    apart: Callable[[], Mapping[int, Handle]] | None = None
    future: Future[Any] | None = None
    sent: int = 0
    verdict: Failure | None = None

    def family(self) -> Iterator[Handle]:
        """Yield this task and all that it needs, but for values that are shared."""
        yield self
        for arg in self.args:
            if isinstance(arg, Handle) and arg.stage != SHARE:
                yield from arg.family()


def stands_for(number: int, handle: Any) -> tuple[int, ...]:
    """Return the partitions that a task is about, by its number and its handle."""
    shared = isinstance(handle, Handle) and handle.apart is not None
    return tuple(handle.args[1]) if shared else (number,)


def described(error: BaseException) -> str:
    """Return an exception as one line for a ledger."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def itself(value: Any) -> Any:
    """Return a value: the task that holds what tasks share."""
    return value


def several(
    function: Callable[..., Any], own: Mapping[int, Sequence[Any]], *common: Any
) -> Several:
    """Call a function for several partitions; a call that fails is a value."""
    return Several({i: tried(function, *args, *common) for i, args in own.items()})


def tried(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function; a call that fails is a value."""
    try:
        return function(*args)
    except Exception as error:  # a failed task is a value
        return Failure(described(error))


@dataclass(frozen=True, slots=True, eq=False)
class Bare:
    """A reader without the layout of its source, which travels once and not with each task."""

    reader: Any
    layout: int


def stripped(value: Any, layouts: list[Any]) -> Any:
    """Take the layouts out of readers and collect them; readers may stand in tuples and dicts."""
    if isinstance(value, Stream):
        return replace(value, reader=stripped(value.reader, layouts))
    if isinstance(value, BoxReader):
        place = next((i for i, one in enumerate(layouts) if one is value.layout), len(layouts))
        if place == len(layouts):
            layouts.append(value.layout)
        return Bare(replace(value, layout=None), place)  # type: ignore[arg-type]
    if type(value) is tuple:
        return tuple(stripped(one, layouts) for one in value)
    if type(value) is dict:
        return {name: stripped(one, layouts) for name, one in value.items()}
    return value


def dressed(value: Any, layouts: Sequence[Any]) -> Any:
    """Give readers their layouts back."""
    if isinstance(value, Stream):
        return replace(value, reader=dressed(value.reader, layouts))
    if isinstance(value, Bare):
        return replace(value.reader, layout=layouts[value.layout])
    if type(value) is tuple:
        return tuple(dressed(one, layouts) for one in value)
    if type(value) is dict:
        return {name: dressed(one, layouts) for name, one in value.items()}
    return value


def called(function: Callable[..., Any], n_layouts: int, *values: Any) -> Any:
    """Call a function in a worker: layouts first, then arguments whose readers lack theirs."""
    layouts, args = values[:n_layouts], values[n_layouts:]
    return function(*(dressed(one, layouts) for one in args))
