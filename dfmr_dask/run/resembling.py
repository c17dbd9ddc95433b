"""What a partition's samples are like, as a task; liars say what they like (EVIDENCE 11)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from dfmr_dask.aggregate.questions import Resemblance
from dfmr_dask.corruption import Corruption, corrupted, corrupted_scores
from dfmr_dask.errors import DegenerateRows
from dfmr_dask.local.resemblance import resemblance
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.partition import Drawn, LocalSettings
from dfmr_dask.run.tasks import Failure, described
from dfmr_dask.run.worker_log import logged


@logged
def resemble(
    partition: int,
    drawn: Drawn | Failure,
    start: Mixture,
    settings: LocalSettings,
    attack: Corruption | None = None,
) -> Resemblance | Failure:
    """Describe a partition's samples, seen from the common start.

    Parameters
    ----------
    partition : int
    drawn : Drawn or Failure
        The partition's samples, or why it has none.
    start : Mixture
    settings : LocalSettings
    attack : Corruption or None
        What a Byzantine partition says in place of what it found.
    """
    if isinstance(drawn, Failure):
        return drawn
    try:
        found = resemblance(drawn.sample, start, floor=settings.reg_covar)
    except DegenerateRows as error:  # a bad partition is data
        return Failure(str(error))
    except Exception as error:
        return Failure(described(error))
    return found if attack is None else lied(partition, found, start, settings, attack)


def lied(
    partition: int,
    found: Resemblance,
    start: Mixture,
    settings: LocalSettings,
    attack: Corruption,
) -> Resemblance:
    """Return a lie: responsibilities and scores of others, and an estimate that is attacked."""
    rng = generator(settings.seed, Stage.CORRUPT_RESEMBLANCE, partition)
    order = len(start.weights)
    shares = corrupted_scores(found.means[:order], rng, attack.attack)
    means = np.concatenate([shares, found.means[order:]])
    scores = corrupted_scores(found.scores, rng, attack.attack)
    estimate: Any = found.mixture and corrupted(
        found.mixture,
        attack,
        rng,
        known=start,
        rows=found.fitted_rows,
        shared=generator(settings.seed, Stage.COLLUDE),
        turn=partition,
    )
    rows = found.rows if attack.claimed_rows is None else float(attack.claimed_rows)
    return replace(found, rows=rows, means=means, scores=scores, mixture=estimate)
