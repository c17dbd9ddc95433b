"""The picture shows what was found; its disagreement does not depend on names of components."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import matplotlib.image as mpimg
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dfmr_dask.errors import InvalidSource
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.mixture import Mixture
from dfmr_dask.show.pictures.segmentation import (
    Segmentation,
    disagreement,
    segmentation_picture,
    thinned,
)

LABELS = arrays(np.int16, (6, 5), elements=st.integers(-1, 3))


def colors(*means: tuple[float, ...]) -> Mixture:
    params = {"means": np.array(means), "variances": np.full((len(means), len(means[0])), 0.01)}
    return Mixture(COVARIANCE_TYPES["diag"], np.full(len(means), 1 / len(means)), params)


@given(LABELS, st.permutations(range(4)))
def test_other_names_are_no_disagreement(labels: np.ndarray, names: list[int]) -> None:
    renamed = np.where(labels >= 0, np.array(names)[labels], -1)
    assert disagreement(labels, renamed) == 0.0


@given(LABELS, LABELS)
def test_disagreement_is_a_share_and_the_same_from_both_sides(a: np.ndarray, b: np.ndarray) -> None:
    assert 0.0 <= disagreement(a, b) < 1.0
    assert disagreement(a, b) == pytest.approx(disagreement(b, a))


def test_colors_are_painted_in_the_means_of_their_components(tmp_path: Path) -> None:
    labels = np.zeros((40, 60), dtype=np.int16)
    labels[:, 30:] = 1
    mixture = colors((1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    values = mixture.params["means"][labels]
    swapped = Segmentation("vanilla", 1 - labels, mixture)
    path = tmp_path / "a.png"
    segmentation_picture(
        path, values, ("r", "g", "b"), [Segmentation("x", labels, mixture), swapped]
    )
    pixels = mpimg.imread(path)[..., :3].reshape(-1, 3)
    red = (pixels == (1.0, 0.0, 0.0)).all(axis=1).sum()
    blue = (pixels == (0.0, 0.0, 1.0)).all(axis=1).sum()
    assert red > 0.1 * len(pixels)
    assert red == pytest.approx(blue, rel=0.05)


def test_missing_rows_are_grey_and_other_features_get_colors_of_their_own(tmp_path: Path) -> None:
    labels = np.full((20, 30), -1, dtype=np.int16)
    values = np.full((20, 30, 2), 300.0)
    path = tmp_path / "a.png"
    mixture = colors((300.0, 1.0))
    segmentation_picture(path, values, ("t", "s"), [Segmentation("dfmr", labels, mixture)])
    pixels = mpimg.imread(path)[..., :3].reshape(-1, 3)
    assert np.isclose(pixels, 0.85, atol=0.01).all(axis=1).mean() > 0.2


def test_large_grids_are_thinned_before_they_are_computed() -> None:
    grid = xr.DataArray(da.zeros((3000, 500, 2), chunks=(500, 500, 2)), dims=("y", "x", "feature"))
    small = thinned(grid, side=300)
    assert small.sizes == {"y": 300, "x": 50, "feature": 2}
    assert small.chunks is not None


def test_north_is_up() -> None:
    grid = xr.DataArray(
        np.arange(6).reshape(3, 2), dims=("lat", "lon"), coords={"lat": [-10, 0, 10]}
    )
    assert thinned(grid)["lat"].values.tolist() == [10, 0, -10]


def test_rows_that_lie_on_no_plane_have_no_picture() -> None:
    with pytest.raises(InvalidSource, match=r"'row'.*picture: false"):
        thinned(xr.DataArray(np.zeros((4, 2)), dims=("row", "feature")))
