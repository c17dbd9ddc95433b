"""Seeded populations with known truth, written chunk by chunk into Zarr stores of any size.

A store appears under its name only when it is whole: it is written under a temporary name in the
same folder and renamed at the end. Every chunk carries a checksum (crc32c), and chunks that hold
nothing but the fill value are written too, so that a missing chunk can be told from an empty one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from sklearn.datasets import load_sample_image
from zarr.codecs import Crc32cCodec

from dfmr_dask.data.files import write_mixture
from dfmr_dask.data.stores import appearing_whole
from dfmr_dask.errors import InvalidSource
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator

RECIPE = "dfmr_recipe"  # attribute of a simulated store: what it was made from
CHANNELS = ("red", "green", "blue")
Count = Callable[[int, int], None]  # told (chunks done, chunks in all)


def nothing(done: int, total: int) -> None:
    """Tell nobody how far the writing is."""


def population(
    n_components: int,
    n_features: int,
    *,
    separation: float = 4.0,
    scales: Sequence[float] | None = None,
    seed: int = 0,
) -> Mixture:
    """Draw the true mixture of a simulation: Gaussians with covariances of their own.

    Parameters
    ----------
    n_components, n_features : int
    separation : float
        Smallest Mahalanobis distance between two means, under the mean of their covariances. Two
        components of equal weight at distance s are told apart wrongly with probability about
        Phi(-s/2): 2 overlap heavily (.16), 4 little (.02), 6 hardly at all (.001).
    scales : sequence of float, optional
        Factor of each component's standard deviations, repeated as often as needed.
    seed : int

    Returns
    -------
    Mixture
        Weights differ by a factor of at most two; eigenvalues of a covariance lie between
        .5 and 2 times its squared scale.

    Examples
    --------
    >>> from dfmr_dask.experiments.populations import population
    >>> truth = population(5, 10, seed=0)
    >>> truth.n_components, truth.n_features
    (5, 10)
    """
    rng = generator(seed, Stage.SIMULATE)
    shares = rng.uniform(1.0, 2.0, n_components)
    widths = np.resize(np.asarray(scales or [1.0], dtype=np.float64), n_components)
    covariances = np.stack([_covariance(n_features, width, rng) for width in widths])
    means = rng.standard_normal((n_components, n_features))
    means *= separation / _closest(means, covariances)
    params = {"means": means, "covariances": covariances}
    return Mixture(COVARIANCE_TYPES["full"], shares / shares.sum(), params)


def write_gaussians(
    path: Path,
    truth: Mixture,
    rows: int,
    *,
    chunk_rows: int,
    dtype: Literal["float32", "float64"] = "float64",
    seed: int = 0,
    recipe: Mapping[str, Any] | None = None,
    count: Count = nothing,
) -> Path:
    """Write rows drawn from a mixture as a Zarr array (rows x features), one chunk at a time.

    The same seed gives the same rows; only one chunk is in memory. The truth lies beside the
    store, see :func:`truth_path`.

    Raises
    ------
    InvalidSource
        When something of that name is there already.

    Examples
    --------
    >>> import tempfile, zarr
    >>> from pathlib import Path
    >>> from dfmr_dask.experiments.populations import population, write_gaussians
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_gaussians(Path(folder) / "a.zarr", population(2, 3), 100, chunk_rows=50)
    ...     zarr.open_array(path, mode="r").chunks
    (50, 3)
    """
    with appearing_whole(path) as partial:
        shape, chunks = (rows, truth.n_features), (chunk_rows, truth.n_features)
        array = _create(partial, shape, chunks, dtype, ("row", "feature"))
        array.attrs[RECIPE] = dict(recipe or {})
        total = -(-rows // chunk_rows)
        for i in range(total):
            start, stop = i * chunk_rows, min(rows, (i + 1) * chunk_rows)
            drawn, _ = truth.sample(stop - start, generator(seed, Stage.SIMULATE, i + 1))
            array[start:stop] = drawn.astype(dtype)
            count(i + 1, total)
        write_mixture(truth_path(path), truth, seed=seed, rows=rows)
    return path


def write_photographs(
    path: Path,
    *,
    chunk_rows: int,
    stride: int = 1,
    seed: int = 0,
    recipe: Mapping[str, Any] | None = None,
    count: Count = nothing,
) -> Path:
    """Write the two photographs that come with scikit-learn as a Zarr group.

    Its groups are ``photograph`` (china.jpg on its grid, y x channel), ``rows`` (the same pixels
    in a random order, so that each chunk is a random sample of them) and ``flower`` (flower.jpg
    in a random order: rows of another population). Values are grey levels / 255 plus a dither,
    uniform over one grey level, so that they are no lattice; the grid and the rows hold the same
    dithered numbers.

    Parameters
    ----------
    path : Path
    chunk_rows : int
        Pixels in a chunk of ``rows`` and ``flower``.
    stride : int
        Keep every so many-th pixel along both sides.
    seed : int

    Raises
    ------
    InvalidSource
        When something of that name is there already.
    """
    with appearing_whole(path) as partial:
        zarr.create_group(partial).attrs[RECIPE] = dict(recipe or {})
        china = dithered("china.jpg", stride, generator(seed, Stage.SIMULATE, 0))
        flower = dithered("flower.jpg", stride, generator(seed, Stage.SIMULATE, 1))
        _write_colors(partial / "photograph", china, china.shape[:2], ("y", "x"))
        for i, (name, image) in enumerate((("rows", china), ("flower", flower))):
            pixels = image.reshape(-1, 3)
            order = generator(seed, Stage.SIMULATE, 2 + i).permutation(len(pixels))
            _write_colors(partial / name, pixels[order], (chunk_rows,), ("pixel",))
            count(i + 1, 2)
    return path


def dithered(name: str, stride: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a photograph of scikit-learn's, (y, x, channel), as grey levels / 255 with a dither.

    Parameters
    ----------
    name : {"china.jpg", "flower.jpg"}
    stride : int
        Keep every so many-th pixel along both sides.
    rng : numpy.random.Generator
        The dither is uniform over one grey level, and centered: mean colors stay what they were.
    """
    grey = load_sample_image(name)[::stride, ::stride].astype(np.float64)
    noise = rng.uniform(-0.5, 0.5, grey.shape)
    return np.asarray((grey + noise) / 255.0, dtype=np.float32)


def truth_path(path: Path) -> Path:
    """Return where the true mixture of a simulated store lies: beside it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from dfmr_dask.experiments.populations import truth_path
    >>> truth_path(Path("data/simulated.zarr")).name
    'simulated.truth.npz'
    """
    return path.with_suffix(".truth.npz")


def recipe_of(path: Path) -> dict[str, Any] | None:
    """Return what a simulated store was made from; None for a store from elsewhere.

    Raises
    ------
    InvalidSource
        When there is something at ``path`` that is no Zarr store.
    """
    try:
        recipe = zarr.open(path, mode="r").attrs.get(RECIPE)
    except (OSError, ValueError) as error:  # zarr's "not found" errors are either of the two
        raise InvalidSource(f"{path} is there, but it is no Zarr store: {error}") from error
    return dict(recipe) if isinstance(recipe, Mapping) else None


def _covariance(d: int, width: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Random axes, and eigenvalues log-uniform between .5 and 2, times the squared width."""
    axes, _ = np.linalg.qr(rng.standard_normal((d, d)))
    values = np.exp(rng.uniform(np.log(0.5), np.log(2.0), d)) * width**2
    covariance = (axes * values) @ axes.T
    return np.asarray(0.5 * (covariance + covariance.T))


def _closest(means: NDArray[np.float64], covariances: NDArray[np.float64]) -> float:
    """Smallest Mahalanobis distance between two means; 1 when there is only one."""
    a, b = np.triu_indices(len(means), 1)
    if not len(a):
        return 1.0
    offset = means[a] - means[b]
    between = 0.5 * (covariances[a] + covariances[b])
    solved = np.linalg.solve(between, offset[..., None])[..., 0]
    return float(np.sqrt((offset * solved).sum(axis=1).min()))


def _write_colors(
    path: Path, values: NDArray[np.float32], chunk: tuple[int, ...], dims: tuple[str, ...]
) -> None:
    """Write colors as a group that xarray opens: the values, and coordinates of each side."""
    group = zarr.create_group(path)
    whole = (*dims, "channel")
    color = _create(path / "color", values.shape, (*chunk, len(CHANNELS)), "float32", whole)
    color[...] = values
    color.attrs["units"] = "1"
    channel = group.create_array(
        "channel", shape=(3,), dtype=str, compressors=[Crc32cCodec()], dimension_names=("channel",)
    )
    channel[...] = np.array(CHANNELS, dtype=object)
    for size, dim in zip(values.shape, dims, strict=False):
        if dim != "pixel":  # the shuffled rows have no place that a coordinate could tell
            index = _create(path / dim, (size,), (size,), "int32", (dim,))
            index[...] = np.arange(size, dtype=np.int32)


def _create(
    path: Path, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str, dims: tuple[str, ...]
) -> zarr.Array[Any]:
    return zarr.create_array(
        path,
        shape=shape,
        chunks=tuple(min(c, s) for c, s in zip(chunks, shape, strict=True)),
        dtype=dtype,
        compressors=[Crc32cCodec()],  # random numbers do not compress; a checksum they need
        fill_value=np.nan if dtype.startswith("float") else -1,  # lost chunks look like no data
        dimension_names=dims,
        config={"write_empty_chunks": True},
    )
