"""Plans that fit in the memory of a worker: what is too large is cut, or streamed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dfmr_dask.data.cost import SAMPLES, USABLE, Cost, byte_text
from dfmr_dask.data.grid import Box, Grid, at_chunks, boxes_of, rows_of
from dfmr_dask.data.layouts import chunks, finished
from dfmr_dask.data.plan import Plan


def cut_to_fit(
    grid: Grid, units: Grid, cost: Cost, memory: int | None, notes: Sequence[str] = ()
) -> Plan:
    """Make each chunk a partition, those that are too large cut where something decodes alone.

    Parameters
    ----------
    grid : tuple of Axis
        Chunks, or shards.
    units : tuple of Axis
        What decodes alone: chunks, or inner chunks of shards.
    cost : Cost
    memory : int or None
        Bytes of a worker; None cuts nothing.
    notes : sequence of str
    """
    whole = chunks(grid, cost, notes)
    if memory is None or whole.memory is None or whole.memory <= USABLE * memory:
        return whole
    most = cost.most_rows(USABLE * memory, whole.rows or 1, SAMPLES)  # whatever their number
    pieces = [piece for box in boxes_of(grid) for piece in _pieces(box, units, most)]
    if len(pieces) == len(whole):
        return whole
    said = (
        f"memory_per_worker={byte_text(memory)} does not hold each shard at once: {len(whole)} "
        f"shards were cut into {len(pieces)} partitions of whole inner chunks"
    )
    return finished("chunks", [(piece,) for piece in pieces], cost, (*notes, said))


def _pieces(box: Box, units: Grid, most: int) -> list[Box]:
    return [box] if rows_of(box) <= most else at_chunks(box, units, max(1, most))


def held_to(plan: Plan, cost: Cost, memory: int | None) -> Plan:
    """Stream the partitions of a plan that a worker cannot hold, if that takes less of it.

    Parameters
    ----------
    plan : Plan
    cost : Cost
    memory : int or None
        Bytes of a worker; None holds every partition.
    """
    if memory is None:
        return plan
    m = len(plan)

    def needed(rows: int, streamed: bool) -> int:
        return cost.memory(rows, m, streamed=streamed)

    beyond = [one for one in plan.partitions if needed(one.rows, False) > USABLE * memory]
    streamed = [
        one for one in beyond if cost.streams and needed(one.rows, True) < needed(one.rows, False)
    ]
    apart = {one.index for one in streamed}
    return replace(
        plan,
        memory=max(needed(one.rows, one.index in apart) for one in plan.partitions),
        memory_per_worker=memory,
        streamed=tuple(sorted(apart)),
    )
