"""What all stages of a run share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dfmr_dask.corruption import Corruption, Forged, byzantine_partitions
from dfmr_dask.data.source import Source
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run import partition
from dfmr_dask.run.events import Emit, Event
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import Failure, Tasks, described

Accept = Callable[[int, Any], Any]


def unchanged(i: int, came: Any) -> Any:
    """Take what came as it is."""
    return came


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What all stages of a run share."""

    source: Source
    settings: Settings
    tasks: Tasks
    emit: Emit
    ledger: Ledger | None = None
    replacement: Source | None = None

    @property
    def byzantine(self) -> tuple[int, ...]:
        """Partitions that a simulation makes Byzantine."""
        m = len(self.source.plan)
        return byzantine_partitions(self.settings.corruption, m, self.settings.seed)

    @property
    def local(self) -> partition.LocalSettings:
        """What a partition must know."""
        chosen = self.settings
        return partition.LocalSettings(
            family=chosen.family,
            n_components=chosen.n_components,
            features=self.source.features,
            seed=chosen.seed,
            tol=chosen.tol,
            reg_covar=chosen.reg_covar,
            max_iter=chosen.max_iter,
            n_init=chosen.n_init,
            init_params=chosen.init_params,
            alone=len(self.source.plan) == 1,
            outliers=chosen.outliers,
            dtype_work=chosen.dtype_work,
        )

    def fits_run(self, mixture: Any) -> bool:
        """Tell whether something is a mixture of the family, order and features of this run."""
        asked = self.settings
        return (
            isinstance(mixture, Mixture)
            and mixture.family == asked.family
            and mixture.n_components == asked.n_components
            and mixture.n_features == self.source.n_features
        )

    def attack(self, stage: str) -> Corruption | None:
        """Return the attack that strikes at a stage, if any."""
        corruption = self.settings.corruption
        return corruption if corruption and corruption.strikes(stage) else None

    def rows_of(self, i: int, byzantine: frozenset[int]) -> tuple[Source, int]:
        """Return source and partition that i takes its rows from: another one under attack."""
        if self.replacement is not None and i in byzantine and self.attack("rows"):
            return self.replacement, i % len(self.replacement.plan)
        return self.source, i

    def gathered(
        self, stage: str, handles: Mapping[int, Any], accept: Accept = unchanged
    ) -> dict[int, Any]:
        """Wait for tasks, and tell how far they are; messages are written as they arrive.

        Parameters
        ----------
        stage : str
        handles : mapping of partition to handle
        accept : callable
            Given the partition and what came, returns what is taken for it.
        """
        out: dict[int, Any] = {}
        silent: dict[int, str] = {}
        failed = 0
        self.emit(Event(stage, 0, len(handles)))
        for i, came in self.tasks.results(handles):
            value = accept(i, opened(came))
            failed += is_failed(value)
            out[i] = value
            if isinstance(value, Message) and isinstance(came, Failure):
                silent[i] = value.reason
            elif self.ledger is not None and isinstance(value, Message):
                self.ledger.record_messages([value])
            self.emit(Event(stage, len(out), len(handles), failed))
        if self.ledger is not None:
            self.ledger.record_unanswered(silent)
        return dict(sorted(out.items()))


def opened(came: Any) -> Any:
    """Rebuild what was forged, as a wire would have done: within one process nothing has."""
    if not isinstance(came, Forged):
        return came
    try:
        return came.opened()
    except Exception as error:  # what cannot be rebuilt is no result
        return Failure(described(error))


def is_failed(value: Any) -> bool:
    """Tell whether a task gave nothing that can be used."""
    return isinstance(value, Failure) or (isinstance(value, Message) and value.status == "failed")
