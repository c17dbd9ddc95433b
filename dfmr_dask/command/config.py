"""A run's settings: YAML with a schema, where an unknown or misspelt key is an error.

Paths are relative to the current directory. Every error names the key, what came, and what is
allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dfmr_dask.command.complaints import complaints
from dfmr_dask.command.schema import RunConfig
from dfmr_dask.errors import InvalidConfiguration


def read_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration file and lay overrides ``key=value`` over it.

    Parameters
    ----------
    path : Path
    overrides : sequence of str
        Dotted keys and YAML values: ``mixture.n_components=5``, ``source.features=[a, b]``.

    Raises
    ------
    InvalidConfiguration
        When the file is missing, no YAML, or says something that the schema does not know.
    """
    return configuration(read_values(path, overrides, "source: {path: ...}"))


def read_values(path: Path, overrides: Sequence[str], example: str) -> dict[str, Any]:
    """Read a YAML file of sections, and lay overrides ``key=value`` over it; nothing is checked.

    Parameters
    ----------
    path : Path
    overrides : sequence of str
    example : str
        A section, to show what is wanted.
    """
    try:
        values: Any = _parsed(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfiguration(f"cannot read the configuration {path}: {error}") from error
    if not isinstance(values, dict):
        raise InvalidConfiguration(f"{path}: wanted sections with keys, such as {example}")
    for override in overrides:
        values = _overridden(values, override)
    return dict(values)


def configuration(values: Mapping[str, Any]) -> RunConfig:
    """Validate settings that are plain values.

    Raises
    ------
    InvalidConfiguration
        One line for each key that is wrong: its dotted name, what came, what is allowed.

    Examples
    --------
    >>> from dfmr_dask.command.config import configuration
    >>> try:
    ...     configuration({"source": {"path": "a.zarr"}, "mixture": {"n_component": 3},
    ...                    "run": {"folder": "runs/a"}})
    ... except ValueError as error:
    ...     print(str(error).split(" (")[0])
    mixture.n_component: unknown key; did you mean n_components?
    """
    try:
        return RunConfig.model_validate(dict(values))
    except ValidationError as error:
        raise InvalidConfiguration("\n".join(complaints(RunConfig, error.errors()))) from None


def settings_of(config: RunConfig) -> dict[str, Any]:
    """Return the settings with all defaults spelled out, as values for JSON."""
    return config.model_dump(mode="json")


class _Loader(yaml.SafeLoader):
    """Plain values only; 1e-6 is a number (YAML 1.1 reads a text), a key comes once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that comes twice: the first value would be lost without a word."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} comes twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep=deep)


_NUMBER = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))


def _parsed(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise InvalidConfiguration(f"{where} is no YAML: {_problem(error)}") from None


def _problem(error: yaml.YAMLError) -> str:
    """Say what is wrong and where, without the line itself, which may hold a password."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return str(error)
    mark = error.problem_mark
    told = ", ".join(text for text in (error.context, error.problem) if text)
    return f"{told} (line {mark.line + 1}, column {mark.column + 1})"


def pairs(options: Sequence[str], name: str) -> dict[str, Any]:
    """Read ``KEY=VALUE`` pairs of the command line; values are YAML.

    Raises
    ------
    InvalidConfiguration
        When one is no such pair; the text names its key and not its value.
    """
    out = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals or not key:
            raise InvalidConfiguration(f"{name} {key}: wanted KEY=VALUE, as in {name} anon=true")
        out[key] = _parsed(text, f"the value of {name} {key}")
    return out


def _overridden(values: dict[str, Any], override: str) -> dict[str, Any]:
    """Return settings with one ``key=value`` laid over them."""
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise InvalidConfiguration(f"--set {key}: wanted key=value, as in mixture.tol=1e-4")
    return _replaced(values, key.split("."), _parsed(text, f"the value of --set {key}"), key)


def _replaced(values: Any, keys: list[str], value: Any, name: str) -> dict[str, Any]:
    if values is not None and not isinstance(values, dict):
        raise InvalidConfiguration(
            f"--set {name}: a value stands in the configuration where keys were wanted"
        )
    inner = (values or {}).get(keys[0])
    changed = _replaced(inner, keys[1:], value, name) if len(keys) > 1 else value
    return {**(values or {}), keys[0]: changed}
