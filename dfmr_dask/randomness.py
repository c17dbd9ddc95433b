"""Random numbers by address: the same seed, stage and partition give the same bits anywhere.

No stage hands a generator to another one, so neither the number of workers, nor the order in
which tasks run, nor a second try of one of them changes a result.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stage(IntEnum):
    """Where in a run random numbers are drawn; the numbers are part of every result."""

    PLAN = 1
    SAMPLE = 2
    PROPOSE = 3
    BYZANTINE = 4
    CORRUPT_ROWS = 5
    CORRUPT_PROPOSAL = 6
    CORRUPT_MESSAGE = 7
    SIMULATE = 8
    DRAW = 9
    SAMPLE_BLOCKS = 10
    VOTERS = 11
    PROPOSERS = 12
    CORRUPT_SCORES = 13
    CORRUPT_ROUND = 14
    SHORTLIST = 15
    FRESH_ROWS = 16
    ALIEN_ROWS = 17
    PARTITION_SIZES = 18
    PARTITION_WEIGHTS = 19
    COLLUDE = 20
    LABELS = 21
    REFERENCES = 22
    YARDSTICK = 23
    REDUCE = 24
    CORRUPT_PASS = 25
    SHUFFLE = 40
    SELECT = 60
    CORRUPT_SAMPLE = 61
    CORRUPT_RESEMBLANCE = 70
    ALIKE_SPREAD = 71
    SHOWN_ROWS = 80
    FIT_PICTURE = 81
    PROVISIONAL = 90


def generator(seed: int, stage: Stage, partition: int = 0) -> np.random.Generator:
    """Return the generator that belongs to an address.

    Examples
    --------
    >>> from dfmr_dask.randomness import Stage, generator
    >>> int(generator(0, Stage.SAMPLE, 3).integers(100)) == int(
    ...     generator(0, Stage.SAMPLE, 3).integers(100))
    True
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(stage), partition)))
