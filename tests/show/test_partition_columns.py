"""What figures draw of partitions: fates, places, ranks, what is too far off or too much."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dfmr_dask.run.events import Arrival, Event
from dfmr_dask.show.partition_columns import NEAR, drawing, drawn_nearer, grid_places
from tests.show.told_runs import CUTOFF, judged, known_after, lies, told_run


def test_the_provisional_filter_speaks_of_what_is_fitted_and_the_verdict_of_all() -> None:
    events = told_run(40)
    events[-1].facts["provisional"]["kept"].append(8)  # it has failed; nobody may keep it
    so_far, shown = known_after(events), drawing(known_after(events))
    assert set(np.array(so_far["partitions"]["state"])) == {2, 3, 4}  # fitted, failed, empty
    assert shown.columns["state"][8] == "failed"
    assert shown.counts == drawing(known_after([*events, judged(told_run(40))])).counts
    assert shown.counts["dropped"] == sum(lies(i) for i in range(40) if i % 10 < 8)
    assert shown.counts["fitted"] == shown.counts["waiting"] == 0
    assert shown.columns["reason"][2].startswith("blocks ")
    assert shown.columns["reason"][8] == "chunk 8 cannot be decoded"


def test_before_there_is_a_filter_nothing_is_on_the_map() -> None:
    shown = drawing(known_after(told_run(40)[:2]))
    assert shown.counts["waiting"] == 40
    for name in ("x", "y", "distance", "rank", "height", "level"):
        assert np.isnan(np.asarray(shown.columns[name], dtype=float)).all()
    assert shown.columns["rows"].tolist() == [1000.0] * 40  # the planned ones


def test_a_run_of_which_nothing_is_known_is_drawn_as_nothing() -> None:
    assert drawing(known_after([])).columns["state"] == []


def test_ranks_sort_distances_and_infinite_ones_lie_above_all_others() -> None:
    events = told_run(40)
    said = events[-1].facts["provisional"]["distances"][0]
    said["distance"][3] = None  # how JSON says that it is infinite
    said["distance"][4] = 0.0
    shown = drawing(known_after(events)).columns
    distance, rank = np.asarray(shown["distance"]), np.asarray(shown["rank"])
    there = ~np.isnan(distance)
    assert np.array_equal(distance[there][np.argsort(rank[there])], np.sort(distance[there]))
    assert sorted(rank[there]) == list(range(1, there.sum() + 1))
    height = np.asarray(shown["height"])
    assert np.isinf(distance[said["partition"][3]])
    assert np.nanargmax(height) == said["partition"][3]
    assert np.isfinite(height[there]).all()
    assert (height[there] > 0.0).all()  # the axis is logarithmic


def test_the_gate_that_drops_most_is_shown_or_the_one_that_was_asked_for() -> None:
    known = known_after(told_run(40))
    assert drawing(known).gate == drawing(known, "no such gate").gate == "blocks"
    assert drawing(known, "fisher").gate == "fisher"
    assert drawing(known).cutoff == CUTOFF


def test_a_log_likelihood_far_off_is_drawn_at_the_rim_and_told_as_it_is() -> None:
    events = told_run(40)
    events.insert(-1, Event("fit", 40, 40, arrivals=(Arrival(0, "fitted", 9, 0.1, -1e9),)))
    shown = drawing(known_after(events)).columns
    assert shown["log_likelihood"][0] == -1e9
    assert -100.0 < shown["level"][0] == np.nanmin(np.asarray(shown["level"], dtype=float))


def test_of_many_partitions_neighbors_share_a_mark_that_shows_the_worst() -> None:
    shown = drawing(known_after(told_run(1003)), most=100)
    assert shown.together == 11
    assert len(shown.columns["state"]) == 92
    assert set(shown.columns["state"][:-1]) == {"failed"}  # one of ten fails
    assert shown.columns["name"][0] == "8, for 0 to 10"
    assert shown.columns["name"][-1] == "1002, for 1001 to 1002"
    assert shown.columns["state"][-1] == "dropped"
    assert sum(shown.counts.values()) == 1003


@given(st.data())
def test_far_points_come_nearer_and_keep_direction_and_order(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    reach, angle = 10.0 ** rng.uniform(-3, 9, 30), rng.uniform(-np.pi, np.pi, 30)
    radius = float(10.0 ** rng.uniform(-2, 3))
    x, y, farthest = drawn_nearer(reach * np.cos(angle), reach * np.sin(angle), (0.0, 0.0), radius)
    drawn = np.hypot(x, y)
    assert np.isclose(farthest, reach.max())
    assert np.allclose(np.arctan2(y, x), angle)
    assert np.array_equal(np.argsort(drawn), np.argsort(reach))
    near = reach <= NEAR * radius
    assert np.allclose(drawn[near], reach[near])
    assert drawn.max() <= max(3.01 * NEAR * radius, reach[near].max(initial=0.0))


@given(st.integers(1, 3000), st.floats(0.1, 10.0))
def test_cells_fill_a_rectangle_of_the_wanted_shape(n: int, wide: float) -> None:
    column, row = grid_places(n, wide)
    assert len(set(zip(column, row, strict=True))) == n
    columns, rows = column.max() + 1, row.max() + 1
    assert columns * (rows - 1) < n <= columns * rows
    assert columns <= max(np.sqrt(n * wide) + 1, 1)
