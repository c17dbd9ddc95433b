"""A segmentation beside its original, and beside what another aggregate gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dfmr_dask.errors import InvalidSource
from dfmr_dask.mixture import Mixture
from dfmr_dask.show.pictures.style import write_png

LONGEST_SIDE = 1200  # pixels of a panel; larger grids are thinned before anything is computed
MISSING = (0.85, 0.85, 0.85)  # rows with NaN or infinity
NORTH_UP = {"lat", "latitude", "nav_lat", "northing"}  # grow upward on a map; rows of images don't


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """Labels on a grid, and the mixture that they come from.

    Attributes
    ----------
    title : str
    labels : ndarray of shape (height, width)
        Number of a component, -1 where there is none.
    mixture : Mixture
    """

    title: str
    labels: NDArray[np.integer[Any]]
    mixture: Mixture


def thinned(grid: xr.DataArray, side: int = LONGEST_SIDE) -> xr.DataArray:
    """Keep every so many-th row and column of a lazy grid, so that a picture of it is small.

    Raises
    ------
    InvalidSource
        When the rows do not lie on two dimensions.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from dfmr_dask.show.pictures.segmentation import thinned
    >>> thinned(xr.DataArray(np.zeros((10, 6)), dims=("y", "x")), side=5).shape
    (5, 3)
    """
    dims = [dim for dim in grid.dims if dim != "feature"]
    if len(dims) != 2:
        raise InvalidSource(
            f"a picture needs rows on two dimensions; these lie on {dims}. Set picture: false, "
            "or name a grid in labels: {path: ..., group: ...}"
        )
    step = max(1, -(-max(grid.sizes[dim] for dim in dims) // side))
    small = grid.isel({dim: slice(None, None, step) for dim in dims})
    first = small[dims[0]].values if dims[0] in small.coords else np.arange(2)
    if str(dims[0]).lower() in NORTH_UP and len(first) > 1 and first[0] < first[-1]:
        return small.isel({dims[0]: slice(None, None, -1)})
    return small


def disagreement(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Return the share of rows that two segmentations label otherwise.

    Which component of the one is which of the other is chosen so that they agree most: labels
    are names. Rows without a label count neither way.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.show.pictures.segmentation import disagreement
    >>> disagreement(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 1]))
    0.25
    """
    both = (ours >= 0) & (theirs >= 0)
    if not both.any():
        return 0.0
    a, b = ours[both].astype(np.intp), theirs[both].astype(np.intp)
    width = int(b.max()) + 1
    together = np.bincount(a * width + b, minlength=(int(a.max()) + 1) * width).reshape(-1, width)
    rows, columns = linear_sum_assignment(together, maximize=True)
    return float(1.0 - together[rows, columns].sum() / len(a))


def segmentation_picture(
    path: Path,
    values: NDArray[Any],
    features: Sequence[str],
    segmentations: Sequence[Segmentation],
) -> None:
    """Draw the original and its segmentations side by side into a PNG file.

    Parameters
    ----------
    path : Path
    values : ndarray of shape (height, width, d)
        Three features within [0, 1] are red, green and blue, and every label is painted in the
        mean color of its component; of others the first feature is shown, and labels have
        colors of their own.
    features : sequence of str
    segmentations : sequence of Segmentation
        The first is the model's; the titles of the others tell how far they disagree with it.
    """
    colored = _is_color(values)
    figure = Figure(figsize=_size(values, 1 + len(segmentations)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 1 + len(segmentations), squeeze=False)[0]
    axes[0].set_title("original" if colored else f"original ({features[0]})")
    axes[0].imshow(_painted(values) if colored else values[..., 0], interpolation="nearest")
    for axis, one in zip(axes[1:], segmentations, strict=True):
        axis.set_title(_title(one, segmentations[0]))
        axis.imshow(_segmented(one, colored), interpolation="nearest")
    for axis in axes:
        axis.set_axis_off()
    write_png(path, figure)


def _is_color(values: NDArray[Any]) -> bool:
    """Tell colors from other features; a dither may reach beyond the range by a little."""
    finite = values[np.isfinite(values)]
    return values.shape[-1] == 3 and bool(np.all((finite > -0.01) & (finite < 1.01)))


def _painted(values: NDArray[Any]) -> NDArray[np.float64]:
    clipped = np.clip(values.astype(np.float64), 0.0, 1.0)
    return np.where(np.isfinite(values).all(axis=-1, keepdims=True), clipped, MISSING)


def _segmented(one: Segmentation, colored: bool) -> NDArray[np.float64]:
    """Paint labels; the last row of the palette is met by the label -1."""
    order = one.mixture.n_components
    if colored:
        palette = np.clip(one.mixture.params["means"], 0.0, 1.0)
    else:
        name = "tab10" if order <= 10 else "tab20" if order <= 20 else "turbo"
        shades = np.arange(order) if order <= 20 else np.linspace(0.0, 1.0, order)
        palette = mpl.colormaps[name](shades)[:, :3]
    return np.asarray(np.vstack([palette, MISSING])[one.labels.astype(np.intp)])


def _title(one: Segmentation, first: Segmentation) -> str:
    if one is first:
        return one.title
    share = 100.0 * disagreement(first.labels, one.labels)
    return f"{one.title}: {share:.1f} % of labels differ"


def _size(values: NDArray[Any], panels: int) -> tuple[float, float]:
    """Inches: panels of 4.5, higher or lower with the grid, within reason."""
    ratio = float(np.clip(values.shape[0] / values.shape[1], 0.2, 3.0))
    return 4.5 * panels, 4.5 * ratio + 0.5
