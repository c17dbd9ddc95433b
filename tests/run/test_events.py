"""Events are plain values: one line of text each, and back."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.errors import InvalidEvent
from dfmr_dask.message import Message
from dfmr_dask.run.events import STATES, Arrival, Event

counts = st.integers(0, 10**12)
numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=20)
arrivals = st.builds(
    Arrival, counts, st.sampled_from(STATES), st.none() | counts, numbers, numbers, texts
)
values = st.recursive(
    st.none() | st.booleans() | counts | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
events = st.builds(
    Event,
    texts,
    counts,
    counts,
    counts,
    texts,
    st.floats(0, 4e9).map(lambda at: round(at, 3)),
    st.lists(arrivals, max_size=4).map(tuple),
    st.dictionaries(texts, values, max_size=3),
)


@given(events)
def test_a_line_holds_all_of_an_event(event: Event) -> None:
    line = event.to_json()
    again = Event.from_json(line)
    assert "\n" not in line
    assert (again, again.at) == (event, event.at)
    assert Event.from_json(line.encode()) == event


def test_nan_and_infinity_are_null() -> None:
    event = Event(
        "fit", 1, 2, facts={"score": math.nan, "cut": np.float64(np.inf), "n": np.int64(3)}
    )
    told = json.loads(event.to_json(), parse_constant=pytest.fail)
    assert told["facts"] == {"score": None, "cut": None, "n": 3}


def test_what_a_message_says_arrives_without_its_estimate() -> None:
    failed = Arrival.of(Message.failed(7, "x" * 5000, rows=3))
    assert (failed.partition, failed.state, failed.rows) == (7, "failed", 3)
    assert failed.seconds is None and failed.log_likelihood is None
    assert 0 < len(failed.reason) < 1000
    empty = Arrival.of(Message(2, "empty", 0, 9, seconds=0.25))
    assert (empty.state, empty.seconds, empty.log_likelihood) == ("empty", 0.25, None)


def test_many_arrivals_of_a_line_take_few_bytes() -> None:
    some = tuple(Arrival(i, "fitted", 5000, 0.1234, -12.345678) for i in range(1000))
    assert len(Event("fit", 1000, 10_000, arrivals=some).to_json()) < 45 * 1000


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"stage":"fit"}',
        '{"stage":7,"done":0,"total":1}',
        '{"stage":"fit","done":-1,"total":1}',
        '{"stage":"fit","done":0.5,"total":1}',
        '{"stage":"fit","done":0,"total":1,"facts":[]}',
        '{"stage":"fit","done":0,"total":1,"arrivals":[[0]]}',
        '{"stage":"fit","done":0,"total":1,"arrivals":[["0","kept"]]}',
        '{"stage":"fit","done":0,"total":1,"arrivals":[[-1,"kept"]]}',
        '{"stage":"fit","done":0,"total":1,"arrivals":[[0,"gone"]]}',
        '{"stage":"fit","done":0,"total":1,"arrivals":[[0,"kept",1,2,3,{"a":1}]]}',
        '{"stage":"fit","done":0,"total":1,"arrivals":5}',
        '{"stage":"fit","do',
        "[" * 100_000,
        b"\xff\xfe\x00",
    ],
)
def test_a_line_that_is_no_event_is_refused(line: str | bytes) -> None:
    with pytest.raises(InvalidEvent, match="no event"):
        Event.from_json(line)


def test_a_state_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="wanted one of waiting, fitting"):
        Arrival(0, "lost")
    with pytest.raises(InvalidEvent, match="wanted a number from 0"):
        Arrival(-1, "kept")
