"""Written labels are those of the mixture, and nothing looks whole that is not."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from dfmr_dask.data.files import write_mixture
from dfmr_dask.data.source import Source, open_source
from dfmr_dask.errors import FolderBusy, InvalidSource, LabelsDiffer, LabelsUnfinished
from dfmr_dask.families import Gaussian
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.events import Event
from dfmr_dask.run.label_blocks import Blocks, blocks_of
from dfmr_dask.run.label_store import write_answers
from dfmr_dask.run.labelling import LABEL, LOG_DENSITY, POSTERIOR, labels, log_density, posterior
from dfmr_dask.run.lock import locked
from dfmr_dask.run.tasks import InProcess, OnCluster

MIXTURE = Mixture(
    Gaussian(),
    [0.5, 0.3, 0.2],
    {
        "means": [[0.0, 0.0], [4.0, 4.0], [-4.0, 4.0]],
        "covariances": [np.eye(2), [[1.0, 0.5], [0.5, 2.0]], np.eye(2) * 0.5],
    },
)
ALL = (LABEL, POSTERIOR, LOG_DENSITY)
ASKED = {"label": labels, "posterior": posterior, "log_density": log_density}
HERE = InProcess()
ROWS, CHUNK = 600, 50
BLOCK = CHUNK * 16  # bytes, so that each chunk of float64 rows is a block of labels


def rows(n: int, seed: int = 0) -> np.ndarray[Any, Any]:
    x, _ = MIXTURE.sample(n, np.random.default_rng(seed))
    x[:: n // 7 + 1, 0] = np.nan
    return x


@pytest.fixture
def store(tmp_path: Path) -> Path:
    zarr.create_array(tmp_path / "x.zarr", data=rows(ROWS), chunks=(CHUNK, 2))
    return tmp_path / "x.zarr"


@pytest.fixture
def source(store: Path) -> Source:
    return open_source(store)


def written(path: Path) -> xr.Dataset:
    found: xr.Dataset = xr.open_zarr(path, chunks=None, mask_and_scale=False).load()
    return found


def files(path: Path) -> dict[str, bytes]:
    found = [one for one in path.rglob("*") if one.is_file()]
    return {str(one.relative_to(path)): one.read_bytes() for one in found}


class Stopped(BaseException):
    """An interrupt, as Ctrl-C is one."""


def stopping(after: int) -> Any:
    """Return what interrupts when so many blocks were done in this call."""
    came: list[Event] = []

    def emit(event: Event) -> None:
        came.append(event)
        if sum(not one.text for one in came) > after:
            raise Stopped

    return emit


@contextmanager
def interrupted() -> Iterator[None]:
    with pytest.raises(Stopped):
        yield


@st.composite
def grids(draw: st.DrawFn) -> tuple[xr.Dataset, dict[str, int], int, int]:
    """Small grids, their chunks, a size of blocks, and how many were chunks of a shard."""
    shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=3))
    dims = [f"dim{i}" for i in range(len(shape))]
    chunks = {dim: draw(st.integers(1, n)) for dim, n in zip(dims, shape, strict=True)}
    dtype = draw(st.sampled_from(["f4", "f8", "i2", ">f8", "u1"]))
    x = MIXTURE.sample(int(np.prod(shape)), np.random.default_rng(draw(st.integers(0, 9))))[0]
    if np.dtype(dtype).kind == "f":
        x[:: draw(st.integers(1, 9)), 1] = draw(st.sampled_from([np.nan, np.inf]))
    x = np.abs(x).astype(dtype) if dtype == "u1" else x.astype(dtype)
    both = x.reshape(*shape, 2)
    data = xr.Dataset(
        {name: (dims, both[..., i]) for i, name in enumerate("ab")},
        coords={dims[0]: np.arange(shape[0]) * 10, "place": (dims, both[..., 0] * 0 + 1)},
        attrs={"title": "small"},
    )
    return data, chunks, draw(st.integers(1, 2000)), draw(st.sampled_from([1, 1, 2]))


@given(made=grids(), kind=st.sampled_from(["store", "store", "dask", "memory"]))
@settings(max_examples=12)
def test_what_is_written_are_the_answers_bit_by_bit(
    made: tuple[xr.Dataset, dict[str, int], int, int], kind: str
) -> None:
    data, chunks, block_bytes, inner = made
    with tempfile.TemporaryDirectory() as place:
        encoding = {
            name: {"chunks": [*chunks.values()], "shards": [c * inner for c in chunks.values()]}
            for name in "ab"
        }
        data.to_zarr(
            Path(place, "x"), encoding=encoding, consolidated=False, write_empty_chunks=True
        )
        given_data: Any = {"store": Path(place, "x"), "dask": data.chunk(chunks), "memory": data}
        source = open_source(given_data[kind], features=["a", "b"])
        write_answers(Path(place, "y"), MIXTURE, source, HERE, ALL, block_bytes=block_bytes)
        found = written(Path(place, "y"))
        for name, ask in (
            ("label", labels),
            ("posterior", posterior),
            ("log_density", log_density),
        ):
            expected = ask(MIXTURE, data, features=["a", "b"])
            np.testing.assert_array_equal(found[name].values, expected.values)
            assert found[name].dims == expected.dims
        xr.testing.assert_equal(found.coords["place"], data.coords["place"].astype(float))
        xr.testing.assert_equal(found.coords["dim0"], data.coords["dim0"])
        group = zarr.open_group(Path(place, "y"), mode="r")
        for one in ("label", "posterior", "log_density"):
            array = group[one]
            assert isinstance(array, zarr.Array)
            assert array.nchunks_initialized == array.nchunks
            assert any("Crc32c" in type(codec).__name__ for codec in array.compressors)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4)), min_size=1, max_size=3),
       st.integers(1, 60))  # fmt: skip
def test_blocks_are_whole_chunks_and_hold_every_row_once(
    axes: list[tuple[int, int]], limit: int
) -> None:
    shape, chunks = tuple(n for n, _ in axes), tuple(min(n, c) for n, c in axes)
    names = [f"dim{i}" for i in range(len(shape))]
    lazy: Any = da.zeros((*shape, 1), chunks=(*chunks, 1))
    field = xr.DataArray(lazy, dims=[*names, "feature"])
    source = open_source(field, features="feature")
    blocks = blocks_of(source, source.as_dataarray(), 2, 8 * limit)
    seen = np.zeros(shape, int)
    for place in blocks:
        seen[tuple(slice(*span) for span in blocks.box(place))] += 1
    assert (seen == 1).all()
    assert len(blocks) == len(list(blocks))
    each = zip(blocks.lengths, chunks, shape, strict=True)
    assert all(m == n or m % c == 0 for m, c, n in each)
    assert np.prod(blocks.lengths) <= max(limit, np.prod(chunks))


def test_blocks_are_as_long_as_they_may_be() -> None:
    source = open_source(np.zeros((1000, 2)))
    assert blocks_of(source, source.as_dataarray(), 2, 16 * 300) == Blocks((1000,), (300,))


def test_tables_in_memory_are_answered_in_their_own_order(tmp_path: Path) -> None:
    frame = pd.DataFrame(rows(300), columns=["a", "b"]).assign(w=1.0)
    source = open_source(frame, n_partitions=5, sample_weight="w")
    write_answers(tmp_path / "y", MIXTURE, source, HERE, block_bytes=1600)
    found = written(tmp_path / "y")["label"]
    assert found.encoding["chunks"] == (100,)
    assert np.array_equal(found.values, labels(MIXTURE, frame[["a", "b"]].to_numpy()))


def test_a_cluster_writes_the_same_bytes(source: Source, tmp_path: Path, client: Client) -> None:
    events: list[Event] = []
    write_answers(tmp_path / "a", MIXTURE, source, HERE, ALL, block_bytes=BLOCK)
    write_answers(
        tmp_path / "b", MIXTURE, source, OnCluster(client), ALL, block_bytes=BLOCK,
        emit=events.append,
    )  # fmt: skip
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert [event.done for event in events] == list(range(1, len(events) + 1))
    assert {(event.stage, event.total) for event in events} == {("label", len(events))}


@given(st.lists(st.integers(0, 11), min_size=1, max_size=4))
@settings(max_examples=5)
def test_interrupted_at_any_block_it_goes_on_there(after: list[int]) -> None:
    with tempfile.TemporaryDirectory() as place:
        store, path = Path(place, "x"), Path(place, "y")
        zarr.create_array(store, data=rows(ROWS), chunks=(CHUNK, 2))
        source, done = open_source(store), 0
        for more in after:
            if done + more >= ROWS // CHUNK - 1:
                break
            with interrupted():
                write_answers(path, MIXTURE, source, HERE, block_bytes=BLOCK, emit=stopping(more))
            done += more + 1
            assert not path.exists()
        events: list[Event] = []
        write_answers(path, MIXTURE, source, HERE, block_bytes=BLOCK, emit=events.append)
        assert [e.done for e in events if not e.text] == list(range(done + 1, ROWS // CHUNK + 1))
        write_answers(Path(place, "z"), MIXTURE, source, HERE, block_bytes=BLOCK)
        assert files(path) == files(Path(place, "z"))
        assert sorted(one.name for one in Path(place).iterdir()) == ["x", "y", "z"]


KILLED = """import sys, pathlib
from dfmr_dask import open_source
from dfmr_dask.data.files import read_mixture
from dfmr_dask.run.label_store import write_answers
from dfmr_dask.run.labelling import QUESTIONS
from dfmr_dask.run.tasks import InProcess
store, model, path, block_bytes = sys.argv[1:]
write_answers(pathlib.Path(path), read_mixture(model), open_source(store), InProcess(),
              tuple(QUESTIONS.values()), block_bytes=int(block_bytes),
              emit=lambda event: print(event.done, flush=True))
"""


@pytest.mark.parametrize(
    "lines",
    [
        3,
        pytest.param(0, marks=pytest.mark.slow),
        *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 8, 11)),
    ],
)
def test_killed_at_any_moment_nothing_looks_whole_and_a_second_call_goes_on(
    source: Source, store: Path, tmp_path: Path, lines: int
) -> None:  # fmt: skip
    write_mixture(tmp_path / "model.npz", MIXTURE)
    path = tmp_path / "y"
    arguments = [str(store), str(tmp_path / "model.npz"), str(path), str(BLOCK)]
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, *arguments], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        told = [other.stdout.readline() for _ in range(lines)]
        if not lines:  # while the group is laid out
            while not list(tmp_path.glob(".y.partial/*/zarr.json")):
                assert other.poll() is None
        other.send_signal(signal.SIGKILL)
    assert all(told)
    assert not path.exists()
    write_answers(path, MIXTURE, source, HERE, ALL, block_bytes=BLOCK)
    write_answers(tmp_path / "z", MIXTURE, source, HERE, ALL, block_bytes=BLOCK)
    assert files(path) == files(tmp_path / "z")
    assert not (tmp_path / ".y.partial").exists()


@pytest.mark.parametrize("largest", [1500, 4000])  # too small for a chunk, or for the metadata
def test_a_full_disk_is_told_and_what_is_written_is_kept(
    source: Source, tmp_path: Path, largest: int
) -> None:
    path, events = tmp_path / "y", list[Event]()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with interrupted():
        write_answers(path, MIXTURE, source, HERE, ALL, block_bytes=1 << 14, emit=stopping(0))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
        with pytest.raises(LabelsUnfinished, match=r"too large.*kept in .*\.y\.partial.*go on"):
            write_answers(path, MIXTURE, source, HERE, ALL, block_bytes=1 << 14)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not path.exists()
    write_answers(path, MIXTURE, source, HERE, ALL, block_bytes=1 << 14, emit=events.append)
    assert events[0] == Event("label", 0, events[0].total, text="going on")
    assert len(events) == (1 if largest == 4000 else events[0].total)
    assert np.array_equal(written(path)["label"].values, labels(MIXTURE, source).values)


def test_a_read_only_folder_is_noticed_before_anything_is_done(source: Source) -> None:
    before = os.geteuid()
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o555)
        try:
            if not before:  # rights mean nothing to root
                os.seteuid(65534)
            with pytest.raises(PermissionError, match="Choose another place"):
                write_answers(Path(place, "y"), MIXTURE, source, HERE)
        finally:
            os.seteuid(before)
            Path(place).chmod(0o755)
        assert not list(Path(place).iterdir())


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"mixture": MIXTURE.reordered([1, 0, 2])}, "model"),
        ({"questions": (LABEL, LOG_DENSITY)}, "answers"),
        ({"block_bytes": 3 * BLOCK}, "blocks"),
        ({"source": "other"}, r"source\.location, source\.shape"),
    ],
)
def test_unfinished_labels_of_something_else_are_refused(
    source: Source, tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    path = tmp_path / "y"
    usual = {"mixture": MIXTURE, "source": source, "questions": (LABEL,), "block_bytes": BLOCK}
    with interrupted():
        write_answers(path, tasks=HERE, emit=stopping(4), **usual)
    if change.get("source"):
        zarr.create_array(tmp_path / "o.zarr", data=rows(300), chunks=(CHUNK, 2))
        change = {"source": open_source(tmp_path / "o.zarr")}
    with pytest.raises(LabelsDiffer, match=named):
        write_answers(path, tasks=HERE, **usual | change)
    assert not path.exists()
    write_answers(path, tasks=HERE, overwrite=True, **usual | change)
    mixture, about = (usual | change)["mixture"], (usual | change)["source"]
    assert np.array_equal(written(path)["label"].values, labels(mixture, about).values)


def test_another_plan_of_partitions_changes_no_label(source: Source, store: Path) -> None:
    path = store.with_name("y")
    with interrupted():
        write_answers(path, MIXTURE, source, HERE, block_bytes=BLOCK, emit=stopping(4))
    other = open_source(store, plan="rows", n_partitions=3)
    assert write_answers(path, MIXTURE, other, HERE, block_bytes=BLOCK).blocks == 12


def test_two_at_once_are_one_too_many(source: Source, tmp_path: Path) -> None:
    with locked(tmp_path / ".y.partial"), pytest.raises(FolderBusy, match=str(os.getpid())):
        write_answers(tmp_path / "y", MIXTURE, source, HERE)
    assert not (tmp_path / "y").exists()


def spoil(store: Path, *numbers: int) -> None:
    for number in numbers:
        (store / "c" / str(number) / "0").write_bytes(b"rubbish")


def test_a_rotten_chunk_costs_its_own_labels_and_is_named(
    store: Path, source: Source, tmp_path: Path
) -> None:
    expected = labels(MIXTURE, rows(ROWS))
    spoil(store, 3, 7)
    with pytest.raises(LabelsUnfinished, match=r"2 of 12 blocks could not be read; .*150:200"):
        write_answers(tmp_path / "y", MIXTURE, source, HERE, block_bytes=BLOCK, strict=True)
    assert not (tmp_path / "y").exists()
    found = write_answers(tmp_path / "y", MIXTURE, source, HERE, ALL[:1], block_bytes=BLOCK)
    assert list(found.unread) == ["row 150:200", "row 350:400"]
    assert all(found.unread.values())
    expected[150:200] = expected[350:400] = -1
    array = zarr.open_array(tmp_path / "y", path="label", mode="r")
    assert array.nchunks_initialized == 10  # what was not read is missing, and reads as -1
    labelled = written(tmp_path / "y")
    assert np.array_equal(labelled["label"].values, expected)
    assert labelled.attrs["dfmr_unread_blocks"] == 2
    assert json.loads(labelled.attrs["dfmr_unread"]) == found.unread


def test_a_missing_chunk_gets_no_labels_unless_chunks_may_be_absent(
    store: Path, source: Source, tmp_path: Path
) -> None:
    (store / "c" / "5" / "0").unlink()
    found = write_answers(tmp_path / "y", MIXTURE, source, HERE, block_bytes=BLOCK)
    assert list(found.unread) == ["row 250:300"]
    assert "missing" in found.unread["row 250:300"]
    assert (written(tmp_path / "y")["label"].values[250:300] == -1).all()
    allowed = open_source(store, missing_chunks="fill")
    assert not write_answers(tmp_path / "z", MIXTURE, allowed, HERE, block_bytes=BLOCK).unread
    (zeros,) = labels(MIXTURE, np.zeros((1, 2)))
    assert (written(tmp_path / "z")["label"].values[250:300] == zeros).all()


def test_a_store_of_which_nothing_can_be_read_gets_no_labels(
    store: Path, source: Source, tmp_path: Path
) -> None:
    spoil(store, *range(ROWS // CHUNK))
    with pytest.raises(InvalidSource, match="12 of 12 blocks could not be read"):
        write_answers(tmp_path / "y", MIXTURE, source, HERE, block_bytes=BLOCK)
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize("failures", [1, 2])
def test_tasks_that_are_lost_are_tried_once_more(tmp_path: Path, failures: int) -> None:
    tries: list[int] = []

    def shaky(block: np.ndarray[Any, Any], block_info: Any = None) -> np.ndarray[Any, Any]:
        if block_info and block_info[0]["chunk-location"][0] == 2:
            tries.append(2)
            if len(tries) <= failures:
                raise RuntimeError("lost")
        return block

    x = rows(ROWS)
    lazy = da.from_array(x, chunks=(CHUNK, 2)).map_blocks(shaky, dtype=x.dtype, meta=x[:0])
    source = open_source(lazy)
    found = write_answers(tmp_path / "y", MIXTURE, source, HERE, block_bytes=BLOCK)
    expected = labels(MIXTURE, x)
    if failures == 2:
        expected[100:150] = -1
        assert found.unread == {"row 100:150": "RuntimeError: lost"}
    assert np.array_equal(written(tmp_path / "y")["label"].values, expected)


def test_what_is_there_is_replaced_only_when_it_is_labels(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "y"
    write_answers(path, MIXTURE, source, HERE)
    before = files(path)
    assert write_answers(path, MIXTURE, source, HERE).blocks == 1  # the same: left as it is
    turned = MIXTURE.reordered([2, 1, 0])
    with pytest.raises(InvalidSource, match="holds something else"):
        write_answers(path, turned, source, HERE)
    assert files(path) == before
    write_answers(path, turned, source, HERE, overwrite=True)
    assert np.array_equal(written(path)["label"].values, labels(turned, source).values)
    assert not (tmp_path / ".y.partial").exists()
    shutil.rmtree(path)
    path.mkdir()
    (path / "precious").write_text("kept")
    for overwrite in (False, True):
        with pytest.raises(InvalidSource):
            write_answers(path, MIXTURE, source, HERE, overwrite=overwrite)
    assert (path / "precious").read_text() == "kept"


def test_a_working_folder_of_somebody_else_is_left_alone(source: Source, tmp_path: Path) -> None:
    (tmp_path / ".y.partial").mkdir()
    (tmp_path / ".y.partial" / "precious").write_text("kept")
    with pytest.raises(InvalidSource, match="holds something else"):
        write_answers(tmp_path / "y", MIXTURE, source, HERE)
    (tmp_path / ".z.partial").symlink_to(tmp_path / ".y.partial")
    with pytest.raises(InvalidSource, match="is a link"):
        write_answers(tmp_path / "z", MIXTURE, source, HERE)
    assert [one.name for one in (tmp_path / ".y.partial").iterdir()] == ["precious"]


def test_a_url_is_refused(source: Source) -> None:
    with pytest.raises(InvalidSource, match="is a URL"):
        write_answers(Path("s3://bucket/labels.zarr"), MIXTURE, source, HERE)
