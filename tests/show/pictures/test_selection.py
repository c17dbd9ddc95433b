"""The picture of a curve over orders, and its table."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image as mpimg
import numpy as np
import pytest

from dfmr_dask.data.files import plain
from dfmr_dask.selection.curve import as_plain, selected, told
from dfmr_dask.show.pictures.selection import selection_picture
from dfmr_dask.show.report import selection_text

SCORES = [-3.0, -2.0, -1.9, -1.899]


@pytest.mark.parametrize("orders", [1, 2, 4])
@pytest.mark.parametrize(("gain", "pieces"), [(None, 1), (0.0, 9), (0.5, 9)])
def test_every_curve_can_be_drawn(
    tmp_path: Path, orders: int, gain: float | None, pieces: int
) -> None:
    scores = np.random.default_rng(0).normal(size=(pieces, orders)) * 1e-4 + SCORES[:orders]
    found = selected(
        range(1, orders + 1), scores, np.ones(pieces), range(2, 2 + orders), 900, min_gain=gain
    )
    selection_picture(tmp_path / "a.png", found)
    drawn = mpimg.imread(tmp_path / "a.png")
    assert drawn.shape[:2] == (900, 975)
    colored = np.ptp(drawn[..., :3], axis=-1) > 0.3
    assert colored.sum() > 500  # the curve, and the line at the choice


def test_the_table_marks_the_choice_and_names_who_was_not_heard() -> None:
    found = selected([1, 2, 3, 4], np.tile(SCORES, (3, 1)), np.ones(3), [2, 5, 8, 11], 900)
    text = selection_text(plain(as_plain(told(found, {4: "too far"}, [0, 1, 2, 3]))))
    lines = text.splitlines()
    assert lines[0] == (
        "Order       3 components: the smallest BIC (900 rows of 4 partitions; nats a row)"
    )
    assert [line.split()[0] for line in lines[2:6]] == ["1", "2", "*", "4"]
    assert lines[4].split()[-1] == "0.0"
    assert lines[-1] == "  not heard 4: too far"
    assert selection_text(None) == ""
