"""The curve over orders: scikit-learn's criteria, errors, and which order is chosen."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dfmr_dask.data.files import plain
from dfmr_dask.errors import InvalidMessage
from dfmr_dask.selection.curve import Selection, as_plain, selected, selection_from


def curve(scores: list[float], rows: int = 1000, **settings: float) -> Selection:
    pieces = np.tile(scores, (4, 1))
    return selected(range(1, len(scores) + 1), pieces, np.ones(4), range(2, 3 * len(scores) + 1, 3),
                    rows, **settings)  # fmt: skip


def test_the_smallest_bic_is_chosen() -> None:
    found = curve([-3.0, -2.0, -1.999, -1.9985])
    assert (found.n_components, found.reason) == (2, "the smallest BIC")


def test_a_component_must_bring_what_is_asked() -> None:
    scores = [-3.0, -2.0, -1.8, -1.75, -1.74]
    assert curve(scores, rows=10**6).n_components == 5
    for gain, order in ((0.0, 5), (0.02, 4), (0.1, 3), (0.5, 2), (2.0, 1)):
        found = curve(scores, rows=10**6, min_gain=gain)
        assert found.n_components == order
    assert "less than 2" in found.reason


def test_min_gain_never_asks_for_more_than_the_bic() -> None:
    assert curve([-3.0, -2.0, -1.999], min_gain=1e-6).n_components == 2


def test_a_curve_that_still_falls_says_so() -> None:
    found = curve([-3.0, -2.0, -1.0])
    assert found.n_components == 3
    assert "still falls at 3" in found.reason


@given(seed=st.integers(0, 100), m=st.integers(2, 30))
def test_errors_of_gains_are_those_of_means(seed: int, m: int) -> None:
    pieces = np.random.default_rng(seed).normal(size=(m, 3))
    found = selected([1, 2, 3], pieces, np.ones(m), [1, 2, 3], 10 * m)
    wanted = stats.sem(np.diff(pieces, axis=1), axis=0)
    np.testing.assert_allclose(found.gain_errors[1:], wanted)
    best = pieces[:, [found.n_components - 1]]
    np.testing.assert_allclose(found.bic_errors, 20 * m * stats.sem(pieces - best, axis=0))


def test_one_piece_knows_no_error() -> None:
    found = selected([1, 2], np.array([[-2.0, -1.0]]), np.ones(1), [2, 5], 100)
    assert np.isnan(found.gain_errors).all()


def test_a_selection_survives_a_file() -> None:
    found = curve([-3.0, -2.0, -1.9], min_gain=0.5)
    again = selection_from(json.loads(json.dumps(plain(as_plain(found)))))
    for name in Selection.__slots__:
        np.testing.assert_equal(getattr(again, name), getattr(found, name))


@pytest.mark.parametrize(
    "change",
    [{"orders": [0, 1]}, {"scores": [1.0]}, {"n_components": 9}, {"left_out": 3},
     {"rows": "many"}, {"bic": [[1.0]]}],
)  # fmt: skip
def test_other_files_are_refused(change: dict[str, object]) -> None:
    told = plain(as_plain(curve([-3.0, -2.0])))
    with pytest.raises(InvalidMessage, match="no selection"):
        selection_from({**told, **change})
    with pytest.raises(InvalidMessage, match="no selection"):
        selection_from([change])
