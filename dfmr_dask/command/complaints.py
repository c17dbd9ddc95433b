"""What a schema has against some values: which key, what came, what is allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails, PydanticCustomError, PydanticKnownError

from dfmr_dask.corruption import Corruption
from dfmr_dask.data.remote import HIDDEN
from dfmr_dask.run.record import SECRETS, without_credentials

LONGEST = 200  # characters of a value that are shown
WHOLE = "configuration"
TAGS = ("union_tag_not_found", "union_tag_invalid")
WORDS = {
    "a valid string": "a text",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid tuple": "a list",
}


def not_among(allowed: Sequence[str]) -> PydanticKnownError:
    """Return the error of a value that is none of the names allowed."""
    names = " or ".join(filter(None, [", ".join(map(repr, allowed[:-1])), repr(allowed[-1])]))
    return PydanticKnownError("literal_error", {"expected": names})


def unfitting(
    key: str, came: Any, wanted: str, beside: Mapping[str, Any] | None = None
) -> PydanticCustomError:
    """Return the error of a value that does not fit another value of its section.

    Parameters
    ----------
    key : str
        Of the value, seen from the section that is validated.
    came : object
    wanted : str
    beside : mapping, optional
        The values that it does not fit.
    """
    told = "".join(f", with {name}: {value}" for name, value in (beside or {}).items())
    shown = "nothing" if came is None else _came(key, came)
    values = {"key": key, "came": shown + told, "wanted": wanted}
    return PydanticCustomError("unfitting", "{wanted}", values)


def complaints(schema: type[BaseModel], errors: Sequence[ErrorDetails]) -> list[str]:
    """Turn the errors of a validation into lines, unknown and misspelt keys first.

    Parameters
    ----------
    schema : type of BaseModel
        What the values were validated against; its keys are what is allowed.
    errors : sequence of dict
        ``ValidationError.errors()``. Several errors about one key (a value that several types
        were tried for) give one line.

    Examples
    --------
    >>> from pydantic import BaseModel, ConfigDict, ValidationError
    >>> from dfmr_dask.command.complaints import complaints
    >>> class Ball(BaseModel):
    ...     model_config = ConfigDict(extra="forbid", strict=True)
    ...     radius: float = 1.0
    >>> try:
    ...     Ball.model_validate({"radios": 2.0, "radius": "wide"})
    ... except ValidationError as error:
    ...     print(*complaints(Ball, error.errors()), sep="\\n")
    radios: unknown key; did you mean radius? (allowed: radius)
    radius: came 'wide'; wanted a number
    """
    unknown: list[str] = []
    came: dict[str, str] = {}
    wanted: dict[str, list[str]] = {}
    for error in errors:
        name, section = _place(schema, error)
        if error["type"] == "extra_forbidden":
            unknown.append(f"{name}: unknown key; {_meant(name.rpartition('.')[2], section)}")
        elif error["type"] == "unfitting":
            found = error["ctx"]
            name = found["key"] if name == WHOLE else f"{name}.{found['key']}"
            came[name], wanted[name] = found["came"], [found["wanted"]]
        else:
            missing = error["type"] in ("missing", "union_tag_not_found")
            name, value = _tag(name, error) if error["type"] in TAGS else (name, error["input"])
            came[name] = "nothing" if missing else _came(name, value)
            wanted.setdefault(name, []).append(_wanted(error))
    return unknown + [
        f"{name}: came {came[name]}; wanted {' or '.join(wanted[name])}" for name in came
    ]


def _place(schema: type[BaseModel], error: ErrorDetails) -> tuple[str, type[BaseModel]]:
    """Return the dotted name of a key and the section that it stands in.

    The branch of a union that was tried is a step of pydantic's, and no key: it is left out.
    """
    keys: list[str] = []
    sections = [schema]
    for i, step in enumerate(error["loc"]):
        field = next((s.model_fields[str(step)] for s in sections if step in s.model_fields), None)
        last = i == len(error["loc"]) - 1
        if field is not None:
            keys.append(str(step))
            sections = list(_sections(field.annotation)) if not last else sections
        elif isinstance(step, int) or (last and error["type"] == "extra_forbidden"):
            keys.append(str(step))
        else:
            sections = [s for s in sections if str(step) in _kinds(s)] or sections
    return ".".join(keys) or WHOLE, sections[0] if sections else schema


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    """Find the sections that an annotation allows."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)


def _kinds(section: type[BaseModel]) -> tuple[Any, ...]:
    """Return the values of ``kind`` that tell a section of a union from the others."""
    kind = section.model_fields.get("kind")
    return get_args(kind.annotation) if kind else ()


def _tag(name: str, error: ErrorDetails) -> tuple[str, Any]:
    """Return the key that tells the sections of a union apart, and its value."""
    found = error["input"]
    return f"{name}.kind", found.get("kind") if isinstance(found, Mapping) else found


def _came(name: str, value: Any) -> str:
    """Show a value, but no credentials."""
    if SECRETS in name.split("."):
        return HIDDEN
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_defaults=True)
    text = repr(without_credentials(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _meant(key: str, section: type[BaseModel]) -> str:
    allowed = ", ".join(section.model_fields)
    close = difflib.get_close_matches(key, section.model_fields, n=1)
    return f"did you mean {close[0]}? (allowed: {allowed})" if close else f"allowed: {allowed}"


def _wanted(error: ErrorDetails) -> str:
    if error["type"] == "missing":
        return "a value, since there is no default"
    if error["type"] in TAGS:
        return _allowed_tags(error)
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return "keys with values"
    text = re.sub(r"^(Input should be|Value error,)\s*", "", error["msg"])
    allowed = re.findall(r"'([^']+)'", text) if error["type"] == "literal_error" else []
    close = difflib.get_close_matches(str(error["input"]), allowed, n=1)
    return f"{text} (did you mean {close[0]}?)" if close else WORDS.get(text, text)


def _allowed_tags(error: ErrorDetails) -> str:
    tags = error.get("ctx", {}).get("expected_tags")
    return f"one of {tags}" if tags else "what tells the meaning of the other keys"


def check_component(corruption: Corruption, n_components: int, key: str) -> None:
    """Refuse to strike at a component that mixtures of an order do not have."""
    try:
        corruption.check_order(n_components)
    except ValueError as error:
        raise unfitting(key, corruption.component, f"one that is there: {error}") from None
