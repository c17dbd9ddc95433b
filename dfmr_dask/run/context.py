"""What all stages of a run share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dask.delayed import Delayed

from dfmr_dask.corruption import Corruption, Forged, byzantine_partitions
from dfmr_dask.data.source import Source
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run import partition
from dfmr_dask.run.events import Arrival, Emit, Event
from dfmr_dask.run.handles import stands_for
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import Failure, Key, Several, Tasks, described
from dfmr_dask.run.waiting import Stop
from dfmr_dask.run.watching import unheard

Accept = Callable[[int, Any], Any]


def unchanged(i: int, came: Any) -> Any:
    """Take what came as it is."""
    return came


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """What all stages of a run share.

    ``called`` stands in the keys of questions, where a run asks two sets of partitions: Dask
    answers a key that it holds with the old result.
    """

    source: Source
    settings: Settings
    tasks: Tasks
    emit: Emit
    ledger: Ledger | None = None
    replacement: Source | None = None
    drawn: Mapping[int, Any] | None = None  # handles of samples, drawn before the order was known
    called: Key = ()

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
            shared_components=chosen.shared_components,
            most_components=chosen.selection.max_components if chosen.selection else None,
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

    def submitted(
        self,
        stage: str,
        key: Key,
        function: Callable[..., Any],
        own: Mapping[int, tuple[Any, ...]],
        *common: Any,
    ) -> dict[int, Any]:
        """Submit ``function(*own[i], *common)`` for partitions; where there are very many,
        several of them share a task.

        Returns
        -------
        dict of the first partition of a task to its handle
        """
        size = self.tasks.per_task(len(self.source.plan))
        handles = {}
        for some in batched(own, size):
            first = some[0]
            if len(some) == 1:
                args = (*own[first], *common)
                handles[first] = self.tasks.submit(stage, (*key, first), function, *args)
            else:
                chosen = {i: own[i] for i in some}
                place = (*key, first)
                handles[first] = self.tasks.submit_several(stage, place, function, chosen, *common)
        return handles

    def gathered(
        self,
        stage: str,
        handles: Mapping[int, Any],
        accept: Accept = unchanged,
        *,
        total: int | None = None,
        stop: Stop | None = None,
        each: bool = False,
    ) -> dict[int, Any]:
        """Wait for tasks, and tell how far they are; messages are written as they arrive.

        Parameters
        ----------
        stage : str
        handles : mapping of partition to handle
        accept : callable
            Given the partition and what came, returns what is taken for it.
        total : int, optional
            How many results there will be, where some handles stand for several.
        stop : callable, optional
            Returns a reason once nothing more is to be waited for.
        each : bool
            Tell which partitions are begun with, as well.
        """
        out: dict[int, Any] = {}
        failed, total = 0, len(handles) if total is None else total
        silent: dict[int, str] = {}
        self.emit(Event(stage, 0, total))

        def begun(number: int) -> None:
            some = stands_for(number, handles[number])
            arrivals = tuple(Arrival(j, "fitting") for j in some)
            self.emit(Event(stage, len(out), total, failed, arrivals=arrivals))

        for i, came in self.tasks.results(handles, stop, begun if each else unheard):
            pairs = came.results if isinstance(came, Several) else {i: came}
            taken = {j: accept(j, opened(one)) for j, one in pairs.items()}
            failed += sum(map(is_failed, taken.values()))
            out |= taken
            said = {j: one for j, one in taken.items() if isinstance(one, Message)}
            silent |= {j: one.reason for j, one in said.items() if isinstance(pairs[j], Failure)}
            if self.ledger is not None:
                self.ledger.record_messages([one for j, one in said.items() if j not in silent])
            arrivals = tuple(map(Arrival.of, said.values()))
            self.emit(Event(stage, len(out), total, failed, arrivals=arrivals))
        if self.ledger is not None:
            self.ledger.record_unanswered(silent)
        return dict(sorted(out.items()))


def batched(own: Mapping[int, tuple[Any, ...]], size: int) -> Iterator[tuple[int, ...]]:
    """Yield the partitions that share a task; blocks of Dask's own come alone."""
    together: list[int] = []
    for i, args in own.items():
        if any(isinstance(arg, Delayed) for arg in args):
            yield (i,)
            continue
        together.append(i)
        if len(together) == size:
            yield tuple(together)
            together = []
    if together:
        yield tuple(together)


def by_attack(
    context: Context, partitions: Sequence[int], stage: str
) -> Iterator[tuple[Corruption | None, list[int]]]:
    """Yield honest partitions, and those that an attack strikes at in a stage, with the attack."""
    attack, byzantine = context.attack(stage), frozenset(context.byzantine)
    struck = [i for i in partitions if attack is not None and i in byzantine]
    liars = frozenset(struck)
    yield None, [i for i in partitions if i not in liars]
    if struck:
        yield attack, struck


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
