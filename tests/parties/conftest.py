"""Seven sites with stores of their own, and an exchange among honest ones that ran to its end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dfmr_dask.experiments.populations import population
from dfmr_dask.parties import Ballot, aggregate, agree, answer, fit_local, propose

TRUTH = population(3, 2, separation=5.0, seed=7)
SITES = tuple("ABCDEFG")
UNITS = {"salt": "g/kg", "temp": "K"}
FEATURES = ["temp", "salt"]


def rows_of(site: str, n: int = 1500) -> np.ndarray:
    return TRUTH.sample(n, np.random.default_rng(SITES.index(site)))[0]


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One Zarr store a site, of several chunks, with a variable that is no feature."""
    folder = tmp_path_factory.mktemp("stores")
    out = {}
    for site in SITES:
        x = rows_of(site)
        columns = {**dict(zip(FEATURES, x.T, strict=True)), "depth": np.arange(len(x))}
        data = xr.Dataset({name: ("cast", column) for name, column in columns.items()})
        for name, unit in UNITS.items():
            data[name].attrs["units"] = unit
        out[site] = str(folder / f"{site}.zarr")
        data.chunk(cast=400).to_zarr(out[site], consolidated=False)
    return out


@pytest.fixture(scope="session")
def finished(stores: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file of an exchange among seven honest sites, the check's first ballot included."""
    inbox = tmp_path_factory.mktemp("finished")
    for site, store in stores.items():
        propose(store, n_components=3, site=site, features=FEATURES).save(inbox)
    while isinstance(ballot := agree(inbox), Ballot):
        path = ballot.save(inbox)
        for site in ballot.asked:
            answer(path, stores[site], site=site).save(inbox)
    start = ballot.save(inbox)
    for site, store in stores.items():
        fit_local(store, start=start, site=site).save(inbox)
    merged = aggregate(inbox)
    merged.save(inbox)
    assert merged.ballot is not None
    for site in merged.ballot.asked:
        answer(inbox / merged.ballot.name, stores[site], site=site).save(inbox)
    return inbox
