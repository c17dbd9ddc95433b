"""From stores to partitions: opening, planning, reading; and values on disk."""

from __future__ import annotations

from dfmr_dask.data.plan import Partition, Plan
from dfmr_dask.data.source import Source, open_source

__all__ = ["Partition", "Plan", "Source", "open_source"]
