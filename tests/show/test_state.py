"""A fold over events: what is known of a run, at any time, from its events alone."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.run.events import STATES, Arrival, Event
from dfmr_dask.show.state import LARGEST, RunState

OPENED = {"token": "a", "run": "runs/a", "source": "a.zarr", "features": ["x", "<b>"]}


def opened(partitions: int, at: float = 100.0, **facts: object) -> Event:
    return Event("run", 0, partitions, at=at, facts={**OPENED, "partitions": partitions, **facts})


def told(*events: Event) -> RunState:
    state = RunState()
    for event in events:
        state.take(event)
    return state


arrivals = st.builds(Arrival, st.integers(0, 30), st.sampled_from(STATES), st.integers(0, 99))


@given(st.lists(st.lists(arrivals, max_size=5), max_size=10))
def test_counts_are_those_of_the_states(batches: list[list[Arrival]]) -> None:
    state = told(opened(20))
    for batch in batches:
        state.take(Event("fit", 0, 20, arrivals=tuple(batch)))
    shown = state.snapshot()["partitions"]
    names = [shown["codes"][str(code)] for code in shown["state"]]
    assert {name: names.count(name) for name in STATES} == state.counts
    assert sum(state.counts.values()) == len(names) >= 20


@given(st.lists(arrivals, min_size=1, max_size=20))
def test_arrivals_may_share_an_event(many: list[Arrival]) -> None:
    at = 101.0
    together = told(opened(20), Event("fit", 3, 20, at=at, arrivals=tuple(many)))
    apart = told(opened(20), *(Event("fit", 3, 20, at=at, arrivals=(one,)) for one in many))
    assert together.snapshot() == apart.snapshot()


def test_rows_count_once_whatever_is_said_of_a_partition_later() -> None:
    state = told(
        opened(3, planned_rows=[10, 20, 30]),
        Event("fit", 1, 3, arrivals=(Arrival(0, "fitting"), Arrival(1, "fitting"))),
        Event("fit", 1, 3, arrivals=(Arrival(0, "fitted", 8, 0.5, -2.0),)),
        Event("fit", 2, 3, arrivals=(Arrival(1, "fitted", 20), Arrival(0, "fitted", 9, 0.5, -2.0))),
        Event("check", 1, 1, arrivals=(Arrival(0, "kept"), Arrival(1, "dropped", reason="far"))),
    )
    shown = state.snapshot()
    assert state.rows == 29
    assert shown["partitions"]["rows"] == [9, 20, 30]  # what was planned, until more is known
    assert shown["partitions"]["log_likelihood"] == [-2.0, None, None]
    assert shown["partitions"]["reason"] == {"1": "far"}
    assert state.state_of(0) == "kept"


def test_stages_stand_in_order_with_the_time_spent_in_each() -> None:
    state = told(
        opened(4, at=100.0),
        Event("start", 0, 4, at=101.0),
        Event("start", 4, 4, at=103.0),
        Event("check", 0, 1, at=104.0),
        Event("polish", 0, 1, at=105.0),
        Event("check", 1, 1, at=107.0, failed=1),
        Event("run", 4, 4, at=110.0, facts={"finished": True}),
    )
    assert state.snapshot()["stages"] == [
        {"name": "start", "done": 4, "total": 4, "failed": 0, "seconds": 3.0},
        {"name": "check", "done": 1, "total": 1, "failed": 1, "seconds": 4.0},
        {"name": "polish", "done": 0, "total": 1, "failed": 0, "seconds": 2.0},
    ]
    assert state.snapshot()["seconds"] == 10.0


def arriving(n: int, every: float, total: int = 100) -> list[Event]:
    first = [opened(total), Event("fit", 0, total, at=100.0)]
    return first + [
        Event("fit", i + 1, total, at=100.0 + every * (i + 1), arrivals=(Arrival(i, "fitted", 50),))
        for i in range(n)
    ]


def test_rates_are_told_once_they_can_be() -> None:
    assert told(opened(100)).seconds_left is None
    assert told(*arriving(2, 1.5)).seconds_left is None  # two tasks are too few
    assert told(*arriving(20, 0.01)).seconds_left is None  # nothing has been seen for long enough
    state = told(*arriving(10, 1.0))
    assert state.rows_per_second == 50.0
    assert state.seconds_left == 90.0
    state.take(Event("aggregate", 0, 1, at=111.0))
    assert state.seconds_left is None and state.rows_per_second is None


def test_rates_are_those_of_late() -> None:
    slow = arriving(50, 0.1)  # then ten times as slow
    last = slow[-1].at
    late = [
        Event("fit", 51 + i, 100, at=last + 1.0 + i, arrivals=(Arrival(50 + i, "fitted", 50),))
        for i in range(40)
    ]
    state = told(*slow, *late)
    assert state.rows_per_second is not None and state.rows_per_second < 60.0
    assert state.seconds_left is not None and 8.0 < state.seconds_left < 11.0


def test_a_run_that_goes_on_is_told_from_the_start() -> None:
    cut = told(opened(3), Event("fit", 1, 3, arrivals=(Arrival(0, "failed", 0, reason="gone"),)))
    cut.take(opened(3, at=500.0, token="b"))
    assert cut.counts["waiting"] == 3 and cut.rows == 0 and not cut.stages
    assert cut.snapshot()["partitions"]["reason"] == {}
    assert cut.began == 500.0


def test_partitions_that_are_chosen_later_replace_those_of_the_plan() -> None:
    state = told(opened(3), Event("start", 3, 3, at=103.0), opened(2, at=104.0))
    assert sum(state.counts.values()) == 2
    assert list(state.stages) == ["start"]  # the same attempt: its stages go on
    assert state.began == 100.0


def test_what_was_done_before_a_run_opens_is_a_stage_of_it() -> None:
    state = told(Event("simulate", 0, 9, at=90.0), Event("simulate", 9, 9, at=95.0), opened(3))
    assert state.snapshot()["stages"][0]["seconds"] == 10.0
    assert state.began == 90.0


def test_how_it_ended() -> None:
    state = told(opened(1))
    assert not state.finished
    state.take(Event("run", 0, 1, facts={"finished": True, "failed_with": "TooFewMessages: no"}))
    assert state.finished and state.failed_with == "TooFewMessages: no"
    assert state.snapshot()["failed_with"] == "TooFewMessages: no"


def test_the_verdict_names_who_was_kept_and_why_others_were_not() -> None:
    said = {"of": 3, "at": 5.0, "certified": False, "doubts": ["few"], "map": None}
    provisional = {"kept": [0], "dropped": {"1": "means 9 > 3"}, "of": 2}
    state = told(
        opened(4),
        Event("fit", 2, 4, facts={"provisional": provisional}),
        Event(
            "check",
            1,
            1,
            arrivals=(Arrival(0, "kept"), Arrival(1, "dropped", reason="means 8 > 3")),
            facts={"verdict": said},
        ),
    )
    shown = state.snapshot()
    assert shown["provisional"] == provisional
    assert shown["verdict"] == {"kept": [0], "dropped": {"1": "means 8 > 3"}, **said}


def test_a_snapshot_is_plain_json() -> None:
    state = told(opened(2, locations=["x 0:1", "x 1:2"]), *arriving(2, 1.0)[1:])
    json.dumps(state.snapshot(), allow_nan=False)


def test_memory_is_the_most_so_far() -> None:
    state = told(opened(1))
    for client in (5, 9, 7):
        state.take(Event("fit", 0, 1, facts={"memory": {"client": client}}))
    assert state.snapshot()["memory"] == {"client": 9}


def test_a_stream_that_lies_about_numbers_takes_no_memory() -> None:
    state = told(opened(10**15), Event("fit", 0, 1, arrivals=(Arrival(10**15, "fitted", 5),)))
    assert sum(state.counts.values()) <= LARGEST
    assert state.rows == 0
