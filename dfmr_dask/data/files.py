"""Plain arrays on disk ↔ values: untrusted bytes are parsed or refused, never unpickled.

A mixture is one ``.npz`` file: a JSON header as bytes, and float64 arrays; so are messages, see
``messages.py``. Sizes are checked before anything is inflated, and every file appears whole or not
at all.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.data.archive import LIMIT, packed, parsed_json, unpacked
from dfmr_dask.errors import DfmrError, InvalidMessage, InvalidMixture
from dfmr_dask.families import family_named
from dfmr_dask.mixture import Mixture, described

FilePath = str | os.PathLike[str]
FORMAT = 1
LONGEST_REASON = 1000  # characters
BROKEN = (ValueError, TypeError, KeyError, IndexError, OverflowError, StopIteration)


def write_mixture(path: FilePath, mixture: Mixture, **facts: Any) -> None:
    """Write a mixture, and facts about it as JSON, into an ``.npz`` file.

    Parameters
    ----------
    path : path
        Its folder must exist; a file that is there already is replaced.
    mixture : Mixture
    **facts
        Plain values: names of features, their units, ...

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np
    >>> from dfmr_dask.data.files import read_facts, read_mixture, write_mixture
    >>> from dfmr_dask.families import Gaussian
    >>> from dfmr_dask.mixture import Mixture
    >>> mixture = Mixture(Gaussian(), [1.0], {"means": [[0.0]], "covariances": [[[1.0]]]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.npz")
    ...     write_mixture(path, mixture, features=["temp"])
    ...     read_mixture(path).n_components, read_facts(path)
    (1, {'features': ['temp']})
    """
    header = {
        "what": "mixture",
        "format": FORMAT,
        "mixture": plain_description(mixture),
        "facts": facts,
    }
    write_bytes(path, packed(plain(header), arrays_of(mixture)))


def read_mixture(path: FilePath) -> Mixture:
    """Read what :func:`write_mixture` wrote, the same bits.

    Raises
    ------
    InvalidMixture
        When the file holds anything else.
    """
    try:
        header, arrays = read_plain(path, "mixture", ("mixture", "facts"))
        return mixture_of(header["mixture"], arrays)
    except (DfmrError, *BROKEN) as error:
        raise InvalidMixture(f"{path} is no file of a mixture: {short(error)}") from error


def read_facts(path: FilePath) -> dict[str, Any]:
    """Read the facts that were written with a mixture.

    Raises
    ------
    InvalidMixture
        When the file holds anything else.
    """
    try:
        facts = read_plain(path, "mixture", ("mixture", "facts"))[0]["facts"]
        return dict(mapping(facts, "facts"))
    except (DfmrError, *BROKEN) as error:
        raise InvalidMixture(f"{path} is no file of a mixture: {short(error)}") from error


def plain_description(mixture: Mixture) -> dict[str, Any]:
    """Return family, options and names of parameters as a header tells them."""
    return {**described(mixture), "params": sorted(mixture.params)}


def arrays_of(mixture: Mixture) -> dict[str, NDArray[np.float64]]:
    """Return weights and parameters as the arrays of a file."""
    return {"weights": mixture.weights, **mixture.params}


def read_plain(
    path: FilePath, what: str, keys: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
    """Read header and arrays of a file, and refuse one that is of another kind or format.

    Raises
    ------
    InvalidMessage
    """
    header, arrays = unpacked(_bytes_of(path, LIMIT))
    wanted = {"what", "format", *keys}
    if set(header) != wanted:
        raise InvalidMessage(f"the header has {sorted(header)}; wanted {sorted(wanted)}")
    if header["what"] != what or header["format"] != FORMAT:
        raise InvalidMessage(
            f"it holds a {header['what']!r} in format {header['format']!r}; wanted a {what!r} in "
            f"format {FORMAT}"
        )
    return header, arrays


def mixture_of(about: Any, arrays: dict[str, NDArray[np.float64]]) -> Mixture:
    """Rebuild a mixture from what a header says of it and its arrays.

    Raises
    ------
    InvalidMessage, InvalidMixture
        When they do not make one.
    """
    told = mapping(about, "mixture")
    if set(told) != {"family", "options", "params"}:
        raise InvalidMixture(f"the mixture is described by {sorted(told)}")
    options = mapping(told["options"], "options")
    if not _is_plain(options):
        raise InvalidMixture(f"options of the family are {options!r:.200}; wanted plain values")
    names = told["params"]
    if not isinstance(names, list) or {"weights", *names} != set(arrays):
        raise InvalidMixture(f"arrays {sorted(arrays)}; the header tells of weights and {names!r}")
    family = family_named(str(told["family"]), options)
    params = {name: arrays[name] for name in names}
    mixture = Mixture(family, arrays["weights"], params)
    if set(mixture.params) != set(params):
        raise InvalidMixture(f"parameters {sorted(params)}; wanted {sorted(mixture.params)}")
    return mixture


def _is_plain(value: Any, depth: int = 6) -> bool:
    """Tell whether a value is made of numbers, text, lists and mappings, and not too deep."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain(one, depth - 1) for one in inner)
    return isinstance(value, bool | int | float | str)


def short(error: Exception) -> str:
    """Return what is wrong; a file must not be able to fill the reports with what it says."""
    return f"{error!s:.{LONGEST_REASON}}"


def mapping(value: Any, name: str) -> dict[str, Any]:
    """Return a value that must be a mapping, or raise InvalidMessage."""
    if not isinstance(value, dict):
        raise InvalidMessage(f"{name} is {value!r:.80}; wanted a mapping")
    return value


def _bytes_of(path: FilePath, limit: int) -> bytes:
    file = Path(path)
    if not file.is_file():
        raise InvalidMessage("there is no such file")
    with file.open("rb") as stream:
        # What is asked for is what memory is taken for; a file may grow while it is read.
        size = os.fstat(stream.fileno()).st_size
        data = stream.read(min(size, limit) + 1)
    if len(data) > limit:
        raise InvalidMessage(f"the file is larger than {limit} bytes; refused unread")
    return data


def write_bytes(path: FilePath, data: bytes) -> None:
    """Write a file that is whole or not there, whatever happens while it is written.

    A temporary file in the same folder is flushed to the disk, then renamed.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(target.parent)


def flush_folder(folder: Path) -> None:
    """Make a rename survive a power cut, on systems where folders can be flushed."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: FilePath, value: Any) -> None:
    """Write plain values as JSON: NaN and infinity as null, NumPy numbers as numbers."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def read_json(path: FilePath, limit: int = LIMIT) -> Any:
    """Read a JSON file of at most ``limit`` bytes.

    Raises
    ------
    InvalidMessage
        When there is no such file, it is larger, or no JSON.
    """
    try:
        return parsed_json(_bytes_of(path, limit))
    except InvalidMessage as error:
        raise InvalidMessage(f"{path} cannot be read as JSON: {short(error)}") from error


def plain(value: Any) -> Any:
    """Return a value made of what JSON knows.

    Raises
    ------
    TypeError
        When there is no plain form of it.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.data.files import plain
    >>> plain({"rows": np.int64(3), "score": float("nan"), "shape": (1, 2)})
    {'rows': 3, 'score': None, 'shape': [1, 2]}
    """
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(f"{type(value).__name__} has no plain form for JSON")
