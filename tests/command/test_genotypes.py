"""``dfmr run`` on stores of genotypes, one a site, that a pattern stands for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dfmr_dask.command import jobs
from dfmr_dask.command.config import configuration
from dfmr_dask.data.genotypes import Variants
from dfmr_dask.errors import InvalidSource
from dfmr_dask.experiments.genotypes import write_genotypes
from dfmr_dask.run.ledger import Ledger

SITES, SAMPLES, SNPS = 12, 120, 60


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve sites with people of two populations; the last one took one allele for the other."""
    folder, rng = tmp_path_factory.mktemp("sites"), np.random.default_rng(0)
    frequencies = rng.uniform(0.05, 0.95, (2, SNPS))
    variants = Variants.of(f"1:{i}:A:G" for i in range(1, SNPS + 1))
    for i in range(SITES):
        who = rng.integers(2, size=SAMPLES)
        calls = (rng.random((SNPS, SAMPLES, 2)) < frequencies[who].T[..., None]).astype(np.int8)
        calls = 1 - calls if i == SITES - 1 else calls
        write_genotypes(folder / f"site{i:02d}.vcz", calls, variants, chunks=(30, SAMPLES))
    return folder


def told(path: Path, run: Path) -> dict[str, object]:
    return {
        "source": {"path": str(path), "kind": "genotypes", "plan": "chunks"},
        "mixture": {"family": "binomial", "n_trials": 2, "n_components": 2},
        "run": {"folder": str(run)},
        "cluster": {"n_workers": 1},
    }


def test_a_site_whose_alleles_are_swapped_is_thrown_out(sites: Path, tmp_path: Path) -> None:
    summary = jobs.run(configuration(told(sites / "*.vcz", tmp_path / "run")))
    assert [one["id"] for one in summary["dropped"]] == [SITES - 1]
    assert summary["features"][0] == "1:1:A:G"
    assert Ledger.open(tmp_path / "run").model().n_features == SNPS
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_pattern_that_no_store_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidSource, match="no such store"):
        jobs.run(configuration(told(tmp_path / "*.vcz", tmp_path / "run")))
