"""A store of simulated rows, written by several processes at once and kept for the next run."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import zarr

from dfmr_dask.data.stores import CODECS, appearing_whole
from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator

N_COMPONENTS, N_FEATURES, SEED = 5, 10, 0


@cache
def truth_of(overlap: float) -> Mixture:
    """Return the mixture that the rows are drawn from."""
    return population_with_overlap(N_COMPONENTS, N_FEATURES, overlap, seed=SEED)


def simulated(folder: Path, rows: int, chunk_rows: int, overlap: float, processes: int) -> Path:
    """Write rows x 10 float32 unless they are there, each chunk compressed and with a checksum.

    The low bits of the numbers are noise: compression saves next to nothing.
    """
    path = folder / f"{rows}-rows-in-{chunk_rows}-overlap-{overlap}.zarr"
    if path.exists():
        return path
    with appearing_whole(path) as unfinished:
        zarr.create_array(
            unfinished, shape=(rows, N_FEATURES), chunks=(chunk_rows, N_FEATURES), dtype="float32",
            compressors=CODECS, config={"write_empty_chunks": True},
        )  # fmt: skip
        write = partial(_write, unfinished, chunk_rows, overlap)
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            list(pool.map(write, range(-(-rows // chunk_rows)), chunksize=16))
    return path


def _write(path: Path, chunk_rows: int, overlap: float, chunk: int) -> None:
    array = zarr.open_array(path, mode="r+")
    start, stop = chunk * chunk_rows, min(array.shape[0], (chunk + 1) * chunk_rows)
    rng = generator(SEED, Stage.SIMULATE, chunk + 1)
    array[start:stop] = truth_of(overlap).sample(stop - start, rng)[0].astype("float32")
