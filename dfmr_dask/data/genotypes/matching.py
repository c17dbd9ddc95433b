"""Which variants several stores have in common, and which allele of each is counted.

Stores are matched by contig, position and alleles. Where one of them names reference and
alternative the other way round, its counts are turned; where it names the bases of the other
strand, they are the same alleles. Of A/T and C/G, whose other strand reads as exchanged, nobody can
tell which of the two it was: these are dropped as soon as stores disagree on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dfmr_dask.data.genotypes.variants import Variants
from dfmr_dask.errors import InvalidSource

OTHER_STRAND = str.maketrans("ACGT", "TGCA")
TWICE = "more than once in this store"
UNSURE = "A/T or C/G, exchanged in some stores: other strand or other allele"
OTHER_ALLELES = "other alleles at this position in some stores"
NOT_EVERYWHERE = "not in every store"
NOT_WANTED = "not among the features that were asked for"
STRAND = "bases of the other strand"


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """The common variants of some stores, and what became of every other.

    Attributes
    ----------
    variants : Variants
        Those that are used, named as most stores name them.
    index : ndarray of int, (stores, variants)
        Where each of them lies in each store.
    turned : mask of shape (stores, variants)
        Whether a store counts the other allele.
    table : pandas.DataFrame
        A line for each variant of each store: ``site``, ``variant`` (the store's own name of it),
        ``status`` ("matched", "turned" or "dropped") and ``reason``.
    ploidy : int
        The most alleles that a call has in the stores.
    """

    variants: Variants
    index: NDArray[np.intp]
    turned: NDArray[np.bool_]
    table: pd.DataFrame
    ploidy: int = 2

    @property
    def counts(self) -> pd.DataFrame:
        """How many variants of each site were matched, turned and dropped."""
        kinds = ["matched", "turned", "dropped"]
        found = pd.crosstab(self.table["site"], self.table["status"])
        order = list(dict.fromkeys(self.table["site"]))
        return found.reindex(index=order, columns=kinds, fill_value=0)

    def sentences(self) -> tuple[str, ...]:
        """Say what was turned and dropped, for people."""
        out = []
        turned = self.counts["turned"]
        if turned.any():
            told = ", ".join(f"{site} {n}" for site, n in turned[turned > 0].items())
            out.append(f"variants whose reference and alternative were exchanged: {told}")
        dropped = self.table[self.table["status"] == "dropped"]
        for reason, some in dropped.groupby("reason", sort=False):
            told = ", ".join(f"{site} {n}" for site, n in _by_site(some).items())
            out.append(f"variants left out, {reason}: {told}")
        return tuple(out)


def _by_site(some: pd.DataFrame) -> dict[str, int]:
    return {str(k): int(v) for k, v in some.groupby("site", sort=False).size().items()}


def matched(stores: Mapping[str, Variants], wanted: Variants | None = None) -> Matching:
    """Find the variants that all stores hold.

    Parameters
    ----------
    stores : mapping of names to Variants
    wanted : Variants, optional
        Use these, in this order, and count their alternative alleles; by default those in every
        store, in the order of the first, as most stores name them.

    Raises
    ------
    InvalidSource
        When stores have no variant in common, or some of those wanted are not in all of them.

    Examples
    --------
    >>> from dfmr_dask.data.genotypes import Variants, matched
    >>> found = matched({
    ...     "A": Variants.of(["1:5:A:G", "1:9:A:T", "1:12:C:T"]),
    ...     "B": Variants.of(["chr1:5:G:A", "chr1:9:T:A", "chr1:12:C:T"]),
    ...     "C": Variants.of(["1:5:A:G", "1:9:A:T", "1:12:G:A"])})
    >>> found.variants.names, found.turned.tolist()
    (('1:5:A:G', '1:12:C:T'), [[False, False], [True, False], [False, False]])
    >>> found.counts.loc["B"].to_dict()
    {'matched': 1, 'turned': 1, 'dropped': 1}
    """
    lines = _lines(stores, wanted)
    reference = _reference(lines, wanted)
    lines = lines.join(reference, on="key")
    _judge(lines)
    used = _used(lines, reference, len(stores), wanted)
    _explain(lines, used, wanted)
    lines = lines[lines["site"] >= 0]
    _check_common(lines, used, list(stores), wanted)
    return _matching(lines, used, list(stores))


def _lines(stores: Mapping[str, Variants], wanted: Variants | None) -> pd.DataFrame:
    """Return all variants of all stores below each other; those wanted are site -1."""
    parts = [one.table.assign(site=i, at=range(len(one))) for i, one in enumerate(stores.values())]
    if wanted is not None:
        parts.insert(0, wanted.table.assign(site=-1, at=range(len(wanted))))
    lines = pd.concat(parts, ignore_index=True)
    bases = lines["ref"].isin(list("ACGT")) & lines["alt"].isin(list("ACGT"))
    ref, alt = lines["ref"], lines["alt"]
    other_ref, other_alt = (one.where(bases, "").str.translate(OTHER_STRAND) for one in (ref, alt))
    here, there = _pair(ref, alt), _pair(other_ref, other_alt)
    alleles = here.where(here <= there, there).where(bases, ref + ">" + alt)
    place = (
        lines["contig"].astype(str).str.removeprefix("chr") + ":" + lines["position"].astype(str)
    )
    lines["place"], lines["key"] = place, place + ":" + alleles
    lines["unsure"] = bases & (here == there)  # the other strand has the same two bases
    lines["other_ref"], lines["other_alt"] = other_ref, other_alt
    lines["twice"] = lines.duplicated(["site", "key"], keep=False)
    return lines


def _pair(one: pd.Series, other: pd.Series) -> pd.Series:
    return (one + "/" + other).where(one <= other, other + "/" + one)


def _reference(lines: pd.DataFrame, wanted: Variants | None) -> pd.DataFrame:
    """Return, for each key, how it is named: as it is wanted, or as by most of the stores."""
    some = lines[lines["site"] < 0] if wanted is not None else lines[~lines["twice"]]
    columns = ["key", "contig", "ref", "alt"]
    votes = some.groupby(["key", "ref", "alt"], sort=False).size().rename("votes")
    named = (
        some[columns].drop_duplicates(["key", "ref", "alt"]).join(votes, on=["key", "ref", "alt"])
    )  # in the order in which stores come, which decides where votes are equal
    named = named.sort_values("votes", ascending=False, kind="stable").drop_duplicates("key")
    return named.set_index("key")[["contig", "ref", "alt"]].add_prefix("the_")


def _judge(lines: pd.DataFrame) -> None:
    """Tell for each line whether its alleles are exchanged, and whether on the other strand."""
    same = (lines["ref"] == lines["the_ref"]) & (lines["alt"] == lines["the_alt"])
    back = (lines["ref"] == lines["the_alt"]) & (lines["alt"] == lines["the_ref"])
    over = (lines["other_ref"] == lines["the_ref"]) & (lines["other_alt"] == lines["the_alt"])
    known = lines["the_ref"].notna()
    lines["strand"] = known & ~same & ~back
    lines["exchanged"] = known & ~same & (back | ~over)
    lines["lost"] = lines["key"].isin(lines.loc[lines["exchanged"] & lines["unsure"], "key"])


def _used(
    lines: pd.DataFrame, reference: pd.DataFrame, n_stores: int, wanted: Variants | None
) -> pd.Index[Any]:
    """Return the keys that are used, in order."""
    good = lines[~lines["twice"] & ~lines["lost"] & lines["the_ref"].notna() & (lines["site"] >= 0)]
    everywhere = good.groupby("key").size()
    keys = everywhere.index[everywhere == n_stores]
    first = lines[lines["site"] == (0 if wanted is None else -1)]
    found: pd.Index[Any] = pd.Index(first.loc[first["key"].isin(keys), "key"].drop_duplicates())
    return found


def _explain(lines: pd.DataFrame, used: pd.Index[Any], wanted: Variants | None) -> None:
    """Write status and reason of each line."""
    taken = lines["key"].isin(used)
    holding = [lines.groupby(name)["site"].transform("nunique") for name in ("place", "key")]
    missing = NOT_EVERYWHERE if wanted is None else NOT_WANTED
    reasons = [
        (taken & lines["strand"], STRAND),
        (taken, ""),
        (lines["twice"], TWICE),
        (lines["lost"], UNSURE),
        (holding[0] > holding[1], OTHER_ALLELES),
    ]
    conditions, texts = zip(*reasons, strict=True)
    lines["reason"] = np.select([c.to_numpy() for c in conditions], texts, default=missing)
    turned = lines["exchanged"].to_numpy()
    lines["status"] = np.select(
        [(taken & turned).to_numpy(), taken.to_numpy()], ["turned", "matched"], default="dropped"
    )


def _check_common(
    lines: pd.DataFrame, used: pd.Index[Any], names: Sequence[str], wanted: Variants | None
) -> None:
    if wanted is not None and len(used) < len(wanted):
        there = lines[~lines["twice"] & ~lines["lost"]].groupby("site")["key"]
        asked = pd.Index(lines.loc[lines["the_ref"].notna(), "key"])
        lacking = [
            f"{name} holds {there.get_group(i).isin(asked).sum() if i in there.groups else 0}"
            for i, name in enumerate(names)
        ]
        raise InvalidSource(
            f"{len(wanted)} variants were asked for with features=, and {len(used)} of them can be "
            f"read from every store: {', '.join(lacking)}. Ask for those alone that all hold"
        )
    if len(used):
        return
    votes = lines.drop_duplicates(["site", "key"]).groupby("key").size()
    usual = votes.index[2 * votes > len(names)]
    told = [
        f"{name} {lines.loc[lines['site'] == i, 'key'].isin(usual).sum()}"
        for i, name in enumerate(names)
    ]
    raise InvalidSource(
        f"{len(names)} stores have no variant in common. Of the {len(usual)} that more than half "
        f"of them hold, there are in: {', '.join(told)}. Leave out the store that holds none; "
        "positions of another genome build differ everywhere"
    )


def _matching(lines: pd.DataFrame, used: pd.Index[Any], names: Sequence[str]) -> Matching:
    good = lines[lines["key"].isin(used)]
    index = np.empty((len(names), len(used)), dtype=np.intp)
    turned = np.empty(index.shape, dtype=np.bool_)
    for site in range(len(names)):
        one = good[good["site"] == site].set_index("key").loc[used]
        index[site], turned[site] = one["at"].to_numpy(), one["exchanged"].to_numpy()
    first = good.drop_duplicates("key").set_index("key").loc[used]
    variants = Variants.from_columns(
        first["the_contig"], first["position"], first["the_ref"], first["the_alt"]
    )
    own = Variants(lines[["contig", "position", "ref", "alt"]]).names
    table = pd.DataFrame(
        {
            "site": np.asarray(names, dtype=object)[lines["site"].to_numpy()],
            "variant": own,
            "status": lines["status"].to_numpy(),
            "reason": lines["reason"].to_numpy(),
        }
    )
    return Matching(variants, index, turned, table)
