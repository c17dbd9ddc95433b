"""What a run found out, and the table of its partitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dfmr_dask.aggregate.uncertainty import StandardErrors
from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.data.backends import GridBackend
from dfmr_dask.data.grid import Box, rows_of
from dfmr_dask.data.source import Source
from dfmr_dask.errors import NoStandardErrors
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.sample import Sample
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.way import Way
from dfmr_dask.selection.curve import Selection


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a run found out.

    Attributes
    ----------
    mixture : Mixture
        Heaviest component first.
    verdict : Verdict
    messages : tuple of Message
        One a partition, in order.
    start : Mixture or None
        The common start; None where each partition started on its own (``paper``).
    compared : mapping of aggregators to Mixture
    score : float
        Mean log density a row of the kept partitions, in nats, weighted where rows have weights.
    score_rows : int or float
        How many rows that is the mean of, or the sum of their weights: all of them in a small
        store, samples in a large one.
    scores : mapping of aggregators to float
        The same for what was compared.
    seconds : mapping of stages to float
    byzantine : tuple of int
        Partitions that a simulation made Byzantine.
    notes : tuple of str
    chosen : {"aggregate", "polished", "start", "center"}
        What the check at the end let stand.
    passes : int
        How many polishing passes were taken from there.
    errors : StandardErrors or NoStandardErrors
        How sure the mixture is, or why nothing tells.
    selection : Selection or None
        How the number of components was chosen, where it was.
    source : Source or None
        The partitions that were fitted.
    settings : Settings or None
        As the way that was taken changed them.
    way : Way or None
        Which one that was, and why; None where the plan was no ``auto``.
    pieces : xarray.Dataset or None
        The table of the pieces that the way was chosen by.
    sample : Sample or None
        Some rows of the kept partitions, for pictures; None unless a run in a folder drew them.
    """

    mixture: Mixture
    verdict: Verdict
    messages: tuple[Message, ...]
    start: Mixture | None
    compared: Mapping[str, Mixture]
    score: float
    score_rows: float
    scores: Mapping[str, float]
    seconds: Mapping[str, float]
    byzantine: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    chosen: str = "aggregate"
    passes: int = 0
    errors: StandardErrors | NoStandardErrors = field(default_factory=NoStandardErrors)
    selection: Selection | None = None
    source: Source | None = None
    settings: Settings | None = None
    way: Way | None = None
    pieces: xr.Dataset | None = None
    sample: Sample | None = None


def partition_table(source: Source, result: Result) -> xr.Dataset:
    """Return one entry a partition: where its rows lie, and what became of it.

    Parameters
    ----------
    source : Source
    result : Result

    Returns
    -------
    xarray.Dataset
        Dimension ``partition``; the cut of each gate is an attribute of its distances. How far
        each parameter of an estimate lies from the aggregate's stands along ``component`` and
        ``feature`` as well. ``component_kept`` tells, where components were judged one by one,
        which of each partition were merged, in the order of the aggregate's, and ``entry_kept``
        which features, where these were.
        Partitions of a grid have its dimensions as coordinates: where their middles lie.
    """
    locations = [source.box_text(i) for i in range(len(source.plan))]
    table = verdict_table(locations, result.messages, result.verdict)
    places = {} if source.plan.kind == "interleaved" else middles(source)
    free = {dim: at for dim, at in places.items() if dim not in table.variables}
    return table.assign_coords({dim: ("partition", at) for dim, at in free.items()})


def middles(source: Source) -> dict[str, NDArray[Any]]:
    """Return where the middle of each partition lies, by the source's coordinates or its index.

    Nothing where rows do not lie on a grid.
    """
    if not isinstance(source.backend, GridBackend):
        return {}
    array = source.as_dataarray()
    found = {}
    for axis, dim in enumerate(source.sample_dims):
        index = np.array([_middle(one.boxes, axis) for one in source.plan.partitions])
        there = dim in array.coords and array.coords[dim].dims == (dim,)
        found[dim] = np.asarray(array.coords[dim].values)[index.astype(np.intp)] if there else index
    return found


def _middle(boxes: tuple[Box, ...], axis: int) -> float:
    """Return the mean index of the rows of some boxes along a dimension."""
    sizes = np.array([rows_of(box) for box in boxes], dtype=np.float64)
    middles = np.array([0.5 * (box[axis][0] + box[axis][1] - 1) for box in boxes])
    return float(sizes @ middles / sizes.sum())


def verdict_table(
    locations: list[str], messages: tuple[Message, ...], verdict: Verdict
) -> xr.Dataset:
    """Return the table of partitions for messages and a verdict on them."""
    fates = dict.fromkeys(verdict.kept, "kept") | dict.fromkeys(verdict.dropped, "dropped")
    fates |= dict.fromkeys(verdict.failed, "failed") | dict.fromkeys(verdict.empty, "empty")
    reasons = dict(verdict.dropped) | dict(verdict.failed)
    numbers = np.array([m.partition for m in messages], dtype=np.intp)
    columns = {
        "location": _texts(locations),
        "rows": np.array([m.rows for m in messages], dtype=np.int64),
        "dropped_rows": np.array([m.dropped_rows for m in messages], dtype=np.int64),
        "status": _texts([m.status for m in messages]),
        "fate": _texts([fates[m.partition] for m in messages]),
        "kept": np.array([fates[m.partition] == "kept" for m in messages]),
        "reason": _texts([reasons.get(m.partition, m.reason) for m in messages]),
        "n_iter": np.array([m.n_iter for m in messages], dtype=np.int64),
        "converged": np.array([m.converged for m in messages]),
        "observed": np.array([m.observed or 1.0 for m in messages], dtype=np.float64),
        "log_likelihood": np.array([m.log_likelihood for m in messages], dtype=np.float64),
        "start": _texts([m.start for m in messages]),
        "seconds": np.array([m.seconds for m in messages], dtype=np.float64),
    }
    table = xr.Dataset(
        {name: ("partition", column) for name, column in columns.items()},
        coords={"partition": numbers},
        attrs={
            "certified": int(verdict.certified),
            "doubts": list(verdict.doubts),
            "gates": [gate.name for gate in verdict.gates],
            "center": -1 if verdict.center is None else verdict.center,
        },
    )
    for gate in verdict.gates:
        attributes = {"cutoff": gate.cutoff, "radius": gate.radius}
        table[f"distance_{gate.name}"] = ("partition", _of(numbers, gate.distances), attributes)
    if verdict.components_kept is not None:
        table["component_kept"] = (
            ("partition", "component"),
            _of(numbers, verdict.components_kept),
        )
    if verdict.entries_kept is not None:
        table["entry_kept"] = (("partition", "feature"), _of(numbers, verdict.entries_kept))
    for name, everybody in verdict.deviations.items():
        values = _of(numbers, everybody)
        one = values.shape[-1] == 1 and name == "weight"
        dims = ("partition", "component") if one else ("partition", "component", "feature")
        units = {"units": "standard errors"}
        table[f"deviation_{name}"] = (dims, values[..., 0] if one else values, units)
    table["log_likelihood"].attrs["units"] = "nats a row"
    table["seconds"].attrs["units"] = "s"
    return table


def selection_table(found: Selection) -> xr.Dataset:
    """Return the curve over orders that the number of components was chosen from.

    Returns
    -------
    xarray.Dataset
        Dimension ``n_components``; attributes tell the chosen order, why, and on how many rows.
    """
    units = {"score": "nats a row", "gain": "nats a row", "gain_error": "nats a row"}
    columns = {
        "score": found.scores,
        "gain": found.gains,
        "gain_error": found.gain_errors,
        "bic": found.bic,
        "bic_error": found.bic_errors,
        "aic": found.aic,
        "n_parameters": found.parameters,
    }
    table = xr.Dataset(
        {name: ("n_components", column) for name, column in columns.items()},
        coords={"n_components": list(found.orders)},
        attrs={"chosen": found.n_components, "reason": found.reason, "rows": found.rows},
    )
    for name, unit in units.items():
        table[name].attrs["units"] = unit
    return table


def as_csv(table: xr.Dataset) -> bytes:
    """Return what the table has one number or text a partition of."""
    flat = table.drop_dims({"component", "feature"} & set(table.dims))
    return bytes(flat.to_dataframe().to_csv().encode())


def _of(numbers: NDArray[np.intp], values: NDArray[Any]) -> NDArray[Any]:
    """Select the rows of partitions by number; NaN, or False, for those beyond the last one."""
    missing = False if values.dtype == np.bool_ else np.nan
    out = np.full((len(numbers), *values.shape[1:]), missing, dtype=values.dtype)
    known = numbers < len(values)
    out[known] = values[numbers[known]]
    return out


def _texts(values: list[str]) -> NDArray[np.object_]:
    """Texts of any length, which Zarr's format specifies (those of fixed width it does not)."""
    return np.array(values, dtype=object)
