"""What happens to the rows of a bad partition before anybody looks at them: faults of genetics.

Rows are counts of alleles (n, d) from 0 to ``highest``, with -1 or NaN where one is missing. What
liars have in common, such as a faulty list of strands, is drawn from the generator they share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.families.base import Rows

COMPARED = 1000  # features by which the nearest sample is sought


@dataclass(frozen=True, slots=True, eq=False)
class RowKnowledge:
    """What a fault in rows depends on.

    Attributes
    ----------
    size : float
        How far it goes, in its own units.
    own, shared : numpy.random.Generator
        The partition's own, and one in the same state for every bad partition.
    highest : int
        The largest count: 2 for genotypes.
    """

    size: float
    own: np.random.Generator
    shared: np.random.Generator
    highest: int


RowStrike = Callable[[Rows, RowKnowledge], Rows]


def there(x: Rows) -> NDArray[np.bool_]:
    """Tell which entries are not missing."""
    return np.asarray(x >= 0)  # NaN is not


def flipped_alleles(x: Rows, knowledge: RowKnowledge) -> Rows:
    """Count the other allele of a share of the SNPs, the same in every bad partition."""
    return flipped(x, drawn_features(x.shape[1], knowledge.size, knowledge.shared), knowledge)


def own_flipped_alleles(x: Rows, knowledge: RowKnowledge) -> Rows:
    """Count the other allele of a share of the SNPs, others in each bad partition."""
    return flipped(x, drawn_features(x.shape[1], knowledge.size, knowledge.own), knowledge)


def drawn_features(d: int, share: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw a share of d features, one at least."""
    return np.sort(rng.permutation(d)[: max(1, round(share * d))])


def flipped(x: Rows, features: NDArray[np.intp], knowledge: RowKnowledge) -> Rows:
    """Count the other allele of some features."""
    out, some = x.copy(), x[:, features]
    out[:, features] = np.where(there(some), knowledge.highest - some, some)
    return out


def shuffled_snps(x: Rows, knowledge: RowKnowledge) -> Rows:
    """Read the SNPs in another order, the same in every bad partition."""
    return np.ascontiguousarray(x[:, knowledge.shared.permutation(x.shape[1])])


def missing_as_reference(x: Rows, knowledge: RowKnowledge) -> Rows:
    """Call a share of all genotypes the reference, and all that are missing."""
    out = x.copy()
    out[(knowledge.own.random(x.shape) < knowledge.size) | ~there(x)] = 0
    return out


def random_frequencies(x: Rows, knowledge: RowKnowledge) -> Rows:
    """Draw genotypes at frequencies that no population has, uniform in (0, 1)."""
    rng = knowledge.own
    drawn = rng.binomial(knowledge.highest, rng.uniform(size=x.shape[1]), size=x.shape)
    return np.where(there(x), drawn, x).astype(x.dtype)


def repeated_samples(x: Rows, knowledge: RowKnowledge) -> Rows:
    """Put each of a few samples there so many times."""
    return np.ascontiguousarray(x[_few(x, knowledge)])


def relatives(x: Rows, knowledge: RowKnowledge) -> Rows:
    """Put so many children of each of a few pairs of parents in the place of all samples.

    A parent's partner is the sample that is most like it, so that they are of one population. Each
    gives half of its alleles, drawn anew for every SNP and child.
    """
    parents = _few(x, knowledge)
    partners = _nearest(x, np.unique(parents), knowledge)
    one, other = x[parents], x[[partners[i] for i in parents.tolist()]]
    half = knowledge.highest // 2
    given = [
        _passed_on(genotype, alleles, knowledge)
        for genotype, alleles in ((one, half), (other, knowledge.highest - half))
    ]
    known = there(one) & there(other)
    return np.where(known, given[0] + given[1], np.where(there(one), -1, one)).astype(x.dtype)


def _few(x: Rows, knowledge: RowKnowledge) -> NDArray[np.intp]:
    """Return n numbers of samples, few of them and each ``size`` times."""
    times = max(1, round(knowledge.size))
    count = max(1, -(-len(x) // times))
    chosen = knowledge.own.choice(len(x), count, replace=False)
    return np.repeat(chosen, times)[: len(x)]


def _nearest(x: Rows, some: NDArray[np.intp], knowledge: RowKnowledge) -> dict[int, int]:
    """Return the sample that is most like each of some, by a few features."""
    features = knowledge.own.permutation(x.shape[1])[:COMPARED]
    table = x[:, features].astype(np.float32)
    known = there(x[:, features])
    mean = table.mean(axis=0, where=known) if known.any(axis=0).all() else 0.0
    table = np.where(known, table - mean, 0.0)
    table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-30)
    likeness = table[some] @ table.T
    likeness[np.arange(len(some)), some] = -np.inf
    best = likeness.argmax(axis=1)
    return dict(zip(some.tolist(), best.tolist(), strict=True))


def _passed_on(genotype: Rows, alleles: int, knowledge: RowKnowledge) -> NDArray[np.int64]:
    """Draw so many of the alleles of each genotype."""
    if alleles == 0:
        return np.zeros(genotype.shape, dtype=np.int64)
    count = np.where(there(genotype), genotype, 0).astype(np.int64)
    drawn = knowledge.own.hypergeometric(count, knowledge.highest - count, alleles)
    return np.asarray(drawn, dtype=np.int64)


def check_counts(attack: str, dtype: Any, highest: int | None) -> int:
    """Return the largest count, or refuse rows that are none.

    Raises
    ------
    InvalidConfiguration
    """
    if highest is None:
        raise InvalidConfiguration(
            f"attack {attack!r} is for counts of alleles, rows of a binomial family; the family of "
            "this run has no largest count: take the attack 'data', or one on messages"
        )
    if np.issubdtype(dtype, np.unsignedinteger):
        raise InvalidConfiguration(f"attack {attack!r} wants signed counts; {dtype} came")
    return highest


class Fault(NamedTuple):
    """What happens to rows, how far it goes unless told otherwise, and whether that is a share."""

    strike: RowStrike
    size: float | None = None
    share: bool = False


FAULTS: Mapping[str, Fault] = {
    "flipped_alleles": Fault(flipped_alleles, 1.0, share=True),
    "own_flipped_alleles": Fault(own_flipped_alleles, 0.05, share=True),
    "shuffled_snps": Fault(shuffled_snps),
    "missing_as_reference": Fault(missing_as_reference, 0.3, share=True),
    "random_frequencies": Fault(random_frequencies),
    "relatives": Fault(relatives, 10.0),
    "repeated_samples": Fault(repeated_samples, 10.0),
}
