"""Exchanges about other components than Gaussians: genotypes, of which no site shows any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from dfmr_dask.data.files import read_mixture
from dfmr_dask.data.genotypes import Variants
from dfmr_dask.errors import InvalidExchange
from dfmr_dask.experiments.genotypes import write_genotypes
from dfmr_dask.families import Binomial, DiagonalGaussian, Poisson, Product
from dfmr_dask.parties import Ballot, aggregate, agree, fit_local, propose
from tests.command.calls import dfmr

BIOBANKS = tuple("ABCDEFG")
FLIPPED, TURNED = "G", "B"  # one counts the other allele and does not say so; one says it
PEOPLE, SNPS = 150, 80
FREQUENCIES = np.random.default_rng(0).uniform(0.05, 0.95, (2, SNPS))
NAMES = [f"1:{i}:A:G" for i in range(1, SNPS + 1)]


def people(site: str) -> tuple[np.ndarray, np.ndarray]:
    """The alleles of a site's people, and their populations."""
    rng = np.random.default_rng(BIOBANKS.index(site))
    who = rng.integers(2, size=PEOPLE)
    calls = rng.random((SNPS, PEOPLE, 2)) < FREQUENCIES[who].T[..., None]
    return calls.astype(np.int8), who


@pytest.fixture(scope="module")
def biobanks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A store of each site, with a variant of its own."""
    folder, out = tmp_path_factory.mktemp("biobanks"), {}
    for site in BIOBANKS:
        calls, _ = people(site)
        calls = 1 - calls if site in (FLIPPED, TURNED) else calls
        names = [name.replace("A:G", "G:A") if site == TURNED else name for name in NAMES]
        more = np.zeros((1, PEOPLE, 2), np.int8)
        variants = Variants.of([*names, f"2:{1 + BIOBANKS.index(site)}:A:G"])
        path = write_genotypes(
            folder / f"{site}.vcz", np.concatenate([calls, more]), variants, chunks=(30, 50)
        )
        out[site] = str(path)
    return out


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The variants that all sites agreed to look at, a line each."""
    path = tmp_path_factory.mktemp("panel") / "panel.txt"
    path.write_text("\n".join(NAMES) + "\n")
    return str(path)


def test_biobanks_find_the_populations_and_throw_out_who_counts_the_other_allele(
    biobanks: dict[str, str], panel: str, tmp_path: Path
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    rows = ["--kind", "genotypes", "--features-from", panel]
    what = ["--family", "binomial", "--n-components", "2"]
    for site, store in biobanks.items():
        assert dfmr("propose", store, "--site", site, *what, *rows, "-o", str(inbox)) == 0
    while isinstance(ballot := agree(inbox), Ballot):
        path = ballot.save(inbox)
        for site in ballot.asked:
            words = ["--site", site, "--kind", "genotypes", "-o", str(inbox)]
            assert dfmr("answer", str(path), biobanks[site], *words) == 0  # the ballot names them
    start = ballot.save(inbox)
    for site, store in biobanks.items():
        fit_local(store, start=start, site=site, kind="genotypes").save(inbox)
    merged = aggregate(inbox, check=False)
    assert set(merged.plain["dropped"]) == {FLIPPED}
    mixture = read_mixture(merged.save(inbox))
    assert mixture.family == Binomial(2)
    found = np.sort(mixture.params["frequencies"], axis=0)
    np.testing.assert_allclose(found, np.sort(FREQUENCIES, axis=0), atol=0.1)
    calls, who = people("A")
    labels = mixture.labels(calls.sum(axis=2).T)
    assert max(np.mean(labels == who), np.mean(labels != who)) == 1.0


def test_no_genotypes_are_in_a_proposal(biobanks: dict[str, str], tmp_path: Path) -> None:
    """Rows are few small numbers, which any file may hold by chance; eight in a row it does not."""
    told = propose(
        biobanks["A"], n_components=2, site="A", family=Binomial(2), kind="genotypes"
    ).save(tmp_path)
    text = told.read_bytes()
    counts = people("A")[0].sum(axis=2).T
    for dtype in (np.int8, np.float32, np.float64):
        for row in counts.astype(dtype):
            assert row[:16].tobytes() not in text


def test_tables_of_several_kinds_are_told_in_python(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(1)
    rows = np.column_stack([rng.normal(size=200), rng.poisson(3.0, 200)])
    table = Product(((DiagonalGaussian(), 1), (Poisson(), 1)))
    assert propose(rows, n_components=1, site="A", family=table).mixture.family == table
    zarr.create_array(str(tmp_path / "a.zarr"), data=rows, chunks=(100, 2))
    words = [str(tmp_path / "a.zarr"), "--site", "A", "--n-components", "1"]
    assert dfmr("propose", *words, "--family", "product") == 2
    assert "told in Python" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--family", "poison"], "poisson"),
        (["--family", "poisson", "--n-trials", "2"], "no option of family poisson"),
        (["--family", "categorical"], "how many levels"),
        (["--family", "binomial", "--features-from", "nowhere.txt"], "nowhere.txt cannot be read"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    words: list[str], told: str, biobanks: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    store = [biobanks["A"], "--kind", "genotypes", "--site", "A", "--n-components", "2"]
    assert dfmr("propose", *store, *words) == 2
    assert told in capsys.readouterr().err
    with pytest.raises(InvalidExchange, match="came with family"):
        propose(biobanks["A"], n_components=1, site="A", family=Poisson(), covariance_type="diag")
