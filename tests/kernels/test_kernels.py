"""The compiled kernel against the one in NumPy, and laws that hold for both."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dfmr_dask import kernels
from dfmr_dask.families import Family, Statistics
from dfmr_dask.families.base import take
from dfmr_dask.jit import COMPILED
from dfmr_dask.kernels import gaussian, reference
from dfmr_dask.mixture import Mixture
from tests.tables import each_family, generators, random_mixture

# Blocks leave none, one, two or three features over, with code made for their number and without;
# each number up to twelve is compiled for.
N_FEATURES = (1, 3, 12, 13, 14, 15, 16)
DTYPES = ("float64", "float32", "float16", "int16", "uint8", "int64", "bool", ">f8", "<i2")


def sums(
    g: Mixture, x: NDArray[np.generic], sample_weight: NDArray[np.float64] | None = None
) -> tuple[Statistics, float]:
    return kernels.expected_sums(g.family, g.weights, g.params, x, sample_weight)


def assert_same_sums(
    g: Mixture,
    found: tuple[Statistics, float],
    wanted: tuple[Statistics, float],
    rtol: float = 1e-10,
) -> None:
    """Compare what an M-step makes of the sums: of tied covariances only one is known."""
    assert found[1] == pytest.approx(wanted[1], rel=rtol, abs=rtol)
    np.testing.assert_allclose(found[0].count, wanted[0].count, rtol=rtol, atol=rtol)
    one, other = (g.family.from_statistics(statistics) for statistics, _ in (found, wanted))
    for name, array in one.items():
        np.testing.assert_allclose(array, other[name], rtol=rtol, atol=10 * rtol)


def test_the_kernel_that_is_tested_is_compiled() -> None:
    assert COMPILED


@each_family
@given(
    rng=generators(),
    n_components=st.integers(1, 7),
    n_features=st.sampled_from(N_FEATURES),
    n=st.sampled_from([1, 30, 319, 320, 321, 1000]),
    dtype=st.sampled_from(DTYPES),
    weighted=st.booleans(),
)
def test_both_kernels_give_the_same_sums(
    family: Family,
    rng: np.random.Generator,
    n_components: int,
    n_features: int,
    n: int,
    dtype: str,
    weighted: bool,
) -> None:
    g = random_mixture(family, n_components, n_features, rng)
    x = (np.abs(g.sample(n, rng)[0]) * 3.0).astype(dtype)
    counts = rng.uniform(0.0, 3.0, n) if weighted else None
    wanted = reference.expected_sums(family, g.weights, g.params, [(x, counts)])
    heavy = np.flatnonzero(wanted[0].count > 1e-3)  # moments of nothing at all are noise
    found = sums(g, x, counts)
    if len(heavy) == n_components:
        assert_same_sums(g, found, wanted, rtol=1e-8)
    assert found[1] == pytest.approx(wanted[1], rel=1e-10, abs=1e-10)
    np.testing.assert_allclose(found[0].count, wanted[0].count, rtol=1e-8, atol=1e-12)


@each_family
@given(rng=generators(), dtype=st.sampled_from(DTYPES), reach=st.sampled_from([1.0, 30.0, 1e3]))
def test_both_kernels_give_the_same_answers(
    family: Family, rng: np.random.Generator, dtype: str, reach: float
) -> None:
    g = random_mixture(family, 5, 6, rng)
    x = (reach * np.abs(rng.standard_normal((250, 6)))).astype(dtype)
    wanted = np.empty(250), np.empty((250, 5)), np.empty(250, dtype=np.intp)
    reference.answers(family, g.weights, g.params, x, wanted)
    np.testing.assert_allclose(g.log_density(x), wanted[0], rtol=1e-10)
    np.testing.assert_allclose(g.responsibilities(x), wanted[1], rtol=1e-6, atol=1e-12)
    top_two = np.sort(wanted[1], axis=1)[:, -2:]
    clear = top_two[:, 1] - top_two[:, 0] > 1e-6
    np.testing.assert_array_equal(g.labels(x)[clear], wanted[2][clear])


@each_family
@given(rng=generators())
def test_a_row_of_weight_two_is_the_row_twice_and_of_weight_zero_is_absent(
    family: Family, rng: np.random.Generator
) -> None:
    g = random_mixture(family, 3, 4, rng)
    x, _ = g.sample(600, rng)
    counts = rng.integers(0, 4, 600)
    assert_same_sums(g, sums(g, x, counts.astype(float)), sums(g, np.repeat(x, counts, axis=0)))
    overall = kernels.overall_statistics(family, x, counts.astype(float))
    repeated = kernels.overall_statistics(family, np.repeat(x, counts, axis=0))
    np.testing.assert_allclose(overall.moments["means"], repeated.moments["means"], rtol=1e-10)


@each_family
def test_blocks_give_the_sums_of_all_their_rows(family: Family) -> None:
    rng = np.random.default_rng(0)
    g = random_mixture(family, 4, 5, rng)
    x, _ = g.sample(3000, rng)
    counts = rng.uniform(size=3000)
    cuts = [slice(0, 10), slice(10, 1711), slice(1711, 1711), slice(1711, 3000)]
    blocks = [(x[cut].copy(), counts[cut].copy()) for cut in cuts]
    found = kernels.expected_sums(family, g.weights, g.params, blocks)
    assert_same_sums(g, found, sums(g, x, counts), rtol=1e-12)


@each_family
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_scale_and_offset_of_the_rows_cost_no_digits(
    family: Family, scale: float, offset: float
) -> None:
    """Rows are whole numbers over 256, so that shifting and scaling them is exact."""
    rng = np.random.default_rng(1)
    g = random_mixture(family, 3, 5, rng)
    scale = 2.0 ** np.round(np.log2(scale))
    x = np.round(g.sample(2000, rng)[0] * 256) / 256
    moved = {"means": (np.round(g.params["means"] * 256) / 256 + offset) * scale}
    means = moved["means"] / scale - offset
    moved |= {k: v * scale**2 for k, v in g.params.items() if k != "means"}
    here = Mixture(family, g.weights, dict(g.params) | {"means": means})
    there = Mixture(family, g.weights, moved)
    logs = here.log_density(x) - 5 * np.log(scale)
    np.testing.assert_allclose(there.log_density((x + offset) * scale), logs, rtol=1e-11)
    (one, _), (other, _) = sums(here, x), sums(there, (x + offset) * scale)
    np.testing.assert_allclose(other.count, one.count, rtol=1e-10)
    for name in set(g.params) - {"means"}:
        seen, wanted = other.moments[name] / scale**2, one.moments[name]
        np.testing.assert_allclose(seen, wanted, rtol=1e-9, atol=1e-9)


@each_family
def test_float32_work_is_right_to_float32(family: Family) -> None:
    rng = np.random.default_rng(2)
    g = random_mixture(family, 4, 6, rng)
    x = (g.sample(5000, rng)[0] + 1000.0).astype(np.float32)
    far = Mixture(family, g.weights, dict(g.params) | {"means": g.params["means"] + 1000.0})
    single = kernels.expected_sums(family, far.weights, far.params, x, work=np.float32)
    double = sums(far, x)
    assert single[1] == pytest.approx(double[1], rel=1e-5)
    np.testing.assert_allclose(single[0].count, double[0].count, rtol=1e-3)
    assert any(np.any(single[0].moments[k] != v) for k, v in double[0].moments.items())


@each_family
def test_rows_that_are_impossible_have_no_likelihood(family: Family) -> None:
    g = random_mixture(family, 2, 2, np.random.default_rng(3))
    x = np.full((3, 2), 1e200)
    with np.errstate(over="ignore", invalid="ignore"):
        assert (g.log_density(x) == -np.inf).all()
        assert sums(g, x)[1] == -np.inf
    assert np.isfinite(g.responsibilities(x)).all()


@each_family
def test_any_thread_gives_the_same_bits(family: Family) -> None:
    rng = np.random.default_rng(4)
    g = random_mixture(family, 4, 9, rng)
    x, _ = g.sample(20_000, rng)
    here, total = sums(g, x)
    with ThreadPoolExecutor(4) as pool:
        many = list(pool.map(lambda _: sums(g, x.copy()), range(8)))
    for there, other in many:
        assert other == total
        np.testing.assert_array_equal(there.count, here.count)
        for name, array in here.moments.items():
            np.testing.assert_array_equal(there.moments[name], array)


@each_family
def test_relabelling_relabels_the_sums(family: Family) -> None:
    rng = np.random.default_rng(5)
    g = random_mixture(family, 5, 3, rng)
    x, _ = g.sample(500, rng)
    order = rng.permutation(5)
    found, total = sums(g.reordered(order), x)
    wanted, same = sums(g, x)
    assert total == pytest.approx(same, rel=1e-13)
    np.testing.assert_allclose(found.count, wanted.count[order], rtol=1e-12)
    for name, array in take(wanted.moments, order).items():
        np.testing.assert_allclose(found.moments[name], array, rtol=1e-9, atol=1e-12)


@each_family
@pytest.mark.parametrize("dtype", ["float64", "uint8"])
def test_scratch_memory_does_not_grow_with_the_rows(family: Family, dtype: str) -> None:
    """Rows of other dtypes are converted in blocks, and nothing of size n x K is ever held."""
    g = random_mixture(family, 20, 10, np.random.default_rng(6))
    x = np.random.default_rng(7).integers(0, 5, (200_000, 10)).astype(dtype)
    sums(g, x[:200])
    tracemalloc.start()
    sums(g, x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20 < 200_000 * 20 * 8


@pytest.mark.slow
def test_a_second_process_compiles_nothing_until_a_source_has_changed(tmp_path: Path) -> None:
    """Code that is kept knows of the files that it was made from, not only of its own.

    And it comes to the same bits as the code that was just made.
    """
    program = (
        "import sys, zlib\n"
        "checksum, more = zlib.crc32, int(sys.argv[1])\n"
        "zlib.crc32 = lambda sources: checksum(sources + b'#' * more)\n"
        "import numpy as np\n"
        "from dfmr_dask.kernels import compiled, expected_sums\n"
        "from dfmr_dask.families import Gaussian\n"
        "x = np.random.default_rng(0).normal(size=(3001, 3))\n"
        "one = {'means': x[:4], 'covariances': np.stack([np.cov(x[:99].T)] * 4)}\n"
        "sums, _ = expected_sums(Gaussian(), np.full(4, 0.25), one, x)\n"
        "stats = compiled.add_up.stats\n"
        "print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))\n"
        "print(checksum(sums.moments['covariances'].tobytes()))\n"
    )
    environment = {"NUMBA_CACHE_DIR": str(tmp_path), "PATH": ""}
    told = [
        subprocess.run(
            [sys.executable, "-c", program, changed],
            env=environment, capture_output=True, text=True, check=True,
        ).stdout.split()
        for changed in ("0", "0", "1")
    ]  # fmt: skip
    assert [counts for *counts, _ in told] == [["0", "1"], ["1", "0"], ["0", "1"]]
    assert len({bits for *_, bits in told}) == 1  # whether code was just made, or read from disk


def test_without_numba_everything_is_computed_in_numpy() -> None:
    program = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np\n"
        "import dfmr_dask\n"
        "from dfmr_dask.jit import COMPILED\n"
        "x = np.random.default_rng(0).normal(size=(600, 2))\n"
        "x[::2] += 7.0\n"
        "model = dfmr_dask.GaussianMixture(2, n_partitions=3, random_state=0).fit(x)\n"
        "labels = set(model.predict(x[:9]).tolist())\n"
        "print(COMPILED, model.weights_.round(2).tolist(), len(labels))\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["False", "[0.5,", "0.5]", "2"]


def test_a_tile_is_never_a_power_of_two() -> None:
    for d in range(1, 300):
        z = gaussian.scratch_memory(0, 3, d, np.dtype(np.float64))[0]
        assert z.shape[0] == d
        assert z.shape[1] % 16 == 0
        assert z.shape[1] not in (64, 128, 256)


@each_family
@given(rng=generators(), dtype=st.sampled_from(DTYPES), weighted=st.booleans())
def test_both_kernels_give_the_same_overall_statistics(
    family: Family, rng: np.random.Generator, dtype: str, weighted: bool
) -> None:
    x = (40.0 * rng.uniform(size=(3000, 4))).astype(dtype)
    x[:, 3] = x[0, 3]  # a column that is constant is told as such
    counts = rng.uniform(size=3000) if weighted else None
    found = kernels.overall_statistics(family, x, counts)
    wanted = reference.overall_statistics(family, x, counts)
    np.testing.assert_allclose(found.count, wanted.count, rtol=1e-12)
    for name, array in wanted.moments.items():
        np.testing.assert_allclose(found.moments[name], array, rtol=1e-9, atol=1e-9)


def test_code_is_compiled_even_where_it_can_be_kept_nowhere() -> None:
    """Installations may be read-only, and their users may have no folder of their own."""
    program = (
        "import numba.core.caching as caching\n"
        "def refuse(self): raise OSError('read-only')\n"
        "for locator in caching.CacheImpl._locator_classes: locator.ensure_cache_path = refuse\n"
        "import numpy as np\n"
        "from dfmr_dask.families.factors import factors\n"
        "print(factors(np.array([[[4.0]]]))[0].ravel())\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert told.stdout == "[2.]\n", told.stderr
