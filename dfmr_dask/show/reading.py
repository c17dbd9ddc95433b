"""What a run would read, before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfmr_dask.data.cost import byte_text
from dfmr_dask.data.source import Source
from dfmr_dask.show.likeness_text import likeness_text

Reading = dict[str, Any]
MOST_PLANNED = 100_000  # pieces up to which it is quickly told what else they could become


def plan_summary(source: Source) -> Reading:
    """Return the plan of a source as plain values.

    Parameters
    ----------
    source : Source

    Returns
    -------
    dict
        ``partitions``, ``rows``, ``bytes``, ``decoded_bytes`` (whole chunks are decoded),
        ``decoded_per_byte``, ``memory`` (bytes a worker needs at most), ``memory_per_worker``
        (what it has), ``fits``, ``streamed`` (partitions that are read in each pass), and more;
        ``otherwise`` says which interleaved partitions an ``auto`` plan has in store.
    """
    plan = source.plan
    return {
        "source": source.location,
        "features": list(source.features),
        "dtype": str(source.dtype),
        "dims": dict(zip(source.sample_dims, source.shape, strict=False)),
        "plan": plan.name,
        "otherwise": _otherwise(source),
        "partitions": len(plan),
        "rows": plan.rows,
        "bytes": plan.bytes,
        "decoded_bytes": plan.decoded_bytes,
        "decoded_per_byte": plan.decoded_per_byte,
        "streamed": list(plan.streamed),
        "memory": plan.memory,
        "memory_per_worker": plan.memory_per_worker,
        "fits": plan.fits,
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
        f"otherwise   {summary['otherwise']}" if summary["otherwise"] else "",
        f"first       {summary['first']}",
    ]
    if summary["memory_per_worker"] is not None and summary["memory"] is not None:
        told = "enough" if summary["fits"] else "TOO LITTLE: give them more, or read less at once"
        has = byte_text(summary["memory_per_worker"])
        lines.append(f"workers     {has} each (cluster.memory_per_worker): {told}")
    if "likeness" in summary:
        lines.append(_way(summary))
    return "\n".join(line for line in lines if line)


def _way(summary: Mapping[str, Any]) -> str:
    """Say which way the samples lead, and what is read on it."""
    if summary["likeness"] is None:
        return "way         nothing is chosen by samples here: the plan is taken as it is"
    text = f"\n{likeness_text(summary['likeness'])}"
    interleaved = summary["taken"]["plan"] == "interleaved"
    return f"{text}\n\n{summary['taken']['text']}" if interleaved else text


def _otherwise(source: Source) -> str | None:
    """Describe the interleaved partitions of a plan that may become such."""
    if not source.plan.auto or len(source.plan) > MOST_PLANNED:
        return None
    plan = source.interleaved().plan
    rows = [one.rows for one in plan.partitions]
    return (
        f"{len(plan)} interleaved partitions of {min(rows)} to {max(rows)} rows, "
        f"{plan.decoded_per_byte:.1f} bytes a byte used, {byte_text(plan.memory)} a worker"
    )
