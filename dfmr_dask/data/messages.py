"""Messages on disk: what the partitions of one task said is one ``.npz`` file.

The header holds what they say in words and counts; the parameters of all estimates in the file are
stacked, so that a file of many small messages stays small and is read at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.data.archive import packed
from dfmr_dask.data.files import (
    BROKEN,
    FORMAT,
    FilePath,
    arrays_of,
    mapping,
    mixture_of,
    plain,
    plain_description,
    read_plain,
    short,
    write_bytes,
)
from dfmr_dask.errors import DfmrError, InvalidMessage
from dfmr_dask.message import Message

FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "partition": int,
    "status": str,
    "rows": int,
    "dropped_rows": int,
    "reason": str,
    "n_iter": int,
    "converged": bool,
    "log_likelihood": (float, int, type(None)),
    "start": str,
    "seconds": (float, int, type(None)),
    "schema": int,
}
OPTIONAL: Mapping[str, type | tuple[type, ...]] = {  # left out where None
    "mass": (float, int),
    "observed": (float, int),
}
KEYS = ("messages", "mixture")
Arrays = dict[str, NDArray[np.float64]]


def write_messages(path: FilePath, messages: Sequence[Message]) -> None:
    """Write what one or more partitions say into an ``.npz`` file.

    Raises
    ------
    ValueError
        When their estimates are of different families or shapes.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from dfmr_dask.data.messages import read_messages, write_messages
    >>> from dfmr_dask.message import Message
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "2.npz")
    ...     write_messages(path, [Message.failed(2, "chunk 2.0 is missing")])
    ...     [message.reason for message in read_messages(path)]
    ['chunk 2.0 is missing']
    """
    mixtures = [message.mixture for message in messages if message.mixture is not None]
    described = [plain_description(mixture) for mixture in mixtures]
    if any(one != described[0] for one in described):
        raise ValueError("estimates of different families cannot be written into one file")
    each = [arrays_of(mixture) for mixture in mixtures]
    header = {
        "what": "messages",
        "format": FORMAT,
        "messages": [_told(message) for message in messages],
        "mixture": described[0] if described else None,
    }
    stacked = {name: np.stack([one[name] for one in each]) for name in (each[0] if each else ())}
    write_bytes(path, packed(plain(header), stacked))


def read_messages(path: FilePath) -> tuple[Message, ...]:
    """Read what :func:`write_messages` wrote, the same bits.

    Raises
    ------
    InvalidMessage
        When the file holds anything else.
    """
    try:
        header, arrays = read_plain(path, "messages", KEYS)
        told = header["messages"]
        if not isinstance(told, list):
            raise InvalidMessage(f"messages is {told!r:.80}; wanted a list")
        fields = [_fields(one) for one in told]
        estimates = _estimates(header["mixture"], arrays, sum(map(_is_fitted, fields)))
        return tuple(
            Message(mixture=next(estimates) if _is_fitted(one) else None, **one) for one in fields
        )
    except (DfmrError, *BROKEN) as error:
        raise InvalidMessage(f"{path} is no file of messages: {short(error)}") from error


def read_folder(folder: Path, *, strict: bool = False) -> list[tuple[Path, tuple[Message, ...]]]:
    """Read all files of messages in a folder, in the order of their names.

    Parameters
    ----------
    folder : Path
    strict : bool
        Raise where a file holds anything else; otherwise nothing is taken from it.

    Raises
    ------
    InvalidMessage
    """
    found: list[tuple[Path, tuple[Message, ...]]] = []
    for path in sorted(folder.glob("*.npz")):
        try:
            found.append((path, read_messages(path)))
        except InvalidMessage:
            if strict:
                raise
            found.append((path, ()))
    return found


def write_message(path: FilePath, message: Message) -> None:
    """Write what one partition says into an ``.npz`` file."""
    write_messages(path, [message])


def read_message(path: FilePath) -> Message:
    """Read the one message of a file, the same bits.

    Raises
    ------
    InvalidMessage
        When the file holds anything else.
    """
    found = read_messages(path)
    if len(found) != 1:
        raise InvalidMessage(f"{path} holds {len(found)} messages; wanted one")
    return found[0]


def _told(message: Message) -> dict[str, Any]:
    told = {name: getattr(message, name) for name in FIELDS}
    optional = {name: getattr(message, name) for name in OPTIONAL}
    return told | {name: value for name, value in optional.items() if value is not None}


def _is_fitted(fields: Mapping[str, Any]) -> bool:
    return bool(fields["status"] == "fitted")


def _estimates(described: Any, arrays: Arrays, fitted: int) -> Any:
    """Yield the estimates of a file, as many as its messages say that there are."""
    if described is None and arrays:
        raise InvalidMessage(f"arrays without a mixture: {', '.join(sorted(arrays))}")
    if any(array.ndim == 0 or len(array) != fitted for array in arrays.values()):
        raise InvalidMessage(f"arrays that are not those of {fitted} estimates")
    if fitted and not arrays:
        raise InvalidMessage(f"no arrays for {fitted} estimates")
    return (
        mixture_of(described, {name: array[i] for name, array in arrays.items()})
        for i in range(fitted)
    )


def _fields(about: Any) -> dict[str, Any]:
    fields = dict(mapping(about, "message"))
    if set(fields) - set(OPTIONAL) != set(FIELDS):
        raise InvalidMessage(f"the message has fields {sorted(fields)}; wanted {sorted(FIELDS)}")
    for name, kind in {**FIELDS, **OPTIONAL}.items():
        value = fields.get(name)
        if value is None and name in OPTIONAL and name not in fields:
            continue
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InvalidMessage(f"{name} is {value!r:.80}; wanted a value of another kind")
    for name in ("log_likelihood", "seconds"):
        fields[name] = float("nan") if fields[name] is None else float(fields[name])
    return fields
