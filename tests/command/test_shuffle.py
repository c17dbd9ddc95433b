"""``dfmr shuffle``: a new store of the same rows; a rotten chunk is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from tests.command.calls import dfmr


@pytest.fixture(autouse=True)
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    column = np.arange(600.0)
    data = {
        "temp": ("n", column),
        "salt": ("n", -column),
        "area": ("n", column),
        "z": ("n", column),
    }
    xr.Dataset(data).to_zarr("a.zarr", group="in", encoding={n: {"chunks": (100,)} for n in data})


def test_rows_of_a_group_are_dealt_with_their_weights(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ("--features", "temp", "--features", "salt", "--sample-weight", "area")
    sizes = ("--chunk-rows", "150", "--memory", "64MiB", "--seed", "7")
    assert dfmr("shuffle", "a.zarr", "b.zarr", "--group", "in", *asked, *sizes) == 0
    assert capsys.readouterr().out == "b.zarr\n"
    found = xr.open_zarr("b.zarr")
    assert set(found.data_vars) == {"temp", "salt", "area"}
    assert found["temp"].encoding["chunks"] == (150,)
    np.testing.assert_array_equal(found["area"], found["temp"])
    np.testing.assert_array_equal(found["salt"], -found["temp"])
    np.testing.assert_array_equal(np.sort(found["temp"]), np.arange(600.0))
    assert not (np.diff(found["temp"]) > 0).all()


def test_a_rotten_chunk_ends_it_and_a_missing_one_may_be_filled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    zarr.create_array("c.zarr", data=np.ones((600, 2)), chunks=(100, 2), fill_value=5.0)
    Path("c.zarr/c/3/0").unlink()
    assert dfmr("shuffle", "c.zarr", "d.zarr") == 1
    said = capsys.readouterr().err
    assert "c/3/0" in said
    assert "mend the chunk" in said
    assert sorted(p.name for p in Path().iterdir()) == ["a.zarr", "c.zarr"]
    assert dfmr("shuffle", "c.zarr", "d.zarr", "--missing-chunks", "fill") == 0
    assert zarr.open_array("d.zarr", mode="r")[...].sum() == 2 * (500 + 500)


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--memory", "plenty"), 1, "memory='plenty'"),
        (("--memory", "1KiB"), 1, "wanted at least"),
        (("--chunk-rows", "0"), 2, "--chunk-rows"),
        (("--seed", "-1"), 2, "--seed"),
        (("--storage-option", "anon"), 2, "KEY=VALUE"),
    ],
    ids=str,
)
def test_refusals(
    words: tuple[str, ...], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dfmr("shuffle", "a.zarr", "b.zarr", "--group", "in", *words) == code
    assert told in capsys.readouterr().err
    assert not Path("b.zarr").exists()
