"""What a run is about, in plain values: interrupted runs go on only where these are the same.

The fit and the aggregation have identities of their own: another filter refits nothing. A store may
grow; then only what was appended is fitted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dfmr_dask.data.archive import packed
from dfmr_dask.data.files import arrays_of, plain, plain_description
from dfmr_dask.data.fingerprints import differences, sha256
from dfmr_dask.data.source import Source
from dfmr_dask.errors import RunDiffers
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.settings import Settings

FIT = (
    *("family", "n_components", "tol", "reg_covar", "max_iter", "n_init", "init_params"),
    *("start", "seed", "corruption", "outliers", "dtype_work", "places", "selection"),
    *("shared_components",),
)
SHOWING = ("sample_rows",)  # of what pictures show: no result depends on it
AGGREGATION = ("method", "weights", "gates", "rho", "unit", "aggregator", "compare", "polish")
SHOWN = 8


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Where each partition lies and what was there: hashes of its boxes, and of its chunks.

    Attributes
    ----------
    boxes, chunks : tuple of str
        One of each a partition. Chunks are told apart by their keys, sizes and stamps.
    """

    boxes: tuple[str, ...]
    chunks: tuple[str, ...]

    @classmethod
    def of(cls, source: Source) -> Pieces:
        """Look where the partitions of a source lie, and at the chunks there."""
        boxes = tuple(sha256(partition.boxes) for partition in source.plan.partitions)
        found = source.partition_fingerprints()
        return cls(boxes, tuple(found[i] for i in range(len(source.plan))))

    def plain(self) -> dict[str, Any]:
        """Return what JSON knows."""
        return {"boxes": list(self.boxes), "chunks": list(self.chunks)}

    @classmethod
    def from_plain(cls, value: Mapping[str, Any]) -> Pieces:
        """Rebuild what :meth:`plain` returned; nothing of a run that was cut before it wrote it."""
        return cls(tuple(value.get("boxes", ())), tuple(value.get("chunks", ())))


def identity(source: Source, settings: Settings, replacement: Source | None) -> dict[str, Any]:
    """Return what decides the bits of a run, as values for JSON.

    Parameters
    ----------
    source : Source
    settings : Settings
    replacement : Source or None
        Rows that an attack puts in the place of others.

    Returns
    -------
    dict
        ``package`` (version), ``source``, ``fit``, ``aggregation``.
    """
    from dfmr_dask import __version__  # noqa: PLC0415  (the package imports this module)

    told = {**source.fingerprint(), "one partition": len(source.plan) == 1}
    told["plan"] = told["plan"]["kind"]  # where partitions lie is told by their boxes
    del told["sha256"]
    fit = {name: _plain_setting(getattr(settings, name)) for name in FIT}
    fit["own starts"] = settings.method == "paper"
    if replacement is not None:
        fit["replacement"] = replacement.description
    aggregation = {name: getattr(settings, name) for name in AGGREGATION}
    everything = {"source": told, "fit": fit, "aggregation": aggregation}
    return dict(plain({"package": __version__, **everything}))


def check_same(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    was: Pieces,
    here: Pieces,
    fitted: set[int],
    interleaved: bool = False,
) -> set[int]:
    """Return which fitted partitions stay as they are; raise where a run cannot go on.

    Parameters
    ----------
    before, now : mappings
        From :func:`identity`.
    was, here : Pieces
        Of the source when the run began, and now.
    fitted : set of int
        Partitions that the ledger has messages of.
    interleaved : bool
        Whether the run chose partitions with rows from all over the source.

    Raises
    ------
    RunDiffers
        Naming what differs.
    """
    grown = _has_grown(before["source"], now["source"])
    found = [f"the package was {before['package']}, and is {now['package']}"] * (
        before["package"] != now["package"]
    )
    length = {"shape": now["source"]["shape"]} if grown else {}
    was_told = {"source": {**before["source"], **length}, "fit": before["fit"]}
    found += differences(was_told, {"source": now["source"], "fit": now["fit"]})
    moved = [i for i in sorted(fitted) if i >= len(here.boxes) or here.boxes[i] != was.boxes[i]]
    last = len(was.boxes) - 1
    if grown and interleaved:
        found.append(
            "the source has grown, and the partitions that the run chose hold rows from all over "
            "what it was: rows that were appended cannot be fitted beside them"
        )
    elif moved and not (grown and moved == [last] and last < len(here.boxes)):
        found.append(f"{_named(moved)} would lie elsewhere in the source")
    if grown and now["fit"]["corruption"] is not None:
        found.append("the source has grown, and others would be Byzantine in the simulation")
    still = fitted - set(moved)
    changed = [i for i in sorted(still) if here.chunks[i] != was.chunks[i]]
    if changed:
        found.append(f"the chunks of {_named(changed)} are others than those that were fitted")
    if found:
        raise RunDiffers("; ".join(found))
    return still


def _plain_setting(value: Any) -> Any:
    """Return a setting as JSON knows it; a mixture by the hash of its bits."""
    if isinstance(value, Mixture):
        return hashlib.sha256(packed(plain_description(value), arrays_of(value))).hexdigest()
    if hasattr(value, "options") and hasattr(value, "name"):  # a family
        return {"name": value.name, **value.options}
    slots = getattr(type(value), "__slots__", None)
    return {name: getattr(value, name) for name in slots} if slots else value


def _has_grown(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Tell whether rows were appended along the first dimension."""
    was, here = before["shape"], now["shape"]
    same = len(was) == len(here) > 0 and was[1:] == here[1:]
    return bool(same and here[0] > was[0])


def _named(partitions: Sequence[int]) -> str:
    shown = ", ".join(map(str, partitions[:SHOWN]))
    more = f" and {len(partitions) - SHOWN} more" if len(partitions) > SHOWN else ""
    return f"partition {shown}{more}" if len(partitions) == 1 else f"partitions {shown}{more}"
