"""The studies of alikeness, scaled down: alike, attacked, shared and unlike pieces."""

from __future__ import annotations

import numpy as np
import pytest

from dfmr_dask.corruption import Corruption
from dfmr_dask.experiments.alikeness import (
    attacked,
    drawn,
    shared_components,
    significance,
    spoilt,
    world,
)
from dfmr_dask.experiments.scenes import BANDS, SPOILT, TILES, ocean, photograph
from dfmr_dask.experiments.stores import Pieces
from dfmr_dask.experiments.unlike import unlike


def test_alike_pieces_from_a_start_that_they_agree_on() -> None:
    found = significance((3,), (2,), (1000,), (20,), (None, 20.0), range(1))
    assert [one.route for one in found] == ["alike", "weights"]
    assert found[1].p_value < 1e-6 < found[0].p_value


def test_attacks_do_not_make_alike_pieces_unlike() -> None:
    found = attacked((0.3,), (20,), (0,), [("data", {}), ("weight", {}), ("malformed", {})])
    assert [one.route for one in found] == ["alike"] * 4
    assert found[1].off == 6


def test_liars_lie_about_what_their_samples_are_like() -> None:
    here = world(3, 2, 0)
    honest = drawn(here, 3, 300, 12, 0)
    start = honest.agreed().start
    pieces, byzantine = spoilt(honest, here, Corruption("mean", 0.25))
    assert set(pieces.examined(start).off) & set(byzantine)  # a drawn order may be the true one
    assert not honest.examined(start).off


@pytest.mark.parametrize("scene", [photograph("china.jpg", "flower.jpg", TILES, 0), ocean(0)])
@pytest.mark.parametrize("kind", list(SPOILT))
def test_bad_pieces_stand_in_place_of_their_own(scene: object, kind: str) -> None:
    rows = scene.spoilt(kind, {3}, 0)  # type: ignore[attr-defined]
    whole = scene.rows  # type: ignore[attr-defined]
    assert rows[3].shape == whole[3].shape and rows[3].dtype == whole[3].dtype
    assert not np.array_equal(rows[3], whole[3])
    assert all(a is b for i, (a, b) in enumerate(zip(rows, whole, strict=True)) if i != 3)


def test_a_photograph_in_bands_is_unlike() -> None:
    scene = photograph("flower.jpg", "china.jpg", BANDS, 1)
    pieces = Pieces(tuple(x[::8] for x in scene.rows), 4, 1, scene.positions)
    found = pieces.examined(pieces.agreed().start)
    assert found.route == "unlike"
    assert found.size > 20.0
    assert "look exactly like" in found.advice


@pytest.mark.slow
def test_shared_components_are_fitted_with_free_weights() -> None:
    found = shared_components((5.0,), (0.0, 0.3), (2,), m=50)
    assert {one.route for one in found} == {"weights"}
    assert max(one.free for one in found) < 0.02
    assert np.mean([one.free for one in found]) < 0.1 * np.mean([one.shared for one in found])


@pytest.mark.slow
def test_places_take_most_of_the_loss_away() -> None:
    found = unlike(("flower bands",), (4,), (0.3,), ("noise", "stuck"), (2,))
    assert {one.route for one in found} == {"unlike"}
    bad = [one for one in found if one.bad]
    assert sum(one.places for one in bad) < 0.3 * sum(one.vanilla for one in bad)
