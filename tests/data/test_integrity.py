"""A rotten chunk is found, named by its key, and costs its own partition only."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from dfmr_dask.data.source import open_source
from dfmr_dask.errors import DfmrError
from tests.data.rotten import BAD, FAULTS, KINDS, PARTS, ROWS, chunk_file, clusters, written


def complaint(source, partition) -> str:
    """What reading a partition in another process would raise."""
    reader = pickle.loads(pickle.dumps(source.rows(partition)))
    with pytest.raises(DfmrError) as caught:
        reader()
    return str(pickle.loads(pickle.dumps(caught.value)))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_is_told_with_the_key_of_its_chunk(tmp_path: Path, kind: str, fault) -> None:
    values = clusters(ROWS * PARTS)
    path = written(tmp_path / "a.zarr", kind, values)
    features = ["temp", "salt"] if kind.startswith("group") else None
    source = open_source(path, features=features)
    file, key = chunk_file(path, kind)
    fault(file)
    said = complaint(source, BAD)
    place = "variable salt" if kind.startswith("group") else "the array"
    name = f"shard {key}" if "inner chunk" in said else f"chunk {key}"
    assert f"{name} of {place}" in said
    for other in {*range(PARTS)} - {BAD}:
        rows = values[other * ROWS : (other + 1) * ROWS]
        assert np.array_equal(source.rows(other)(), rows)
