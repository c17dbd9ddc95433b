"""Stores behind a network: lost connections are waited for, refusals are no missing chunks."""

from __future__ import annotations

import asyncio
import errno
import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import zarr
from aiohttp import ClientResponseError
from moto.server import ThreadedMotoServer

from dfmr_dask.data import remote
from dfmr_dask.data.source import open_source
from dfmr_dask.errors import SourceChanged, UnreadableChunk
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.run.pipeline import fit
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import InProcess
from tests.data.rotten import BAD, KINDS, PARTS, ROWS, chunk_file, clusters, written
from tests.data.servers import Folder, http_server

SETTINGS = Settings(family=COVARIANCE_TYPES["full"], n_components=2, seed=0)
SECRET = "hunter2hunter2"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.005)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def rows(source) -> np.ndarray:
    readers = [pickle.loads(pickle.dumps(source.rows(i))) for i in range(len(source.plan))]
    return np.concatenate([reader() for reader in readers])


def names(kind: str) -> list[str] | None:
    return ["temp", "salt"] if kind.startswith("group") else None


def test_pauses_double(monkeypatch: pytest.MonkeyPatch) -> None:
    slept, asked = [], []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def ask() -> str:
        asked.append(1)
        if len(asked) < 4:
            raise ConnectionResetError
        return "at last"

    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.25)
    monkeypatch.setattr(remote.asyncio, "sleep", sleep)
    assert asyncio.run(remote.patiently(ask)) == "at last"
    assert slept == [0.25, 0.5, 1.0]


def test_only_errors_that_may_pass_are_waited_for() -> None:
    passing = [TimeoutError(), ConnectionResetError(), OSError(errno.EBUSY, "slow down")]
    final = [FileNotFoundError(), PermissionError(), ValueError(), OSError(errno.ENOSPC, "full")]
    assert all(map(remote.may_pass, passing))
    assert not any(map(remote.may_pass, final))
    behind = OSError("translated")
    behind.__cause__ = TimeoutError()
    assert remote.may_pass(behind)


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
@pytest.mark.parametrize("kind", KINDS)
def test_stores_are_read_over_plain_http(folder: Folder, kind: str, ranges: bool) -> None:
    values = clusters(ROWS * PARTS)
    path = written(folder.root / "a.zarr", kind, values)
    if kind.startswith("group"):
        zarr.consolidate_metadata(path)  # HTTP lists nothing
    with http_server(folder, ranges) as url:
        source = open_source(f"{url}/a.zarr", features=names(kind))
        assert np.array_equal(rows(source), values)
        finer = open_source(
            f"{url}/a.zarr", features=names(kind), plan="rows", rows_per_partition=ROWS // 3
        )
        assert np.array_equal(rows(finer), values)
        file, key = chunk_file(path, kind)
        before = source.partition_fingerprints()
        kept = file.read_bytes()
        file.write_bytes(kept + b"x")
        now = source.partition_fingerprints()
        assert [i for i in before if before[i] != now[i]] == [BAD]
        file.unlink()
        with pytest.raises(UnreadableChunk, match=f"{key} of .* is missing from the store"):
            source.rows(BAD)()


@pytest.mark.parametrize(
    ("kind", "fault"),
    [("array v2", 503), ("array v3", 429), ("array v3", "cut"), ("array sharded", 500)],
)
def test_faults_that_pass_cost_nothing(folder: Folder, kind: str, fault: int | str) -> None:
    values = clusters(ROWS * PARTS)
    path = written(folder.root / "a.zarr", kind, values)
    file, _ = chunk_file(path, kind)
    with http_server(folder) as url:
        folder.break_(f"{file.relative_to(folder.root)}$", fault, times=3)
        result = fit(open_source(f"{url}/a.zarr"), SETTINGS, InProcess())
    assert not result.verdict.failed
    here = fit(open_source(path), SETTINGS, InProcess())
    assert np.array_equal(result.mixture.weights, here.mixture.weights)


@pytest.mark.parametrize(
    ("kind", "fault"), [("array v3", 500), ("array v3", "cut"), ("array sharded", 403)]
)
def test_faults_that_stay_fail_their_partition_and_are_no_missing_chunks(
    folder: Folder, kind: str, fault: int | str
) -> None:
    path = written(folder.root / "a.zarr", kind, clusters(ROWS * PARTS))
    file, key = chunk_file(path, kind)
    with http_server(folder) as url:
        folder.break_(f"{file.relative_to(folder.root)}$", fault)
        options = {"headers": {"X-Token": SECRET}}
        source = open_source(f"{url}/a.zarr", storage_options=options, missing_chunks="fill")
        result = fit(source, SETTINGS, InProcess())
        if fault != "cut":  # the size is told before the line breaks
            with pytest.raises(ClientResponseError, match=str(fault)):
                source.partition_fingerprints([BAD])
    assert list(result.verdict.failed) == [BAD]
    reason = result.verdict.failed[BAD]
    assert f"chunk {key} of the array cannot be read" in reason
    assert ("tried 4 times" in reason) == (fault != 403)
    assert SECRET not in reason


def test_busy_servers_are_waited_for_when_a_store_is_opened(folder: Folder) -> None:
    values = clusters(ROWS * PARTS)
    written(folder.root / "a.zarr", "array v3", values)
    with http_server(folder) as url:
        folder.break_("zarr.json", 503, times=2)
        source = open_source(f"{url}/a.zarr")
        assert np.array_equal(rows(source), values)
        folder.break_("zarr.json", 403)
        with pytest.raises(SourceChanged, match="metadata of the array cannot be read"):
            source.rows(0)()


@pytest.fixture(scope="module")
def s3() -> Iterator[dict]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield {
        "key": "ournameforthis",
        "secret": SECRET,
        "client_kwargs": {"endpoint_url": f"http://{host}:{port}"},
    }
    server.stop()


@pytest.mark.parametrize("kind", ["array sharded", "group v2", "group v3"])
def test_stores_in_s3(s3: dict, tmp_path: Path, kind: str) -> None:
    values = clusters(ROWS * PARTS)
    path = written(tmp_path / "a.zarr", kind, values)
    bucket = f"b{uuid.uuid4().hex}"
    fs = fsspec.filesystem("s3", **s3)
    fs.mkdir(bucket)
    fs.put(str(path), f"{bucket}/a.zarr", recursive=True)
    source = open_source(f"s3://{bucket}/a.zarr", storage_options=s3, features=names(kind))
    assert np.array_equal(rows(source), values)
    before, told = source.partition_fingerprints(), source.fingerprint()
    assert SECRET not in str(told)
    assert before == source.partition_fingerprints()
    file, key = chunk_file(path, kind)
    there = f"{bucket}/a.zarr/{file.relative_to(path)}"
    fs.pipe_file(there, file.read_bytes()[::-1])
    now = source.partition_fingerprints()
    assert [i for i in before if before[i] != now[i]] == [BAD]
    with pytest.raises(UnreadableChunk, match=f"{key} of .* cannot be decoded"):
        source.rows(BAD)()
    fs.pipe_file(there, b"")
    with pytest.raises(UnreadableChunk, match=f"{key} of .* (is empty|is cut short)"):
        source.rows(BAD)()
    fs.rm_file(there)
    result = fit(source, SETTINGS, InProcess())
    assert list(result.verdict.failed) == [BAD]
    assert f"{key} of " in result.verdict.failed[BAD]
    assert "is missing from the store" in result.verdict.failed[BAD]
    assert SECRET not in result.verdict.failed[BAD]
