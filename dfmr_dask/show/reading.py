"""What a run would read, before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dask.utils import format_bytes, parse_bytes

from dfmr_dask.data.source import Source


def plan_summary(source: Source, memory_limit: int | str | None = None) -> dict[str, Any]:
    """Return the plan of a source as plain values.

    Parameters
    ----------
    source : Source
    memory_limit : int or str, optional
        What a worker may use, as Dask writes it.

    Returns
    -------
    dict
        ``partitions``, ``rows``, ``bytes``, ``decoded_bytes`` (whole chunks are decoded),
        ``memory`` (bytes a worker needs for its largest partition), and more.
    """
    plan = source.plan
    return {
        "source": source.location,
        "features": list(source.features),
        "dtype": str(source.dtype),
        "dims": dict(zip(source.sample_dims, source.shape, strict=False)),
        "plan": plan.kind,
        "partitions": len(plan),
        "rows": plan.rows,
        "bytes": plan.bytes,
        "decoded_bytes": plan.decoded_bytes,
        "memory": plan.memory,
        "memory_limit": None if memory_limit is None else parse_bytes(memory_limit),
        "first": source.box_text(0),
        "notes": list(plan.notes),
        "text": str(plan),
    }


def plan_text(summary: Mapping[str, Any]) -> str:
    """Write a plan for people."""
    features = ", ".join(summary["features"][:8]) + (
        ", ..." if len(summary["features"]) > 8 else ""
    )
    lines = [
        f"source      {summary['source']}",
        f"features    {len(summary['features'])} ({features}), {summary['dtype']}",
        summary["text"],
        f"first       {summary['first']}",
    ]
    if summary["memory_limit"] is not None and summary["memory"] is not None:
        limit, needed = summary["memory_limit"], summary["memory"]
        enough = "enough" if needed <= limit else "TOO LITTLE: make partitions smaller"
        lines.append(f"limit       {format_bytes(limit)} a worker: {enough}")
    return "\n".join(line for line in lines if line)
