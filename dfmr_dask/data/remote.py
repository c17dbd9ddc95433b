"""Reads over a network: tried again where that may help, and told of without credentials."""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar

TRIES = 4
FIRST_PAUSE = 0.25  # seconds; each further one is twice as long
SHORTEST = 4  # letters; hiding shorter values would garble any text
HIDDEN = "(not written down)"
BUSY = frozenset({408, 425, 429})  # answers of HTTP that ask to come back, besides 5xx
UNSUPPORTED = frozenset({501, 505})  # 5xx that no patience changes
PASSING = frozenset(
    getattr(errno, name)
    for name in (
        "EBUSY",
        "ECONNABORTED",
        "ECONNREFUSED",
        "ECONNRESET",
        "EHOSTUNREACH",
        "EIO",
        "ENETDOWN",
        "ENETRESET",
        "ENETUNREACH",
        "EPIPE",
        "EREMOTEIO",
        "ETIMEDOUT",
    )
    if hasattr(errno, name)
)
# by name: aiohttp and botocore need not be installed
BROKEN = frozenset(
    {
        "ClientConnectionError",
        "ClientPayloadError",
        "HTTPClientError",
        "IncompleteRead",
        "IncompleteReadError",
        "ResponseParserError",
    }
)
Answer = TypeVar("Answer")


async def patiently(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Return what a read gives, asking up to four times while errors are such that may pass.

    Pauses between are 0.25, 0.5 and 1 seconds. What is not there or not allowed is not asked for
    again. Whatever the last try raises is raised.
    """
    for pause in (FIRST_PAUSE * 2**i for i in range(TRIES - 1)):
        try:
            return await ask()
        except Exception as error:
            if not may_pass(error):
                raise
        await asyncio.sleep(pause)
    return await ask()


def may_pass(error: BaseException) -> bool:
    """Tell whether an error may be gone a moment later: a lost connection, a busy server.

    Examples
    --------
    >>> from dfmr_dask.data.remote import may_pass
    >>> may_pass(ConnectionResetError()), may_pass(PermissionError()), may_pass(TimeoutError())
    (True, False, True)
    """
    if isinstance(error, FileNotFoundError | PermissionError):
        return False
    status = http_status(error)
    if status is not None:
        return status in BUSY or (status >= 500 and status not in UNSUPPORTED)
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, ConnectionError | TimeoutError | asyncio.TimeoutError) or names & BROKEN:
        return True
    if isinstance(error, OSError) and error.errno in PASSING:
        return True
    return error.__cause__ is not None and may_pass(error.__cause__)


def http_status(error: BaseException) -> int | None:
    """Return the status of an HTTP answer that was raised by aiohttp or botocore."""
    status = getattr(error, "status", None)
    if status is None:
        answer = getattr(error, "response", None)
        facts = answer.get("ResponseMetadata") if isinstance(answer, Mapping) else None
        status = facts.get("HTTPStatusCode") if isinstance(facts, Mapping) else None
    return status if isinstance(status, int) else None


def without_secrets(text: str) -> str:
    """Take user names and passwords, and the queries of signed URLs, out of a text."""
    return re.sub(r"(://[^?\s]*)\?[^\s'\"]*", r"\1", re.sub(r"://[^/\s]*@", "://", text))


def scrubbed(text: str, options: Mapping[str, Any] | None) -> str:
    """Return a text without the values of storage options, and without passwords in URLs.

    Examples
    --------
    >>> from dfmr_dask.data.remote import scrubbed
    >>> scrubbed("no access for hunter2", {"secret": "hunter2"})
    'no access for (not written down)'
    """
    for secret in sorted(set(_texts(options)), key=len, reverse=True):
        text = re.sub(re.escape(secret), HIDDEN, text)
    return without_secrets(text)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif value is not None and not isinstance(value, bool) and len(str(value)) >= SHORTEST:
        yield str(value)
