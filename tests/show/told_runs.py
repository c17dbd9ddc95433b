"""Events as runs tell them, for tests of those who read them, and how they reach a scheduler."""

from __future__ import annotations

from typing import Any

import numpy as np
from distributed import Client

from dfmr_dask.run.events import Arrival, Event
from dfmr_dask.show.state import RunState

CUTOFF = 3.0
HOSTILE = "<img src=x onerror=\"document.title='gotcha'\"><b>bold</b>$$x^2$$"


def told_run(n: int, *, name: str = "ocean", words: str = "", seed: int = 0) -> list[Event]:
    """What a run of n partitions tells until its last fit: a fifth lies, some fail, some are empty.

    ``words`` are added to every name and reason.
    """
    rng = np.random.default_rng(seed)
    opening = {"token": name, "run": f"runs/{name}{words}", "source": f"{name}.zarr{words}"}
    opening |= {"features": [f"temperature{words}", f"salinity{words}"], "n_components": 3}
    opening |= {"partitions": n, "planned_rows": [1000] * n}
    opening["locations"] = [f"time {i}:{i + 1}{words}" for i in range(n)]
    arrivals = [arrival(i, n, rng, words) for i in range(n)]
    there = [one.partition for one in arrivals if one.state == "fitted"]
    return [
        Event("run", 0, n, facts=opening),
        Event("start", 12, 12),
        *(
            Event("fit", min(i + 500, n), n, arrivals=tuple(arrivals[i : i + 500]))
            for i in range(0, n, 500)
        ),
        Event("fit", n, n, facts={"provisional": filtered(there, rng, words)}),
    ]


def arrival(i: int, n: int, rng: np.random.Generator, words: str = "") -> Arrival:
    """What becomes of a partition: one of ten fails, another one has no rows."""
    if n >= 10 and i % 10 == 8:
        return Arrival(i, "failed", reason=f"chunk {i} cannot be decoded{words}")
    if n >= 10 and i % 10 == 9:
        return Arrival(i, "empty", 0)
    return Arrival(i, "fitted", 900 + i % 100, 0.1, float(-2.5 - 3.0 * lies(i) + rng.normal() / 20))


def lies(i: int) -> bool:
    return i % 5 == 2


def filtered(there: list[int], rng: np.random.Generator, words: str = "") -> dict[str, Any]:
    """What the filter says of those that are there: liars are far away."""
    angle, reach = rng.uniform(0.0, 2 * np.pi, len(there)), rng.uniform(0.1, 2.5, len(there))
    reach *= np.array([300.0 if lies(i) else 1.0 for i in there])
    reach[0] = 0.0
    dropped = {str(i): f"blocks {r:.3g} > 3{words}" for i, r in zip(there, reach, strict=True)
               if r > CUTOFF}  # fmt: skip
    x, y = reach * np.cos(angle), reach * np.sin(angle)
    places = {"partition": there, "x": x.tolist(), "y": y.tolist()}
    tests = [
        {"gate": gate, "partition": there, "distance": (reach * times).tolist(), "cutoff": CUTOFF}
        for gate, times in (("blocks", 1.0), ("fisher", 0.001))
    ]
    return {
        "kept": [i for i in there if str(i) not in dropped],
        "dropped": dropped,
        "map": {**places, "center": there[0], "radius": 1.2},
        "distances": tests,
        "of": len(there),
        "at": 0.0,
    }


def judged(events: list[Event], *, certified: bool = True, doubts: tuple[str, ...] = ()) -> Event:
    """The verdict on what a run has told: what the filter said last."""
    said = dict(events[-1].facts["provisional"])
    kept, dropped = said.pop("kept"), said.pop("dropped")
    fates = [Arrival(i, "kept") for i in kept]
    fates += [Arrival(int(i), "dropped", reason=why) for i, why in dropped.items()]
    verdict = {**said, "certified": certified, "doubts": list(doubts)}
    return Event("aggregate", 1, 1, arrivals=tuple(fates), facts={"verdict": verdict})


def known_after(events: list[Event]) -> dict[str, Any]:
    """What is known of a run after these events."""
    state = RunState()
    for event in events:
        state.take(event)
    return state.snapshot()


def tell(client: Client, token: str, events: list[Event]) -> None:
    """Log events with a scheduler, as runs do."""
    for event in events:
        client.log_event("dfmr", {"token": token, "events": [event.to_json()]})
