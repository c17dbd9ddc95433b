"""Genotypes from stores to populations: sites that are wrong or lost, people without calls."""

from __future__ import annotations

import numpy as np
import pytest

from dfmr_dask import BinomialMixture, GaussianMixture, open_source
from dfmr_dask.corruption import Corruption
from dfmr_dask.data.genotypes import Variants
from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.experiments.genotypes import write_genotypes
from dfmr_dask.run.pipeline import Settings, fit
from dfmr_dask.run.tasks import InProcess

SITES, PEOPLE, SNPS = 12, 80, 60
FREQUENCIES = np.where(np.random.default_rng(0).random((2, SNPS)) < 0.5, 0.15, 0.8)
FREQUENCIES[:, 7] = 0.03  # so rare that a site may not have it


def calls_of(site: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(site)
    population = (rng.random(PEOPLE) < 0.4).astype(int)
    calls = rng.random((SNPS, PEOPLE, 2)) < FREQUENCIES[population].T[:, :, None]
    return calls.astype(np.int8), population


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Twelve sites: one lost a chunk, one counts the other alleles, one has odd calls."""
    folder = tmp_path_factory.mktemp("sites")
    variants = Variants.of(f"1:{100 * i + 100}:A:G" for i in range(SNPS))
    paths, populations = {}, []
    for site in range(SITES):
        calls, population = calls_of(site)
        calls[np.random.default_rng(50 + site).random(calls.shape[:2]) < 0.05] = -1
        if site == 2:
            calls = np.where(calls < 0, -1, 1 - calls)
        if site == 4:
            calls[7], calls[8, 76:, 1] = 0, -2  # does not vary; of several ploidies
            calls[:, :5] = -1  # nobody could read these
        paths[f"S{site}"] = write_genotypes(folder / f"S{site}.vcz", calls, variants)
        populations.append(population)
    (paths["S9"] / "call_genotype" / "0.0.0").unlink()
    return paths, np.concatenate(populations)


def test_sites_are_judged_and_people_labelled(written) -> None:
    paths, populations = written
    source = open_source(paths, kind="genotypes")
    settings = Settings(family=BinomialMixture(2)._family(SNPS), n_components=2, seed=0)
    result = fit(source, settings, InProcess())
    verdict = result.verdict
    assert list(verdict.failed) == [9]
    assert "0.0.0 of call_genotype" in verdict.failed[9]
    assert list(verdict.dropped) == [2]
    assert result.messages[4].dropped_rows == 5
    assert np.isfinite([gate.distances[4] for gate in verdict.gates]).all()
    found = result.mixture.params["frequencies"]
    order = np.argsort(((found[:, None] - FREQUENCIES[None]) ** 2).sum(axis=2), axis=1)[:, 0]
    assert abs(found - FREQUENCIES[order]).max() < 0.1
    good = ~np.isin(np.arange(SITES).repeat(PEOPLE), (2, 9))
    x = open_source({k: p for k, p in paths.items() if k not in ("S2", "S9")}, kind="genotypes")
    labels = order[result.mixture.labels(x.as_dataarray().values)]
    known = np.ones(good.sum(), dtype=bool)
    known[3 * PEOPLE : 3 * PEOPLE + 5] = False  # without a call
    assert (labels == populations[good])[known].mean() > 0.99


@pytest.mark.parametrize("attack", ["flipped_alleles", "shuffled_snps", "relatives"])
def test_faults_strike_at_the_rows_of_a_run(written, attack: str) -> None:
    paths, _ = written
    some = {k: p for k, p in paths.items() if k not in ("S2", "S9")}
    settings = Settings(
        family=BinomialMixture(2)._family(SNPS),
        n_components=2,
        seed=0,
        corruption=Corruption(attack, 0.3),
    )
    result = fit(open_source(some, kind="genotypes"), settings, InProcess())
    assert sorted(result.verdict.dropped) == sorted(result.byzantine)
    assert len(result.byzantine) == 3


def test_a_run_on_tables_refuses_faults_of_genotypes() -> None:
    x = np.random.default_rng(0).normal(size=(200, 2))
    model = GaussianMixture(2, n_partitions=4, corruption=Corruption("relatives", 0.3))
    with pytest.raises(InvalidConfiguration, match="for counts of alleles"):
        model.fit(x)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_honest_sites_that_lack_many_calls_are_kept_and_count_for_less(share: float) -> None:
    """A minority of sites lacks a share of its calls, so that its frequencies scatter more."""
    rng = np.random.default_rng(1)
    frequencies = rng.uniform(0.1, 0.9, (2, 800))
    who = rng.integers(2, size=12 * 150)
    x = rng.binomial(2, frequencies[who]).astype(np.int8)
    x[: 3 * 150][rng.random((3 * 150, 800)) < share] = -1
    source = open_source(x, plan="rows", rows_per_partition=150)
    model = BinomialMixture(2, random_state=0).fit(source)
    assert model.verdict_.kept == tuple(range(12))
    table = model.partitions_
    np.testing.assert_allclose(table["observed"], [1.0 - share] * 3 + [1.0] * 9, atol=0.01)
