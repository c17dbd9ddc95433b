"""Variants are chosen from counts and correlations of partitions, whatever a minority says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfmr_dask import choose_variants, open_source
from dfmr_dask.data.genotypes import Variants, dosages
from dfmr_dask.data.genotypes.choosing import medians
from dfmr_dask.data.genotypes.summaries import Summary, linkage, summarized
from dfmr_dask.errors import InvalidConfiguration, InvalidSource, TooFewMessages
from dfmr_dask.experiments.genotypes import write_genotypes

V, N = 30, 120


def names_of(v=V):
    return [f"{1 + i // 20}:{1000 + 100 * i}:A:G" for i in range(v)]


def calls_of(seed=0, v=V, n=N, missing=0.0):
    """Calls of unlinked variants of the same frequencies in every store."""
    rng = np.random.default_rng(seed)
    frequencies = np.random.default_rng(99).uniform(0.2, 0.8, (v, 1, 1))
    calls = (rng.random((v, n, 2)) < frequencies).astype(np.int8)
    calls[rng.random((v, n)) < missing] = -1
    return calls


def opened(folder, stores, **options):
    variants = Variants.of(names_of())
    paths = {
        site: write_genotypes(folder / f"{site}.vcz", calls, variants, chunks=(30, 30))
        for site, calls in stores.items()
    }
    return open_source(paths, kind="genotypes", **{"rows_per_partition": 60, **options})


def sites(changed=lambda site, calls: calls, n=3):
    return {f"S{i}": changed(i, calls_of(i)) for i in range(n)}


def test_counts_are_those_of_the_calls(tmp_path):
    calls = calls_of(missing=0.2)
    calls[3, ::2, 1] = -2
    source = opened(tmp_path, {"A": calls}, rows_per_partition=N)
    said, counts = summarized(source.rows(0)), dosages(calls)
    short = np.zeros(V, dtype=int)
    short[3] = ((calls[3] == -2).any(axis=1) & (calls[3, :, 0] >= 0)).sum()
    assert np.array_equal(said.short, short)
    assert np.array_equal(said.called, (counts >= 0).sum(axis=1) - short)
    alleles = np.where(counts < 0, 0, counts)
    alleles[3, (calls[3] == -2).any(axis=1)] = 0
    assert np.array_equal(said.alleles, alleles.sum(axis=1))
    assert said.samples == N
    assert said.wrong(V, 2) == ""


def test_correlations_are_numpys(tmp_path):
    source = opened(tmp_path, {"A": calls_of()}, rows_per_partition=N)
    x, said = source.rows(0)(), summarized(source.rows(0))
    chosen = np.arange(1, V, 2)
    found = linkage(source.rows(0), chosen, said.means[chosen], 4)
    wanted = np.corrcoef(x[:, chosen].T)
    for i in range(len(chosen)):
        for k in range(1, 5):
            there = wanted[i, i + k] if i + k < len(chosen) else 0.0
            assert abs(found[i, k - 1] - there) < 1e-5


def test_streamed_partitions_say_the_same(tmp_path):
    source = opened(tmp_path, {"A": calls_of(missing=0.1)}, rows_per_partition=N)
    streamed = replace(source, plan=replace(source.plan, streamed=(0,)))
    one, other = summarized(source.rows(0)), summarized(streamed.rows(0))
    assert np.array_equal(one.alleles, other.alleles)
    chosen = np.arange(V)
    few = [linkage(s.rows(0), chosen, one.means, 3) for s in (source, streamed)]
    assert np.allclose(*few, atol=1e-6)


def test_all_variants_that_are_common_complete_and_unlinked_stay(tmp_path):
    choice = choose_variants(opened(tmp_path, sites()))
    assert list(choice.names) == names_of()
    assert choice.table["kept"].all()
    assert choice.failed == {}


def test_each_reason_for_leaving_a_variant_out(tmp_path):
    def changed(site, calls):
        calls[0] = 0  # nobody has it
        calls[1, ::3] = -1  # missing in a third
        calls[2, ::2, 1] = -2  # one allele in half of all
        calls[3] = -1  # missing everywhere
        calls[6] = calls[5]  # inherited together
        return calls

    choice = choose_variants(opened(tmp_path, sites(changed)))
    reasons = choice.table["reason"]
    assert reasons[0] == "rarer allele in 0.000 of all"
    assert reasons[1] == "missing in 0.333 of all samples"
    assert reasons[2].startswith("mixed ploidy: 0.5")
    assert reasons[3].startswith("missing in 1.000")
    assert reasons[6] == "r2 of 1.00 with a variant before it"
    assert (reasons[[4, 5, *range(7, V)]] == "").all()


def test_neighbors_on_another_contig_are_not_inherited_together(tmp_path):
    def changed(site, calls):
        calls[20] = calls[19]  # the first of the second contig
        return calls

    assert len(choose_variants(opened(tmp_path, sites(changed))).names) == V


def test_a_minority_of_sites_changes_nothing(tmp_path):
    honest = choose_variants(opened(tmp_path / "honest", sites()))

    def lying(site, calls):
        if site == 1:
            calls[::2] = 0
            calls[1::4] = -1
            calls[3::4] = calls[7]
        return calls

    assert choose_variants(opened(tmp_path / "lied", sites(lying))).names == honest.names


def test_a_variant_that_does_not_vary_at_one_site_stays_and_one_without_calls_goes(tmp_path):
    def changed(site, calls):
        if site == 2:
            calls[4] = 0
            calls[5] = -1
        return calls

    choice = choose_variants(opened(tmp_path, sites(changed)))
    assert len(choice.names) == V - 1
    assert np.isfinite(choice.table["frequency"]).all()
    assert choice.table["reason"][5] == "no call is known in partition 4"


def test_a_site_without_calls_of_many_variants_is_not_heard(tmp_path):
    def changed(site, calls):
        if site == 2:
            calls[10:20] = -1
        return calls

    choice = choose_variants(opened(tmp_path, sites(changed)))
    assert len(choice.names) == V
    assert choice.failed == dict.fromkeys((4, 5), "no call of 10 of 30 variants")


def test_alleles_counted_the_other_way_round_at_some_sites_do_not_matter(tmp_path):
    one = choose_variants(opened(tmp_path / "a", sites()))
    turned = sites(lambda site, calls: 1 - calls if site < 1 else calls)
    other = choose_variants(opened(tmp_path / "b", turned))
    assert one.names == other.names
    assert np.allclose(one.table["frequency"], other.table["frequency"])


def test_variants_are_thinned_by_distance(tmp_path):
    choice = choose_variants(opened(tmp_path, sites()), max_r2=None, min_distance=250)
    positions = Variants.of(choice.names).table.groupby("contig")["position"]
    assert all((np.diff(p) >= 250).all() for _, p in positions)
    assert len(choice.names) == 7 + 4


def test_chosen_variants_can_be_opened(tmp_path):
    source = opened(tmp_path, sites())
    choice = choose_variants(source, max_r2=None, min_frequency=0.35)
    assert 0 < len(choice.names) < V
    again = open_source(
        {f"S{i}": tmp_path / f"S{i}.vcz" for i in range(3)}, kind="genotypes", features=choice.names
    )
    kept = choice.table["kept"].to_numpy()
    assert np.array_equal(again.rows(0)(), source.rows(0)()[:30][:, kept])


def test_partitions_that_cannot_be_read_are_told_and_do_not_count(tmp_path):
    source = opened(tmp_path, sites())
    (tmp_path / "S1.vcz" / "call_genotype" / "0.0.0").unlink()
    choice = choose_variants(source)
    assert list(choice.names) == names_of()
    assert list(choice.failed) == [2]
    assert "0.0.0" in choice.failed[2]
    for site in "S0", "S2":
        (tmp_path / f"{site}.vcz" / "call_genotype" / "0.0.0").unlink()
        (tmp_path / f"{site}.vcz" / "call_genotype" / "0.2.0").unlink()
    with pytest.raises(TooFewMessages, match=r"of 6 partitions .* Partition 0: chunk 0.0.0"):
        choose_variants(source)


def test_impossible_counts_are_refused():
    ones = np.ones(3, dtype=int)
    good = Summary(10, 8 * ones, 5 * ones, 0 * ones)
    assert good.wrong(3, 2) == ""
    assert "3 variants" not in good.wrong(3, 2)
    assert "whole numbers of 4 variants" in good.wrong(4, 2)
    assert "negative" in replace(good, alleles=-ones).wrong(3, 2)
    assert "more calls than 10" in replace(good, short=3 * ones).wrong(3, 2)
    assert "more than 2 alleles" in replace(good, alleles=17 * ones).wrong(3, 2)
    assert "no sample" in Summary(0, 0 * ones, 0 * ones, 0 * ones).wrong(3, 2)


def test_medians_of_a_variant_without_calls_somewhere():
    ones = np.ones(1, dtype=int)
    said = [Summary(10, 10 * ones, 4 * ones, 0 * ones)] * 2 + [
        Summary(10, 0 * ones, 0 * ones, 0 * ones)
    ]
    frequency, missing, _ = medians(said, 2)
    assert frequency == [0.2]
    assert missing == [0.0]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"min_frequency": 0.6}, r"min_frequency=0.6; wanted 0.0 to 0.5"),
        ({"max_r2": -1.0}, "max_r2=-1.0"),
        ({"window": 0}, "window=0"),
    ],
)
def test_limits_out_of_range(tmp_path, options, told):
    with pytest.raises(InvalidConfiguration, match=told):
        choose_variants(opened(tmp_path, sites(n=1)), **options)


def test_a_table_has_no_variants_to_choose():
    with pytest.raises(InvalidSource, match="no genotypes"):
        choose_variants(open_source(np.zeros((9, 2))))


def test_nothing_left_says_what_to_allow(tmp_path):
    source = opened(tmp_path, sites(lambda site, calls: 0 * calls))
    with pytest.raises(InvalidSource, match=r"no variant .* is left: 30 rarer allele in"):
        choose_variants(source)
