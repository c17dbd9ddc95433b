"""Pictures of mixtures: one feature, two, many; with errors and without; whatever their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dfmr_dask.aggregate.aggregators import aggregate
from dfmr_dask.aggregate.uncertainty import StandardErrors, standard_errors
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.show.pictures.mixture import (
    mixture_picture,
    plot_components,
    plot_density,
    telling_pairs,
)


def merged(kind: str, order: int, d: int, spread: float = 0.2, m: int = 5) -> StandardErrors:
    rng = np.random.default_rng(0)
    middles = 20.0 * rng.normal(size=(order, d))
    said = []
    for i in range(m):
        params = {"means": middles + spread * rng.normal(size=(order, d))}
        if kind == "diag":
            params["variances"] = np.exp(0.1 * rng.normal(size=(order, d)))
        else:
            params["covariances"] = np.tile(np.eye(d), (order, 1, 1))
        weights = rng.dirichlet(np.full(order, 1000.0))
        said.append(
            Message(i, "fitted", 5000, mixture=Mixture(COVARIANCE_TYPES[kind], weights, params))
        )
    return standard_errors(said, aggregate(said, aggregator="vanilla").parts)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=int)


@pytest.mark.parametrize(
    ("kind", "order", "d"),
    [("full", 1, 2), ("full", 12, 7), ("diag", 40, 1), ("diag", 2, 500)],
)  # fmt: skip
def test_any_mixture_has_a_picture(kind: str, order: int, d: int, tmp_path: Path) -> None:
    errors = merged(kind, order, d)
    names = [f"feature {i}" for i in range(d)]
    mixture_picture(tmp_path / "with.png", errors.mixture, names, errors)
    mixture_picture(tmp_path / "without.png", errors.mixture, names)
    one, other = pixels(tmp_path / "with.png"), pixels(tmp_path / "without.png")
    assert one.shape == other.shape
    below = slice(one.shape[0] // 8, None)  # the title differs as well
    assert np.any(one[below] != other[below])


def test_more_uncertain_means_have_larger_ellipses(tmp_path: Path) -> None:
    filled = []
    for spread in (0.05, 0.4):
        errors = merged("diag", 1, 2, spread)
        mixture_picture(tmp_path / "a.png", errors.mixture, ["x", "y"], errors)
        left = pixels(tmp_path / "a.png")[:, :600]
        filled.append(int((np.ptp(left, axis=2) > 60).sum()))
    assert filled[1] > 3 * filled[0]


@pytest.mark.parametrize("d", [1, 3])
def test_rows_with_missing_entries_are_drawn_where_they_have_some(d: int) -> None:
    mixture = merged("diag", 2, d).mixture
    rows = mixture.sample(50, np.random.default_rng(0))[0]
    some = rows.copy()
    some[10:20, 0] = np.nan
    draw = plot_density if d == 1 else plot_components
    told: dict[str, Any] = {} if d == 1 else {"pair": (0, 1)}
    axis = draw(mixture, rows=some, **told)
    wanted = draw(mixture, rows=np.delete(rows, np.s_[10:20], axis=0), **told)
    assert axis.get_xlim() == wanted.get_xlim()
    assert np.isfinite([*axis.get_xlim(), *axis.get_ylim()]).all()


def test_a_band_is_wide_where_the_density_is_uncertain(tmp_path: Path) -> None:
    grey = []
    for spread in (0.02, 0.3):
        errors = merged("full", 2, 1, spread)
        mixture_picture(tmp_path / "a.png", errors.mixture, ["x"], errors)
        left = pixels(tmp_path / "a.png")[:, :700]
        grey.append(int(np.all(left == 153, axis=2).sum()))
    assert grey[1] > 3 * max(grey[0], 1)


def test_pairs_of_features_along_which_components_differ() -> None:
    rng = np.random.default_rng(0)
    means = 0.1 * rng.normal(size=(4, 9))
    means[:, [2, 7]] += 10.0 * rng.normal(size=(4, 2))
    params = {"means": means, "variances": np.ones((4, 9))}
    pairs = telling_pairs(Mixture(COVARIANCE_TYPES["diag"], np.full(4, 0.25), params))
    assert pairs[0] == (2, 7)
    assert len({feature for pair in pairs for feature in pair}) == 6
    alone = Mixture(COVARIANCE_TYPES["diag"], [1.0], {"means": [[0.0]], "variances": [[1.0]]})
    assert telling_pairs(alone) == []
