"""Which variants are fitted, decided for all sites by what their partitions say.

Rare variants tell little, those that are often missing tell what was measured and not who it was,
and neighbors that are inherited together tell the same thing again, so that a mixture finds blocks
of the genome in place of populations. Every decision is by a median over partitions, which less
than half of them cannot move further than honest ones lie apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask
import numpy as np
import pandas as pd
from dask.delayed import delayed
from numpy.typing import NDArray

from dfmr_dask.data.genotypes.summaries import Summary, linkage, summarized
from dfmr_dask.data.genotypes.variants import Variants
from dfmr_dask.data.partitioned import Source
from dfmr_dask.errors import InvalidConfiguration, InvalidSource, TooFewMessages
from dfmr_dask.randomness import Stage, generator

MOST_ASKED = 40  # partitions that tell which variants are inherited together
MAX_EMPTY = 0.01  # share of the variants that a partition may have no call of, to be heard
MAX_SHORT = 0.05  # share of calls with fewer alleles than others
AT_ONCE = 1024  # variants of which the correlations of all partitions are held beside each other

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The variants to fit.

    Attributes
    ----------
    names : tuple of str
        For ``features=`` of :func:`dfmr_dask.open_source`.
    table : pandas.DataFrame
        A line for each variant that was looked at: ``variant``, ``frequency`` of the rarer allele
        and share ``missing`` (medians over partitions), ``kept``, and the ``reason`` if it is not.
    failed : dict of int to str
        Partitions that said nothing usable, and why.
    """

    names: tuple[str, ...]
    table: pd.DataFrame
    failed: dict[int, str]


def choose_variants(
    source: Source,
    *,
    min_frequency: float = 0.05,
    max_missing: float = 0.1,
    max_r2: float | None = 0.2,
    window: int = 50,
    min_distance: int = 0,
    seed: int = 0,
) -> Choice:
    """Choose the variants of a source of genotypes that are worth fitting.

    Partitions are read twice, in tasks of the Dask client that is there, and say counts and
    correlations alone.

    Parameters
    ----------
    source : Source
        Opened with ``kind="genotypes"``.
    min_frequency : float
        Of the rarer allele.
    max_missing : float
        Share of samples without a call.
    max_r2 : float or None
        Largest squared correlation that two variants may have, of which one is among the ``window``
        that follow the other; None looks at none. The first of two is kept.
    window : int
    min_distance : int
        Bases between two variants, at least.
    seed : int
        Which partitions are asked for correlations, where there are many.

    Raises
    ------
    InvalidSource
        When the source holds no genotypes, or no variant is left.
    InvalidConfiguration
        When a limit is out of range.
    TooFewMessages
        When half of the partitions or more can say nothing.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from dfmr_dask import choose_variants, open_source
    >>> from dfmr_dask.data.genotypes import Variants
    >>> from dfmr_dask.experiments.genotypes import write_genotypes
    >>> calls = np.random.default_rng(0).integers(0, 2, (3, 90, 2))
    >>> calls[1] = calls[0]
    >>> calls[2, 1:] = 0
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_genotypes(folder + "/a.vcz", calls, Variants.of(
    ...         ["1:5:A:G", "1:9:C:T", "1:12:A:C"]))
    ...     choice = choose_variants(open_source(path, kind="genotypes", n_partitions=3))
    >>> choice.names
    ('1:5:A:G',)
    >>> choice.table["reason"].tolist()
    ['', 'r2 of 1.00 with a variant before it', 'rarer allele in 0.000 of all']
    """
    ploidy = _checked(source, min_frequency, max_missing, max_r2, window, min_distance)
    n = len(source.plan)
    asked = [delayed(_told)(summarized, source.rows(i)) for i in range(n)]
    said = _computed(asked)
    heard = {i: one for i, one in enumerate(said) if not isinstance(one, str)}
    failed = {i: one for i, one in enumerate(said) if isinstance(one, str)}
    for i, one in list(heard.items()):
        if why := one.wrong(source.n_features, ploidy) or _lacks_many(one):
            failed[i] = why
            del heard[i]
    _check_enough(heard, failed, n)
    frequency, missing, short = medians(list(heard.values()), ploidy)
    reasons = _of_counts(frequency, missing, short, min_frequency, max_missing)
    _unless_called(reasons, heard)
    table = Variants.of(source.features).table
    if max_r2 is not None and (reasons == "").any():
        r2 = _linked(source, np.flatnonzero(reasons == ""), heard, window, seed)
        _unlink(reasons, table, r2, max_r2)
    _thin(reasons, table, min_distance)
    kept = reasons == ""
    if not kept.any():
        counts = pd.Series(reasons).str.replace(r"[\d.]+", "...", regex=True).value_counts()
        told = "; ".join(f"{count} {reason}" for reason, count in counts.items())
        raise InvalidSource(
            f"no variant of {source.location} is left: {told}. Allow more with "
            "min_frequency=, max_missing=, max_r2= or min_distance="
        )
    columns = {"variant": source.features, "frequency": frequency, "missing": missing}
    return Choice(
        tuple(np.array(source.features, dtype=object)[kept].tolist()),
        pd.DataFrame({**columns, "kept": kept, "reason": reasons}),
        failed,
    )


def _checked(
    source: Source,
    min_frequency: float,
    max_missing: float,
    max_r2: float | None,
    window: int,
    min_distance: int,
) -> int:
    if source.matching is None:
        raise InvalidSource(
            f"{source.location} holds no genotypes; open it with open_source(..., kind='genotypes')"
        )
    limits = {
        "min_frequency": (min_frequency, 0.0, 0.5),
        "max_missing": (max_missing, 0.0, 1.0),
        "max_r2": (1.0 if max_r2 is None else max_r2, 0.0, 1.0),
        "window": (window, 1, 10_000),
        "min_distance": (min_distance, 0, 10**9),
    }
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise InvalidConfiguration(f"{name}={value}; wanted {low} to {high}")
    return source.matching.ploidy


def _told(function: Any, reader: Any, *arguments: Any) -> Any:
    """Return what a function makes of a partition, or why it cannot: a bad partition is data."""
    try:
        return function(reader, *arguments)
    except Exception as error:
        return " ".join(str(error).split()) or type(error).__name__


def _lacks_many(one: Summary) -> str:
    """Say that a partition has no call of many variants: it would take them from everybody."""
    none = int((one.called == 0).sum())
    most = MAX_EMPTY * len(one.called)
    return f"no call of {none} of {len(one.called)} variants" if none > max(most, 1.0) else ""


def _unless_called(reasons: NDArray[Any], heard: dict[int, Summary]) -> None:
    """Leave out what a partition has no call of: nothing could be said of it there."""
    for i, one in heard.items():
        for j in np.flatnonzero(one.called == 0):
            reasons[j] = reasons[j] or f"no call is known in partition {i}"


def _computed(asked: Sequence[Any]) -> tuple[Any, ...]:
    compute: Any = dask.compute  # type: ignore[attr-defined]  # Dask is only half typed
    return tuple(compute(*asked))


def _check_enough(heard: dict[int, Any], failed: dict[int, str], n: int) -> None:
    if 2 * len(heard) <= n:
        first = next(iter(failed.items()))
        raise TooFewMessages(
            f"{len(heard)} of {n} partitions said something of their variants; more than half are "
            f"needed. Partition {first[0]}: {first[1]}"
        )


def medians(summaries: Sequence[Summary], ploidy: int) -> tuple[Floats, Floats, Floats]:
    """Return rarer allele's frequency, share missing and share of short calls (variants,).

    A partition without a known call of a variant has no say in its frequency, which is NaN where
    nobody has.
    """
    called = np.array([one.called for one in summaries], dtype=np.float64)
    samples = np.array([[one.samples] for one in summaries], dtype=np.float64)
    short = np.array([one.short for one in summaries]) / samples
    means = np.array([one.means for one in summaries]) / ploidy
    folded = np.where(called > 0, np.minimum(means, 1.0 - means), np.nan)
    frequency = pd.DataFrame(folded).median(axis=0).to_numpy()
    missing = np.median(1.0 - called / samples - short, axis=0)
    return np.asarray(frequency), np.maximum(missing, 0.0), np.median(short, axis=0)


def _of_counts(
    frequency: Floats, missing: Floats, short: Floats, min_frequency: float, max_missing: float
) -> NDArray[Any]:
    """Return why variants are left out, with an empty text for those that are not."""
    reasons = np.full(len(frequency), "", dtype=object)
    for j in np.flatnonzero(~(frequency >= min_frequency)):
        told = f"rarer allele in {frequency[j]:.3f} of all"
        reasons[j] = told if np.isfinite(frequency[j]) else "no call is known"
    for j in np.flatnonzero(missing > max_missing):
        reasons[j] = f"missing in {missing[j]:.3f} of all samples"
    for j in np.flatnonzero(short > MAX_SHORT):
        reasons[j] = f"mixed ploidy: {short[j]:.3f} of all calls have fewer alleles"
    return reasons


def _linked(
    source: Source, chosen: NDArray[np.intp], heard: dict[int, Summary], window: int, seed: int
) -> NDArray[np.float64]:
    """Return the squared correlations of neighbors (variants, window), medians over partitions."""
    numbers = np.array(list(heard), dtype=np.intp)
    if len(numbers) > MOST_ASKED:
        numbers = np.sort(generator(seed, Stage.DRAW).choice(numbers, MOST_ASKED, replace=False))
    asked = [
        delayed(_told)(linkage, source.rows(int(i)), chosen, heard[i].means[chosen], window)
        for i in numbers
    ]
    came = _computed(asked)
    width = min(window, max(len(chosen) - 1, 0))
    usable = [one for one in came if isinstance(one, np.ndarray)]
    usable = [one for one in usable if one.shape == (len(chosen), width)]
    _check_enough(dict(enumerate(usable)), {-1: "no correlations"}, len(numbers))
    out = np.zeros((source.n_features, width))
    for start in range(0, len(chosen), AT_ONCE):
        part = np.array([one[start : start + AT_ONCE] for one in usable], dtype=np.float64)
        out[chosen[start : start + AT_ONCE]] = np.median(np.nan_to_num(part) ** 2, axis=0)
    return out


def _unlink(reasons: NDArray[Any], table: pd.DataFrame, r2: Floats, most: float) -> None:
    """Leave out what is inherited together with a variant that stays, going along the genome."""
    contig = table["contig"].to_numpy()
    chosen = np.flatnonzero(reasons == "")
    for here, j in enumerate(chosen):
        if reasons[j]:
            continue
        after = chosen[here + 1 : here + 1 + r2.shape[1]]
        strong = (r2[j, : len(after)] > most) & (contig[after] == contig[j])
        for k in np.flatnonzero(strong):
            reasons[after[k]] = (
                reasons[after[k]] or f"r2 of {r2[j, k]:.2f} with a variant before it"
            )


def _thin(reasons: NDArray[Any], table: pd.DataFrame, least: int) -> None:
    """Leave out what lies too close to a variant that stays."""
    position, contig = table["position"].to_numpy(), table["contig"].to_numpy()
    last: dict[Any, int] = {}
    if not least:
        return
    chosen = np.flatnonzero(reasons == "")
    for j in chosen[np.argsort(position[chosen], kind="stable")]:
        gap = int(position[j]) - last.get(contig[j], -(10**12))
        if gap < least:
            reasons[j] = f"{gap} bases from a variant before it"
        else:
            last[contig[j]] = int(position[j])
