"""Which codecs are trusted with the bytes of a foreign store: those that make numbers of numbers.

A codec of Python objects can run code or ask for any amount of memory when it decodes a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dfmr_dask.errors import InvalidSource

NUMBERS = frozenset(
    {
        *("bytes", "transpose", "sharding_indexed"),
        *("blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd", "pcodec", "zfpy"),
        *("adler32", "crc32", "crc32c", "fletcher32", "jenkins_lookup3"),
        *("astype", "bitround", "delta", "fixedscaleoffset", "packbits", "quantize", "shuffle"),
    }
)
TEXT = frozenset({"vlen-utf8", "vlen-bytes", "string"})  # for labels, never for rows
INDICES = (["bytes"], ["bytes", "crc32c"])  # of shards


def check_codecs(metadata: Any, what: str) -> None:
    """Refuse an array whose chunks are not decoded by codecs of numbers.

    Parameters
    ----------
    metadata : zarr ArrayV2Metadata or ArrayV3Metadata
    what : str
        What to call the array.

    Raises
    ------
    InvalidSource
    """
    plain = metadata.to_dict()
    strange = sorted(set(_names(plain)) - NUMBERS)
    if strange:
        raise InvalidSource(
            f"{what} is stored with {', '.join(strange)}, which is not among the codecs that are "
            f"read: {', '.join(sorted(NUMBERS))}. Write it anew with one of them"
        )
    _check_sharding(plain, what)


def unsafe(metadata: Any) -> bool:
    """Tell whether decoding an array might run code: neither numbers nor plain text."""
    return bool(set(_names(metadata.to_dict())) - NUMBERS - TEXT)


def _names(plain: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of all codecs, those inside shards among them."""
    for one in (*(plain.get("filters") or ()), plain.get("compressor")):
        if one is not None:
            yield _name(one.get("id") if isinstance(one, Mapping) else getattr(one, "codec_id", ""))
    for codec in plain.get("codecs") or ():
        yield _name(codec.get("name"))
        inside = codec.get("configuration") or {}
        for key in ("codecs", "index_codecs"):
            yield from _names({"codecs": inside.get(key)})


def _name(name: Any) -> str:
    return str(name).removeprefix("numcodecs.")


def _check_sharding(plain: Mapping[str, Any], what: str) -> None:
    """Refuse shards whose indices cannot be looked into."""
    codecs = [codec for codec in plain.get("codecs") or () if codec["name"] == "sharding_indexed"]
    for codec in codecs:
        inside = codec["configuration"]
        index = list(inside.get("index_codecs") or ())
        strange = [one["name"] for one in index] not in INDICES or _big_endian(index[0])
        nested = any(one["name"] == "sharding_indexed" for one in inside.get("codecs") or ())
        if nested or strange or len(plain["codecs"]) > 1:
            raise InvalidSource(
                f"{what} has shards inside shards, codecs around its shards, or an index of its "
                "shards that is not in little-endian bytes; write it anew without them"
            )


def _big_endian(codec: Mapping[str, Any]) -> bool:
    return (codec.get("configuration") or {}).get("endian") == "big"
