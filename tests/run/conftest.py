"""A real Dask cluster, started once for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from distributed import Client

from dfmr_dask.run.cluster import local_cluster


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """Two worker processes of one thread each."""
    with local_cluster(n_workers=2) as cluster, Client(cluster, set_as_default=False) as one:
        yield one
