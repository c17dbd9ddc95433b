"""What the page says of a run: where the verdict stands, and what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from dfmr_dask.run.events import Event
from dfmr_dask.show.dashboard_words import LONGEST, told_of
from tests.show.told_runs import judged, known_after, told_run


def ended(**facts: Any) -> Event:
    return Event("run", 40, 40, facts={"finished": True, "failed_with": None, **facts})


def test_what_is_provisional_says_so_until_there_is_a_verdict() -> None:
    events = told_run(40)
    assert told_of(known_after(events[:3])).kind == "running"
    so_far = told_of(known_after(events))
    assert (so_far.kind, so_far.badge) == ("provisional", "provisional")
    assert "of the 32 estimates looked at so far, 24 would be kept and 8 dropped" in so_far.sentence
    sure = told_of(known_after([*events, judged(events), ended()]))
    assert (sure.kind, sure.badge) == ("certified", "certified")
    assert sure.sentence == "24 of 40 partitions kept, 8 dropped, 4 failed, 4 empty."


def test_doubts_are_listed_and_never_certified() -> None:
    events = told_run(40)
    doubts = ("a narrow majority", "x" * 5000, *map(str, range(20)))
    told = told_of(known_after([*events, judged(events, certified=False, doubts=doubts)]))
    assert (told.kind, told.badge) == ("doubted", "not certified")
    assert told.lines[0] == "a narrow majority"
    assert max(map(len, told.lines)) <= LONGEST + 1
    assert told.lines[-1] == "16 more doubts"


def test_an_error_is_told_whatever_the_filter_had_said() -> None:
    events = [*told_run(40), ended(failed_with="TooFewMessages: 3 of 40")]
    told = told_of(known_after(events))
    assert (told.kind, told.lines) == ("failed", ("TooFewMessages: 3 of 40",))


def test_a_run_that_is_silent_is_said_to_be_unless_it_has_ended() -> None:
    events = told_run(40)
    assert told_of(known_after(events), silence=90).lines == (
        "nothing was heard of this run for 1 min 30 s",
    )
    over = [*events, judged(events), ended()]
    assert told_of(known_after(over), silence=90).lines == ()


@pytest.mark.parametrize("d", [0, 1, 500])
def test_features_are_named_as_far_as_there_is_room(d: int) -> None:
    events = told_run(40)
    events[0].facts["features"] = [f"x{i}" for i in range(d)]  # type: ignore[index]
    about = told_of(known_after(events)).about
    assert len(about) < 300
    assert ("features: x0, x1" in about and "494 more" in about) == (d == 500)
    assert ("1 feature: x0" in about) == (d == 1)


def test_stages_say_how_far_they_are() -> None:
    stages = told_of(known_after(told_run(1000)[:3])).stages
    assert [(one.name, one.percent, one.now) for one in stages] == [
        ("start", 100, False),
        ("fit", 50, True),
    ]
