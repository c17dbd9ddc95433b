"""Passwords are given to the store that wants them, and to nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import zarr

from dfmr_dask.command import preparation
from dfmr_dask.command.config import read_config
from dfmr_dask.command.schema import SourceSection
from dfmr_dask.errors import InvalidConfiguration, InvalidSource
from dfmr_dask.run.record import HIDDEN
from tests.command.calls import dfmr

SECRET = "hunter2"


def config(folder: Path, **sections: Any) -> Path:
    """Write a configuration of a store that is opened with a password, which it ignores."""
    source = {"path": f"local://{folder}/a.zarr", "storage_options": {"token": SECRET}}
    values = {
        "source": source,
        "mixture": {"n_components": 1},
        "run": {"folder": "r"},
        "labels": {"write": False},
        "aggregate": {"method": "paper"},
    }
    path = folder / "a.yaml"
    path.write_text(yaml.safe_dump(values | sections))
    return path


@pytest.fixture
def ran(here: Path) -> Path:
    rows = np.random.default_rng(0).normal(size=(6000, 2))
    zarr.create_array("a.zarr", data=rows, chunks=(500, 2))
    assert dfmr("run", str(config(here))) == 0
    return here


def test_a_run_folder_holds_no_password_and_is_of_use_without(
    ran: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [path for path in Path("r").rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert f'"token": "{HIDDEN}"' in Path("r/run.json").read_text()
    assert dfmr("aggregate", "r", "--aggregator", "vanilla") == 0
    assert dfmr("predict", "r", "a.zarr", "labels.zarr") == 0
    seen: list[Any] = []
    right = preparation.open_source

    def locked(path: str, **keys: Any) -> Any:
        seen.append(keys["storage_options"])
        if keys["storage_options"] is None:
            raise InvalidSource("access denied")
        return right(path, **keys)

    monkeypatch.setattr(preparation, "open_source", locked)
    url = f"local://{ran}/b.zarr"
    capsys.readouterr()
    assert dfmr("predict", "r", url, "again.zarr") == 1
    assert "storage options (token)" in capsys.readouterr().err
    Path("a.zarr").rename("b.zarr")
    given = ["--storage-option", f"token={SECRET}", "--storage-option", "auto_mkdir=false"]
    assert dfmr("predict", "r", url, "again.zarr", *given) == 0
    assert seen[-1] == {"token": SECRET, "auto_mkdir": False}
    assert dfmr("predict", "r", url, "third.zarr", "--storage-option", f"={SECRET}") == 2
    assert SECRET not in capsys.readouterr().err


def test_a_backend_that_tells_passwords_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    def telling(path: str, **keys: Any) -> None:
        raise InvalidSource(f"no access to https://me:pw@host with {keys['storage_options']}")

    monkeypatch.setattr(preparation, "open_source", telling)
    section = SourceSection(path="s3://a/b.zarr", storage_options={"client": {"secret": SECRET}})
    with pytest.raises(InvalidSource) as caught:
        preparation.opened(section, 0)
    assert SECRET not in str(caught.value)
    assert "me:pw" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "override",
    [
        "aggregate.compare=[oracle]",
        "corruption={attack: data, fraction: .2}",
        "corruption={attack: mean, fraction: .2, stages: [rows]}",
        f"corruption={{attack: mean, fraction: .2, replacement: {{path: 's3://me:{SECRET}@h/a', "
        f"storage_options: {{key: {SECRET}}}}}}}",
        "picture=true",
        "source.plan=random",
        f"source=[{{storage_options: {SECRET}}}]",
        f"source.storage_options={SECRET}",
        f"source.storage_options.token.deep={SECRET}",
        f"labels.storage_options=[{SECRET}]",
        f"source.storage_options.token={{{SECRET}",
        f"source.storage_options..token={SECRET}",
        f"source={{path: [], storage_options: {{key: {SECRET}}}}}",
        f"mixture=https://me:{SECRET}@host",
        f"simulate={{kind: rows, storage_options: {SECRET}}}",
    ],
)
def test_complaints_quote_no_password(here: Path, override: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        read_config(config(here), [override])
    assert SECRET not in str(caught.value)


def test_a_file_that_is_no_yaml_is_not_quoted(here: Path) -> None:
    path = here / "a.yaml"
    path.write_text(f"source:\n  storage_options: {{token: {SECRET}: x}}\n")
    with pytest.raises(InvalidConfiguration, match="line 2, column") as caught:
        read_config(path)
    assert SECRET not in str(caught.value)
