"""Every example in a docstring runs, and every public module says what it is for."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import dfmr_dask

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MAIN_SURFACES = ("dfmr_dask.families", "dfmr_dask.mixture", "dfmr_dask.message")


def public_modules() -> list[str]:
    """Names of all modules but private ones; ``__main__`` would run the command line."""
    # A package that cannot be imported is listed still, and its own test tells why.
    found = pkgutil.walk_packages(dfmr_dask.__path__, "dfmr_dask.", onerror=lambda name: None)
    names = ["dfmr_dask", *(module.name for module in found)]
    return [name for name in names if not any(part.startswith("_") for part in name.split("."))]


@pytest.mark.parametrize("name", public_modules())
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # examples may write files
    module = importlib.import_module(name)
    results = doctest.testmod(module, optionflags=OPTIONS)
    assert results.failed == 0, f"{results.failed} of {results.attempted} examples of {name} failed"
    assert results.attempted > 0 or name not in MAIN_SURFACES
    assert module.__doc__, f"{name} does not say what it is for"
