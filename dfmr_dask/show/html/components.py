"""The table of components, with standard errors, for the features that tell most."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dfmr_dask.show.html.found import Found
from dfmr_dask.show.html.numbers import counted, number
from dfmr_dask.show.pictures.style import shortened
from dfmr_dask.show.pictures.telling import telling_features

MOST_FEATURES, MOST_COMPONENTS = 6, 60
LONGEST = 40  # characters of a name
MOST_DIGITS = 8  # behind the point


def component_table(found: Found) -> dict[str, Any]:
    """Return the rows of the table, its title, and what the standard errors don't cover."""
    d, every = len(found.features), found.summary["components"]
    name = parameter_of(every[0])
    chosen = list(range(d))
    if d > MOST_FEATURES:
        chosen = telling_features(found.mixture)
    chosen = sorted(chosen[:MOST_FEATURES])
    told = found.summary.get("standard_errors") or {"known": False, "notes": []}
    title = f"Weight of each component, {name} of each feature"
    title += " and, in brackets, standard deviation" if "sd" in every[0] else ""
    title += "; ± is the standard error" if told.get("known") else ""
    if d > MOST_FEATURES:
        title += f"; {MOST_FEATURES} of {d:,} features, those that tell components apart best"
    if len(every) > MOST_COMPONENTS:
        title += f"; the {MOST_COMPONENTS} heaviest of {counted(len(every), 'component')}"
    return {
        "title": title,
        "features": [(shortened(found.features[j], LONGEST), found.features[j]) for j in chosen],
        "rows": [_row(k, one, name, chosen) for k, one in enumerate(every[:MOST_COMPONENTS])],
        "notes": told["notes"],
    }


def parameter_of(one: Mapping[str, Any]) -> str:
    """Return the name of the parameter that describes a component best, by feature.

    Examples
    --------
    >>> from dfmr_dask.show.html.components import parameter_of
    >>> parameter_of({"weight": 0.5, "weight_error": 0.1, "mean": [1.0], "sd": [2.0]})
    'mean'
    """
    names = [key for key in one if key != "weight" and not key.endswith("_error")]
    return "mean" if "mean" in names or not names else names[0]


def _row(k: int, one: Mapping[str, Any], name: str, chosen: list[int]) -> dict[str, Any]:
    values = one.get(name, [])
    errors, spread = one.get(f"{name}_error") or [None] * len(values), one.get("sd")
    flat = bool(values) and not isinstance(values[0], list)  # a number a feature
    return {
        "number": k,
        "weight": sure(one["weight"], one.get("weight_error")),
        "cells": [
            (sure(values[j], errors[j]), "" if spread is None else number(spread[j]))
            if flat and j < len(values)
            else ("", "")
            for j in chosen
        ],
    }


def sure(value: float, error: float | None) -> str:
    """Return a number with its standard error, where that is known, to the same digits.

    Examples
    --------
    >>> from dfmr_dask.show.html.components import sure
    >>> sure(0.18804, 0.0023), sure(-3.14159, None), sure(12345.6, 120.0)
    ('0.1880 ± 0.0023', '−3.142', '12,346 ± 120')
    """
    if error is None or not error > 0.0:
        return number(value, 4)
    digits = max(0, 1 - math.floor(math.log10(error)))
    if digits > MOST_DIGITS or error >= 1e6:
        return f"{number(value, 4)} ± {number(error, 2)}"
    return f"{value:,.{digits}f} ± {error:,.{digits}f}".replace("-", "−")
