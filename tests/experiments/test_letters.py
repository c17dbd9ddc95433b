"""Images of letters have the ink of digits, and are none."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from dfmr_dask.experiments.letters import letters


def test_letters_are_drawn_like_digits_and_are_none() -> None:
    images, digits = letters(300, seed=1), load_digits().data[:300]
    assert images.shape == digits.shape
    assert np.isin(images, np.arange(17)).all()
    np.testing.assert_array_equal(images, letters(300, seed=1))
    told = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(
        np.concatenate([images[:200], digits[:200]]), np.repeat([1, 0], 200)
    )
    assert told.score(np.concatenate([images[200:], digits[200:]]), np.repeat([1, 0], 100)) > 0.9
