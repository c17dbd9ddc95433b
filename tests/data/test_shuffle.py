"""Laws of shuffling: the same rows in an order that the seed alone decides, whole or not there."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dfmr_dask.data import buckets, open_source, streaming
from dfmr_dask.data.shuffle import shuffled
from dfmr_dask.data.source import Source
from dfmr_dask.errors import InvalidSource, TooLittleMemory, UnreadableChunk
from tests.data.rotten import BAD, FAULTS, KINDS, PARTS, ROWS, chunk_file, written


@pytest.fixture(scope="module", autouse=True)
def small_blocks() -> Iterator[None]:
    """Let blocks and tiles be small, so that few rows are many of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "READ_BYTES", 512)
        patch.setattr(buckets, "TILE_BYTES", 512)
        yield


def array_store(path: Path, values: np.ndarray[Any, Any], chunk: int) -> Path:
    zarr.create_array(
        path, data=values, chunks=(chunk, values.shape[1]), config={"write_empty_chunks": True}
    )
    return path


def read(source: Source) -> np.ndarray[Any, Any]:
    return np.concatenate([source.rows(i)() for i in range(len(source.plan))])


def by_first(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return values[np.argsort(values[:, 0], kind="stable")]


@given(
    n=st.integers(1, 200),
    d=st.integers(1, 3),
    chunk=st.integers(5, 60),
    chunk_rows=st.integers(5, 60),
    dtype=st.sampled_from(["f4", "f8", "i2", "u1"]),
    memory=st.sampled_from(["20KiB", "40KiB", "1MiB"]),
)
def test_the_rows_are_the_same_and_memory_and_chunks_change_no_bit(
    n: int, d: int, chunk: int, chunk_rows: int, dtype: str, memory: str
) -> None:
    rng = np.random.default_rng(n)
    values = rng.integers(0, 100, (n, d)).astype(dtype)
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(array_store(Path(folder, "a"), values, chunk))
        one = shuffled(source, Path(folder, "b"), chunk_rows=chunk_rows, memory=memory)
        other = shuffled(source, Path(folder, "c"), memory="1GiB")
        new = zarr.open_array(one, mode="r")
        assert new.chunks == (min(n, chunk_rows), d)
        assert new.nchunks_initialized == new.nchunks
        assert new.dtype == values.dtype
        np.testing.assert_array_equal(new[...], zarr.open_array(other, mode="r")[...])
        rows = sorted(map(tuple, new[...].tolist()))
        assert rows == sorted(map(tuple, values.tolist()))
        assert sorted(p.name for p in Path(folder).iterdir()) == ["a", "b", "c"]


def test_rows_go_through_many_buckets_in_little_memory(tmp_path: Path, monkeypatch: Any) -> None:
    seen: set[str] = set()
    monkeypatch.setattr(
        "dfmr_dask.data.buckets.sorted_bucket",
        lambda file, record, inner=buckets.sorted_bucket: (
            seen.add(file.name), inner(file, record),
        )[1],
    )  # fmt: skip
    source = open_source(array_store(tmp_path / "a", np.arange(2000.0).reshape(-1, 1), 100))
    shuffled(source, tmp_path / "b", chunk_rows=40, memory="14KiB")
    assert len(seen) > 5


def test_the_seed_decides_the_order(tmp_path: Path) -> None:
    source = open_source(array_store(tmp_path / "a", np.arange(3000.0).reshape(-1, 1), 100))
    orders = [
        zarr.open_array(shuffled(source, tmp_path / name, seed=seed), mode="r")[:, 0]
        for name, seed in [("b", 1), ("c", 1), ("d", 2)]
    ]
    np.testing.assert_array_equal(orders[0], orders[1])
    assert (orders[0] == orders[2]).mean() < 0.01


def test_every_row_is_as_likely_at_every_place(tmp_path: Path) -> None:
    """Three rows have 6 orders, each as likely as the others; also over edges of chunks."""
    source = open_source(array_store(tmp_path / "a", np.arange(3.0).reshape(-1, 1), 2))
    found: dict[Any, int] = {}
    for seed in range(120):
        path = shuffled(source, tmp_path / str(seed), seed=seed, chunk_rows=2)
        order = tuple(zarr.open_array(path, mode="r")[:, 0])
        found[order] = found.get(order, 0) + 1
    assert len(found) == 6
    assert stats.chisquare(list(found.values())).pvalue > 1e-4


def test_chunks_of_a_sorted_source_resemble_the_whole(tmp_path: Path) -> None:
    values = np.sort(np.random.default_rng(0).normal(size=(20_000, 1)), axis=0)
    source = open_source(array_store(tmp_path / "a", values, 500))
    new = open_source(shuffled(source, tmp_path / "b", chunk_rows=500, memory="100KiB"))
    means = np.array([new.rows(i)().mean() for i in range(len(new.plan))])
    off = np.abs(means - values.mean()) / (values.std() / np.sqrt(500))
    assert len(means) == 40
    assert off.max() < 4.5
    assert (off**2).mean() == pytest.approx(1.0, abs=0.8)


def test_default_chunks_are_at_least_forty_and_of_one_size(tmp_path: Path) -> None:
    source = open_source(array_store(tmp_path / "a", np.zeros((50_000, 1)), 50_000))
    new = open_source(shuffled(source, tmp_path / "b", memory="1GiB"))
    assert {part.rows for part in new.plan.partitions} == {1250}


def named(n: int = 900) -> xr.Dataset:
    rng = np.random.default_rng(3)
    temp = rng.permutation(n).astype(np.float32).reshape(30, -1)
    return xr.Dataset(
        {
            "temp": (("t", "x"), temp, {"units": "K"}),
            "salt": (("t", "x"), 2 * temp, {"units": "psu"}),
            "area": (("t", "x"), 3.0 * temp),
        }
    )


def test_features_keep_names_units_and_dtype_and_weights_go_with_their_rows(tmp_path: Path) -> None:
    named().to_zarr(tmp_path / "a", encoding={n: {"chunks": (7, 9)} for n in named()})
    source = open_source(tmp_path / "a", sample_weight="area", features=["temp", "salt"])
    new = open_source(
        shuffled(source, tmp_path / "b", chunk_rows=70),
        sample_weight="area",
        features=["temp", "salt"],
    )
    assert (new.features, new.units, new.dtype) == (source.features, source.units, source.dtype)
    assert (new.sample_dims, new.shape) == (("row",), (900,))
    parts = [new.rows(i)() for i in range(len(new.plan))]
    x, weights = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    np.testing.assert_array_equal(np.sort(x[:, 0]), np.arange(900))
    np.testing.assert_array_equal(x[:, 1], 2 * x[:, 0])
    np.testing.assert_array_equal(weights, 3.0 * x[:, 0])


def test_any_source_that_knows_its_rows(tmp_path: Path) -> None:
    values = np.arange(900.0).reshape(-1, 3)
    frame = pd.DataFrame(values, columns=["a", "b", "c"])
    kinds = {
        "numpy": values, "pandas": frame, "dask": da.from_array(values, chunks=(40, 3)),
        "memory": xr.Dataset({name: ("n", frame[name].to_numpy()) for name in frame}),
    }  # fmt: skip
    for name, data in kinds.items():
        path = shuffled(open_source(data), tmp_path / name)
        np.testing.assert_array_equal(by_first(read(open_source(path))), values)
        assert isinstance(zarr.open(path, mode="r"), zarr.Group) == (name in ("pandas", "memory"))
    weighing = open_source(values, sample_weight=values[:, 0])
    group = xr.open_zarr(shuffled(weighing, tmp_path / "weighed"))
    np.testing.assert_array_equal(group["sample_weight"], group["x0"])
    with pytest.raises(InvalidSource, match="to_dask_array"):
        shuffled(open_source(dd.from_pandas(frame, npartitions=2)), tmp_path / "frame")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_rotten_chunk_is_named_and_nothing_is_left(tmp_path: Path, fault: Any) -> None:
    kind = KINDS[FAULTS.index(fault) % len(KINDS)]
    values = np.random.default_rng(0).normal(size=(ROWS * PARTS, 2))
    store = written(tmp_path / "a", kind, values)
    file, key = chunk_file(store, kind, BAD)
    fault(file)
    with pytest.raises(UnreadableChunk, match=key) as caught:
        shuffled(open_source(store), tmp_path / "b")
    assert "mend" in caught.value.__notes__[0]
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_missing_chunks_may_be_filled(tmp_path: Path) -> None:
    store = written(tmp_path / "a", "array v3", np.ones((ROWS * PARTS, 2)))
    chunk_file(store, "array v3")[0].unlink()
    new = shuffled(open_source(store, missing_chunks="fill"), tmp_path / "b")
    assert zarr.open_array(new, mode="r")[...].sum() == 2 * ROWS * (PARTS - 1)


@pytest.mark.parametrize("share", [0.2, 0.9], ids=["while dealing", "while writing"])
def test_interrupted_nothing_is_left(tmp_path: Path, share: float) -> None:
    def interrupt(done: int, total: int) -> None:
        if done > share * total:
            raise KeyboardInterrupt

    source = open_source(array_store(tmp_path / "a", np.zeros((3000, 2)), 100))
    with pytest.raises(KeyboardInterrupt):
        shuffled(source, tmp_path / "b", chunk_rows=50, progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_progress_counts_every_row_twice(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    source = open_source(array_store(tmp_path / "a", np.zeros((3000, 2)), 100))
    shuffled(source, tmp_path / "b", progress=lambda *one: told.append(one))
    assert told == sorted(told)
    assert told[-1] == (6000, 6000)


def test_a_flipped_bit_of_the_new_store_is_found(tmp_path: Path) -> None:
    source = open_source(array_store(tmp_path / "a", np.zeros((300, 1)), 100))
    new = shuffled(source, tmp_path / "b", chunk_rows=100)
    FAULTS[5](new / "c" / "1" / "0")
    with pytest.raises(UnreadableChunk, match="c/1/0"):
        open_source(new).rows(1)()


def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    source = open_source(array_store(tmp_path / "a", np.zeros((300, 1)), 100))
    with pytest.raises(InvalidSource, match="is there already"):
        shuffled(source, tmp_path / "a")
    with pytest.raises(TooLittleMemory, match="wanted at least"):
        shuffled(source, tmp_path / "b", memory="1KiB")
    with pytest.raises(InvalidSource, match="memory='plenty'"):
        shuffled(source, tmp_path / "b", memory="plenty")
    with pytest.raises(InvalidSource, match="chunk_rows=0"):
        shuffled(source, tmp_path / "b", chunk_rows=0)
    for name in ("../a", "row", "zarr.json", ".."):
        with pytest.raises(InvalidSource, match="cannot name a variable"):
            shuffled(open_source(np.zeros((9, 1)), features=[name]), tmp_path / "b")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


PEAK = """
import sys
from pathlib import Path
import numpy as np
from dfmr_dask.data import open_source
from dfmr_dask.data.shuffle import shuffled
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
shuffled(open_source(np.zeros((1000, 10))), sys.argv[2] + ".warm")
before = peak()
shuffled(open_source(sys.argv[1]), sys.argv[2], memory=sys.argv[3])
print(peak() - before)
"""


@pytest.mark.slow
def test_rows_take_no_more_memory_than_was_given(tmp_path: Path) -> None:
    store = zarr.create_array(
        tmp_path / "a", shape=(8_000_000, 10), chunks=(200_000, 10), dtype="f4"
    )
    rng = np.random.default_rng(0)
    for start in range(0, store.shape[0], 2_000_000):
        store[start : start + 2_000_000] = rng.standard_normal((2_000_000, 10), dtype="f4")
    done = subprocess.run(
        [sys.executable, "-c", PEAK, tmp_path / "a", tmp_path / "b", "256MiB"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert 20 < int(done.stdout) / 1024 < 256  # MiB, of 305 MiB of rows
