"""Numbers as people read them."""

from __future__ import annotations

import math

THIN = "\u202f"  # a narrow space that does not break, between digits and what they count
MINUS = "\u2212"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number in few digits, without an exponent as long as it can be read.

    Examples
    --------
    >>> from dfmr_dask.show.html.numbers import number
    >>> number(1432.7), number(0.00123456), number(1.5e12), number(None), number(-2.0)
    ('1,433', '0.00123', '1.5e12', 'unknown', '−2')
    """
    if value is None or math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    size = abs(value)
    if size >= 1e7 or 0.0 < size < 1e-4:
        text = f"{value:.{digits}g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")
    elif size >= 10.0 ** (digits - 1):
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{digits}g}"
    return text.replace("-", MINUS)


def counted(n: int, what: str, many: str = "") -> str:
    """Return a number and what it counts.

    Examples
    --------
    >>> from dfmr_dask.show.html.numbers import counted
    >>> counted(1, "partition"), counted(12345, "row"), counted(2, "is", "are")
    ('1 partition', '12,345 rows', '2 are')
    """
    return f"{n:,} {what if n == 1 else many or what + 's'}"


def listed(words: list[str], most: int = 12) -> str:
    """Return words in a row, and how many more there are.

    Examples
    --------
    >>> from dfmr_dask.show.html.numbers import listed
    >>> listed(["a", "b", "c"]), listed(["a", "b", "c"], 1)
    ('a, b and c', 'a and 2 more')
    """
    if len(words) > most:
        return f"{', '.join(words[:most])} and {len(words) - most:,} more"
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def percent(share: float) -> str:
    """Return a share in percent.

    Examples
    --------
    >>> from dfmr_dask.show.html.numbers import percent
    >>> percent(0.0312), percent(1.0)
    ('3.1\u202f%', '100\u202f%')
    """
    value = 100.0 * share
    return f"{value:.0f}{THIN}%" if value >= 99.95 or value == 0.0 else f"{value:.1f}{THIN}%"


def duration(seconds: float) -> str:
    """Return how long something took.

    Examples
    --------
    >>> from dfmr_dask.show.html.numbers import duration
    >>> duration(0.42), duration(93.2), duration(7320)
    ('0.4 s', '1 min 33 s', '2 h 2 min')
    """
    if seconds < 60.0:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
