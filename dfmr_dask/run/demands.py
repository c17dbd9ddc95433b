"""What a source must have, told from its plan before anything is read."""

from __future__ import annotations

from dfmr_dask.corruption import ATTACKS
from dfmr_dask.corruption.rows import check_counts
from dfmr_dask.data.source import Source
from dfmr_dask.errors import DegenerateRows, InvalidSource
from dfmr_dask.run.settings import Settings


def check_sizes(source: Source, settings: Settings) -> None:
    """Raise when no partition of the plan has rows enough, before anything is read."""
    needed = settings.family.min_rows(settings.n_components, source.n_features)
    sizes = [p.rows for p in source.plan.partitions if source.plan.rows is not None]
    if sizes and max(sizes) < needed:
        raise DegenerateRows(
            f"the largest partition has {max(sizes)} rows; {settings.n_components} components of "
            f"{source.n_features} features need at least {needed} in each. Make partitions larger "
            "(rows_per_partition=, or a smaller n_partitions=), or ask for fewer components."
        )
    start = settings.start
    if start is not None and start.n_features != source.n_features:
        raise DegenerateRows(
            f"the start has {start.n_features} features, the source {source.n_features}"
        )
    if start is not None and start.n_components != settings.n_components:
        raise DegenerateRows(
            f"the start has {start.n_components} components; wanted {settings.n_components}"
        )
    if start is not None and start.family != settings.family:
        raise DegenerateRows(f"the start is of {start.family}; wanted {settings.family}")


def check_replacement(source: Source, settings: Settings, replacement: Source | None) -> None:
    """Raise unless an attack on rows has what it needs: counts, or other rows to take."""
    corruption = settings.corruption
    if corruption is None or "rows" not in corruption.stages:
        return
    if ATTACKS[corruption.attack].rows is not None:  # it spoils the rows that are there
        check_counts(corruption.attack, source.dtype, settings.family.options.get("n_trials"))
        return
    if replacement is None:
        raise InvalidSource("the attack 'data' needs a source of rows to put in place of others")
    if replacement.n_features != source.n_features:
        raise InvalidSource(
            f"the replacement has {replacement.n_features} features, the source {source.n_features}"
        )
