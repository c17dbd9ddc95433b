"""What standard errors don't cover, and why there may be none: the words for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dfmr_dask.aggregate.parts import Parts

ENOUGH_ROWS = 50  # rows a partition, for each partition; below, bias may be as large as the noise
NOT_COVERED = (
    "standard errors are those of sampling: they do not cover bad partitions that hide within the "
    "noise, a model that is wrong, or pieces that are no samples of one population"
)
FROM_SAMPLES = (
    "the check kept the aggregate after more rounds on samples of the partitions; the standard "
    "errors are the aggregate's, and too small where samples are much smaller than partitions"
)
NOT_MERGED = (
    "the mixture is no average of what partitions say; the aggregators dfmr, vanilla and oracle "
    "make one"
)
ONE_PARTITION = (
    "one partition alone was merged, and there is nothing to compare it with; cut the rows into "
    "more of them (n_partitions=, rows_per_partition=)"
)


def caveats(parts: Parts, alone: Sequence[int], *, polished: bool) -> Iterator[str]:
    """Say what the standard errors of a mixture don't cover.

    Parameters
    ----------
    parts : Parts
        What it was merged from.
    alone : sequence of int
        Components that one partition alone stands for.
    polished : bool
        Whether EM passes over all rows followed.
    """
    yield NOT_COVERED
    usual, m = float(np.median(parts.rows)), len(parts.rows)
    if usual < ENOUGH_ROWS * m and not polished:
        yield (
            f"bias may be as large as the standard errors: {usual:.0f} rows are in the usual "
            f"partition, and {m} were merged (wanted {ENOUGH_ROWS} rows for each of them, "
            f"{ENOUGH_ROWS * m}). polish=1, one more EM pass over all rows, takes much of it "
            "away, less where components overlap strongly"
        )
    if alone:
        yield (
            f"components {', '.join(map(str, alone))} come from one partition alone: nothing tells "
            "how sure their means and covariances are, and no error of a function has a part of it"
        )
