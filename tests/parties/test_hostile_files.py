"""Whatever a party puts into the inbox is rejected with its reason, and the rest goes on."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfmr_dask.data.archive import packed, unpacked
from dfmr_dask.errors import InvalidMessage
from dfmr_dask.parties import Answer, Ballot, LocalFit, Proposal, Start, aggregate, agree
from dfmr_dask.parties.inbox import read_inbox
from dfmr_dask.parties.opening import opened
from tests.parties.test_exchange import copied

Write = Callable[[Path, bytes], None]
NAMES = {"proposal": "G.npz", "scores": "G-1.npz", "fit": "G-fit.npz"}


class Exploding:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (os.environ["DFMR_MARK"],))


def changed(**fields: Any) -> Write:
    """The same file with other entries in its header."""

    def write(path: Path, honest: bytes) -> None:
        header, arrays = unpacked(honest)
        path.write_bytes(packed({**header, **fields}, arrays))

    return write


def exchange(**fields: Any) -> Write:
    """The same file with other entries in what all sites must have in common."""

    def write(path: Path, honest: bytes) -> None:
        header, arrays = unpacked(honest)
        told = {**header["exchange"], **fields}
        path.write_bytes(packed({**header, "exchange": told}, arrays))

    return write


def arrays(change: Callable[[dict[str, np.ndarray]], dict[str, Any]]) -> Write:
    """The same header with other arrays."""

    def write(path: Path, honest: bytes) -> None:
        header, found = unpacked(honest)
        path.write_bytes(packed(header, change(found)))

    return write


def nan(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.full_like(array, np.nan) for name, array in found.items()}


def archive(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as out:
        for name, data in entries.items():
            out.writestr(name, data)
    return buffer.getvalue()


def npy(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, allow_pickle=allow_pickle)
    return out.getvalue()


def bomb(path: Path, honest: bytes) -> None:
    path.write_bytes(archive({"header.npy": b"\0" * (65 << 20)}, zipfile.ZIP_DEFLATED))


def pickled(path: Path, honest: bytes) -> None:
    lie = np.array([Exploding()], dtype=object)
    path.write_bytes(archive({"header.npy": npy(lie, allow_pickle=True)}))


def bare_pickle(path: Path, honest: bytes) -> None:
    path.write_bytes(pickle.dumps(Exploding()))


def compressed(path: Path, honest: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(honest)) as whole:
        entries = {name: whole.read(name) for name in whole.namelist()}
    padded = {**entries, "padding.npy": npy(np.zeros(10_000))}
    path.write_bytes(archive(padded, zipfile.ZIP_DEFLATED))


def huge_header(path: Path, honest: bytes) -> None:
    text = json.dumps({"what": "proposal", "padding": "x" * (2 << 20)}).encode()
    path.write_bytes(archive({"header.npy": npy(np.frombuffer(text, np.uint8))}))


def huge(path: Path, honest: bytes) -> None:
    with path.open("wb") as out:
        out.truncate(65 << 20)


def leading_out(path: Path, honest: bytes) -> None:
    path.write_bytes(archive({"../../header.npy": npy(np.zeros(1))}))


def linked(path: Path, honest: bytes) -> None:
    other = path.parents[1] / "elsewhere.npz"
    other.write_bytes(honest)
    path.symlink_to(other)


def folder(path: Path, honest: bytes) -> None:
    path.mkdir()
    (path / "G.npz").write_bytes(honest)


def pipe(path: Path, honest: bytes) -> None:
    os.mkfifo(path)


ANYWHERE: dict[str, tuple[Write, str]] = {
    "zip bomb": (bomb, "would inflate to more than"),
    "compressed": (compressed, "would inflate to more than"),
    "pickle in an array": (pickled, "holds object; wanted|is no array|Object arrays"),
    "pickle": (bare_pickle, "it is no .npz file"),
    "empty": (lambda path, honest: path.write_bytes(b"") and None, "it is no .npz file"),
    "truncated": (lambda path, honest: path.write_bytes(honest[:-40]) and None, "no .npz file"),
    "huge header": (huge_header, "its header has 2097"),
    "too large": (huge, "it is larger than 67108864 bytes; refused unread"),
    "entry with a path": (leading_out, "is no name of an array"),
    "link": (linked, "it is a link, and links are not followed"),
    "folder": (folder, "it is a folder"),
    "pipe": (pipe, "it is no plain file"),
    "other schema": (exchange(schema=99), "its schema is 99; this version reads 1"),
    "other format": (changed(format=2), "in format 2; wanted"),
    "other kind": (changed(what="poem"), "it holds a 'poem'"),
    "more in the header": (changed(extra=1), "its header has"),
    "signed by another": (changed(site="A"), "it is signed by A, and its name is another"),
    "site with a path": (changed(site="../A"), "which is no name of a site"),
    "other features": (exchange(features=["salt", "temp"], units={}), r"features is \['salt', 't"),
    "other units": (exchange(units={"temp": "degC"}), r"units is \{'temp': 'degC'\}, most|units"),
    "other settings": (exchange(tol=1e-2), "tol is 0.01, most sites have 1e-06"),
    "family with options": (exchange(options={"tied": 3, "x": 1}), "does not take|options"),
    "infinite setting": (exchange(outliers=-1.0), "outliers=-1.0; wanted more than 0"),
    "setting of another kind": (exchange(max_iter="5"), "max_iter is '5'"),
    "NaN": (arrays(nan), "NaN|finite|positive|sum to 1"),
    "no arrays": (arrays(lambda found: {}), "arrays"),
    "one array more": (arrays(lambda found: {**found, "extra": np.zeros(1)}), "wanted|unexpected"),
    "scalar arrays": (
        arrays(lambda f: {n: np.array(1.0) for n in f}),
        "shape|no answer to the 7 candidates",
    ),
}
SOMEWHERE: dict[tuple[str, str], tuple[Write, str]] = {
    ("proposal", "absurd rows"): (changed(rows=10**30), "rows is 1000000"),
    ("proposal", "no rows"): (changed(rows=0), "wanted a whole number, at least 1"),
    ("proposal", "rows of another kind"): (changed(rows=True), "rows is True"),
    ("scores", "absurd rows"): (changed(rows_to_fit=1 << 62), "rows_to_fit is 4611686"),
    ("scores", "weight where rows have none"): (changed(mass=5.0), "no answer to the 7 candid"),
    ("scores", "too few scores"): (arrays(lambda f: {"scores": f["scores"][:-1]}), "no answer"),
    ("scores", "praise"): (arrays(lambda f: {"scores": f["scores"] + np.inf}), "infinite praise"),
    ("scores", "another ballot"): (changed(ballot="0" * 64), "it answers another ballot-1 than"),
    ("scores", "no ballot"): (changed(ballot="../../start"), "is no SHA-256"),
    ("scores", "ballot with a path"): (changed(of="../x"), "which is no name of a ballot"),
    ("fit", "another start"): (changed(begun="0" * 64), "it began from another start"),
    ("fit", "absurd rows"): (
        lambda path, honest: with_facts(path, honest, rows=10**30),
        "rows is 1000000",
    ),
    ("fit", "weight where rows have none"): (
        lambda path, honest: with_facts(path, honest, mass=3.0),
        "where rows have none",
    ),
    ("fit", "facts of another kind"): (
        lambda path, honest: with_facts(path, honest, converged="yes"),
        "converged is 'yes'",
    ),
}


def with_facts(path: Path, honest: bytes, **fields: Any) -> None:
    header, _ = unpacked(honest)
    changed(facts={**header["facts"], **fields})(path, honest)


def cases() -> list[Any]:
    everywhere = [
        pytest.param(kind, *case, id=f"{kind}: {name}")
        for name, case in ANYWHERE.items()
        for kind in NAMES
    ]
    return everywhere + [
        pytest.param(kind, *case, id=f"{kind}: {name}") for (kind, name), case in SOMEWHERE.items()
    ]


@pytest.mark.parametrize(("kind", "write", "reason"), cases())
def test_a_bad_file_is_rejected_and_the_rest_goes_on(
    kind: str, write: Write, reason: str, finished: Path, tmp_path: Path,
    without_it: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """In each of the rounds; what it leads to is what it leads to without the file."""
    monkeypatch.setenv("DFMR_MARK", str(tmp_path / "executed"))
    inbox = tmp_path / "inbox"
    laid_out(kind, finished, inbox)
    write(inbox / NAMES[kind], (finished / NAMES[kind]).read_bytes())
    found, rejected = outcome(kind, inbox)
    assert np.array_equal(found, without_it[kind])
    assert list(rejected) == [NAMES[kind]]
    assert_like(rejected[NAMES[kind]], reason)
    assert not (tmp_path / "executed").exists()


@pytest.fixture(scope="module")
def without_it(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What is found where the seventh site sends nothing."""
    out = {}
    for kind in NAMES:
        inbox = tmp_path_factory.mktemp(kind) / "inbox"
        laid_out(kind, finished, inbox)
        out[kind], rejected = outcome(kind, inbox)
        assert not rejected
    return out


def laid_out(kind: str, finished: Path, inbox: Path) -> None:
    """Lay out an inbox for a round, without the file of the seventh site."""
    rounds = {"proposal": ["?.npz"], "scores": ["?.npz", "?-1.npz", "ballot-1.npz"]}
    inbox.mkdir()
    copied(finished, inbox, *rounds.get(kind, ["?-fit.npz", "start.npz"]))
    (inbox / NAMES[kind]).unlink()


def assert_like(text: str, pattern: str) -> None:
    with pytest.raises(InvalidMessage, match=pattern):
        raise InvalidMessage(text)


def outcome(kind: str, inbox: Path) -> tuple[Any, dict[str, str]]:
    """Return what is asked or found next, as numbers, and what was rejected."""
    if kind == "fit":
        merged = aggregate(inbox, check=False)
        return merged.mixture.params["means"], dict(merged.rejected)
    found = agree(inbox, close=kind == "scores")
    assert isinstance(found, Ballot)
    assert found.label == ("ballot-2" if kind == "scores" else "ballot-1")
    return found.question.candidates[0].params["means"], dict(found.rejected)


def test_large_files_crowd_out_nobody_else(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(finished, tmp_path, "?.npz")
    honest = sum(path.stat().st_size for path in tmp_path.iterdir())
    monkeypatch.setattr("dfmr_dask.parties.inbox.MOST_BYTES", honest + 30_000)
    for name in ("0.npz", "A-1.npz", "Z.npz"):
        (tmp_path / name).write_bytes(bytes(20_000))
    ballot = agree(tmp_path, sites="ABCDEFG")
    assert isinstance(ballot, Ballot)
    assert ballot.sites == tuple("ABCDEFG")
    assert "no .npz file" in ballot.rejected["0.npz"]
    for name in ("A-1.npz", "Z.npz"):
        assert "too large together" in ballot.rejected[name]


def test_a_site_with_two_files_for_a_round_has_none(finished: Path, tmp_path: Path) -> None:
    copied(finished, tmp_path, "?.npz")
    (tmp_path / "G-2.npz").write_bytes((tmp_path / "G.npz").read_bytes())
    ballot = agree(tmp_path)
    assert isinstance(ballot, Ballot)
    reason = "site G sent 2 files for one round: G-2.npz, G.npz"
    assert ballot.rejected == {"G.npz": reason, "G-2.npz": reason}
    assert ballot.sites == tuple("ABCDEF")


def test_files_that_are_not_of_this_exchange_are_named(finished: Path, tmp_path: Path) -> None:
    copied(finished, tmp_path, "?.npz")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "-rf.npz").write_bytes(b"")
    (tmp_path / ".hidden.npz").write_bytes(b"")
    (tmp_path / "Z.npz").write_bytes((finished / "ballot-1.npz").read_bytes())
    (tmp_path / "ballot-9.txt").write_text("")
    rejected = read_inbox(tmp_path).rejected
    assert set(rejected) == {"notes.txt", "-rf.npz", "Z.npz", "ballot-9.txt"}
    assert "it is a file of a hub" in rejected["Z.npz"]


def test_who_is_not_named_is_not_heard(finished: Path, tmp_path: Path) -> None:
    copied(finished, tmp_path, "?.npz")
    ballot = agree(tmp_path, sites=tuple("ABCDE"))
    assert isinstance(ballot, Ballot)
    assert ballot.sites == tuple("ABCDE")
    assert set(ballot.rejected) == {"F.npz", "G.npz"}


def test_a_fit_of_a_site_that_did_not_agree_must_be_asked_for(
    finished: Path, tmp_path: Path
) -> None:
    copied(finished, tmp_path, "?-fit.npz", "start.npz")
    letter = opened((finished / "A-fit.npz").read_bytes())
    assert isinstance(letter, LocalFit)
    replace(letter, site="new").save(tmp_path)
    merged = aggregate(tmp_path, check=False)
    assert "name it with sites" in merged.rejected["new-fit.npz"]
    asked = aggregate(tmp_path, check=False, sites=["new"])
    assert asked.sites == (*"ABCDEFG", "new")
    assert not asked.rejected


def test_a_forged_ballot_is_found_out(finished: Path, tmp_path: Path) -> None:
    """One that says that others were heard than those whose files are there."""
    copied(finished, tmp_path, "?.npz", "?-1.npz")
    letter = opened((finished / "ballot-2.npz").read_bytes())
    assert isinstance(letter, Ballot)
    forged = replace(letter, history=({"A": "0" * 64}, {}))
    forged.save(tmp_path)
    with pytest.raises(ValueError, match="the proposals of A were heard"):
        agree(tmp_path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_that_were_changed_are_a_letter_or_a_reason(finished: Path, data: Any) -> None:
    names = ["A.npz", "A-1.npz", "A-2.npz", "A-fit.npz", "ballot-2.npz", "start.npz"]
    honest = bytearray((finished / data.draw(st.sampled_from(names))).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(honest) - 1))
        honest[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        letter = opened(bytes(honest))
    except InvalidMessage as error:
        assert len(str(error)) < 400
    else:
        assert isinstance(letter, Proposal | Answer | LocalFit | Ballot | Start)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(
    allow_nan=False, allow_infinity=False), lambda x: st.lists(x, max_size=3) | st.dictionaries(
    st.text(max_size=3), x, max_size=3), max_leaves=4), st.data())  # fmt: skip
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_headers_of_any_values_are_a_letter_or_a_reason(
    finished: Path, value: Any, data: Any
) -> None:
    names = ["A.npz", "A-1.npz", "A-2.npz", "A-fit.npz", "ballot-2.npz", "start.npz"]
    header, found = unpacked((finished / data.draw(st.sampled_from(names))).read_bytes())
    inner = data.draw(st.sampled_from([None, "exchange"]))
    told = dict(header if inner is None else header["exchange"])
    told[data.draw(st.sampled_from(sorted(told)))] = value
    changed_header = told if inner is None else {**header, "exchange": told}
    try:
        opened(packed(changed_header, found))
    except InvalidMessage as error:
        assert str(error)
