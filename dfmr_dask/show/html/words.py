"""What a report says in words and in tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import numpy as np
import xarray as xr
import yaml

from dfmr_dask.aggregate.explanations import Deviation
from dfmr_dask.run.settings import MAX_COMPONENTS, Settings
from dfmr_dask.show.html.numbers import counted, listed, number
from dfmr_dask.show.pictures.deviations import deviations_of
from dfmr_dask.show.pictures.partitions import fates_of, gates_of, ratios
from dfmr_dask.show.pictures.style import shortened
from dfmr_dask.show.report import FILTERING, grouped

MOST_ROWS = 60  # partitions in the table of those that were left out
MOST_TOLD = 3  # parameters of one partition
IN_MEMORY = "in memory"  # where rows lie that have no path
LONGEST = 400  # characters of a reason


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One partition that was left out.

    Attributes
    ----------
    partition : int
    fate : {"dropped", "failed"}
    where : str
    rows : str
    reasons : list of str
    deviates : list of str
    """

    partition: int
    fate: str
    where: str
    rows: str
    reasons: list[str]
    deviates: list[str]


def verdict(summary: Mapping[str, Any], table: xr.Dataset) -> str:
    """Return the verdict in one sentence: how many of how many were kept, and why."""
    counts = {fate: len(summary[fate]) for fate in ("kept", "dropped", "failed", "empty")}
    m = summary["partitions"] - counts["empty"]
    were = "was" if counts["kept"] == 1 else "were"
    parts = [f"{counts['kept']:,} of {counted(m, 'partition')} {were} kept"]
    if counts["dropped"]:
        parts.append(f"{counts['dropped']:,} dropped{_gates(table)}")
    if counts["failed"]:
        parts.append(f"{counts['failed']:,} failed")
    if not counts["dropped"] and not counts["failed"]:
        parts.append("nothing was left out")
    return f"{'; '.join(parts)}."


def why(summary: Mapping[str, Any]) -> str:
    """Return in one sentence why a result is certified, or is not."""
    doubts = summary["doubts"]
    if summary["certified"]:
        return "A majority agrees within what sampling explains, and no check found a doubt."
    if doubts:
        rest = len(doubts) - 1
        more = f" {'One more doubt is' if rest == 1 else f'{rest} more doubts are'} told below."
        more = more if rest else ""
        return f"{sentence(doubts[0])}{more}"
    if summary["aggregator"] != FILTERING:
        return (
            f"The aggregator {summary['aggregator']} filters nobody, so that it certifies nobody."
        )
    return "Too few partitions agree to tell who is right."


def sentence(text: str) -> str:
    """Return a text with a capital at its beginning and a stop at its end."""
    words = text.strip()
    end = "" if words.endswith((".", "?", "!")) else "."
    return words[:1].upper() + words[1:] + end


def _gates(table: xr.Dataset) -> str:
    """Say how many of the dropped are beyond the cut-off of each gate."""
    dropped = fates_of(table) == "dropped"
    crossed = {}
    for gate in gates_of(table):
        column = table[f"distance_{gate}"]
        crossed[gate] = int((dropped & (column.values > column.attrs["cutoff"])).sum())
    told = [f"{gate} {n:,}" for gate, n in crossed.items() if n]
    return f" for lying too far from the majority ({', '.join(told)})" if told else ""


def left_out(
    summary: Mapping[str, Any], table: xr.Dataset, features: list[str]
) -> tuple[list[LeftOut], list[str]]:
    """Return the partitions that were left out, and a summary of those beyond the table.

    Where not all can be shown, those are that are furthest, and some of those that failed.
    """
    fates, far, ids = fates_of(table), ratios(table), table["partition"].values
    reasons = {one["id"]: one["reason"] for kind in ("dropped", "failed") for one in summary[kind]}
    failed, dropped = (np.flatnonzero(fates == fate) for fate in ("failed", "dropped"))
    furthest = dropped[np.argsort(-np.nan_to_num(far[dropped], nan=0.0), kind="stable")]
    some = failed[: max(MOST_ROWS // 3, MOST_ROWS - len(dropped))]
    shown = np.sort(np.concatenate([some, furthest[: MOST_ROWS - len(some)]]))
    deviating = deviations_of(table, MOST_TOLD)
    rows = [
        LeftOut(
            int(ids[i]),
            str(fates[i]),
            str(table["location"].values[i]),
            f"{int(table['rows'].values[i]):,}",
            reason_words(reasons.get(int(ids[i]), "")),
            [deviation_words(one, features) for one in deviating.get(int(ids[i]), [])],
        )
        for i in shown
    ]
    beyond = [
        {"id": int(ids[i]), "reason": reasons.get(int(ids[i]), "")}
        for i in np.setdiff1d(np.concatenate([failed, dropped]), shown)
    ]
    return rows, [cut(line) for line in grouped(beyond)[:12]]


def byzantine(summary: Mapping[str, Any]) -> str:
    """Say how many of those that a simulation made Byzantine were thrown out; nothing elsewhere."""
    lies = set(summary["byzantine"])
    if not lies:
        return ""
    honest = {one["id"] for one in summary["dropped"]} - lies
    return (
        f"A simulation made {counted(len(lies), 'partition')} Byzantine: "
        f"{len(lies - set(summary['kept'])):,} of them were thrown out, and {len(honest):,} honest "
        "ones with them."
    )


def reason_words(reason: str) -> list[str]:
    """Return a reason in parts, without the parameters that deviate, which stand beside it.

    Examples
    --------
    >>> from dfmr_dask.show.html.words import reason_words
    >>> reason_words("means 1.4e+03 > 1.76, weights 22.3 > 5.27 (mean of component 3 ...)")
    ['means 1,400 > 1.76', 'weights 22.3 > 5.27']
    >>> reason_words("chunk 3.0 cannot be decoded")
    ['chunk 3.0 cannot be decoded']
    """
    crossed = re.findall(r"(\w[\w²-]*) (\S+) > (\S+?)(?:,|$| \()", reason)
    if crossed:
        return [f"{gate} {_figure(far)} > {_figure(cut)}" for gate, far, cut in crossed]
    return [cut(reason)]


def deviation_words(one: Deviation, features: list[str]) -> str:
    """Return what deviates, and by how much, with the name of the feature."""
    along = "" if one.feature is None else f" along {shortened(features[one.feature], 60)}"
    sign = "+" if one.standard_errors > 0 else ""
    far = f"{sign}{number(one.standard_errors)}"
    return f"{far}\u2002{one.parameter} of component {one.component}{along}"


def settings_yaml(description: Mapping[str, Any]) -> str:
    """Return the settings of a run as a configuration, without what says nothing."""
    kept = _told(description["settings"])
    return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)


def python(description: Mapping[str, Any]) -> str:
    """Return the lines of Python that fit the same again."""
    settings = description["settings"]
    source, fitted = dict(settings["source"]), dict(settings["mixture"])
    order, name = fitted.pop("n_components"), estimator_of(fitted.pop("family", None))
    options = {**_some(fitted, set(fitted)), **_some(settings["aggregate"], _TAKEN)}
    cut = _some(source, {"plan", "rows_per_partition", "n_partitions"})
    usual = _defaults()
    changed = {k: v for k, v in options.items() if usual.get(k) != v}
    changed["random_state"] = settings["run"]["seed"]
    if source["path"] == IN_MEMORY:
        data, changed = "data = ...  # the same rows, which were in memory", cut | changed
    else:
        more = _some(source, {"group", "features", "sample_weight", "missing_chunks"})
        more = {k: v for k, v in more.items() if v != "fail"}
        data = _call("data = dfmr.open_source", [source["path"]], more | cut)
    attack = settings.get("corruption")
    lies = "" if attack is None else "# The attack that was simulated is told in the settings.\n"
    made = _call(f"model = dfmr.{name}", [order], changed)
    run = f"model.fit(data, run={settings['run']['folder']!r})"
    return f"import dfmr_dask as dfmr\n\n{lies}{data}\n{made}\n{run}\nprint(model.verdict_)"


def estimator_of(family: str | None) -> str:
    """Return the estimator of a family of components.

    Examples
    --------
    >>> from dfmr_dask.show.html.words import estimator_of
    >>> estimator_of(None), estimator_of("binomial"), estimator_of("product")
    ('GaussianMixture', 'BinomialMixture', 'MixtureModel')
    """
    if family is None or family.startswith("gaussian"):
        return "GaussianMixture"
    known = ("bernoulli", "binomial", "categorical", "poisson")
    return f"{family.capitalize()}Mixture" if family in known else "MixtureModel"


_TAKEN = {"aggregator", "method", "weights", "gates", "rho", "unit", "polish", "places"}


def _defaults() -> dict[str, Any]:
    """Return what parameters of the estimator are unless they are given."""
    told = {one.name: one.default for one in fields(Settings) if one.default is not MISSING}
    return {**told, "covariance_type": "full", "max_components": MAX_COMPONENTS, "min_gain": None}


def _call(name: str, args: list[Any], options: Mapping[str, Any]) -> str:
    given = [repr(arg) for arg in args] + [f"{k}={v!r}" for k, v in options.items()]
    line = f"{name}({', '.join(given)})"
    if len(line) <= 88:
        return line
    return f"{name}(\n" + "".join(f"    {one},\n" for one in given) + ")"


def _some(values: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if k in names and v is not None}


def _told(value: Any) -> Any:
    """Leave out what is null or empty."""
    if isinstance(value, Mapping):
        inner = {k: _told(v) for k, v in value.items()}
        return {k: v for k, v in inner.items() if v not in (None, [], {}, ())}
    return value


def facts(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the figures at the head of a report, each with its name."""
    out = summary["rows_left_out"]
    score = "" if summary["score"] is None else f"{number(summary['score'], 4)} nats a row"
    order = counted(len(summary["components"]), "component")
    names = ("kept", "dropped", "failed", "empty")
    fates = [f"{len(summary[name]):,} {name}" for name in names if summary[name] or name == "kept"]
    told = [
        ("Partitions", ", ".join(fates)),
        ("Rows", f"{summary['rows']:,}" + (f" ({out:,} left out)" if out else "")),
        ("Features", f"{len(summary['features']):,}"),
        ("Model", f"{order} by {summary['aggregator']}, method {summary['method']}"),
        ("Score", score),
    ]
    return [(name, text) for name, text in told if text]


def versions(description: Mapping[str, Any], summary: Mapping[str, Any]) -> dict[str, str]:
    """Return what the run was made with."""
    wrote = str(dict(description.get("identity", {})).get("package", "unknown"))
    return {"dfmr_dask": wrote, **dict(summary.get("versions", {}))}


def alikeness(told: Mapping[str, Any]) -> list[str]:
    """Return sentences on whether the pieces are alike, and where not."""
    said = [sentence(told["reason"]), sentence(told["advice"])]
    for name, title in (("off", "stand apart"), ("misplaced", "are at the wrong place"),
                        ("left_out", "were left out of the partitions"),
                        ("failed", "gave no sample")):  # fmt: skip
        if told[name]:
            lines = grouped(told[name])
            said.append(f"Pieces that {title}: {cut(listed(lines, 8))}.")
    groups = told["groups"]
    if told["route"] == "unlike" and len(groups) > 1:
        sizes = [f"{len(ids):,}" for ids in groups]
        said.append(f"{counted(len(groups), 'group')} by likeness, of {listed(sizes)} pieces.")
    return said


def wide_features(told: Mapping[str, Any], most: int = 8) -> list[tuple[str, str]]:
    """Return which features differ most between pieces, in times sampling noise."""
    pairs = sorted(dict(told["features"]).items(), key=lambda pair: -pair[1])
    return [(name, number(size)) for name, size in pairs[:most]]


def _figure(text: str) -> str:
    try:
        return number(float(text))
    except ValueError:
        return text


def cut(text: str) -> str:
    """Return a text that fits into a table."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
