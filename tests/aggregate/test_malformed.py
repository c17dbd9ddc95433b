"""Nothing that a partition can send breaks the aggregation, and nothing invalid is kept.

Hypothesis makes the weights and parameters of liars out of arrays of any dtype, shape and
magnitude; what no constructor accepts becomes a failed message, as on its way through a cluster or
out of a file, and what one accepts is filtered.
"""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dfmr_dask.aggregate.aggregators import aggregate
from dfmr_dask.data import files, messages
from dfmr_dask.data.archive import FLOAT, packed
from dfmr_dask.errors import InvalidMessage, InvalidMixture
from dfmr_dask.families import Family
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from tests.tables import FAMILIES, each_family, perturbed, random_params

K, D, HONEST, MOST_LIARS = 3, 2, 11, 9
ROWS = 500
READING = 8  # times its size: the memory that reading the arrays of a file may take


@cache
def honest(family: Family) -> tuple[Message, ...]:
    rng = np.random.default_rng(1)
    params = random_params(family, K, D, rng)
    params = {**params, "means": params["means"] + 9.0 * np.arange(K)[:, None]}
    near = [perturbed(family, params, 0.05, rng) for _ in range(HONEST)]
    weights = np.array([0.5, 0.3, 0.2])
    mixtures = [Mixture(family, weights, one) for one in near]
    return tuple(Message(i, "fitted", ROWS, mixture=one) for i, one in enumerate(mixtures))


def magnitudes() -> st.SearchStrategy[float]:
    """Any double, and more often those at the edges of what can be computed with."""
    edges = [0.0, -0.0, 1.0, -1.0, 1e-308, 5e-324, 1e-100, 1e50, 1e100, 1.7e308]
    return st.one_of(st.sampled_from(edges), st.floats(), st.floats(-3.0, 3.0))


def arrays() -> st.SearchStrategy[Any]:
    """Arrays of any dtype and shape, of the right shape more often, and things that are none."""
    usual = st.sampled_from([(K,), (K, D), (K, D, D), (K, 1), (K + 1, D), (1, D), (D,), (K, D, 1)])
    shapes = st.one_of(usual, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    numbers = hnp.arrays(np.float64, shapes, elements=magnitudes())
    anything = st.one_of(hnp.scalar_dtypes(), st.just(np.dtype(object)))
    others = anything.flatmap(
        lambda dtype: hnp.arrays(
            dtype, shapes, elements=st.none() if dtype.kind == "O" else None, fill=st.nothing()
        )
    )
    odd = st.sampled_from([None, "means", b"\x00", [[1.0], [1.0, 2.0]], {}, 3, 1j, float("nan")])
    return st.one_of(numbers, numbers, others, odd)


def spoilt(mixture: Mixture) -> st.SearchStrategy[Any]:
    """An honest estimate in which some numbers, or whole arrays, are something else."""

    def replaced(
        told: Mapping[str, Any], name: str, array: Any, at: int, value: float, whole: bool
    ) -> dict[str, Any]:
        if whole:
            return {**told, name: array}
        one = np.array(told[name])
        one.flat[at % one.size] = value
        return {**told, name: one}

    told = {"weights": mixture.weights, **mixture.params}
    names = st.sampled_from(sorted(told))
    whole = st.booleans()
    return st.builds(
        replaced, st.just(told), names, arrays(), st.integers(0, 50), magnitudes(), whole
    )


def raw(family: Family) -> st.SearchStrategy[Any]:
    """Weights and parameters as a liar may send them."""
    told = honest(family)[0].mixture
    assert told is not None
    names = ("weights", *told.params)
    nothing_right = st.fixed_dictionaries(dict.fromkeys(names, arrays()))
    other_names = st.dictionaries(st.text(max_size=8), arrays(), max_size=3)
    return st.one_of(spoilt(told), spoilt(told), nothing_right, other_names)


def received(partition: int, family: Family, told: Mapping[str, Any]) -> Message:
    """Return what arrives of it: the constructors are the only ones to say no, and how."""
    rest = {name: array for name, array in told.items() if name != "weights"}
    try:
        return Message(partition, "fitted", ROWS, 0, Mixture(family, told.get("weights"), rest))
    except InvalidMixture as error:
        return Message.failed(partition, str(error))


@each_family
@settings(max_examples=20)
@given(data=st.data())
def test_whatever_liars_send_the_honest_are_heard(family: Family, data: st.DataObject) -> None:
    sent = data.draw(st.lists(raw(family), min_size=1, max_size=MOST_LIARS))
    lies = [received(HONEST + i, family, told) for i, told in enumerate(sent)]
    found = aggregate([*honest(family), *lies])
    verdict = found.verdict
    for lie in lies:
        if lie.mixture is None:
            assert verdict.failed[lie.partition] == lie.reason != ""
        else:
            fates = [verdict.kept, verdict.dropped, verdict.failed]
            assert sum(lie.partition in fate for fate in fates) == 1
    for gate in verdict.gates:
        heard = [*verdict.kept, *verdict.dropped]
        assert not np.isnan(gate.distances[heard]).any()
    assert len(set(verdict.kept) & set(range(HONEST))) > HONEST // 2
    reference = aggregate(honest(family)).mixture
    for name, array in found.mixture.params.items():
        assert np.isfinite(array).all()
        np.testing.assert_allclose(array, reference.params[name], atol=1.0)


@each_family
@settings(max_examples=40)
@given(told=st.data())
def test_an_estimate_is_refused_with_a_reason_or_can_be_computed_with(
    family: Family, told: st.DataObject
) -> None:
    said = received(0, family, told.draw(raw(family)))
    if said.mixture is None:
        assert 0 < len(said.reason) < 1000
        return
    mixture = said.mixture
    assert np.isfinite(mixture.weights).all()
    assert mixture.weights.sum() == pytest.approx(1.0)
    assert all(np.isfinite(array).all() for array in mixture.params.values())
    assert np.isfinite(family.conjugate(mixture.params)).all()


@each_family
def test_a_huge_estimate_costs_the_aggregation_nothing(family: Family) -> None:
    """It is known to be of another kind before anything is computed from it."""
    order = 200_000 // D**2
    first = honest(family)[0].mixture
    assert first is not None
    params = {name: np.repeat(array[:1], order, axis=0) for name, array in first.params.items()}
    huge = Mixture(family, np.full(order, 1.0 / order), params)
    lies = [Message(HONEST + i, "fitted", ROWS, mixture=huge) for i in range(MOST_LIARS)]
    gone = [Message.failed(HONEST + i, "gone") for i in range(MOST_LIARS)]
    aggregate([*honest(family), *gone])  # what is compiled and cached is not counted below
    peaks = []
    for others in (gone, lies):
        tracemalloc.start()
        verdict = aggregate([*honest(family), *others]).verdict
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert all("of another kind" in verdict.failed[lie.partition] for lie in lies)
    assert peaks[1] < peaks[0] + (1 << 20)


def any_json() -> st.SearchStrategy[Any]:
    plain = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()
    )
    small = st.one_of(plain, st.sampled_from(["fitted", "failed", "empty", "gaussian", "means"]))
    return st.recursive(
        small, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
    )


@st.composite
def changed(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value in which something is something else, or missing."""
    if not isinstance(value, dict) or not value or draw(st.integers(0, 3)) == 0:
        return draw(any_json())
    key = draw(st.sampled_from(sorted(value)))
    if draw(st.integers(0, 5)) == 0:
        return {name: one for name, one in value.items() if name != key}
    return {**value, key: draw(changed(value[key]))}


def header_of(message: Message) -> Any:
    about = {name: getattr(message, name) for name in messages.FIELDS}
    assert message.mixture is not None
    told = {
        "family": message.mixture.family.name,
        "options": dict(message.mixture.family.options),
        "params": sorted(message.mixture.params),
    }
    facts = {**about, "log_likelihood": None}
    return {"what": "messages", "format": files.FORMAT, "messages": [facts], "mixture": told}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("inbox")


def read_or_refused(path: Path) -> Message | None:
    try:
        return messages.read_message(path)
    except InvalidMessage as error:
        assert str(path) in str(error)
        assert len(str(error)) < 2000
        return None


@settings(max_examples=60)
@given(data=st.data())
def test_headers_of_any_content_are_read_or_refused(folder: Path, data: st.DataObject) -> None:
    family = data.draw(st.sampled_from(list(FAMILIES.values())))
    message = honest(family)[3]
    header = data.draw(changed(header_of(message)))
    assert message.mixture is not None
    estimate = {"weights": message.mixture.weights, **message.mixture.params}
    arrays = {name: array[None] for name, array in estimate.items()}
    path = folder / "header.npz"
    try:
        path.write_bytes(packed(header, arrays))
    except (ValueError, UnicodeEncodeError):  # infinity, or half of a surrogate pair: no JSON
        path.write_bytes(json.dumps(header).encode("utf-8", "surrogatepass"))
    said = read_or_refused(path)
    if said is not None and said.mixture is not None:
        aggregate([*honest(said.mixture.family), _as(said, HONEST)])


@settings(max_examples=60)
@given(data=st.data())
def test_arrays_of_any_content_are_read_or_refused(folder: Path, data: st.DataObject) -> None:
    family = data.draw(st.sampled_from(list(FAMILIES.values())))
    told = data.draw(raw(family))
    doubles = {
        name: np.asarray(array, FLOAT)[None]
        for name, array in told.items()
        if name.isidentifier() and getattr(array, "dtype", None) is not None
        and array.dtype.kind in "biuf"
    }  # fmt: skip
    path = folder / "arrays.npz"
    path.write_bytes(packed(header_of(honest(family)[3]), doubles))
    said = read_or_refused(path)
    if said is not None:
        assert said.mixture is not None
        verdict = aggregate([*honest(family), _as(said, HONEST)]).verdict
        assert HONEST in {*verdict.kept, *verdict.dropped, *verdict.failed}


@settings(max_examples=60)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(folder: Path, data: st.DataObject) -> None:
    path = folder / "damaged.npz"
    messages.write_message(path, honest(FAMILIES["full"])[0])
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(max_size=12))
        content[at : at + data.draw(st.integers(0, 12))] = piece
    path.write_bytes(content)
    read_or_refused(path)


@given(content=st.binary(max_size=2000))
def test_any_bytes_are_refused(folder: Path, content: bytes) -> None:
    path = folder / "bytes.npz"
    path.write_bytes(content)
    assert read_or_refused(path) is None


@each_family
def test_reading_takes_a_bounded_amount_of_memory(folder: Path, family: Family) -> None:
    """So many times what a file inflates to, which has a limit that is looked at first."""
    path, first = folder / "large.npz", honest(family)[0].mixture
    assert first is not None
    params = {name: np.repeat(array[:1], 20_000, axis=0) for name, array in first.params.items()}
    large = Mixture(family, np.full(20_000, 1 / 20_000), params)
    messages.write_message(path, Message(0, "fitted", ROWS, mixture=large))
    tracemalloc.start()
    assert messages.read_message(path).mixture is not None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < READING * path.stat().st_size


@pytest.mark.parametrize("key", ["reason", "status", "start"])
def test_a_file_cannot_fill_reports_with_what_it_says(folder: Path, key: str) -> None:
    header = header_of(honest(FAMILIES["full"])[0])
    path = folder / "talkative.npz"
    for about in (
        {**header, "messages": [{**header["messages"][0], key: ["x" * 10**6]}]},
        {**header, "mixture": {**header["mixture"], "family": "y" * 10**6}},
        {**header, "z" * 10**6: 1},
    ):
        path.write_bytes(packed(about, {"weights": np.ones((1, 1))}))
        assert read_or_refused(path) is None


def _as(message: Message, partition: int) -> Message:
    """Number a message as its receiver does, whatever number it gives itself."""
    return Message(partition, "fitted", message.rows, 0, message.mixture)
