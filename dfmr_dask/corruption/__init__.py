"""Simulated Byzantine partitions: who they are, and what they say (METHOD 9).

The plan of who is Byzantine follows from the seed alone, and the aggregation never sees it
(but for ``oracle``, which exists in simulations only).
"""

from __future__ import annotations

from dfmr_dask.corruption.attacks import ATTACKS
from dfmr_dask.corruption.malformed import MALFORMED, Forged
from dfmr_dask.corruption.plan import STAGES, Corruption, byzantine_partitions
from dfmr_dask.corruption.words import (
    corrupted,
    corrupted_message,
    corrupted_rows,
    corrupted_scores,
    lies,
)

__all__ = [
    "ATTACKS",
    "MALFORMED",
    "STAGES",
    "Corruption",
    "Forged",
    "byzantine_partitions",
    "corrupted",
    "corrupted_message",
    "corrupted_rows",
    "corrupted_scores",
    "lies",
]
