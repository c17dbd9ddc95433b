"""What a run has found, as a text for people."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from dfmr_dask.show.likeness_text import likeness_text

FILTERING = "dfmr"  # the aggregator that filters, and so the one that can certify
SHOWN_FEATURES = 6  # columns of the table of components; the model file has all of them
SHOWN_IDS = 12
CHOSEN = {"polished": "aggregate after more rounds on samples"}  # the others as they are called
MOST_DIGITS = 8  # behind the point
SAME_REASON = 3  # from so many reasons of one form on, one stands for all


def summary_text(summary: Mapping[str, Any]) -> str:
    """Write a summary for people.

    Parameters
    ----------
    summary : mapping
        From :func:`~dfmr_dask.show.summary.summarize`, or read again from ``summary.json``.
    """
    parts = [
        _head(summary),
        likeness_text(summary.get("likeness")),
        _partitions(summary),
        selection_text(summary.get("selection")),
        _components(summary),
        _uncertainty(summary),
        _comparison(summary),
        _listed("Doubts", summary["doubts"]),
        _listed("Notes", summary["notes"]),
        _seconds(summary["seconds"]),
        _table("Files", [[name, path] for name, path in summary["files"].items()]),
    ]
    return "\n\n".join(part for part in parts if part)


def _head(summary: Mapping[str, Any]) -> str:
    features = summary["features"]
    names = ", ".join(features[:SHOWN_FEATURES]) + (
        ", ..." if len(features) > SHOWN_FEATURES else ""
    )
    left_out = summary["rows_left_out"]
    lines = [
        f"Source      {summary['source']}",
        f"Rows        {summary['rows']:,} x {len(features)} features ({names})"
        + (f"; {left_out:,} with NaN or infinity left out" if left_out else ""),
        f"Model       {len(summary['components'])} components by {summary['aggregator']}, "
        f"method {summary['method']}{_chosen(summary)}",
        *_filter(summary),
        _score(summary),
    ]
    if summary.get("error") is not None:
        lines.append(f"Error       {_number(summary['error'])} (transport distance to the truth)")
    if summary["aggregator"] != FILTERING:
        lines.append(f"Note        nothing is certified: {summary['aggregator']} filters nobody")
    elif not summary["certified"]:
        lines.append("NOT CERTIFIED: see the doubts below before this model is used.")
    return "\n".join(lines)


def _filter(summary: Mapping[str, Any]) -> list[str]:
    """Say what an estimate had to pass, where any had to."""
    if summary["aggregator"] != FILTERING:
        return []
    rho = summary["rho"]
    cut = (
        "cut-off by the spread of the distances"
        if rho is None
        else f"cut-off at rho = {_number(rho)}"
    )
    each = {"component": "; each component on its own", "entry": "; single features before"}.get(
        str(summary.get("unit")), ""
    )
    return [f"Filter      gates {', '.join(summary['gates'])}; {cut}{each}"]


def _chosen(summary: Mapping[str, Any]) -> str:
    what, passes = summary["chosen"], summary.get("polishing_passes", 0)
    polished = f"polished in {passes} {'pass' if passes == 1 else 'passes'}" if passes else ""
    kept = f"the check at the end kept the {CHOSEN.get(what, what)}" if what else ""
    return "".join(f"; {told}" for told in (kept, polished) if told)


def _score(summary: Mapping[str, Any]) -> str:
    if summary["score"] is None:
        return "Score       not known without reading rows again"
    return (
        f"Score       {_number(summary['score'])} nats a row "
        f"(mean log-likelihood of {summary['score_rows']:,} rows of the kept partitions)"
    )


def _partitions(summary: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{len(summary[k])} {k}" for k in ("kept", "dropped", "failed", "empty"))
    lines = [f"Partitions  {summary['partitions']}: {counts}"]
    if summary["dropped"]:
        lines.append("  reasons for dropping: distances beyond their cut-off, or what else is said")
    for kind in ("dropped", "failed"):
        lines += [f"  {kind} {line}" for line in grouped(summary[kind])]
    if (out := summary.get("components_left_out")) is not None:
        lines.append(
            f"  {_count(out['components'], 'component')} of "
            f"{_count(out['partitions'], 'kept partition')} were left out of the merge"
        )
    if lies := set(summary["byzantine"]):
        caught = lies - set(summary["kept"])
        honest = {one["id"] for one in summary["dropped"]} - lies
        lines.append(
            f"  {len(lies)} were made Byzantine by the corruption stage: {len(caught)} of them "
            f"thrown out, and {len(honest)} honest ones with them"
        )
    return "\n".join(lines)


def grouped(reasons: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say reasons once where many share them; numbers in them may differ.

    Examples
    --------
    >>> from dfmr_dask.show.report import grouped
    >>> grouped([{"id": i, "reason": f"too far: {i}.5"} for i in range(4)])
    ['0, 1, 2, 3: such as too far: 0.5']
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in reasons:
        groups.setdefault(re.sub(r"\d[\d.,e+-]*", "#", one["reason"]), []).append(one)
    return [line for group in groups.values() for line in _of_group(group)]


def _of_group(group: list[Mapping[str, Any]]) -> list[str]:
    texts = [one["reason"] for one in group]
    if len(set(texts)) == 1:
        return [f"{_ids(group)}: {texts[0]}"]
    if len(group) >= SAME_REASON:
        return [f"{_ids(group)}: such as {texts[0]}"]
    return [f"{one['id']}: {one['reason']}" for one in group]


def _ids(group: list[Mapping[str, Any]]) -> str:
    shown = ", ".join(str(one["id"]) for one in group[:SHOWN_IDS])
    more = len(group) - SHOWN_IDS
    return f"{shown} and {more} more" if more > 0 else shown


def _components(summary: Mapping[str, Any]) -> str:
    about = summary.get("described") or dict.fromkeys(("mean", "sd"), summary["features"])
    main = [name for name in about if not name.endswith("sd")]
    labels = [label for name in main for label in about[name]]
    features = labels[:SHOWN_FEATURES]
    rows = [["", "weight", *features]]
    for k, one in enumerate(summary["components"]):
        cells = [cell for name in main for cell in _cells(one, name)]
        weight = _sure(one["weight"], one.get("weight_error"), f"{one['weight']:.4f}")
        rows.append([str(k), weight, *cells[:SHOWN_FEATURES]])
    known = summary.get("standard_errors", {}).get("known", False)
    more = len(labels) - len(features)
    said = "mean (standard deviation)" if "sd" in about else ", ".join(main)
    title = f"Components  weight, and {said} of each feature"
    title += ", ± standard error" if known else ""
    return _table(title + (f" ({more} more features in the model)" if more else ""), rows)


def _cells(one: Mapping[str, Any], name: str) -> list[str]:
    """Write what a component is like along each feature, with standard errors and deviations."""
    errors = one.get(f"{name}_error", [None] * len(one[name]))
    spread = one.get(f"{name.removesuffix('mean')}sd") if name.endswith("mean") else None
    beside = [""] * len(errors) if spread is None else [f" ({_number(sd)})" for sd in spread]
    told = zip(one[name], errors, beside, strict=True)
    return [f"{_sure(value, error)}{more}" for value, error, more in told]


def _sure(value: float, error: float | None, told: str = "") -> str:
    """Write a number with its standard error, where that is known, to the same digits."""
    if error is None or not error > 0.0:
        return told or _number(value)
    digits = max(0, 1 - math.floor(math.log10(error)))
    if digits > MOST_DIGITS or error >= 1e5:
        return f"{_number(value)} ± {error:.2g}"
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _uncertainty(summary: Mapping[str, Any]) -> str:
    """Say what standard errors don't cover, or why there are none."""
    told = summary.get("standard_errors", {"notes": []})
    title = "Standard errors" if told.get("known") else "No standard errors"
    return _listed(title, told["notes"])


def selection_text(told: Mapping[str, Any] | None) -> str:
    """Lay out the curve that the number of components was chosen from; nothing without one.

    Parameters
    ----------
    told : mapping or None
        From :func:`dfmr_dask.selection.curve.as_plain`, or read again from JSON.
    """
    if told is None:
        return ""
    best = min(told["bic"])
    columns = (told[name] for name in ("orders", "scores", "gains", "gain_errors", "bic"))
    rows = [["", "K", "score", "gain of the last component", "BIC over the smallest"]]
    for order, score, gain, error, bic in zip(*columns, strict=True):
        mark = "*" if order == told["n_components"] else ""
        gained = "" if gain is None else f"{gain:.4f}" + (f" ± {error:.4f}" if error else "")
        rows.append([mark, str(order), f"{score:.4f}", gained, f"{bic - best:.1f}"])
    title = (
        f"Order       {told['n_components']} components: {told['reason']} "
        f"({told['rows']:,} rows of {len(told['partitions'])} partitions; nats a row)"
    )
    out = [f"  not heard {line}" for line in grouped(told["left_out"])]
    return "\n".join([_table(title, rows), *out])


def _comparison(summary: Mapping[str, Any]) -> str:
    rows = [
        [
            one["aggregator"],
            f"CTD-KL {_number(one['ctd'])}",
            f"score {_number(one['score'])}",
            _share(one["labels_differ"]),
            "" if one.get("error") is None else f"error {_number(one['error'])}",
        ]
        for one in summary["compared"]
    ]
    return _table(
        "Compared    other aggregates of the same messages: distance to the model, score", rows
    )


def _share(share: float | None) -> str:
    return "" if share is None else f"{100.0 * share:.1f} % of the labels differ"


def _seconds(seconds: Mapping[str, float]) -> str:
    stages = ", ".join(f"{stage} {value:.1f}" for stage, value in seconds.items())
    return f"Seconds     {stages} (in all {sum(seconds.values()):.1f})" if seconds else ""


def _listed(title: str, lines: Iterable[str]) -> str:
    found = [f"  {line}" for line in lines]
    return "\n".join([title, *found]) if found else ""


def _table(title: str, rows: list[list[str]]) -> str:
    """Lay out cells in columns."""
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join([title, *(f"  {line}".rstrip() for line in lines)])


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
