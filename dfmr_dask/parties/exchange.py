"""What all sites of an exchange must have in common: features, units, and how they fit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from dfmr_dask.aggregate.questions import Terms
from dfmr_dask.errors import InvalidMessage
from dfmr_dask.families import family_named
from dfmr_dask.run.partition import LocalSettings
from dfmr_dask.run.settings import Settings

SCHEMA = 1
SHARED = ("n_components", "tol", "reg_covar", "max_iter", "outliers", "dtype_work")
MOST_COMPONENTS = MOST_FEATURES = 10_000
KINDS: Mapping[str, type | tuple[type, ...]] = {
    "n_components": int,
    "tol": (int, float),
    "reg_covar": (int, float),
    "max_iter": int,
    "outliers": (int, float, type(None)),
    "dtype_work": str,
}


@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """What all sites of an exchange must have in common.

    Attributes
    ----------
    settings : Settings
        Family, order and how EM runs; of the rest a site may choose its own.
    features : tuple of str
        Names of the columns of a row, in order.
    units : mapping of features to str
        As far as they are known; they must be the same at all sites.
    weighted : bool
        Whether rows have weights.
    """

    settings: Settings
    features: tuple[str, ...]
    units: Mapping[str, str] = field(default_factory=dict)
    weighted: bool = False

    @property
    def plain(self) -> dict[str, Any]:
        """The same as JSON knows it, which stands in every file."""
        family = self.settings.family
        return {
            "schema": SCHEMA,
            "family": family.name,
            "options": dict(family.options),
            **{name: getattr(self.settings, name) for name in SHARED},
            "features": list(self.features),
            "units": dict(sorted(self.units.items())),
            "weighted": self.weighted,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of all that, by which answers and fits refer to it."""
        return hashlib.sha256(json.dumps(self.plain, sort_keys=True).encode()).hexdigest()

    def difference(self, usual: Exchange) -> str:
        """Say in what this one differs from that of the majority."""
        mine, theirs = self.plain, usual.plain
        return "; ".join(
            f"{name} is {mine[name]!r:.80}, most sites have {theirs[name]!r:.80}"
            for name in mine
            if mine[name] != theirs[name]
        )

    def local(self, seed: int, *, n_init: int = 2, init_params: str = "overfit") -> LocalSettings:
        """Return what a site fits by."""
        shared = {name: getattr(self.settings, name) for name in SHARED}
        return LocalSettings(
            family=self.settings.family,
            features=self.features,
            seed=seed,
            n_init=n_init,
            init_params=init_params,
            **shared,
        )

    def terms(self, sites: int, seed: int = 0) -> Terms:
        """Return what is known of all sites before the first question."""
        asked = self.settings
        return Terms(
            asked.family, asked.n_components, len(self.features), seed, sites, None, self.weighted
        )


def exchange_of(told: Any) -> Exchange:
    """Return what a file says that all sites have in common.

    Raises
    ------
    InvalidMessage
        When it says something else, or is of another version.
    """
    if not isinstance(told, dict) or told.get("schema") != SCHEMA:
        version = told.get("schema") if isinstance(told, dict) else None
        raise InvalidMessage(f"its schema is {version!r:.40}; this version reads {SCHEMA}")
    wanted = {"schema", "family", "options", "features", "units", "weighted", *SHARED}
    if set(told) != wanted:
        raise InvalidMessage(f"its exchange has {sorted(told)!r:.300}; wanted {sorted(wanted)}")
    for name, kind in KINDS.items():
        if not isinstance(told[name], kind) or isinstance(told[name], bool):
            raise InvalidMessage(f"{name} is {told[name]!r:.40}; wanted another kind of value")
        if isinstance(told[name], float) and not isfinite(told[name]):
            raise InvalidMessage(f"{name} is {told[name]}; wanted a finite number")
    features, units = told["features"], told["units"]
    if not (_texts(features) and 0 < len(set(features)) == len(features) <= MOST_FEATURES):
        raise InvalidMessage(f"features are {features!r:.80}; wanted a list of names, each once")
    if not isinstance(units, dict) or not _texts(list(units.values())) or set(units) - {*features}:
        raise InvalidMessage(f"units are {units!r:.80}; wanted a text for each of some features")
    if not isinstance(told["weighted"], bool) or told["n_components"] > MOST_COMPONENTS:
        raise InvalidMessage("weighted is true or false, and components are at most 10000")
    if not isinstance(told["options"], dict):
        raise InvalidMessage(f"options are {told['options']!r:.80}; wanted a mapping")
    family = family_named(str(told["family"]), told["options"])
    settings = Settings(family=family, **{name: told[name] for name in SHARED})
    return Exchange(settings, tuple(features), units, told["weighted"])


def _texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(one, str) for one in values)
