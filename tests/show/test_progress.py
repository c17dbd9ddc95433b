"""Progress: lines that move in a terminal, few lines in a log."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from dfmr_dask.run.events import Arrival, Event
from dfmr_dask.show.lines import duration, stage_line
from dfmr_dask.show.progress import Lines, progress
from dfmr_dask.show.state import RunState

PROVISIONAL = {"kept": [0, 1, 2, 3], "dropped": {"4": "means 9 > 3"}, "of": 5}


def run_of_a_minute() -> list[Event]:
    """What a run with ten partitions tells: one fails, one is dropped."""
    fits = [
        Event(
            "fit",
            i + 1,
            10,
            failed=int(i == 9),
            at=110.0 + 5 * i,
            arrivals=(Arrival(i, "failed" if i == 9 else "fitted", 0 if i == 9 else 700),),
            facts={"memory": {"client": 2**20 * (300 + i)}},
        )
        for i in range(10)
    ]
    fits.insert(6, Event("run", 0, 0, at=139.0, facts={"provisional": PROVISIONAL}))
    fates = [*(Arrival(i, "kept") for i in range(8)), Arrival(8, "dropped", reason="means 9 > 3")]
    return [
        Event("run", 0, 10, at=100.0, facts={"partitions": 10, "source": "[red]a.zarr"}),
        Event("start", 0, 10, at=100.0),
        Event("start", 10, 10, at=101.0),
        Event("start", 0, 4, at=102.0),
        Event("start", 4, 4, at=105.0),
        Event("fit", 0, 10, at=105.0),
        *fits,
        Event("check", 0, 8, at=156.0),
        Event("check", 8, 8, at=157.0),
        Event("run", 0, 0, at=158.0, arrivals=tuple(fates), facts={"verdict": {"of": 9}}),
        Event("run", 0, 0, at=159.0, facts={"finished": True, "failed_with": None}),
    ]


def shown(events: Sequence[Event], *, terminal: bool, width: int = 120) -> str:
    out = io.StringIO()
    with progress(Console(file=out, force_terminal=terminal, width=width)) as emit:
        for event in events:
            emit(event)
    return out.getvalue()


def test_a_terminal_sees_stages_counts_and_failures() -> None:
    text = shown(run_of_a_minute(), terminal=True)
    for words in ("start", "4/4", "fit", "10/10", "1 failed", "1 dropped", "check", "8/8"):
        assert words in text


def test_a_line_tells_rates_memory_the_time_left_and_what_is_dropped_so_far() -> None:
    state = RunState()
    for event in run_of_a_minute()[:14]:
        state.take(event)
    line = stage_line(state, "fit")
    assert line.startswith("fit 7/10, 1 of 5 dropped so far, ")
    assert "rows/s, memory 306.0 MiB, " in line and line.endswith("s left")


def test_a_narrow_terminal_gets_one_line_a_stage() -> None:
    text = shown(run_of_a_minute(), terminal=True, width=60)
    last = text.split("\x1b[2K")[-1]  # what was drawn last
    assert sum("fit" in line for line in last.splitlines()) <= 1


def test_a_log_gets_a_line_when_a_stage_begins_and_when_it_ends() -> None:
    assert shown(run_of_a_minute(), terminal=False).splitlines() == [
        "start 0/10",
        "start ended after 5.0 s: 4 done",
        "fit 0/10",
        "fit ended after 51 s: 10 done, 1 failed",
        "check 0/8, memory 309.0 MiB",
        "check ended after 3.0 s: 8 done",
        "finished after 59 s",
    ]


def test_a_log_gets_a_line_now_and_then() -> None:
    lines: list[str] = []
    emit = Lines(lines.append, every=0.0)
    for event in run_of_a_minute():
        emit(event)
    assert sum(line.startswith("fit ") for line in lines) == 12  # each event, and the end


def test_an_error_is_left_to_whoever_runs_it() -> None:
    told = Event("run", 0, 0, facts={"finished": True, "failed_with": "TooFewMessages: 3"})
    text = shown([Event("fit", 2, 9), told], terminal=False)
    assert text.splitlines()[-1].startswith("fit ended after")


def test_other_commands_have_lines_too() -> None:
    text = shown([Event("simulate", 0, 3), Event("simulate", 3, 3)], terminal=False)
    assert text.splitlines()[0] == "simulate 0/3"
    assert text.splitlines()[1].startswith("simulate ended after")
    assert text.splitlines()[1].endswith("3 done")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_run_that_is_begun_again_is_drawn_again(terminal: bool) -> None:
    again = [Event("run", 0, 4, at=500.0, facts={"partitions": 4, "token": "b"})]
    again += [Event("polish", 0, 4, at=501.0), Event("polish", 4, 4, at=502.0)]
    out = io.StringIO()
    with progress(Console(file=out, force_terminal=terminal, width=120)) as emit:
        emit(Event("simulate", 3, 3, at=99.0))
        for event in [*run_of_a_minute()[:7], *again]:
            emit(event)
    drawn = out.getvalue()
    assert "simulate" in drawn
    last = drawn[drawn.rindex("polish") - 30 :]
    assert "4/4" in last or "4 done" in last
    assert not terminal or "fit" not in last


def test_a_stage_that_gave_up_says_how_far_it_came() -> None:
    text = shown([Event("fit", 0, 9), Event("fit", 7, 9), Event("check", 0, 1)], terminal=False)
    assert "7 of 9 done" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min"),
     (61, "1 min 1 s"), (3599.9, "1 h"), (3600, "1 h"), (86400, "24 h"), (7384, "2 h 3 min")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
