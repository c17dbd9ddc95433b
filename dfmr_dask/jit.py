"""Compilation by numba where it is installed; without it the same code runs uncompiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numpy.typing import NDArray

try:
    from numba import njit
except ImportError:  # an installation without numba is slower, and right all the same
    COMPILED = False
else:
    COMPILED = True
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(
    *, fastmath: frozenset[str] = frozenset(), part: bool = False
) -> Callable[[Function], Function]:
    """Return a decorator that compiles a function, to run without the interpreter lock.

    The machine code is kept on disk: workers of a machine share what was compiled once, and a
    second process compiles nothing.

    Parameters
    ----------
    fastmath : set of str
        What the compiler may assume of floating point numbers: ``contract`` fuses products into
        sums, ``reassoc`` sums in another order. Which thread runs the code changes no result.
    part : bool
        The function is part of another compiled one, and is always laid out within it. Else a
        process that has just compiled calls the copy that was made for the part alone, one that
        reads the code from disk the copy within the whole: reassociated, their last bits differ.

    Examples
    --------
    >>> from dfmr_dask.jit import compiled
    >>> @compiled()
    ... def twice(value):
    ...     return 2 * value
    >>> twice(4)
    8
    """

    def decorated(function: Function) -> Function:
        if not COMPILED:
            return function
        kept = Path(function.__code__.co_filename).exists()  # code is kept beside its source
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": set(fastmath)}
        options["forceinline"] = part
        try:
            made: Any = njit(**options, cache=kept)(function)
        except RuntimeError:  # no folder that could be written to: each process compiles anew
            made = njit(**options)(function)
        return cast(Function, made)

    return decorated


def to_be_read(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that cannot be written to: code is compiled once more for arrays that can."""
    view = array.view()
    view.flags.writeable = False
    return view
