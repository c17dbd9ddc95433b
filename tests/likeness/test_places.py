"""Pieces that fit better elsewhere: a smooth field, and what does not belong in it."""

from __future__ import annotations

import numpy as np

from dfmr_dask.likeness.places import FEWEST_PIECES, misplaced, nearest
from tests.likeness.asking import asked, mixture

CUT = 8
POSITIONS = np.array([(i, j) for i in range(CUT) for j in range(CUT)], dtype=np.float64)
BAD = (9, 30, 44, 60)


def field(seed: int = 0) -> list[np.ndarray]:
    """Pieces whose means change slowly over the grid."""
    rng = np.random.default_rng(seed)
    return [
        mixture([0.4, 0.6], [[0.3 * y, 0.2 * x], [5.0 + 0.3 * y, 0.2 * x]]).sample(300, rng)[0]
        for y, x in POSITIONS
    ]


START = mixture([0.4, 0.6], [[1.0, 0.7], [6.0, 0.7]])


def test_nothing_is_misplaced_in_a_smooth_field() -> None:
    found = asked(field(), START, POSITIONS)
    assert found.route == "unlike"
    assert len(found.misplaced) <= 2


def test_noise_and_stuck_pieces_are_misplaced() -> None:
    rng = np.random.default_rng(1)
    noise = {i: rng.uniform(-5.0, 12.0, (300, 2)) for i in BAD}
    stuck = {i: field()[i][0] + 1e-2 * rng.standard_normal((300, 2)) for i in BAD}
    for bad in (noise, stuck):
        found = asked([bad.get(i, x) for i, x in enumerate(field())], START, POSITIONS)
        assert found.route == "unlike"
        assert set(BAD) <= set(found.misplaced)
        assert len(found.misplaced) <= len(BAD) + 4
        assert "suspect" in found.advice


def test_pieces_that_changed_places_are_misplaced() -> None:
    pieces = field()
    pieces[0], pieces[-1] = pieces[-1], pieces[0]
    assert {0, 63} <= set(asked(pieces, START, POSITIONS).misplaced)


def test_without_places_nothing_is_misplaced() -> None:
    assert not asked(field(), START).misplaced
    scores = np.random.default_rng(0).normal(size=(FEWEST_PIECES - 1,) * 2)
    widths = np.ones((FEWEST_PIECES - 1, 2))
    assert not misplaced(scores, widths, POSITIONS[: FEWEST_PIECES - 1], range(FEWEST_PIECES - 1))


def test_scores_that_are_no_numbers_do_no_harm() -> None:
    scores = np.random.default_rng(0).normal(size=(64, 64))
    scores[3], scores[:, 5], scores[7, 7] = np.nan, -np.inf, np.inf
    found = misplaced(scores, np.ones((64, 2)), POSITIONS, range(64))
    assert all(isinstance(reason, str) for reason in found.values())


def test_the_nearest_are_trusted_ones_and_nobody_itself() -> None:
    gaps = np.sqrt(((POSITIONS[:, None] - POSITIONS) ** 2).sum(axis=2))
    np.fill_diagonal(gaps, np.inf)
    trusted = np.arange(64) % 3 > 0
    near = nearest(gaps, trusted)
    assert not near[:, ~trusted].any()
    assert not np.diagonal(near).any()
    assert near.sum(axis=1).min() >= 8
