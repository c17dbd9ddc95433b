"""The shape of the code: imports go one way, types and style hold, README's command is CI's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [["lint-imports"], ["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]],
    ids=" ".join,
)
def test_checkers_have_nothing_to_say(command: list[str]) -> None:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_stay_short() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / "dfmr_dask").rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 300
    }
    assert not long


def test_readme_names_every_room() -> None:
    readme = (ROOT / "README.md").read_text()
    rooms = [p.name for p in (ROOT / "dfmr_dask").iterdir() if (p / "__init__.py").exists()]
    missing = [room for room in rooms if f"`{room}/`" not in readme]
    assert not missing


def test_ci_runs_the_command_of_readme() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    commands = [line.strip() for line in lines if line.startswith("    python3 ")]
    assert commands[0].endswith("dfmr run configs/quickstart.yaml")
    assert commands[1].endswith("pytest")
    assert len(commands) == 2
