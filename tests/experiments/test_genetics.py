"""Simulated people out of Africa: their history, and faults of genotypes beside the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from dfmr_dask.experiments.ancestry import (
    POPULATIONS,
    RAREST,
    as_mixture,
    drifted,
    frequencies,
    history,
    people,
)
from dfmr_dask.experiments.cells import Attack
from dfmr_dask.experiments.genetic_faults import genetic_faults, own_faults
from dfmr_dask.genetics import pairwise_fst


@pytest.fixture(scope="module")
def simulated() -> np.ndarray:
    return frequencies(300, seed=0, people=60)


def test_populations_lie_as_far_apart_as_people_do(simulated: np.ndarray) -> None:
    fst = pairwise_fst(as_mixture(simulated))
    near = [fst[1, 2], fst[3, 4]]
    far = [fst[0, 1], fst[0, 3], fst[1, 3], fst[2, 4]]
    assert max(near) < 0.03  # of which a half is that 60 people were counted
    assert min(far) > 0.07
    assert max(far) < 0.25


def test_no_frequency_is_nothing_or_all_and_no_allele_is_rare(simulated: np.ndarray) -> None:
    assert simulated.shape == (len(POPULATIONS), 300)
    assert simulated.min() > 0.0
    assert simulated.max() < 1.0
    overall = simulated.mean(axis=0)
    assert np.minimum(overall, 1.0 - overall).min() > 0.9 * RAREST
    assert np.array_equal(simulated[:, :20], frequencies(20, seed=0, people=60))


def test_other_populations_are_near_and_not_the_same(simulated: np.ndarray) -> None:
    away = pairwise_fst(as_mixture(np.stack([simulated[0], drifted(simulated, 0)[0]])))[0, 1]
    assert 0.02 < away < 0.15


def test_people_have_two_alleles_at_places_in_order() -> None:
    found = people(20, seed=3, contigs=4, length=20_000)
    v, n, _ = found.calls.shape
    assert n == 100
    assert set(np.unique(found.calls)) == {0, 1}
    assert np.bincount(found.population).tolist() == [20] * 5
    assert found.contig.shape == found.position.shape == (v,)
    for contig in np.unique(found.contig):
        assert (np.diff(found.position[found.contig == contig]) > 0).all()
    share = found.calls.mean(axis=(1, 2))
    assert np.minimum(share, 1 - share).min() >= RAREST


def test_a_history_in_the_wrong_order_is_refused() -> None:
    with pytest.raises(ValueError, match="in order"):
        history((300.0, 200.0))


def test_faults_are_found_and_leave_what_the_oracle_has(monkeypatch, capsys) -> None:
    few = {"seeds": [0], "n_snps": 300, "sites": 10, "people": 200}
    faults = [Attack("flipped", "flipped_alleles"), Attack("read", "missing_as_reference")]
    none, *others = genetic_faults(**few, alphas=(0.3,), faults=faults)
    assert (none.fault, none.alpha) == ("none", 0.0)
    for one in others:
        assert one.byzantine_kept == 0.0
        assert one.ratio < 1.2
        assert one.vanilla > 1.5
    assert "flipped" in capsys.readouterr().out


@pytest.mark.slow
def test_flips_of_every_site_are_mended_and_lacking_populations_are_no_fault() -> None:
    for seed in (0, 1):
        flips, lacking = own_faults(seeds=[seed], shares=(0.05,), n_snps=1000, sites=12, people=300)
        assert flips.ratio < 1.25
        assert flips.vanilla > 3.0
        assert 0.04 < flips.thrown_out < 0.07
        assert lacking.ratio < 1.2
