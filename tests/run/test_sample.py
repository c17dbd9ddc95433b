"""Rows for pictures: those of kept partitions, drawn without changing a bit of the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dfmr_dask import GaussianMixture
from dfmr_dask.corruption import Corruption
from dfmr_dask.data.files import read_json
from dfmr_dask.data.messages import read_folder
from dfmr_dask.errors import InvalidMessage
from dfmr_dask.families import Binomial, Gaussian
from dfmr_dask.local.start import Sample as StartSample
from dfmr_dask.run.partition import Drawn
from dfmr_dask.run.sample import FILE, Sample, write_sample
from dfmr_dask.run.sampling import some_rows

RNG = np.random.default_rng(0)
X = np.concatenate([RNG.normal(-5.0, 1.0, (1600, 2)), RNG.normal(5.0, 1.0, (800, 2))])[
    RNG.permutation(2400)
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same fit with a sample and without one."""
    folder = tmp_path_factory.mktemp("runs")
    model = GaussianMixture(
        2, n_partitions=12, random_state=0, corruption=Corruption("shift", 0.2, size=3.0)
    )
    for name, rows in (("with", 500), ("without", 0)):
        model.fit(X, run=folder / name, sample_rows=rows)
    return folder / "with", folder / "without"


def test_a_sample_changes_no_bit_of_the_result(runs: tuple[Path, Path]) -> None:
    one, other = runs
    for name in ("model.npz", "start.npz", "partitions.csv"):
        if name != "partitions.csv":  # which has times in it
            assert (one / name).read_bytes() == (other / name).read_bytes()
    a, b = (read_json(folder / "summary.json") for folder in runs)
    for key in ("score", "kept", "dropped", "components", "standard_errors"):
        assert a[key] == b[key]


def test_sampled_rows_are_rows_of_the_partitions_that_were_kept(runs: tuple[Path, Path]) -> None:
    sample = Sample.read(runs[0] / FILE)
    kept = set(read_json(runs[0] / "summary.json")["kept"])
    assert len(sample.rows) == 500
    assert {*sample.partitions.tolist()} <= kept
    rows = {row.tobytes() for row in X}
    assert all(row.tobytes() in rows for row in sample.rows)
    assert len({row.tobytes() for row in sample.rows}) == 500
    counts = np.bincount(sample.partitions)
    assert counts[counts > 0].min() > 20


def test_nothing_but_the_sample_holds_rows(runs: tuple[Path, Path]) -> None:
    assert (runs[0] / FILE).is_file()
    assert not (runs[1] / FILE).exists()
    first = Sample.read(runs[0] / FILE).rows[0].tobytes()
    for path, _ in read_folder(runs[0] / "messages"):
        assert first not in path.read_bytes()


def test_a_sample_survives_its_file_and_nothing_else_passes_for_one(tmp_path: Path) -> None:
    sample = Sample(X[:5], np.array([0, 0, 3, 3, 3]))
    assert write_sample(tmp_path, sample, ["<a>", "b"]) == {"sample": str(tmp_path / FILE)}
    again = Sample.read(tmp_path / FILE)
    assert again.rows.tobytes() == sample.rows.tobytes()
    assert again.of([3]).partitions.tolist() == [3, 3, 3]
    sample.write(tmp_path / "other.npz", ["one name too few"])
    with pytest.raises(InvalidMessage, match=r"other\.npz is no sample"):
        Sample.read(tmp_path / "other.npz")
    assert write_sample(tmp_path, None, []) == {}
    assert not (tmp_path / FILE).exists()


def test_rows_with_weights_come_as_often_as_they_count() -> None:
    rows = np.array([[0.0], [1.0]])
    weight = np.array([1.0, 3.0])
    drawn = Drawn(StartSample(rows, rows[:0], weight, weight[:0]), 2, 4.0)
    taken = some_rows(0, drawn, 4000, Gaussian(), seed=0)
    assert taken.mean() == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("weight", [None, np.ones(2)])
def test_what_is_missing_in_small_integers_is_missing_in_the_sample(
    weight: np.ndarray | None,
) -> None:
    rows = np.array([[0, -1], [-1, 2]], dtype=np.int8)
    drawn = Drawn(StartSample(rows, rows, weight, weight), 4)
    taken = some_rows(0, drawn, 3, Binomial(2), seed=0)
    assert taken.dtype == np.float64
    assert {str(row) for row in taken} <= {"[ 0. nan]", "[nan  2.]"}
