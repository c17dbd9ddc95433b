"""Files of values: the same bits come back, and what is hostile is refused."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import re
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.data import files, messages
from dfmr_dask.data.archive import LIMIT, packed, unpacked
from dfmr_dask.errors import InvalidMessage, InvalidMixture
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture


def mixture(kind="full", k=3, d=2, seed=0):
    rng = np.random.default_rng(seed)
    means, family = rng.normal(size=(k, d)), COVARIANCE_TYPES[kind]
    weights = rng.dirichlet(np.ones(k))
    if kind in ("diag", "spherical"):
        variances = np.repeat(rng.uniform(0.5, 2, (k, 1)), d, axis=1)
        return Mixture(family, weights, {"means": means, "variances": variances})
    root = rng.normal(size=(1 if kind == "tied" else k, d, d))
    covariances = np.broadcast_to(root @ root.swapaxes(1, 2) + np.eye(d), (k, d, d))
    return Mixture(family, weights, {"means": means, "covariances": covariances})


def same(a, b):
    assert a.family == b.family
    np.testing.assert_array_equal(a.weights, b.weights)
    assert set(a.params) == set(b.params)
    for name in a.params:
        np.testing.assert_array_equal(a.params[name], b.params[name])


@pytest.mark.parametrize("kind", COVARIANCE_TYPES)
def test_mixtures_come_back(tmp_path, kind):
    one = mixture(kind)
    files.write_mixture(tmp_path / "m.npz", one, features=("a", "b"), score=np.float64("nan"))
    same(one, files.read_mixture(tmp_path / "m.npz"))
    facts = files.read_facts(tmp_path / "m.npz")
    assert facts == {"features": ["a", "b"], "score": None}


@pytest.mark.parametrize(
    "message",
    [
        Message(3, "fitted", 100, 2, mixture(), "", 17, True, -1.25, "own", 0.5),
        Message(0, "fitted", 100, 0, mixture("diag"), log_likelihood=float("nan")),
        Message(0, "fitted", 100, 0, mixture("diag"), mass=12.5, observed=0.5),
        Message.failed(7, "chunk 3.0 cannot be decoded", 5, 1),
        Message(1, "empty", dropped_rows=9),
    ],
    ids=["fitted", "nan", "weighted", "failed", "empty"],
)
def test_messages_come_back(tmp_path, message):
    messages.write_message(tmp_path / "m.npz", message)
    got = messages.read_message(tmp_path / "m.npz")
    for name in (*messages.FIELDS, *messages.OPTIONAL):
        a, b = getattr(message, name), getattr(got, name)
        assert a == b or (math.isnan(a) and math.isnan(b))
        assert type(a) is type(b)
    if message.mixture is not None:
        same(message.mixture, got.mixture)


@pytest.mark.parametrize("mass", [None, "3", True, 0.0, -1])
def test_a_mass_that_is_none_is_refused(tmp_path, mass):
    messages.write_message(tmp_path / "m.npz", Message(3, "fitted", 9, mixture=mixture(), mass=2.5))
    header, arrays = unpacked((tmp_path / "m.npz").read_bytes())
    assert header["messages"][0].pop("mass") == 2.5
    (tmp_path / "without.npz").write_bytes(packed(header, arrays))  # as files were before
    assert messages.read_message(tmp_path / "without.npz").mass is None
    header["messages"][0]["mass"] = mass
    (tmp_path / "m.npz").write_bytes(packed(header, arrays))
    with pytest.raises(InvalidMessage, match="mass"):
        messages.read_message(tmp_path / "m.npz")


def test_the_messages_of_a_task_share_a_file(tmp_path):
    said = [
        Message(3, "fitted", 9, mixture=mixture("diag")),
        Message.failed(4, "chunk 4 is missing"),
        Message(9, "fitted", 8, mixture=mixture("diag"), mass=3.0),
        Message(10, "empty"),
    ]
    messages.write_messages(tmp_path / "m.npz", said)
    got = messages.read_messages(tmp_path / "m.npz")
    assert [one.partition for one in got] == [3, 4, 9, 10]
    assert [one.status for one in got] == ["fitted", "failed", "fitted", "empty"]
    for one, other in zip(said, got, strict=True):
        if one.mixture is not None:
            same(one.mixture, other.mixture)
    with pytest.raises(InvalidMessage, match="holds 4 messages; wanted one"):
        messages.read_message(tmp_path / "m.npz")
    header, arrays = unpacked((tmp_path / "m.npz").read_bytes())
    header["messages"].pop(0)
    (tmp_path / "m.npz").write_bytes(packed(header, arrays))
    with pytest.raises(InvalidMessage, match="not those of 1 estimates"):
        messages.read_messages(tmp_path / "m.npz")
    with pytest.raises(ValueError, match="different families"):
        messages.write_messages(
            tmp_path / "m.npz", [said[0], Message(1, "fitted", 9, mixture=mixture())]
        )


def test_the_same_message_is_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        messages.write_message(tmp_path / name, Message(3, "fitted", 9, mixture=mixture()))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_numpy_can_read_the_arrays(tmp_path):
    files.write_mixture(tmp_path / "m.npz", mixture())
    with np.load(tmp_path / "m.npz", allow_pickle=False) as archive:
        assert set(archive) == {"header", "weights", "means", "covariances"}


def entries(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path, content, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


class Bomb:
    """Leaves a mark when somebody unpickles it."""

    def __reduce__(self):
        return os.system, ("touch was_unpickled",)


def header_of(content):
    return json.loads(unpacked_header(content["header.npy"]))


def unpacked_header(raw):
    return np.load(io.BytesIO(raw)).tobytes()


def edited(content, edit):
    header = header_of(content)
    edit(header)
    return {**content, "header.npy": npy(np.frombuffer(json.dumps(header).encode(), "u1"))}


def lying_shape(raw, shape):
    text = re.sub(rb"\((1, )?3, 2\), }", shape + b", }", raw)
    length = len(raw) - len(text)
    return text[: text.index(b"\n")] + b" " * length + text[text.index(b"\n") :]


HOSTILE = {
    "missing array": lambda c: {k: v for k, v in c.items() if k != "means.npy"},
    "extra array": lambda c: {**c, "extra.npy": npy(np.zeros(2))},
    "no header": lambda c: {k: v for k, v in c.items() if k != "header.npy"},
    "path upward": lambda c: {**c, "../means.npy": c["means.npy"]},
    "absolute path": lambda c: {**c, "/tmp/means.npy": c["means.npy"]},
    "no npy": lambda c: {**c, "code.py": b"print(1)"},
    "pickled object": lambda c: {**c, "means.npy": npy(np.array([Bomb()]), allow_pickle=True)},
    "pickle as array": lambda c: {**c, "means.npy": pickle.dumps(Bomb())},
    "pickle as header": lambda c: {**c, "header.npy": pickle.dumps(Bomb())},
    "float32": lambda c: {**c, "means.npy": npy(np.zeros((3, 2), "f4"))},
    "strings": lambda c: {**c, "means.npy": npy(np.array(["a"]))},
    "nan": lambda c: {**c, "means.npy": npy(np.full((3, 2), np.nan))},
    "wrong shape": lambda c: {**c, "means.npy": npy(np.zeros((3, 5)))},
    "huge claim": lambda c: {**c, "means.npy": lying_shape(c["means.npy"], b"(99999999, 99999)")},
    "negative claim": lambda c: {**c, "means.npy": lying_shape(c["means.npy"], b"(-3, -2)")},
    "truncated": lambda c: {**c, "means.npy": c["means.npy"][:-8]},
    "empty array": lambda c: {**c, "means.npy": b""},
    "header no json": lambda c: {**c, "header.npy": npy(np.frombuffer(b"{", "u1"))},
    "header nested": lambda c: {**c, "header.npy": npy(np.frombuffer(b"[" * 200_000, "u1"))},
    "header a list": lambda c: {**c, "header.npy": npy(np.frombuffer(b"[]", "u1"))},
    "key twice": lambda c: {**c, "header.npy": npy(np.frombuffer(b'{"a": 1, "a": 2}', "u1"))},
    "unknown key": lambda c: edited(c, lambda h: h.update(more=1)),
    "other format": lambda c: edited(c, lambda h: h.update(format=99)),
    "other family": lambda c: edited(c, lambda h: h["mixture"].update(family="os.system")),
    "options": lambda c: edited(c, lambda h: h["mixture"].update(options={"tied": [1]})),
    "unknown option": lambda c: edited(c, lambda h: h["mixture"].update(options={"x": 1})),
    "options no mapping": lambda c: edited(c, lambda h: h["mixture"].update(options=3)),
    "params no list": lambda c: edited(c, lambda h: h["mixture"].update(params="means")),
    "params unhashable": lambda c: edited(c, lambda h: h["mixture"].update(params=[["a"]])),
    "mixture a number": lambda c: edited(c, lambda h: h.update(mixture=5)),
    "weights": lambda c: {**c, "weights.npy": npy(np.array([0.5, 0.9, -0.4]))},
}


@pytest.mark.parametrize("trick", HOSTILE)
def test_hostile_files_are_refused(tmp_path, monkeypatch, trick):
    monkeypatch.chdir(tmp_path)
    model, message = tmp_path / "model.npz", tmp_path / "message.npz"
    files.write_mixture(model, mixture())
    messages.write_message(message, Message(3, "fitted", 9, mixture=mixture()))
    for path in (model, message):
        rewrite(path, HOSTILE[trick](entries(path)))
    with pytest.raises(InvalidMixture, match="is no file of a mixture"):
        files.read_mixture(model)
    with pytest.raises(InvalidMessage, match="is no file of messages"):
        messages.read_message(message)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["message.npz", "model.npz"]


@pytest.mark.parametrize(
    "change",
    [
        {"partition": -1},
        {"partition": "3"},
        {"partition": 1.5},
        {"rows": True},
        {"status": "fine"},
        {"status": "failed"},
        {"schema": 2},
        {"converged": 1},
        {"more": 1},
        {"log_likelihood": "good"},
        {"seconds": 10**400},
    ],
)
def test_messages_that_contradict_themselves(tmp_path, change):
    path = tmp_path / "m.npz"
    messages.write_message(path, Message(3, "fitted", 9, mixture=mixture()))
    rewrite(path, edited(entries(path), lambda h: h["messages"][0].update(change)))
    with pytest.raises(InvalidMessage):
        messages.read_message(path)


def test_a_mixture_is_no_message(tmp_path):
    files.write_mixture(tmp_path / "m.npz", mixture())
    with pytest.raises(InvalidMessage):
        messages.read_message(tmp_path / "m.npz")
    with pytest.raises(InvalidMixture):
        files.read_mixture(tmp_path / "nothing.npz")


def test_a_bomb_is_refused_before_it_is_inflated(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    files.write_mixture(path, mixture())
    content = entries(path)
    rewrite(path, {**content, "means.npy": bytes(LIMIT + 1)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20

    def inflated(*_):
        raise AssertionError("it was inflated")

    monkeypatch.setattr(zipfile.ZipFile, "read", inflated)
    with pytest.raises(InvalidMixture, match=f"inflate to more than {LIMIT} bytes"):
        files.read_mixture(path)


def test_many_small_ones_are_a_bomb_too():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(5):
            archive.writestr(f"a{i}.npy", bytes(1000))
    with pytest.raises(InvalidMessage, match="inflate to more than 3000"):
        unpacked(stream.getvalue(), limit=3000)


def test_a_size_that_lies_inflates_no_further():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.npy", bytes(1_000_000))
    honest = stream.getvalue()
    lying = honest.replace((1_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    assert lying != honest
    with pytest.raises(InvalidMessage):
        unpacked(lying, limit=1000)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_of_a_wrong_make_are_refused(tmp_path):
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        rewrite(tmp_path / "a.npz", {"header.npy": b"x"}, method)
        with pytest.raises(InvalidMessage, match="unknown method"):
            unpacked((tmp_path / "a.npz").read_bytes())
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for data in (b"1", b"2"):
            archive.writestr("header.npy", data)
    with pytest.raises(InvalidMessage, match="each once"):
        unpacked(stream.getvalue())


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data):
    with pytest.raises(InvalidMessage):
        unpacked(data)


@given(st.data())
def test_flipped_bytes_are_refused_or_harmless(data):
    good = packed({"what": "x"}, {"weights": np.arange(3.0)})
    at = data.draw(st.integers(0, len(good) - 1))
    byte = data.draw(st.integers(0, 255))
    try:
        header, arrays = unpacked(good[:at] + bytes([byte]) + good[at + 1 :])
    except InvalidMessage:
        return
    assert header == {"what": "x"}
    np.testing.assert_array_equal(next(iter(arrays.values())), np.arange(3.0))


def test_files_that_are_too_large_are_not_read(tmp_path):
    (tmp_path / "a.json").write_text("[" + "1," * 1000 + "1]")
    with pytest.raises(InvalidMessage, match="larger than 100 bytes"):
        files.read_json(tmp_path / "a.json", limit=100)
    assert len(files.read_json(tmp_path / "a.json", limit=10_000)) == 1001


def test_json_is_plain(tmp_path):
    value = {
        "n": np.int64(3),
        "ok": np.bool_(True),
        "x": [np.float32(0.5), float("inf"), float("nan")],
        "a": np.arange(3),
        "p": tmp_path,
        "t": (1, "é"),
    }
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == {
        "n": 3,
        "ok": True,
        "x": [0.5, None, None],
        "a": [0, 1, 2],
        "p": str(tmp_path),
        "t": [1, "é"],
    }
    with pytest.raises(TypeError, match="no plain form"):
        files.write_json(tmp_path / "b.json", object())
    (tmp_path / "c.json").write_text("NaN")
    for name in ("b.json", "c.json"):
        with pytest.raises(InvalidMessage, match=name):
            files.read_json(tmp_path / name)


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_no_half_written_file_is_left(tmp_path, monkeypatch, broken):
    path = tmp_path / "a.txt"
    files.write_bytes(path, b"old")

    def fails(*_):
        raise OSError("no space left on device")

    if broken == "fsync":
        monkeypatch.setattr(os, "fsync", fails)
    else:
        monkeypatch.setattr("pathlib.Path.replace", fails)
    with pytest.raises(OSError, match="no space"):
        files.write_bytes(path, b"new" * 1000)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_files_are_replaced_whole(tmp_path):
    files.write_bytes(tmp_path / "a.txt", b"a long text")
    files.write_bytes(tmp_path / "a.txt", b"short")
    assert (tmp_path / "a.txt").read_bytes() == b"short"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]
