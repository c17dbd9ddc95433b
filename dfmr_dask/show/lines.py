"""How far a run is, in a line of text for each stage."""

from __future__ import annotations

from dfmr_dask.data.cost import byte_text
from dfmr_dask.show.state import RunState

MINUTE, HOUR = 60.0, 3600.0


def stage_line(state: RunState, name: str) -> str:
    """Return how far a stage is, and what is to be said of it.

    Examples
    --------
    >>> from dfmr_dask.run.events import Event
    >>> from dfmr_dask.show.lines import stage_line
    >>> from dfmr_dask.show.state import RunState
    >>> state = RunState()
    >>> state.take(Event("fit", 12, 40, failed=1))
    >>> stage_line(state, "fit")
    'fit 12/40, 1 failed'
    """
    now = state.stages[name]
    return ", ".join([f"{name} {now.done}/{now.total}", *stage_notes(state, name)])


def stage_notes(state: RunState, name: str) -> list[str]:
    """Return what is to be said of a stage beside how far it is, in parts."""
    now, here = state.stages[name], name == state.stage
    notes = [f"{now.failed} failed"] if now.failed else []
    if name == "fit":
        notes += _dropped(state)
    if here and state.text:
        notes.append(state.text)
    if here and state.rows_per_second:
        notes.append(f"{state.rows_per_second:,.0f} rows/s")
    if here and state.memory:
        notes.append(f"memory {byte_text(max(state.memory.values()))}")
    if here and state.seconds_left and now.done < now.total:
        notes.append(f"{duration(state.seconds_left)} left")
    return notes


def _dropped(state: RunState) -> list[str]:
    """Say how many the filter drops: so far, of those that it has looked at, or in the end."""
    if state.verdict is not None:
        return [f"{state.counts['dropped']} dropped"]
    if state.provisional is None:
        return []
    dropped, of = len(state.provisional["dropped"]), state.provisional["of"]
    looked = f" of {of}" * (of < state.counts["fitted"])
    return [f"{dropped}{looked} dropped so far"]


def stage_end(state: RunState, name: str) -> str:
    """Return what is said of a stage that has ended."""
    now = state.stages[name]
    told = f"{now.done} of {now.total}" if now.done < now.total else f"{now.total}"
    failed = f", {now.failed} failed" * bool(now.failed)
    return f"{name} ended after {duration(now.seconds)}: {told} done{failed}"


def ending(state: RunState) -> str:
    """Return what is said of a run that has ended; nothing while it goes on."""
    if not state.finished:
        return ""
    if state.failed_with is not None:
        return f"ended with {state.failed_with}"
    return f"finished after {duration(state.at - state.began)}"


def duration(seconds: float) -> str:
    """Write seconds for people.

    Examples
    --------
    >>> from dfmr_dask.show.lines import duration
    >>> duration(0.24), duration(59.7), duration(200), duration(7500)
    ('0.2 s', '1 min', '3 min 20 s', '2 h 5 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    large, small = ("h", "min") if whole >= HOUR else ("min", "s")
    first, rest = divmod(round(whole / MINUTE) if large == "h" else whole, 60)
    return f"{first} {large} {rest} {small}" if rest else f"{first} {large}"
