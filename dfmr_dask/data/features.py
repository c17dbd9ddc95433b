"""Which features there are, which were asked for, and whether they are numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from dfmr_dask.data.readers import native
from dfmr_dask.errors import InvalidSource


@dataclass(frozen=True, slots=True)
class Expected:
    """The features that a model was fitted on; without names only their order is known."""

    n_features: int
    names: tuple[str, ...] | None = None


Wanted = str | int | Sequence[Any] | Expected | None


def numbers(dtype: Any) -> bool:
    """Tell whether values of a dtype are numbers that can be fitted."""
    return isinstance(dtype, np.dtype) and dtype.kind in "biuf"


def common_dtype(dtypes: Mapping[str, Any]) -> np.dtype[Any]:
    """Return the dtype that holds the values of all features.

    Raises
    ------
    InvalidSource
        When some features are strings, dates, complex numbers or Python objects: their names.
    """
    wrong = {name: dtype for name, dtype in dtypes.items() if not numbers(dtype)}
    if wrong:
        told = ", ".join(f"{name} ({kind_text(dtype)})" for name, dtype in wrong.items())
        raise InvalidSource(
            f"these features are no numbers: {told}; leave them out with features=, "
            "or turn them into numbers first"
        )
    return np.result_type(*(native(dtype) for dtype in dtypes.values()))


def kind_text(dtype: Any) -> str:
    """Name a kind of values as people do."""
    kind = getattr(dtype, "kind", "O")
    words = {"M": "dates", "m": "durations", "c": "complex"}
    text = kind in "TUS" or str(dtype) in ("str", "string")
    return f"text of dtype {dtype}" if text else words.get(kind, str(dtype))


def check_known(wanted: Iterable[Any], known: Sequence[Any], dims: Sequence[Any] = ()) -> None:
    """Refuse names that do not exist, with those that do (and the dimensions, if there are some).

    Raises
    ------
    InvalidSource
    """
    texts = [str(name) for name in known]
    unknown = [name for name in wanted if name not in known]
    if not unknown:
        return
    near = [get_close_matches(str(name), texts, 1) for name in unknown]
    hints = [f"did you mean {found[0]!r}?" for found in near if found]
    listed = ", ".join(texts[:20]) + (", ..." if len(texts) > 20 else "")
    more = [f"Or one dimension holds them: features= one of {list(map(str, dims))}"] * bool(dims)
    said = " ".join([f"there are: {listed}.", *hints, *more])
    raise InvalidSource(f"features={', '.join(map(repr, unknown))} not found; {said}")


def listed(wanted: Wanted) -> list[Any]:
    """Return what was asked for as a list without duplicates.

    Raises
    ------
    InvalidSource
        When nothing, or something twice, was asked for.
    """
    one = isinstance(wanted, str | int | Expected)
    names = [wanted] if one else list(wanted or ())  # type: ignore[arg-type]
    if not names:
        raise InvalidSource("features=[] leaves nothing to fit; name at least one, or pass none")
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise InvalidSource(f"features= names {', '.join(twice)} more than once")
    return names


def numbered(names: Sequence[str]) -> bool:
    """Tell whether names are those that columns without names get: x0, x1, ..."""
    return list(names) == [f"x{i}" for i in range(len(names))]


def positions(came: Sequence[str], named: bool, expected: Expected) -> list[int]:
    """Return where the features of a model lie among those that came.

    By name; by position only where those that came, or those of the model, have no names.

    Raises
    ------
    InvalidSource
        When a name is missing or there twice, or the number is another one.
    """
    if expected.names is None or not named:
        if len(came) != expected.n_features:
            raise InvalidSource(
                f"{', '.join(came[:20])} came, with {len(came)} features; the mixture has "
                f"{expected.n_features}"
            )
        return list(range(len(came)))
    if missing := [name for name in expected.names if list(came).count(name) != 1]:
        raise InvalidSource(
            f"the mixture was fitted on {list(expected.names)}; {missing} not among "
            f"{list(came[:20])}, or not once"
        )
    return [list(came).index(name) for name in expected.names]


def column_names(wanted: Wanted, n_features: int) -> tuple[str, ...]:
    """Return names for the columns of an array that has none: as given, else x0, x1, ...

    Raises
    ------
    InvalidSource
        When there are not as many names as columns.
    """
    if wanted is None:
        return tuple(f"x{i}" for i in range(n_features))
    names = listed(wanted)
    if len(names) != n_features or not all(isinstance(name, str) for name in names):
        raise InvalidSource(
            f"features={wanted!r} for an array with {n_features} columns and no names; "
            "give one name for each column, or none"
        )
    return tuple(names)


def feature_axis(wanted: Wanted, dims: Sequence[str], named: bool, what: str) -> int | None:
    """Return which axis of an array holds the features; None when the values are one feature.

    Raises
    ------
    InvalidSource
        When the array has more than two dimensions and ``features=`` does not name one of them.
    """
    if isinstance(wanted, str) and wanted in dims:
        return dims.index(wanted)
    if isinstance(wanted, int) and not isinstance(wanted, bool):
        if not -len(dims) <= wanted < len(dims):
            raise InvalidSource(f"features={wanted}; {what} has axes 0 to {len(dims) - 1}")
        return wanted % len(dims)
    if len(dims) <= 2 and (wanted is None or not isinstance(wanted, str)):
        return len(dims) - 1 if len(dims) == 2 else None
    names = f"dimensions {', '.join(dims)}" if named else f"{len(dims)} dimensions without names"
    axis = f"one of {list(dims)}, " if named else ""
    raise InvalidSource(
        f"{what} has {names} and features={wanted!r}; say which dimension holds the features: "
        f"{axis}features=<axis from 0 to {len(dims) - 1}>"
    )
