"""Grids whose pieces are not alike: photographs in tiles and bands, and a simulated ocean.

Each scene has pieces with places, and pieces of another scene to put in their stead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.experiments.populations import dithered
from dfmr_dask.families.base import Rows
from dfmr_dask.randomness import Stage, generator

Array = NDArray[np.float64]
TILES, BANDS = (8, 8), (40, 1)
MONTHS, LATITUDES = 12, 6  # pieces of the ocean
OCEAN_ROWS = 2000  # in each
WATERS = 5
GREY = 1.0 / 255.0


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Pieces of a grid, where they lie, and pieces of another grid at the same places.

    Attributes
    ----------
    name : str
    rows, others : tuple of arrays (n_j, d)
    positions : ndarray of shape (m, 2)
    grain : float
        What rows of a stuck sensor differ by.
    """

    name: str
    rows: tuple[Rows, ...]
    others: tuple[Rows, ...]
    positions: Array
    grain: float

    def spoilt(self, kind: str, bad: Collection[int], seed: int) -> tuple[Rows, ...]:
        """Return the pieces with bad rows of a kind in some of them."""
        return tuple(
            SPOILT[kind](self, i, generator(seed, Stage.CORRUPT_ROWS, i)) if i in bad else x
            for i, x in enumerate(self.rows)
        )


def photograph(name: str, other: str, cut: tuple[int, int], seed: int) -> Scene:
    """Cut a photograph into so many rows and columns of pieces; another one at the same places."""
    one, two = (
        pieces_of(dithered(which, 1, generator(seed, Stage.SIMULATE, i)), cut)
        for i, which in enumerate((name, other))
    )
    word = "bands" if 1 in cut else "tiles"
    return Scene(f"{name.split('.', maxsplit=1)[0]} {word}", one, two, places(cut), GREY)


def pieces_of(image: NDArray[Any], cut: tuple[int, int]) -> tuple[Rows, ...]:
    """Cut an image (y, x, channel) into pieces of pixels (n, channel), row by row."""
    bands = np.array_split(image, cut[0], axis=0)
    tiles = [tile for band in bands for tile in np.array_split(band, cut[1], axis=1)]
    return tuple(tile.reshape(-1, image.shape[2]) for tile in tiles)


def places(cut: tuple[int, int]) -> Array:
    """Return the centers of pieces (m, 2) in units of pieces."""
    return np.array([(i, j) for i in range(cut[0]) for j in range(cut[1])], dtype=np.float64)


def ocean(seed: int) -> Scene:
    """Simulate twelve months by six latitudes of temperature, salinity and oxygen.

    Water masses are the components. Their shares change with latitude and season, and the surface
    warms and cools: neither shares nor means are the same in two pieces.
    """
    cut = MONTHS, LATITUDES
    mine, theirs = (_ocean_pieces(seed, which) for which in (0, 1))
    return Scene(f"ocean {seed}", mine, theirs, places(cut), 1e-3)


def _ocean_pieces(seed: int, which: int) -> tuple[Rows, ...]:
    rng = generator(seed, Stage.SIMULATE, 10 + which)
    core = rng.normal(size=(WATERS, 3)) * [6.0, 1.0, 2.0] + [12.0, 35.0, 5.0]
    roots = rng.normal(size=(WATERS, 3, 3)) * [0.8, 0.2, 0.4] * 0.5
    home, month = rng.uniform(0, LATITUDES, WATERS), rng.uniform(0, MONTHS, WATERS)
    warming = np.array([4.0, 0.4, -0.8]) * rng.uniform(0.5, 1.5, 3)
    lag = np.array([0.0, 2.0, 4.0])  # months: spring is no autumn, oxygen has its bloom
    cooling = np.array([-1.5, 0.1, 0.3]) * rng.uniform(0.5, 1.5, 3)
    out = []
    for t in range(MONTHS):
        for y in range(LATITUDES):
            season = np.cos(2 * np.pi * (t - month) / MONTHS)
            affinity = -0.5 * (y - home) ** 2 + season
            shares = np.exp(affinity - affinity.max())
            labels = rng.choice(WATERS, OCEAN_ROWS, p=shares / shares.sum())
            noise = np.einsum("nij,nj->ni", roots[labels], rng.normal(size=(OCEAN_ROWS, 3)))
            shift = warming * np.cos(2 * np.pi * (t - lag) / MONTHS) * 0.5 + cooling * y * 0.5
            out.append(core[labels] + noise + shift + rng.normal(size=(OCEAN_ROWS, 3)) * 0.05)
    return tuple(out)


def _other(scene: Scene, i: int, rng: np.random.Generator) -> Rows:
    return scene.others[i]


def _noise(scene: Scene, i: int, rng: np.random.Generator) -> Rows:
    """Uniform over the range of the scene."""
    low = np.min([x.min(axis=0) for x in scene.rows], axis=0)
    high = np.max([x.max(axis=0) for x in scene.rows], axis=0)
    x = scene.rows[i]
    return np.asarray(rng.uniform(low, high, x.shape).astype(x.dtype))


def _stuck(scene: Scene, i: int, rng: np.random.Generator) -> Rows:
    """One row of the piece again and again, within the grain of the numbers."""
    x = scene.rows[i]
    row = x[int(rng.integers(len(x)))]
    return np.asarray((row + rng.uniform(-0.5, 0.5, x.shape) * scene.grain).astype(x.dtype))


SPOILT: Mapping[str, Callable[[Scene, int, np.random.Generator], Rows]] = {
    "other": _other,
    "noise": _noise,
    "stuck": _stuck,
}
