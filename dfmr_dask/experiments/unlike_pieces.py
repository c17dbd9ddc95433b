"""Stores whose pieces are not alike: pictures in tiles and bands, an ocean with seasons.

Each cell compares ``plan="auto"`` with ``plan="chunks"`` and with keeping everything, by how many
nats a row they fall short of the best fit to all honest rows (EVIDENCE 11).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from dfmr_dask.data.source import Source, open_source
from dfmr_dask.experiments.photograph import FULL, Reference
from dfmr_dask.experiments.populations import dithered
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.pipeline import Settings, fit
from dfmr_dask.run.results import Result
from dfmr_dask.run.tasks import InProcess

Grid = NDArray[np.float32]  # (sample dimensions..., feature)
TILES, BANDS = (54, 80), (11, 640)  # 8 x 8, and 39 of the photographs' 427 x 640 pixels
ORDERS = (4, 8)


@dataclass(frozen=True, slots=True)
class Loss:
    """Nats a row below the best fit to all honest rows; negative is better than anyone found.

    ``auto``, ``chunks``, ``places``: runs with that setting; ``all``: the fit to all rows, bad
    ones among them, from the best start.
    """

    case: str
    route: str
    auto: float
    places: float
    chunks: float
    all: float
    seconds: float

    def __str__(self) -> str:
        """Return one line of a table."""
        return (
            f"{self.case}: route {self.route}, auto {self.auto:+.4f}, places {self.places:+.4f}, "
            f"all {self.all:+.4f}, chunks {self.chunks:+.4f} ({self.seconds:.0f} s)"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A grid in chunks, and which of its chunks are bad.

    Attributes
    ----------
    grid : ndarray of shape (sample dimensions..., d)
    chunk : tuple of int
        Of the sample dimensions.
    dims : tuple of str
    bad : mask of the same sample dimensions
    """

    grid: Grid
    chunk: tuple[int, ...]
    dims: tuple[str, ...]
    bad: NDArray[np.bool_]

    def source(self, folder: Path, plan: str | None = None) -> Source:
        """Write the grid as a Zarr array, if it is not there, and open it."""
        if not folder.exists():
            array = zarr.create_array(
                folder,
                shape=self.grid.shape,
                chunks=(*self.chunk, self.grid.shape[-1]),
                dtype="float32",
                dimension_names=(*self.dims, "feature"),
            )
            array[...] = self.grid
        return open_source(zarr.open_array(folder, mode="r"), features="feature", plan=plan)

    @property
    def honest(self) -> Grid:
        """Rows (n, d) of good chunks."""
        return np.asarray(self.grid[~self.bad])


def tiled(name: str, chunk: tuple[int, int], seed: int) -> Scene:
    """Return a photograph of scikit-learn's in chunks, none of them bad."""
    grid = dithered(name, 1, generator(seed, Stage.SIMULATE, int(name != "china.jpg")))
    return Scene(grid, chunk, ("y", "x"), np.zeros(grid.shape[:2], dtype=bool))


def ocean(seed: int, shape: tuple[int, int, int] = (72, 40, 60), chunk: int = 12) -> Scene:
    """Return temperature and salinity on (time, lat, lon): seasons, belts, a warming, and fronts.

    Months of six years; water masses drift in place and in temperature, so that no two chunks of
    a year by 10 by 15 places are samples of one thing.
    """
    rng = generator(seed, Stage.SIMULATE)
    t, y, x = (
        np.linspace(0.0, 1.0, n)[s] for n, s in zip(shape, np.ix_(*map(range, shape)), strict=True)
    )
    season = np.sin(2 * np.pi * np.arange(shape[0]) / 12.0)[:, None, None]
    front = 0.45 + 0.12 * np.sin(2 * np.pi * (1.5 * x + t)) + 0.05 * season
    warm = y < front
    eddy = np.sin(9 * x + 7 * y + 4 * np.pi * t) > 0.75
    temperature = 24.0 - 14.0 * y + 2.5 * season * y + 1.5 * t + 3.0 * warm - 2.0 * eddy
    salinity = 35.0 + 1.2 * warm - 0.8 * y + 0.3 * np.cos(2 * np.pi * x) - 0.6 * eddy
    noise = rng.normal(0.0, (0.4, 0.08), (*shape, 2))
    grid = np.stack(np.broadcast_arrays(temperature, salinity), axis=-1) + noise
    return Scene(
        grid.astype(np.float32),
        (chunk, 10, 15),
        ("time", "lat", "lon"),
        np.zeros(shape, dtype=bool),
    )


def spoiled(scene: Scene, kind: str, share: float, seed: int) -> Scene:
    """Make a share of the chunks bad.

    Parameters
    ----------
    scene : Scene
    kind : {"other", "noise", "stuck", "units", "swapped"}
        The same place of the other photograph; uniform noise over the range; the chunk's first
        row, with a little noise, everywhere; a factor of 1.8; the features in another order.
    share : float
    seed : int
    """
    rng = generator(seed, Stage.BYZANTINE)
    spans = [
        [slice(a, a + c) for a in range(0, n, c)]
        for n, c in zip(scene.bad.shape, scene.chunk, strict=True)
    ]
    boxes = [
        tuple(axis[i] for axis, i in zip(spans, index, strict=True))
        for index in np.ndindex(*map(len, spans))
    ]
    grid, bad = scene.grid.copy(), scene.bad.copy()
    for i in rng.permutation(len(boxes))[: round(share * len(boxes))]:
        box = boxes[int(i)]
        grid[box] = SPOILERS[kind](scene.grid, box, rng)
        bad[box] = True
    return Scene(grid, scene.chunk, scene.dims, bad)


Box = tuple[slice, ...]
Spoiler = Callable[[Grid, Box, np.random.Generator], Any]


def _other(grid: Grid, box: Box, rng: np.random.Generator) -> Any:
    names = ("china.jpg", "flower.jpg")
    far = [
        abs(float(dithered(n, 8, generator(0, Stage.SIMULATE)).mean()) - float(grid.mean()))
        for n in names
    ]
    return dithered(names[int(np.argmax(far))], 1, rng)[box]


def _noise(grid: Grid, box: Box, rng: np.random.Generator) -> Any:
    flat = grid.reshape(-1, grid.shape[-1])
    return rng.uniform(flat.min(axis=0), flat.max(axis=0), grid[box].shape)


def _stuck(grid: Grid, box: Box, rng: np.random.Generator) -> Any:
    first = grid[box].reshape(-1, grid.shape[-1])[0]
    return first + rng.normal(0.0, 0.01, grid[box].shape) * grid.std(
        axis=tuple(range(grid.ndim - 1))
    )


SPOILERS: Mapping[str, Spoiler] = {
    "other": _other,
    "noise": _noise,
    "stuck": _stuck,
    "units": lambda grid, box, rng: grid[box] * 1.8,
    "swapped": lambda grid, box, rng: grid[box][..., ::-1],
}


def measured(case: str, scene: Scene, order: int, seed: int) -> Loss:
    """Fit a scene in each way, and print and return how far each falls short."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sources = {
            plan: scene.source(Path(folder) / "store.zarr", plan) for plan in (None, "chunks")
        }
        runs = {
            "auto": _run(sources[None], order, seed),
            "places": _run(sources[None], order, seed, places="drop"),
            "chunks": _run(sources["chunks"], order, seed),
        }
    rows = scene.honest
    reference = Reference.of(rows, order, seed)
    reference.tell(*(one.mixture for one in runs.values()))
    everything = reference
    if scene.bad.any():
        everything = Reference.of(scene.grid.reshape(-1, scene.grid.shape[-1]), order, seed)
        everything.tell(*(one.mixture for one in runs.values()))
    found = {name: reference.best - one.mixture.score(rows) for name, one in runs.items()}
    found["all"] = reference.best - everything.optima[0].mixture.score(rows)
    way = runs["auto"].way
    route = "forced" if way is None else way.likeness.route
    out = Loss(case, route, seconds=time.perf_counter() - began, **found)
    print(out, flush=True)
    return out


def _run(source: Source, order: int, seed: int, **more: Any) -> Result:
    return fit(source, Settings(family=FULL, n_components=order, seed=seed, **more), InProcess())


SCENES: Mapping[str, Callable[[int], Scene]] = {
    "china in tiles": partial(tiled, "china.jpg", TILES),
    "china in bands": partial(tiled, "china.jpg", BANDS),
    "flower in tiles": partial(tiled, "flower.jpg", TILES),
    "flower in bands": partial(tiled, "flower.jpg", BANDS),
    "ocean": ocean,
}


def unlike_pieces(
    names: Sequence[str] = tuple(SCENES),
    orders: Sequence[int] = ORDERS,
    kinds: Sequence[str] = ("other", "noise", "stuck", "units", "swapped"),
    alphas: Sequence[float] = (0.0, 0.1, 0.3),
    seeds: Sequence[int] = (0,),
) -> list[Loss]:
    """Measure runs on stores whose pieces are not alike, with good pieces and with bad ones."""
    return [measured(*cell) for cell in _cells(names, orders, kinds, alphas, seeds)]


def _cells(
    names: Sequence[str],
    orders: Sequence[int],
    kinds: Sequence[str],
    alphas: Sequence[float],
    seeds: Sequence[int],
) -> Iterator[tuple[str, Scene, int, int]]:
    for seed in seeds:
        for name in names:
            scene = SCENES[name](seed)
            for order in orders:
                case = f"seed {seed} {name}, K={order}"
                if 0.0 in alphas:
                    yield case, scene, order, seed
                for kind in kinds:
                    for alpha in (a for a in alphas if a):
                        if kind == "other" and name == "ocean":
                            continue  # there is no other one
                        told = f"{case}, {alpha:.0%} {kind}"
                        yield told, spoiled(scene, kind, alpha, seed), order, seed
