"""Names of sites, and of the files that belong to them or to the hub."""

from __future__ import annotations

import re

from dfmr_dask.errors import InvalidExchange

SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.npz")
OF_THE_HUB = re.compile(
    r"(ballot(-check)?-\d+|start|model)(\.npz)?|verdict(\.json)?", re.IGNORECASE
)


def check_site(site: str) -> str:
    """Return the name of a site, or raise InvalidExchange when files cannot be named after it."""
    if not SITE.fullmatch(site) or OF_THE_HUB.match(site):
        raise InvalidExchange(
            f"site {site!r:.80}: wanted up to 64 letters, digits, '-', '_' and '.', the first a "
            "letter or digit, and no name of the hub's files (ballot, start, model, verdict)"
        )
    return site


def belongs(name: str, site: str) -> bool:
    """Tell whether a file of that name can be one of a site: A.npz, A-1.npz, A-fit.npz."""
    stem = name.removesuffix(".npz")
    return stem == site or stem.startswith(f"{site}-")
