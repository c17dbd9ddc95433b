"""What pages of the docs show as Python runs, and comes out as it says."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dfmr_dask.command.config import configuration
from dfmr_dask.command.schema import COMPONENTS
from dfmr_dask.families import FAMILIES

PAGE = Path(__file__).parents[1] / "docs" / "families.md"


@pytest.fixture
def table_of_families() -> Iterator[None]:
    before = dict(FAMILIES)
    yield
    FAMILIES.clear()
    FAMILIES.update(before)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


@pytest.mark.usefixtures("table_of_families")
def test_the_family_of_the_page_is_a_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.py").write_text("\n".join(blocks("python")))
    space = runpy.run_path("page.py", run_name="__main__")
    told = capsys.readouterr().out
    assert told.startswith("10 kept, 0 dropped, 0 failed; certified")
    model, kinds = space["model"], space["kinds"]
    np.testing.assert_allclose(model.failures_, kinds, rtol=0.15)
    np.testing.assert_array_equal(space["again"].failures_, model.failures_)
    family = space["Geometric"]()
    x = np.arange(400.0)[:, None]
    p, q = ({"failures": np.array([[m]])} for m in (0.7, 5.0))
    log_p, log_q = family.log_density(p, x)[:, 0], family.log_density(q, x)[:, 0]
    assert np.exp(log_p).sum() == pytest.approx(1.0, abs=1e-12)
    assert family.kl(p, q)[0, 0] == pytest.approx(np.exp(log_p) @ (log_p - log_q), abs=1e-12)
    inner = np.exp(family.log_inner_product(p, q)[0, 0])
    assert inner == pytest.approx(np.exp(log_p + log_q).sum(), abs=1e-12)
    step = 1e-6
    slope = (family.stabilized(5.0 + step) - family.stabilized(5.0)) / step
    assert slope == pytest.approx(family.variance(5.0) ** -0.5, rel=1e-5)


def test_the_configurations_of_the_page_are_understood() -> None:
    import yaml  # noqa: PLC0415

    told = blocks("yaml")[0].split("mixture:")[1:]
    made = []
    for section in told:
        mixture = yaml.safe_load("mixture:" + section)["mixture"]
        sections = {"source": {"path": "a.zarr"}, "mixture": mixture, "run": {"folder": "runs/a"}}
        made.append(configuration(sections).mixture.components().name)
    assert made == ["binomial", "categorical", "product"]
    assert set(made) < set(COMPONENTS)
