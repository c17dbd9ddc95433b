"""From the bytes of a file to what a site or the hub says in it, or to the reason why not."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.questions import MOST_ROWS, Improve, Improved, Score, Scores
from dfmr_dask.data.archive import LIMIT, unpacked
from dfmr_dask.errors import DfmrError, InvalidExchange, InvalidMessage
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.parties.exchange import Exchange, exchange_of
from dfmr_dask.parties.letters import (
    COUNTS,
    FACTS,
    FORMAT,
    Answer,
    Ballot,
    History,
    Letter,
    LocalFit,
    Proposal,
    Start,
    sha256,
)
from dfmr_dask.parties.naming import SITE

LONGEST_REASON = 300  # characters: a file must not be able to fill the reports with what it says
MOST_CANDIDATES, MOST_ROUNDS = 64, 64
Header = Mapping[str, Any]
Arrays = Mapping[str, NDArray[np.float64]]
BROKEN = (ValueError, TypeError, KeyError, IndexError, OverflowError, ArithmeticError)


def read_bytes(path: Path, room: int = LIMIT) -> bytes:
    """Read a plain file, never through a link and never more of it than its limit.

    ``room`` is how many bytes its folder may still have.

    Raises
    ------
    InvalidMessage
        When it is a link, no plain file, or too large; then it is not read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise InvalidMessage(f"it cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as stream:
        about = os.fstat(stream.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise InvalidMessage("it is no plain file")
        if about.st_size > LIMIT:
            raise InvalidMessage(f"it is larger than {LIMIT} bytes; refused unread")
        if about.st_size > room:
            raise InvalidMessage(
                "the files in this folder are too large together, and it is among the largest; "
                "refused unread"
            )
        data = stream.read(about.st_size + 1)
    if len(data) > about.st_size:
        raise InvalidMessage("it grew while it was read; wanted a file that is whole")
    return data


def opened(data: bytes) -> Letter:
    """Return what the bytes of a file say.

    Raises
    ------
    InvalidMessage
        When they are no file of an exchange, or what they say contradicts itself.
    """
    try:
        # What we write is not compressed: what inflates to more than it weighs is not ours.
        header, arrays = unpacked(data, min(len(data), LIMIT))
        what = header.get("what")
        if not isinstance(what, str) or what not in KINDS or header.get("format") != FORMAT:
            raise InvalidMessage(
                f"it holds a {what!r:.40} in format {header.get('format')!r:.40}; wanted one of "
                f"{', '.join(KINDS)} in format {FORMAT}"
            )
        keys, build = KINDS[what]
        wanted = {"what", "format", "exchange", *keys}
        if set(header) != wanted:
            raise InvalidMessage(f"its header has {sorted(header)!r}; wanted {sorted(wanted)}")
        return build(exchange_of(header["exchange"]), header, arrays)
    except (DfmrError, *BROKEN) as error:
        raise InvalidMessage(f"{error!s:.{LONGEST_REASON}}") from error


def read_letter(path: Path, kind: type[Ballot] | type[Start]) -> tuple[Any, str]:
    """Read a file of the hub's, a ballot or the start, and return it with its SHA-256.

    Raises
    ------
    InvalidExchange
        When it holds anything else.
    """
    try:
        data = read_bytes(path)
        letter = opened(data)
    except InvalidMessage as error:
        raise InvalidExchange(f"{path} is no file of an exchange: {error}") from error
    if not isinstance(letter, kind):
        said, wanted = type(letter).__name__, kind.__name__
        raise InvalidExchange(f"{path} holds a {said.lower()}; wanted a {wanted.lower()}")
    return letter, sha256(data)


def _proposal(exchange: Exchange, header: Header, arrays: Arrays) -> Proposal:
    (mixture,) = _mixtures(exchange, arrays, 1)
    return Proposal(exchange, _site(header), mixture, _count(header, "rows", least=1))


def _scores(exchange: Exchange, header: Header, arrays: Arrays) -> Answer:
    values = arrays.get("scores", np.empty(0))
    if len(arrays) != 1 or values.ndim != 1 or not 0 < len(values) <= MOST_CANDIDATES:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise InvalidMessage(f"its arrays have shapes {shapes}; wanted one of scores")
    if np.isnan(values).any() or np.isposinf(values).any():
        raise InvalidMessage("its scores hold NaN or infinite praise")
    mass = header["mass"]
    counts = {name: _count(header, name) for name in COUNTS}
    value = Scores(values, mass=None if mass is None else float(mass), **counts)
    return Answer(exchange, _site(header), *_about(header), value)


def _improved(exchange: Exchange, header: Header, arrays: Arrays) -> Answer:
    present = header["present"]
    if not isinstance(present, list) or not all(isinstance(one, bool) for one in present):
        raise InvalidMessage("present is no list of true and false")
    made = iter(_mixtures(exchange, arrays, sum(present)))
    mixtures = tuple(next(made) if there else None for there in present)
    value = Improved(mixtures, _count(header, "rows", least=1))
    return Answer(exchange, _site(header), *_about(header), value)


def _fit(exchange: Exchange, header: Header, arrays: Arrays) -> LocalFit:
    facts = header["facts"]
    if not isinstance(facts, dict) or set(facts) != set(FACTS):
        raise InvalidMessage(f"its facts are {facts!r:.80}; wanted {FACTS}")
    (mixture,) = _mixtures(exchange, arrays, 1)
    told = {name: facts[name] for name in FACTS if name != "log_likelihood"}
    likelihood = facts["log_likelihood"]
    _count(facts, "rows", least=1)
    message = Message(
        0, "fitted", mixture=mixture, **told,
        log_likelihood=float("nan") if likelihood is None else float(likelihood),
    )  # fmt: skip
    if message.mass is not None and not exchange.weighted:
        raise InvalidMessage(f"it claims a weight of {message.mass!r:.40}, where rows have none")
    return LocalFit(exchange, _site(header), _digest(header["begun"]), message)


def _ballot(exchange: Exchange, header: Header, arrays: Arrays) -> Ballot:
    sites, asked, rounds = _sites(header), header["asked"], header["rounds"]
    if not _numbers(asked) or not all(0 <= i < len(sites) for i in asked):
        raise InvalidMessage(f"asked are {asked!r:.80}; wanted numbers of its {len(sites)} sites")
    count = len(arrays.get("weights", ()))
    candidates, key = _mixtures(exchange, arrays, count), str(header["key"])
    question: Score | Improve = Score(asked, candidates, key)
    if rounds is not None:
        together, times = (_count(rounds, name, least=1) for name in ("together", "iterations"))
        question = Improve(asked, candidates, together, min(times, MOST_ROUNDS), key)
    return Ballot(exchange, str(header["label"]), question, sites, _history(header))


def _start(exchange: Exchange, header: Header, arrays: Arrays) -> Start:
    (mixture,) = _mixtures(exchange, arrays, 1)
    total, together = (_count(header, f"{name}_rows", least=1) for name in ("total", "sample"))
    return Start(exchange, mixture, total, together, _sites(header), _history(header))


def _mixtures(exchange: Exchange, arrays: Arrays, count: int) -> list[Mixture]:
    """Take stacked mixtures apart, each of the family, order and features of the exchange."""
    if count > MOST_CANDIDATES:
        raise InvalidMessage(f"it has {count} mixtures; wanted {MOST_CANDIDATES} at most")
    if any(array.ndim < 1 or len(array) != count for array in arrays.values()):
        shapes = {name: array.shape for name, array in arrays.items()}
        raise InvalidMessage(f"its arrays have shapes {shapes}; wanted {count} mixtures")
    if not count:
        return []
    if "weights" not in arrays:
        raise InvalidMessage(f"its arrays are {sorted(arrays)}; wanted weights and parameters")
    terms, out = exchange.terms(1), []
    for i in range(count):
        params = {name: array[i] for name, array in arrays.items() if name != "weights"}
        mixture = Mixture(terms.family, arrays["weights"][i], params)
        if not terms.fit(mixture) or set(mixture.params) != set(params):
            raise InvalidMessage(
                f"its mixture has {mixture.n_components} components of {mixture.n_features} "
                f"features; wanted {terms.n_components} of {terms.n_features}"
            )
        out.append(mixture)
    return out


def _site(header: Header) -> str:
    site = header["site"]
    if not isinstance(site, str) or not SITE.fullmatch(site):
        raise InvalidMessage(f"it is signed by {site!r:.80}, which is no name of a site")
    return site


def _about(header: Header) -> tuple[str, str]:
    of = header["of"]
    if not isinstance(of, str) or not SITE.fullmatch(of):
        raise InvalidMessage(f"it answers {of!r:.80}, which is no name of a ballot")
    return of, _digest(header["ballot"])


def _digest(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise InvalidMessage(f"{value!r:.80} is no SHA-256")
    return value


def _sites(header: Header) -> tuple[str, ...]:
    sites = header["sites"]
    if not isinstance(sites, list) or not all(
        isinstance(one, str) and SITE.fullmatch(one) for one in sites
    ):
        raise InvalidMessage(f"sites are {sites!r:.80}; wanted a list of their names")
    if any(one >= other for one, other in pairwise(sites)):
        raise InvalidMessage("its sites are not sorted, or one is there twice")
    return tuple(sites)


def _history(header: Header) -> History:
    rounds = header["history"]
    if not isinstance(rounds, list) or len(rounds) > MOST_ROUNDS:
        raise InvalidMessage("its history is no list of rounds")
    return tuple({str(site): _digest(one) for site, one in heard.items()} for heard in rounds)


def _count(told: Header, name: str, least: int = 0) -> int:
    value = told[name]
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < MOST_ROWS:
        raise InvalidMessage(f"{name} is {value!r:.40}; wanted a whole number, at least {least}")
    return value


def _numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(one) is int for one in values)


Build = Callable[[Exchange, Header, Arrays], Letter]
KINDS: Mapping[str, tuple[tuple[str, ...], Build]] = {
    "proposal": (("site", "rows"), _proposal),
    "scores": (("site", "of", "ballot", *COUNTS, "mass"), _scores),
    "improved": (("site", "of", "ballot", "rows", "present"), _improved),
    "fit": (("site", "begun", "facts"), _fit),
    "ballot": (("label", "asked", "key", "sites", "history", "rounds"), _ballot),
    "start": (("total_rows", "sample_rows", "sites", "history"), _start),
}
