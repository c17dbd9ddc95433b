"""The report of a run: one page that works without a network and without JavaScript."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dfmr_dask.data.files import write_bytes
from dfmr_dask.show.html import figures, mixture_figures, words
from dfmr_dask.show.html.components import component_table
from dfmr_dask.show.html.found import Found, found_in
from dfmr_dask.show.html.numbers import duration, listed, number, percent
from dfmr_dask.show.pictures.partitions import fates_of
from dfmr_dask.show.pictures.style import FATES, THEME
from dfmr_dask.show.summary import Summary

REPORT = "report.html"
TITLES = {
    "doubts": "Doubts and notes",
    "places": "Where the partitions lie",
    "left-out": "What was left out, and why",
    "agreement": "Who agrees with whom",
    "order": "How many components",
    "alike": "Are the pieces alike?",
    "mixture": "The mixture",
    "fit": "How well it fits",
    "made": "How it was made",
}


def write_report(run: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of a finished run, or of one of its aggregates, from its folder alone.

    Parameters
    ----------
    run : path
        The folder.
    out : path, optional
        Of the page; ``report.html`` in the folder by default. A file that is there is replaced.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    RunUnfinished
        When there is no run, it did not finish, or it is still going.
    InvalidMessage
        When a newer version of the package wrote it, or files do not hold what they should.
    OSError
        When nothing can be written there.
    """
    path = Path(run) / REPORT if out is None else Path(out)
    write_bytes(path, report_html(found_in(run)).encode())
    return path


def with_report(
    folder: Path, summary: Summary, found: Callable[[Summary], Found], named: Path | None = None
) -> Summary:
    """Write the report beside the other files of a run, and return the summary that names it.

    A page that cannot be drawn is no reason to lose a run: the summary says so in a note.

    Parameters
    ----------
    folder : Path
    summary : dict
        All else that the run has found.
    found : callable
        Returns what the report tells of, given the summary.
    named : Path, optional
        What the folder will be called.
    """
    path = (folder if named is None else named) / REPORT
    whole = {**summary, "files": {**summary["files"], "report": str(path)}}
    try:
        write_bytes(folder / REPORT, report_html(found(whole)).encode())
    except Exception as error:  # hours of fits lie behind it
        told = f"{REPORT} could not be written ({type(error).__name__}: {error}); dfmr report tries"
        return {**summary, "notes": [*summary["notes"], f"{told} again from the folder"]}
    return whole


def report_html(found: Found) -> str:
    """Return the report as HTML.

    Parameters
    ----------
    found : Found
        From :func:`~dfmr_dask.show.html.found.found_in`, or of a run that has just ended.
    """
    values = _values(found)
    there = {"doubts": values["summary"]["doubts"] or values["summary"]["notes"]}
    there |= {"left-out": values["left_out"], "order": values["orders"], "fit": values["fit"]}
    there |= {"agreement": values["distances"] or values["agreement"]}
    there |= {"alike": values["summary"].get("likeness")}
    contents = [(key, title) for key, title in TITLES.items() if there.get(key, True)]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(**values, contents=contents, titles=TITLES)
    )


def style(name: str) -> Markup:
    """Return a style sheet of the package with the colors of light, dark and printed pages."""
    text = (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")
    light, dark = (
        "".join(f"  --{role}: {colors[scheme]};\n" for role, colors in THEME.items())
        for scheme in (0, 1)
    )
    return Markup(
        text.replace("@LIGHT@\n", light).replace("@DARK@\n", dark).replace("@PRINT@\n", light)
    )


@cache
def _environment() -> Environment:
    """Return where templates are; whatever comes from data is escaped."""
    made = Environment(
        loader=PackageLoader("dfmr_dask.show.html"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    made.filters["sentence"] = words.sentence
    return made


def rendered(template: str, **values: Any) -> str:
    """Return a template of the package filled in; values are escaped unless they are Markup."""
    return _environment().get_template(template).render(**values)


def _values(found: Found) -> dict[str, Any]:
    """Return all that the template tells."""
    summary, table = found.summary, found.partitions
    left_out, rest = words.left_out(summary, table, found.features)
    fitted, goodness = mixture_figures.fit(found)
    fates, likeness = set(fates_of(table)), summary.get("likeness")
    return {
        "summary": summary,
        "in_memory": words.IN_MEMORY,
        "title": _title(str(summary["source"])),
        "finished": summary.get("finished", ""),
        "style": style("report.css"),
        "status": "Certified" if summary["certified"] else "Not certified",
        "verdict": words.verdict(summary, table),
        "why": words.why(summary),
        "facts": words.facts(summary),
        "fates": [fate for fate in FATES if fate in fates],
        "interleaved": _interleaved(found),
        "places": figures.places(found),
        "left_out": left_out,
        "n_left_out": len(summary["dropped"]) + len(summary["failed"]),
        "rest": rest,
        "deviates": any(one.deviates for one in left_out),
        "deviations": figures.deviating(found),
        "byzantine": words.byzantine(summary),
        "distances": figures.distances(found),
        "agreement": figures.agreement(found),
        "orders": figures.orders(found),
        "alikeness": words.alikeness(likeness) if likeness else [],
        "wide_features": words.wide_features(likeness) if likeness else [],
        "pieces": figures.pieces(found),
        "labels": mixture_figures.labels(found),
        "components": mixture_figures.components(found),
        "how_to_read": mixture_figures.how_to_read(found),
        "table": component_table(found),
        "compared": _compared(summary["compared"]),
        "fit": fitted,
        "goodness": "" if goodness is None else str(goodness),
        "n_sample": 0 if goodness is None else goodness.rows,
        "seconds": _seconds(summary["seconds"]),
        "seed": dict(found.description["settings"].get("run", {})).get("seed", "unknown"),
        "versions": words.versions(found.description, summary),
        "command": "labels" in found.description["settings"],
        "settings": words.settings_yaml(found.description),
        "python": words.python(found.description),
        "files": _files(summary["files"]),
    }


def _title(location: str) -> str:
    """Return the end of a path or URL; the whole of it stands below."""
    if location == words.IN_MEMORY:
        return "Rows in memory"
    parts = [part for part in location.replace("\\", "/").split("/") if part]
    return "/".join(parts[-2:]) if parts else location


def _interleaved(found: Found) -> bool:
    """Tell whether rows of a partition come from all over the source."""
    likeness = found.summary.get("likeness") or {}
    return found.summary["plan"] == "interleaved" or likeness.get("route") == "unlike"


def _compared(compared: list[dict[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "name": str(one["aggregator"]),
            "ctd": number(one["ctd"]),
            "score": number(one["score"], 4),
            "labels": "" if one["labels_differ"] is None else percent(one["labels_differ"]),
        }
        for one in compared
    ]


def _seconds(seconds: dict[str, float]) -> list[tuple[str, str]]:
    told = [(stage, duration(value)) for stage, value in seconds.items()]
    return [*told, ("in all", duration(sum(seconds.values())))] if told else []


def _files(files: dict[str, str]) -> str:
    names = sorted({Path(path).name for path in files.values()} - {REPORT})
    return f"Beside this page, in the folder of the run: {listed(names, 30)}." if names else ""
