"""Which way a run took by the likeness of its pieces, as plain values and as a text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dfmr_dask.run.way import Way

SHOWN_GROUPS, SHOWN_PIECES, SHOWN_SIZES = 6, 8, 6
NOTABLE = 2.0  # times sampling noise: what is below differs little
WAYS = {
    "alike": "as they are, each a partition, with the filter",
    "weights": "as they are, with the filter that leaves weights free",
    "unlike": "in interleaved partitions, with nobody dropped for being unlike",
}


def likeness_summary(way: Way | None, features: Sequence[str]) -> dict[str, Any] | None:
    """Return the way and its grounds as plain values; None where nothing was chosen.

    Parameters
    ----------
    way : Way or None
    features : sequence of str

    Returns
    -------
    dict or None
        ``route``, ``reason``, ``advice``, ``p_value``, ``size`` (times sampling noise), ``pieces``
        (how many answered), ``features`` and ``components`` (sizes of each), ``groups`` (pieces of
        each, largest first), and reasons by piece: ``off``, ``misplaced``, ``failed``,
        ``left_out``.
    """
    if way is None:
        return None
    told = way.likeness
    ids, groups = np.array(told.pieces, dtype=np.intp), np.asarray(told.groups)
    reasons = {"off": told.off, "misplaced": told.misplaced}
    reasons |= {"failed": way.failed, "left_out": way.left_out}
    return {
        "route": told.route,
        "reason": told.reason,
        "advice": told.advice,
        "p_value": float(told.p_value),
        "size": float(told.size),
        "pieces": len(ids),
        "features": dict(zip(features, map(float, told.features), strict=True)),
        "components": [float(size) for size in told.components],
        "groups": [ids[groups == k].tolist() for k in np.unique(groups)],
        **{name: _listed(which) for name, which in reasons.items()},
    }


def likeness_text(found: Mapping[str, Any] | None) -> str:
    """Write the way, its grounds, and what stands apart for people; nothing where none was chosen.

    Parameters
    ----------
    found : mapping or None
        From :func:`likeness_summary`, or read again from ``summary.json``.
    """
    if not found:
        return ""
    lines = [
        f"Pieces      {found['pieces']} gave samples; rows are fitted {WAYS[found['route']]}",
        f"  {found['reason']}",
        f"  {found['advice']}",
    ]
    features = sorted(found["features"].items(), key=lambda pair: -pair[1])
    components = [(f"component {k} of the start", s) for k, s in enumerate(found["components"])]
    components = sorted(components, key=lambda pair: -pair[1])
    for what, sizes in (("features", features), ("shares of components", components)):
        wide = [f"{name} ({_times(size)})" for name, size in sizes if size >= NOTABLE]
        if wide and found["route"] != "alike":
            lines.append(
                f"  {what} that differ, in times sampling noise: {_some(wide, SHOWN_SIZES)}"
            )
    if found["route"] == "unlike" and len(found["groups"]) > 1:
        for k, ids in enumerate(found["groups"][:SHOWN_GROUPS]):
            lines.append(f"  group {k}: {_count(ids)}: {_some(list(map(str, ids)), SHOWN_PIECES)}")
        rest = found["groups"][SHOWN_GROUPS:]
        if rest:
            lines.append(f"  {len(rest)} more groups with {sum(map(len, rest))} pieces")
    titles = {"off": "stands apart", "misplaced": "at the wrong place", "failed": "gave no sample"}
    titles |= {"left_out": "left out of the partitions"}
    for name, title in titles.items():
        lines += [f"  {title}: {one['id']}: {one['reason']}" for one in found[name][:SHOWN_PIECES]]
        if len(found[name]) > SHOWN_PIECES:
            lines.append(f"  {title}: {len(found[name]) - SHOWN_PIECES} more")
    return "\n".join(lines)


def _listed(reasons: Mapping[int, str]) -> list[dict[str, Any]]:
    return [{"id": int(i), "reason": reason} for i, reason in sorted(reasons.items())]


def _times(size: float) -> str:
    return f"{size:.3g}"


def _count(ids: Sequence[int]) -> str:
    return "1 piece" if len(ids) == 1 else f"{len(ids)} pieces"


def _some(words: Sequence[str], most: int) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
