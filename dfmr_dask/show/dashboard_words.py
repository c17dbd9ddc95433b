"""What the page in the dashboard says of a run in words: one sentence, counts, stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dask.utils import format_bytes

SHOWN_FEATURES = 6
SHOWN_DOUBTS = 6
LONGEST = 400  # characters of a line
SILENT = 20.0  # seconds without news after which the page says so
NOTHING = (
    "This page fills in when a run begins on this scheduler: by the command dfmr run, or by "
    "GaussianMixture.fit with a store."
)

Snapshot = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """How far a stage is; ``title`` is what a pointer over it is told."""

    name: str
    done: int
    total: int
    failed: int
    time: str
    percent: int
    now: bool
    title: str


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of a run.

    Attributes
    ----------
    kind : {"none", "running", "provisional", "certified", "doubted", "failed"}
    badge, sentence : str
        The state of the verdict in a word or two, and the verdict.
    lines : tuple of str
        What speaks against it, or what is wrong.
    about : str
        Which data, which features.
    counts : tuple of pairs of str
        Name and value.
    stages : tuple of Stage
    """

    kind: str
    badge: str
    sentence: str
    lines: tuple[str, ...] = ()
    about: str = ""
    counts: tuple[tuple[str, str], ...] = ()
    stages: tuple[Stage, ...] = ()


def told_of(snapshot: Snapshot | None, silence: float = 0.0) -> Told:
    """Say where a run stands.

    Parameters
    ----------
    snapshot : mapping or None
        From :meth:`~dfmr_dask.show.state.RunState.snapshot`; None where there is no run.
    silence : float
        Seconds since something was heard of it.

    Examples
    --------
    >>> from dfmr_dask.show.dashboard_words import told_of
    >>> told_of(None).badge
    'no run yet'
    """
    if snapshot is None:
        return Told("none", "no run yet", NOTHING)
    kind, badge, sentence, lines = _judged(snapshot)
    if not snapshot["finished"] and silence > SILENT:
        lines = (f"nothing was heard of this run for {in_time(silence)}", *lines)
    return Told(
        kind,
        badge,
        sentence,
        tuple(line if len(line) <= LONGEST else f"{line[:LONGEST]}…" for line in lines),
        _about(snapshot),
        tuple(_counts(snapshot)),
        tuple(_stage(one, snapshot) for one in snapshot["stages"]),
    )


def in_time(seconds: float) -> str:
    """Write a duration for people.

    Examples
    --------
    >>> from dfmr_dask.show.dashboard_words import in_time
    >>> in_time(0.25), in_time(75), in_time(7300)
    ('0.2 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _judged(snapshot: Snapshot) -> tuple[str, str, str, tuple[str, ...]]:
    """Return kind, badge, sentence and lines."""
    verdict, provisional = snapshot["verdict"], snapshot["provisional"]
    if snapshot["failed_with"] is not None:
        said = "The run ended with an error; the same command goes on with what is missing."
        return "failed", "failed", said, (str(snapshot["failed_with"]),)
    if verdict is not None:
        doubts = [str(doubt) for doubt in verdict.get("doubts") or ()]
        more = [f"{len(doubts) - SHOWN_DOUBTS} more doubts"] if len(doubts) > SHOWN_DOUBTS else []
        sure = bool(verdict.get("certified"))
        kind, badge = ("certified", "certified") if sure else ("doubted", "not certified")
        return kind, badge, _sentence(snapshot), (*doubts[:SHOWN_DOUBTS], *more)
    if provisional is not None:
        kept, dropped = len(provisional["kept"]), len(provisional["dropped"])
        said = (
            f"If the run ended now: of the {provisional.get('of') or kept + dropped:,} estimates "
            f"looked at so far, {kept:,} would be kept and {dropped:,} dropped."
        )
        return "provisional", "provisional", said, ()
    if snapshot["finished"]:
        return "running", "finished", "The run has ended without a verdict.", ()
    return "running", "running", "No estimate has been judged yet.", ()


def _sentence(snapshot: Snapshot) -> str:
    """Say what became of all partitions."""
    counts = snapshot["counts"]
    total = sum(counts.values())
    fates = [f"{counts[name]:,} {name}" for name in ("dropped", "failed", "empty") if counts[name]]
    out = f"{counts['kept']:,} of {_plural(total, 'partition')} kept"
    return ", ".join([out, *fates]) + "."


def _about(snapshot: Snapshot) -> str:
    """Say what is fitted."""
    features, order = [str(name) for name in snapshot["features"]], snapshot["n_components"]
    shown = ", ".join(features[:SHOWN_FEATURES])
    if len(features) > SHOWN_FEATURES:
        shown += f" and {len(features) - SHOWN_FEATURES} more"
    parts = [snapshot["source"] or "rows in memory"]
    parts += [f"{_plural(len(features), 'feature')}: {shown}"] if features else []
    parts += [_plural(order, "component")] if isinstance(order, int) else []
    parts += [f"into {snapshot['run']}"] if snapshot["run"] else []
    return " · ".join(map(str, parts))


def _counts(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Return the running numbers; what is not known is left out."""
    counts = snapshot["counts"]
    total = sum(counts.values())
    here = total - counts["waiting"] - counts["fitting"]
    out = [("partitions", f"{here:,} of {total:,}"), ("rows", f"{snapshot['rows']:,}")]
    rate, left = snapshot["rows_per_second"], snapshot["seconds_left"]
    running = not snapshot["finished"]
    out += [("rows a second", f"{rate:,.0f}")] if rate is not None and running else []
    out += [("left in this stage", in_time(left))] if left is not None and running else []
    out += [("since it began", in_time(snapshot["seconds"]))]
    memory = [f"{format_bytes(int(held))} {name}" for name, held in snapshot["memory"].items()]
    return out + ([("of memory", ", ".join(memory))] if memory else [])


def _stage(told: Mapping[str, Any], snapshot: Snapshot) -> Stage:
    done, total = int(told["done"]), int(told["total"])
    now = told["name"] == snapshot["stage"] and not snapshot["finished"]
    percent = 100 if total <= 0 and not now else round(100 * min(1.0, done / max(total, 1)))
    name, failed = str(told["name"]), int(told["failed"])
    title = str(snapshot["text"]) if now else ""
    return Stage(name, done, total, failed, in_time(told["seconds"]), percent, now, title)


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
