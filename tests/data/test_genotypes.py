"""Genotypes from VCF Zarr: real stores on disk in both versions, read as tasks read them."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dfmr_dask import open_source
from dfmr_dask.data.genotypes import Variants, dosages, matched
from dfmr_dask.errors import InvalidSource, UnreadableChunk
from dfmr_dask.experiments.genotypes import write_genotypes

FORMS = {
    "v2": {"zarr_format": 2},
    "v3": {"zarr_format": 3},
    "sharded": {"zarr_format": 3, "shards": (40, 20)},
}


def calls_of(v=70, n=50, seed=0, missing=0.1):
    rng = np.random.default_rng(seed)
    calls = (rng.random((v, n, 2)) < rng.uniform(0.1, 0.9, (v, 1, 1))).astype(np.int8)
    calls[rng.random(calls.shape) < missing] = -1
    return calls


def variants_of(v=70, pairs=("AG", "CT", "AC", "GT")):
    return Variants.of(f"{1 + i // 40}:{100 + 10 * i}:{'{}:{}'.format(*pairs[i % len(pairs)])}"
                       for i in range(v))  # fmt: skip


def stored(path, calls=None, variants=None, **options):
    calls = calls_of() if calls is None else calls
    variants = variants_of(len(calls)) if variants is None else variants
    return write_genotypes(path, calls, variants, **{"chunks": (20, 10), **options})


def by_hand(calls):
    """Count alleles one call after the other."""
    out = np.empty(calls.shape[1::-1], dtype=np.int8)
    for i in range(calls.shape[1]):
        for j in range(calls.shape[0]):
            alleles = [int(a) for a in calls[j, i] if a != -2]
            out[i, j] = -1 if not alleles or -1 in alleles else sum(a > 0 for a in alleles)
    return out


def rows_of(source):
    return np.concatenate([source.rows(i)() for i in range(len(source.plan))])


@given(arrays.arrays(np.int8, st.tuples(*3 * [st.integers(1, 4)]), elements=st.integers(-2, 3)))
def test_counts_are_those_of_alleles_one_by_one(calls):
    assert np.array_equal(dosages(calls).T, by_hand(calls))


@given(arrays.arrays(np.int8, (3, 4, 2), elements=st.integers(-2, 3)))
def test_turned_counts_and_counts_make_up_all_alleles_of_a_call(calls):
    plain, turned = dosages(calls), dosages(calls, np.ones(3, dtype=bool))
    known = plain >= 0
    assert np.array_equal(known, turned >= 0)
    assert np.array_equal((plain + turned)[known], (calls >= 0).sum(axis=2)[known])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("plan", [{}, {"rows_per_partition": 20}, {"n_partitions": 3}])
def test_each_sample_is_read_once_whatever_the_version_and_the_plan(tmp_path, form, plan):
    calls = calls_of()
    path = stored(tmp_path / "a.vcz", calls, **FORMS[form])
    source = open_source(path, kind="genotypes", **plan)
    assert source.features == variants_of().names
    assert source.dtype == np.int8
    assert source.sample_dims == ("samples",)
    assert not source.plan.auto
    assert np.array_equal(rows_of(source), by_hand(calls))
    assert np.array_equal(source.as_dataarray().values, by_hand(calls))
    assert source.as_dataarray()["samples"].values[:2].tolist() == ["sample_0", "sample_1"]


def test_partitions_are_runs_of_sample_chunks(tmp_path):
    source = open_source(stored(tmp_path / "a.vcz"), kind="genotypes")
    assert [one.boxes for one in source.plan.partitions] == [
        (((a, b),),) for a, b in pairwise(range(0, 51, 10))
    ]


def test_stripes_of_variants_join_to_the_same_counts(tmp_path, monkeypatch):
    calls = calls_of()
    path = stored(tmp_path / "a.vcz", calls)
    whole = rows_of(open_source(path, kind="genotypes"))
    monkeypatch.setattr("dfmr_dask.data.genotypes.sites.stripe_of", lambda calls: 20)
    few = open_source(path, kind="genotypes")
    assert few.backend.layout.stripe == 20
    assert np.array_equal(rows_of(few), whole)


def test_some_variants_in_another_order(tmp_path):
    calls, names = calls_of(), variants_of().names
    chosen = [63, 2, 41, 40, 3]
    path = stored(tmp_path / "a.vcz", calls)
    source = open_source(path, kind="genotypes", features=[names[i] for i in chosen])
    assert np.array_equal(rows_of(source), by_hand(calls)[:, chosen])


def test_a_store_with_alleles_the_other_way_round_is_turned_to_the_features_asked_for(tmp_path):
    calls, names = calls_of(missing=0.0), variants_of().names
    back = Variants.of(":".join([*n.split(":")[:2], *n.split(":")[:1:-1]]) for n in names)
    source = open_source(stored(tmp_path / "a.vcz", calls, back), kind="genotypes", features=names)
    assert source.matching.turned.all()
    assert np.array_equal(rows_of(source), 2 - by_hand(calls))


@pytest.mark.parametrize("form", FORMS)
def test_a_lost_chunk_is_found_and_not_read_as_reference(tmp_path, form):
    path = stored(tmp_path / "a.vcz", **FORMS[form])
    key = {"v2": "2.1.0", "v3": "c/2/1/0", "sharded": "c/1/0/0"}[form]
    (path / "call_genotype" / key).unlink()
    source = open_source(path, kind="genotypes", rows_per_partition=10)
    bad = 0 if form == "sharded" else 1
    with pytest.raises(UnreadableChunk, match=f"{key} of call_genotype of .* is missing"):
        source.rows(bad)()
    assert source.rows(4)().shape == (10, 70)
    filled = open_source(path, kind="genotypes", missing_chunks="fill")
    assert (filled.rows(bad)()[:, 40:60] == 0).all()


def test_a_source_travels_and_its_partitions_change_with_their_chunks(tmp_path):
    path = stored(tmp_path / "a.vcz")
    source = open_source(path, kind="genotypes")
    again = pickle.loads(pickle.dumps(source.rows(2)))
    assert np.array_equal(again(), source.rows(2)())
    before, told = source.partition_fingerprints(), source.fingerprint()
    group = zarr.open_group(str(path), mode="r+")
    group["call_genotype"][0, 15] = [1, 1]
    after = open_source(path, kind="genotypes").partition_fingerprints()
    assert [i for i in before if before[i] != after[i]] == [1]
    fewer = open_source(path, kind="genotypes", features=source.features[:9])
    assert fewer.fingerprint()["sha256"] != told["sha256"]


def test_a_store_in_memory(tmp_path):
    calls = calls_of()
    disk = zarr.open_group(str(stored(tmp_path / "a.vcz", calls)), mode="r")
    group = zarr.create_group(zarr.storage.MemoryStore())
    for name, array in disk.arrays():
        group.create_array(name, data=np.asarray(array[...], dtype=array.dtype))
    source = open_source(group, kind="genotypes", n_partitions=4)
    assert source.in_memory
    assert np.array_equal(rows_of(source), by_hand(calls))


def test_old_stores_have_their_contigs_as_an_attribute(tmp_path):
    path = stored(tmp_path / "a.vcz")
    group = zarr.open_group(str(path), mode="r+")
    group.attrs["contigs"] = [str(one) for one in group["contig_id"][...]]
    del group["contig_id"]
    assert open_source(path, kind="genotypes").features == variants_of().names


def test_phased_and_unphased_calls_of_several_ploidies(tmp_path):
    calls = calls_of(missing=0.0)
    calls[:5, ::2, 1] = -2  # one allele
    calls[5, 7] = -2  # none
    one = open_source(stored(tmp_path / "a.vcz", calls, phased=True), kind="genotypes")
    two = open_source(stored(tmp_path / "b.vcz", calls, phased=False), kind="genotypes")
    assert np.array_equal(rows_of(one), rows_of(two))
    assert np.array_equal(rows_of(one), by_hand(calls))
    assert rows_of(one)[7, 5] == -1


def test_variants_with_several_alternatives_count_all_of_them(tmp_path):
    variants = Variants.of(["1:5:A:G,T", "1:7:C:.", "2:9:AT:A"])
    calls = np.array([[[0, 2], [1, 2]], [[0, 0], [0, 0]], [[0, 1], [-1, -1]]])
    source = open_source(stored(tmp_path / "a.vcz", calls, variants), kind="genotypes")
    assert source.features == variants.names
    assert rows_of(source).tolist() == [[1, 0, 1], [2, 0, -1]]


# several stores


def three(folder, **others):
    """Write three stores; B has some alleles the other way round, and other positions as well."""
    names = variants_of().names
    back = [":".join([*n.split(":")[:2], *n.split(":")[:1:-1]]) for n in names]
    lists = {"A": names, "B": (*back[:5], *names[5:60]), "C": names[::-1], **others}
    data = {}
    for seed, (site, some) in enumerate(lists.items()):
        calls = calls_of(len(some), 20 + 10 * seed, seed)
        data[site] = (stored(folder / f"{site}.vcz", calls, Variants.of(some)), calls)
    return data


def test_stores_are_matched_and_turned_and_never_mixed(tmp_path):
    data = three(tmp_path)
    source = open_source([path for path, _ in data.values()], kind="genotypes")
    assert source.features == variants_of().names[:60]
    a, b, c = (by_hand(calls) for _, calls in data.values())
    b[:, :5] = np.where(b[:, :5] < 0, -1, 2 - b[:, :5])
    wanted = np.concatenate([a[:, :60], b, c[:, ::-1][:, :60]])
    assert np.array_equal(rows_of(source), wanted)
    assert np.array_equal(source.as_dataarray().values, wanted)
    assert len(source.plan) == 2 + 3 + 4
    assert source.box_text(2) == "B.vcz, samples 0:10"
    assert source.matching.counts.to_numpy().tolist() == [[60, 0, 10], [55, 5, 0], [60, 0, 10]]
    assert any("exchanged: B.vcz 5" in note for note in source.plan.notes)
    site = source.as_dataarray()["site"].values
    assert site[[0, 20, 50]].tolist() == ["A.vcz", "B.vcz", "C.vcz"]


@pytest.mark.parametrize("plan", [{"n_partitions": 7}, {"rows_per_partition": 25}])
def test_numbers_of_partitions_are_shared_among_stores(tmp_path, plan):
    data = three(tmp_path)
    source = open_source({site: path for site, (path, _) in data.items()}, kind="genotypes", **plan)
    edges = {0, 20, 50, 90}
    for one in source.plan.partitions:
        ((span,),) = one.boxes
        assert not edges & set(range(span[0] + 1, span[1]))
    assert source.plan.rows == 90 == sum(one.rows for one in source.plan.partitions)
    if "n_partitions" in plan:
        assert len(source.plan) == 7


def test_fingerprints_of_several_stores_are_those_of_their_own_chunks(tmp_path):
    paths = [path for path, _ in three(tmp_path).values()]
    before = open_source(paths, kind="genotypes").partition_fingerprints()
    zarr.open_group(str(paths[1]), mode="r+")["call_genotype"][0, 0] = [1, 1]
    after = open_source(paths, kind="genotypes").partition_fingerprints()
    assert [i for i in before if before[i] != after[i]] == [2]


def test_bases_of_the_other_strand_are_the_same_alleles():
    found = matched({
        "A": Variants.of(["1:1:A:G", "1:2:A:G", "1:3:A:AT"]),
        "B": Variants.of(["chr1:1:T:C", "1:2:C:T", "1:3:AT:A"]),
    })  # fmt: skip
    assert found.variants.names == ("1:1:A:G", "1:2:A:G")
    assert found.turned.tolist() == [[False, False], [False, True]]
    lines = found.table.set_index(["site", "variant"])
    assert lines.loc[("B", "chr1:1:T:C"), "reason"] == "bases of the other strand"
    assert lines.loc[("B", "1:3:AT:A"), "status"] == "dropped"  # an insertion is no deletion


def test_who_names_alleles_in_the_usual_way_is_decided_by_most_stores():
    one, other = Variants.of(["1:1:A:G"]), Variants.of(["1:1:G:A"])
    found = matched({"A": other, "B": one, "C": one})
    assert found.variants.names == ("1:1:A:G",)
    assert found.turned[:, 0].tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("here", "there", "reason"),
    [
        (["1:1:A:T"], ["1:1:T:A"], "A/T or C/G, exchanged in some stores"),
        (["1:1:A:G"], ["1:1:A:C"], "other alleles at this position"),
        (["1:1:A:G"], [], "not in every store"),
        (["1:1:A:G", "1:1:G:A"], ["1:1:A:G"], "more than once in this store"),
        (["1:1:A:G", "1:1:A:G"], ["1:1:A:G"], "more than once in this store"),
        (["1:1:A:G,T"], ["1:1:A:G"], "other alleles at this position"),
    ],
)
def test_what_cannot_be_matched_is_dropped_with_a_reason(here, there, reason):
    found = matched({"A": Variants.of([*here, "1:9:C:T"]), "B": Variants.of([*there, "1:9:C:T"])})
    assert found.variants.names == ("1:9:C:T",)
    lines = found.table[found.table["site"] == "A"]
    assert lines["status"].tolist() == ["dropped"] * len(here) + ["matched"]
    assert lines["reason"].iloc[0].startswith(reason)


def test_palindromes_that_agree_everywhere_stay():
    found = matched({"A": Variants.of(["1:1:A:T"]), "B": Variants.of(["1:1:A:T"])})
    assert found.variants.names == ("1:1:A:T",)


# bad input


def test_stores_without_a_variant_in_common_say_who_holds_how_many(tmp_path):
    alien = [f"9:{i}:A:G" for i in range(5)]
    data = three(tmp_path, D=alien)
    with pytest.raises(InvalidSource, match=r"4 stores have no variant in common.*D.vcz 0"):
        open_source([path for path, _ in data.values()], kind="genotypes")


def _without(name):
    return lambda group: group.__delitem__(name)


def _replaced(name, values):
    def change(group):
        del group[name]
        group.create_array(name, data=values)

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_without("call_genotype"), r"no call_genotype; it holds: .*variant_allele.*bio2zarr"),
        (_without("variant_position"), "no variant_position"),
        (_without("contig_id"), "neither contig_id nor the attribute contigs"),
        (_replaced("call_genotype", np.zeros((70, 50))), r"shape \(70, 50\) and dtype float64"),
        (_replaced("variant_position", np.arange(9)), r"70 variants .*variant_position \(9,\)"),
        (_replaced("variant_contig", np.full(70, 7)), "numbers from 7 to 7; there are 2 contigs"),
    ],
)
def test_a_store_that_lacks_something_is_refused(tmp_path, change, told):
    path = stored(tmp_path / "a.vcz")
    change(zarr.open_group(str(path), mode="r+"))
    with pytest.raises(InvalidSource, match=told):
        open_source(path, kind="genotypes")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kind": "genes"}, "kind='genes'; wanted 'genotypes'"),
        ({"features": ["1:100:A:G", "1:7:A:C"]}, "2 variants were asked for .* and 1 of them"),
        ({"features": ["rs123"]}, "no names of variants, such as 'rs123'"),
        ({"features": ["1:100:A:G", "1:100:A:G"]}, "names 1:100:A:G more than once"),
        ({"sample_weight": "age"}, "sample_weight= came with genotypes"),
    ],
)
def test_what_means_nothing_for_genotypes_is_refused(tmp_path, options, told):
    with pytest.raises(InvalidSource, match=told):
        open_source(stored(tmp_path / "a.vcz"), **{"kind": "genotypes", **options})


def test_stores_of_other_ploidies_are_refused(tmp_path):
    a = stored(tmp_path / "a.vcz")
    b = stored(tmp_path / "b.vcz", calls_of()[:, :, :1])
    with pytest.raises(InvalidSource, match=r"different numbers of alleles: a.vcz 2, b.vcz 1"):
        open_source([a, b], kind="genotypes")


def test_fewer_partitions_than_stores_are_refused(tmp_path):
    paths = [path for path, _ in three(tmp_path).values()]
    with pytest.raises(InvalidSource, match="wanted at least 3"):
        open_source(paths, kind="genotypes", n_partitions=2)
