"""Bytes of ``.npz`` files, packed and taken apart without trust in what they claim."""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import InvalidMessage

LIMIT = 64 << 20  # bytes, of the file and of all that it inflates to
HEADER_LIMIT = 1 << 20  # bytes of JSON, which takes up to 25 times as many once it is parsed
ENTRIES = 32
HEADER = "header"
FLOAT = np.dtype("<f8")
BYTE = np.dtype("u1")
FIRST_DATE = (1980, 1, 1, 0, 0, 0)  # the same values make the same bytes
ENCRYPTED = 1


def packed(header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.float64]]) -> bytes:
    """Return the bytes of an ``.npz`` file with a JSON header and float64 arrays."""
    text = json.dumps(header, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    entries = {HEADER: np.frombuffer(text, BYTE), **arrays}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in entries.items():
            one = io.BytesIO()
            exact = array if name == HEADER else np.asarray(array, FLOAT)
            np.lib.format.write_array(one, np.ascontiguousarray(exact), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", FIRST_DATE), one.getvalue())
    return buffer.getvalue()


def unpacked(
    data: bytes, limit: int = LIMIT
) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
    """Return header and arrays of what :func:`packed` made.

    Raises
    ------
    InvalidMessage
        When it is anything else, or would inflate to more than ``limit`` bytes.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check(archive.infolist(), limit)
            entries = {info.filename: archive.read(info) for info in archive.infolist()}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
        raise InvalidMessage(f"it is no .npz file: {error}") from error
    except (OSError, RuntimeError, ValueError, zlib.error) as error:
        if isinstance(error, InvalidMessage):
            raise
        raise InvalidMessage(f"it cannot be unpacked: {error}") from error
    if f"{HEADER}.npy" not in entries:
        raise InvalidMessage(f"it has no {HEADER}.npy; found {', '.join(entries) or 'nothing'}")
    text = _array(HEADER, entries.pop(f"{HEADER}.npy"), BYTE).tobytes()
    if len(text) > HEADER_LIMIT:
        raise InvalidMessage(f"its header has {len(text)} bytes; up to {HEADER_LIMIT} are read")
    header = parsed_json(text)
    if not isinstance(header, dict):
        raise InvalidMessage("its header is no JSON object")
    arrays = {name.removesuffix(".npy"): _array(name, raw, FLOAT) for name, raw in entries.items()}
    return header, arrays


def _check(infos: list[zipfile.ZipInfo], limit: int) -> None:
    """Refuse what the directory of an archive tells already, before a byte is inflated."""
    names = [info.filename for info in infos]
    if len(infos) > ENTRIES or len(set(names)) < len(names):
        raise InvalidMessage(f"it has {len(infos)} entries; wanted up to {ENTRIES}, each once")
    total = 0
    for info in infos:
        total += info.file_size
        stem = info.filename.removesuffix(".npy")
        if not (info.filename.endswith(".npy") and stem.isidentifier()):
            raise InvalidMessage(f"its entry {info.filename!r:.80} is no name of an array")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InvalidMessage(f"its entry {info.filename} is packed by an unknown method")
        if info.flag_bits & ENCRYPTED:
            raise InvalidMessage(f"its entry {info.filename} is encrypted")
        if total > limit:
            raise InvalidMessage(f"it would inflate to more than {limit} bytes")


def _array(name: str, raw: bytes, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Parse an array; sizes are checked before memory is taken for it."""
    stream = io.BytesIO(raw)
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise InvalidMessage(f"the array {name} has format {version}; wanted (1, 0)")
        shape, fortran, found = np.lib.format.read_array_header_1_0(stream)
    except InvalidMessage:
        raise
    except Exception as error:  # a forged header can fail in any way
        raise InvalidMessage(f"{name} is no array: {error}") from error
    body = raw[stream.tell() :]
    if found != dtype or fortran:
        raise InvalidMessage(f"the array {name} holds {found}; wanted {dtype} in C order")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(body):
        raise InvalidMessage(f"the array {name} of shape {shape} has {len(body)} bytes")
    return np.frombuffer(body, dtype).reshape(shape)


def parsed_json(data: bytes) -> Any:
    """Parse JSON as the standard has it: no NaN, no key twice, no endless nesting.

    Raises
    ------
    InvalidMessage
    """
    try:
        return json.loads(data.decode(), parse_constant=_refuse, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(f"it is no JSON: {error}") from error


def _refuse(text: str) -> Any:
    raise InvalidMessage(f"{text} is no number in JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise InvalidMessage("a key stands twice in a JSON object")
    return dict(pairs)
