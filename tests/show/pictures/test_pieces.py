"""The map of a store's pieces, and the text that goes with it."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image as mpimg
import numpy as np
import pytest
import xarray as xr

from dfmr_dask.likeness import Likeness
from dfmr_dask.run.way import Way
from dfmr_dask.show.likeness_text import likeness_summary, likeness_text
from dfmr_dask.show.pictures.pieces import pieces_picture

RNG = np.random.default_rng(0)


def table(coords: dict[str, np.ndarray], unknown: int = 0) -> xr.Dataset:
    m = len(next(iter(coords.values())))
    distance, group = RNG.uniform(0.5, 40.0, m), np.arange(m) % 13
    distance[:unknown], group[:unknown] = np.nan, -1
    columns = {"distance": distance, "group": group, "misplaced": np.arange(m) == m - 1}
    places = {name: ("piece", values) for name, values in coords.items()}
    return xr.Dataset(
        {name: ("piece", values) for name, values in columns.items()},
        coords={"piece": np.arange(m), **places},
    )


def grid(*sides: np.ndarray) -> list[np.ndarray]:
    return [axis.ravel() for axis in np.meshgrid(*sides, indexing="ij")]


MONTHS = np.arange("2001-01", "2002-01", dtype="datetime64[M]").astype("datetime64[ns]")
CASES = {
    "nowhere": (["row"], {"other": np.arange(5)}),
    "line": (["time"], {"time": MONTHS}),
    "plane": (
        ["lat", "lon"],
        dict(zip(("lat", "lon"), grid(np.arange(4), np.arange(6)), strict=True)),
    ),
    "times": (
        ["time", "lat", "lon"],
        dict(zip(("time", "lat", "lon"), grid(MONTHS, np.arange(3.0), np.arange(2)), strict=True)),
    ),
}


@pytest.mark.parametrize("unknown", [0, 2])
@pytest.mark.parametrize("case", CASES)
def test_pieces_are_drawn_wherever_they_lie(case: str, unknown: int, tmp_path: Path) -> None:
    dims, coords = CASES[case]
    pieces_picture(tmp_path / "p.png", table(coords, unknown), dims)
    image = mpimg.imread(tmp_path / "p.png")
    assert min(image.shape[:2]) > 300
    assert image[..., :3].std() > 0.02


def test_pieces_of_which_none_gave_a_sample_are_drawn(tmp_path: Path) -> None:
    dims, coords = CASES["plane"]
    pieces_picture(tmp_path / "p.png", table(coords, 24), dims)
    assert mpimg.imread(tmp_path / "p.png").size


def likeness(route: str) -> Likeness:
    return Likeness(
        route, "spread 9 times as wide", "look at them", 1e-9, 9.0, {}, (0, 1, 2, 4),
        np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 0, 1, 2]), np.array([9.0, 1.0]),
        np.array([5.0, 0.9]), {4: "is more like far ones"},
    )  # fmt: skip


def test_the_text_names_what_differs_the_groups_and_what_is_wrong() -> None:
    way = Way(likeness("unlike"), {3: "chunk c/3 is missing"}, {4: "is more like far ones"})
    found = likeness_summary(way, ["temp", "salt"])
    assert found is not None
    assert found["groups"] == [[0, 1], [2], [4]]
    text = likeness_text(found)
    for said in (
        "interleaved partitions", "temp (5)", "component 0 of the start (9)",
        "group 0: 2 pieces: 0, 1",
        "wrong place: 4: is more like far ones", "no sample: 3: chunk c/3 is missing", "left out",
    ):  # fmt: skip
        assert said in text
    assert "salt" not in text


def test_nothing_is_said_where_nothing_was_chosen() -> None:
    assert likeness_summary(None, ["a"]) is None
    assert likeness_text(None) == ""
    alike = likeness_text(likeness_summary(Way(likeness("alike")), ["a", "b"]))
    assert "with the filter" in alike
    assert "group 0" not in alike
