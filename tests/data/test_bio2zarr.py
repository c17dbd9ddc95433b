"""Stores that the field's own writer wrote, not ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dfmr_dask import BinomialMixture, open_source

msprime = pytest.importorskip("msprime")
tskit2zarr = pytest.importorskip("bio2zarr.tskit")
PEOPLE = 90


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_bio2zarr_writes_of_a_simulated_history_is_read(
    tmp_path: Path, zarr_format: int
) -> None:
    split = msprime.Demography.isolated_model([1000, 1000])
    split.add_population(name="ancestral", initial_size=1000)
    split.add_population_split(time=3000, derived=["pop_0", "pop_1"], ancestral="ancestral")
    trees = msprime.sim_ancestry(
        {"pop_0": PEOPLE // 2, "pop_1": PEOPLE // 2},
        demography=split, sequence_length=2e5, recombination_rate=1e-7, random_seed=1,
    )  # fmt: skip
    trees = msprime.sim_mutations(trees, rate=2e-7, random_seed=2)
    path = tmp_path / "history.vcz"
    tskit2zarr.convert(
        trees, path, samples_chunk_size=20, variants_chunk_size=100, zarr_format=zarr_format
    )
    source = open_source(path, kind="genotypes")
    assert [partition.rows for partition in source.plan.partitions] == [20, 20, 20, 20, 10]
    alleles = trees.genotype_matrix().reshape(trees.num_sites, PEOPLE, 2)
    rows = np.concatenate([source.rows(i)() for i in range(5)])
    np.testing.assert_array_equal(rows, (alleles > 0).sum(axis=2).T)
    for name, variant in zip(source.features, trees.variants(), strict=True):
        told = name.split(":")
        assert int(told[1]) == variant.site.position
        assert told[2:] == [variant.alleles[0], ",".join(variant.alleles[1:])]
    labels = BinomialMixture(2, random_state=0).fit_predict(rows)
    assert len(set(labels[: PEOPLE // 2])) == len(set(labels[PEOPLE // 2 :])) == 1
    assert labels[0] != labels[-1]
