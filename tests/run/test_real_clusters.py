"""Schedulers and workers in processes of their own: files, certificates, late comers, deaths."""

from __future__ import annotations

import datetime
import ipaddress
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dask.config
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dfmr_dask.command.config import configuration
from dfmr_dask.command.jobs import run
from dfmr_dask.data.source import open_source
from dfmr_dask.errors import ClusterFailed, SchedulerLost
from dfmr_dask.experiments.populations import population, write_gaussians
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.run.cluster import connected, open_tasks
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.pipeline import fit
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import InProcess
from dfmr_dask.run.waiting import Waiting
from tests.run.faults import at_work, faulty, hangs, lingers, same_bits

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(family=COVARIANCE_TYPES["full"], n_components=3, seed=1)
LOOPBACK = ["--host", "127.0.0.1"]


@contextmanager
def process(command: list[str], path: str = "", **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A process of Dask's command line, ended with all of its children."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([path, str(ROOT)])}
    environment |= {"DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "spawn"}
    started = subprocess.Popen(
        [sys.executable, "-m", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    reading = threading.Thread(target=started.stderr.read if started.stderr else print)
    reading.start()  # so that it never waits for somebody to read its log
    try:
        yield started
    finally:
        try:
            children = psutil.Process(started.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            children = []
        for one in [started, *children]:
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
        started.wait(30)
        reading.join()


@contextmanager
def scheduler(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A scheduler on the loopback that writes its address into folder/scheduler.json."""
    place = folder / "scheduler.json"
    listening = [*LOOPBACK, "--port", "0", "--dashboard-address", "127.0.0.1:0"]
    command = ["distributed.cli.dask_scheduler", *listening, "--scheduler-file", str(place)]
    with process([*command, *options], cwd=folder) as started:
        deadline = time.monotonic() + 60
        while not (place.is_file() and place.stat().st_size):
            assert started.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield started


def worker(folder: Path, *options: str, path: str = "") -> Any:
    """A worker process that finds the scheduler by its file."""
    place = str(folder / "scheduler.json")
    command = ["distributed.cli.dask_worker", "--scheduler-file", place, "--nthreads", "1"]
    command += [*LOOPBACK, "--no-dashboard", "--local-directory", str(folder)]
    return process([*command, *options], path=path, cwd=folder)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    truth = population(3, 2, separation=5.0, seed=7)
    return write_gaussians(tmp_path / "rows.zarr", truth, 4200, chunk_rows=300, seed=7)


def authority() -> tuple[Any, Any]:
    """A certificate authority of our own: its key and certificate."""
    key, name = ec.generate_private_key(ec.SECP256R1()), named("authority")
    builder = dated(x509.CertificateBuilder().subject_name(name).issuer_name(name), key)
    constraint = x509.BasicConstraints(ca=True, path_length=None)
    return key, builder.add_extension(constraint, critical=True).sign(key, hashes.SHA256())


def certificates(folder: Path) -> dict[str, str]:
    """Files of an authority, and of a certificate that it signed."""
    folder.mkdir()
    ca_key, ca = authority()
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(named("node")).issuer_name(ca.subject)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    names = x509.SubjectAlternativeName([address])
    signed = dated(builder, key).add_extension(names, critical=False).sign(ca_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "cert.pem").write_bytes(signed.public_bytes(pem))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, *plain))
    return {name: str(folder / f"{name}.pem") for name in ("ca", "cert", "key")}


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def dated(builder: x509.CertificateBuilder, key: Any) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    dates = builder.not_valid_before(now - day).not_valid_after(now + day)
    return dates.public_key(key.public_key()).serial_number(x509.random_serial_number())


def options(files: dict[str, str]) -> list[str]:
    return ["--tls-ca-file", files["ca"], "--tls-cert", files["cert"], "--tls-key", files["key"]]


def config(store: Path, folder: Path, **cluster: Any) -> Any:
    return configuration(
        {
            "source": {"path": str(store)},
            "mixture": {"n_components": 3},
            "labels": {"write": False},
            "run": {"folder": str(folder), "seed": 1},
            "cluster": cluster,
        }
    )


def test_two_workers_that_share_no_memory_and_a_scheduler_file(store: Path, tmp_path: Path) -> None:
    place = tmp_path / "scheduler.json"
    with scheduler(tmp_path), worker(tmp_path), worker(tmp_path, "--no-nanny"):
        run(config(store, tmp_path / "run", scheduler_file=str(place)))
    alone = fit(open_source(store), SETTINGS, InProcess())
    assert same_bits(Ledger.open(tmp_path / "run").model(), alone.mixture)


def test_certificates_by_configuration_alone_and_who_lacks_them_is_refused(
    store: Path, tmp_path: Path
) -> None:
    good, bad = certificates(tmp_path / "good"), certificates(tmp_path / "bad")
    place = tmp_path / "scheduler.json"
    with (
        scheduler(tmp_path, "--protocol", "tls", *options(good)),
        worker(tmp_path, "--no-nanny", *options(good)),
        worker(tmp_path, "--no-nanny", "--death-timeout", "5", *options(bad)) as stranger,
    ):
        with connected(scheduler_file=str(place), tls=good) as client:
            address = client.scheduler.address
            client.wait_for_workers(1, timeout=60)
        assert address.startswith("tls://127.0.0.1:")
        run(config(store, tmp_path / "run", address=address, tls=good))
        with dask.config.set({"distributed.comm.timeouts.connect": "3s"}):
            for wrong in (bad, None):
                with pytest.raises(ClusterFailed, match="no scheduler can be reached"):
                    connected(address, tls=wrong)
            with pytest.raises(ClusterFailed, match="no scheduler can be reached"):
                connected(address.replace("tls://", "tcp://"))
        assert stranger.wait(60) != 0
        with connected(address, tls=good) as client:
            assert len(client.nthreads()) == 1
    assert Ledger.open(tmp_path / "run").summary()


@pytest.mark.slow
def test_a_scheduler_that_dies_ends_the_run_with_its_name(store: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "scheduler.json")
    source = faulty(open_source(store), {9: hangs})
    ledger = Ledger.create(tmp_path / "run", {})
    with scheduler(tmp_path) as one, worker(tmp_path, "--no-nanny"):
        timer = threading.Thread(target=killed_after_messages, args=(one.pid, tmp_path / "run"))
        with (
            dask.config.set({"distributed.comm.timeouts.connect": "3s"}),
            pytest.raises(SchedulerLost, match="is in the run folder"),
            open_tasks(in_memory=False, scheduler_file=place) as tasks,
        ):
            timer.start()
            fit(source, SETTINGS, tasks, ledger=ledger)
        timer.join()
    assert list((tmp_path / "run" / "messages").glob("*.npz"))


def killed_after_messages(pid: int, folder: Path) -> None:
    deadline = time.monotonic() + 120
    while not list((folder / "messages").glob("*.npz")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_worker_that_joins_late_is_used_and_one_with_another_version_leaves(
    store: Path, tmp_path: Path
) -> None:
    place = str(tmp_path / "scheduler.json")
    shadow = tmp_path / "other" / "dfmr_dask"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text('__version__ = "0.0.1"')
    with (
        scheduler(tmp_path),
        worker(tmp_path, "--no-nanny"),
        open_tasks(in_memory=False, scheduler_file=place) as tasks,
        worker(tmp_path, "--no-nanny", path=str(shadow.parent)) as stranger,
        worker(tmp_path, "--no-nanny", "--name", "late"),
    ):
        slow = faulty(open_source(store), dict.fromkeys(range(14), lingers))
        assert stranger.wait(60) == 0
        result = fit(slow, SETTINGS, tasks)
        client = tasks.client  # type: ignore[attr-defined]
        client.wait_for_workers(2, timeout=60)
        assert len(client.nthreads()) == 2
        again = fit(slow, SETTINGS, tasks)
        handles = {i: tasks.submit("fit", (i,), at_work) for i in range(12)}
        assert len({pid for _, pid in tasks.results(handles)}) == 2
    alone = fit(open_source(store), SETTINGS, InProcess())
    assert same_bits(result.mixture, alone.mixture)
    assert same_bits(again.mixture, alone.mixture)
    assert result.verdict.failed == again.verdict.failed == {}


@pytest.mark.slow
def test_a_task_that_hangs_where_there_is_no_nanny(store: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "scheduler.json")
    with (
        scheduler(tmp_path),
        worker(tmp_path, "--no-nanny"),
        worker(tmp_path, "--no-nanny"),
        open_tasks(
            in_memory=False, scheduler_file=place, waiting=Waiting(partition_timeout=5.0)
        ) as tasks,
    ):
        tasks.client.wait_for_workers(2, timeout=60)  # type: ignore[attr-defined]
        result = fit(faulty(open_source(store), {3: hangs}), SETTINGS, tasks)
    told = "no answer within 5 s; its worker has no nanny that could restart it, and was let go"
    assert dict(result.verdict.failed) == {3: told}


def test_a_scheduler_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterFailed, match=r"nowhere\.json: FileNotFoundError"):
        connected(scheduler_file=str(tmp_path / "nowhere.json"))
