"""A row of weight 2 is the row twice, one of weight 0 is not there; bad weights are data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from dfmr_dask.aggregate.electing import all_rows
from dfmr_dask.aggregate.questions import Score
from dfmr_dask.command.config import configuration
from dfmr_dask.command.preparation import fit_settings, open_inputs
from dfmr_dask.data.readers import WeightedRows
from dfmr_dask.data.source import Source, open_source
from dfmr_dask.errors import DegenerateRows
from dfmr_dask.experiments.populations import population
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run import partition
from dfmr_dask.run.asking import Asking, terms_of
from dfmr_dask.run.context import Context
from dfmr_dask.run.events import ignore
from dfmr_dask.run.partition import LocalSettings
from dfmr_dask.run.pipeline import Settings, fit
from dfmr_dask.run.results import Result
from dfmr_dask.run.tasks import InProcess
from dfmr_dask.run.valid import valid_rows
from tests.tables import each_family, random_mixture

FULL = COVARIANCE_TYPES["full"]
TRUTH = population(3, 2, separation=5.0, seed=7)
CHUNK, CHUNKS = 400, 8


def local(family: Family, n_features: int) -> LocalSettings:
    return LocalSettings(
        family=family,
        n_components=2,
        features=tuple(f"x{i}" for i in range(n_features)),
        seed=0,
        tol=1e-9,
        reg_covar=1e-6,
        max_iter=200,
        n_init=1,
        init_params="overfit",
    )


def said(rows: Any, start: Mixture) -> Message:
    asked = local(start.family, start.n_features)
    return partition.fit(0, rows, start, None, None, None, asked)


def assert_same(one: Message, other: Message) -> None:
    assert one.mixture is not None
    assert other.mixture is not None
    assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-9)
    np.testing.assert_allclose(one.mixture.weights, other.mixture.weights, atol=1e-8)
    for name, array in one.mixture.params.items():
        np.testing.assert_allclose(array, other.mixture.params[name], atol=1e-8)


@each_family
@settings(max_examples=10)
@given(seed=st.integers(0, 1000))
def test_weights_are_repetitions(family: Family, seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = random_mixture(family, 2, 2, rng)
    x, _ = start.sample(80, rng)
    weights = rng.integers(0, 4, 80)
    weighted = said(WeightedRows(x, weights.astype(float)), start)
    repeated = said(np.repeat(x, weights, axis=0), start)
    assert_same(weighted, repeated)
    assert weighted.rows == np.count_nonzero(weights)
    assert weighted.mass == weights.sum() == repeated.rows
    assert (weighted.dropped_rows, repeated.mass) == (0, None)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_weights_leave_rows_out_and_zero_is_no_row(bad: float) -> None:
    start = random_mixture(FULL, 2, 2, np.random.default_rng(1))
    x, _ = start.sample(100, np.random.default_rng(2))
    spoiled, weights = x.copy(), np.ones(100)
    weights[:10], weights[10:15] = bad, 0.0
    spoiled[14:17] = np.nan  # the first of these is not there anyway
    message = said(WeightedRows(spoiled, weights), start)
    assert_same(message, said(x[17:], start))
    assert (message.rows, message.dropped_rows, message.mass) == (83, 12, 83.0)
    empty = said(WeightedRows(x, np.zeros(100)), start)
    assert (empty.status, empty.rows, empty.dropped_rows) == ("empty", 0, 0)


def test_negative_weights_are_a_reason() -> None:
    start = random_mixture(FULL, 2, 2, np.random.default_rng(1))
    x, _ = start.sample(100, np.random.default_rng(2))
    weights = np.linspace(-1.0, 98.0, 100)
    message = said(WeightedRows(x, weights), start)
    assert message.status == "failed"
    assert "negative weights in 1 of 100 rows, the lowest is -1" in message.reason
    huge = said(WeightedRows(x, np.full(100, 1e308)), start)
    assert "infinite" in huge.reason
    with pytest.raises(DegenerateRows, match="negative"):
        valid_rows(x, -np.ones(100))


def test_samples_carry_the_weights_of_their_rows() -> None:
    x = np.random.default_rng(0).normal(size=(5000, 2))
    drawn = partition.draw(0, WeightedRows(x, np.exp(x[:, 0])), local(FULL, 2))
    assert isinstance(drawn, partition.Drawn)
    sample = drawn.sample
    for rows, weights in ((sample.fit, sample.fit_weight), (sample.score, sample.score_weight)):
        assert weights is not None
        assert weights.mean() == pytest.approx(1.0)
        np.testing.assert_allclose(weights / weights[0], np.exp(rows[:, 0] - rows[0, 0]))
    assert drawn.mass == pytest.approx(np.exp(x[:, 0]).sum())
    assert (drawn.rows, drawn.read) == (5000, 5000)
    scored = partition.score(0, drawn, [TRUTH], local(FULL, 2))
    assert isinstance(scored, partition.Scores)
    expected = np.average(TRUTH.log_density(sample.score), weights=sample.score_weight)
    assert scored.values[0] == pytest.approx(expected)


def stored(path: Path, x: Any, weights: Any) -> Path:
    variables = {"a": ("row", x[:, 0]), "b": ("row", x[:, 1]), "w": ("row", weights)}
    xr.Dataset(variables).chunk(row=CHUNK).to_zarr(path, consolidated=False)
    return path


def rows() -> Any:
    return TRUTH.sample(CHUNK * CHUNKS, np.random.default_rng(5))[0]


def run(source: Source, **changes: Any) -> Result:
    return fit(source, Settings(**{"family": FULL, "n_components": 3, **changes}), InProcess())


@pytest.mark.parametrize("start", [None, TRUTH])
def test_ones_change_nothing(tmp_path: Path, start: Mixture | None) -> None:
    path = stored(tmp_path / "s.zarr", rows(), np.ones(CHUNK * CHUNKS))
    plain = run(open_source(path, features=["a", "b"]), start=start)
    weighted = run(open_source(path, sample_weight="w"), start=start)
    assert weighted.verdict.kept == plain.verdict.kept
    np.testing.assert_allclose(
        weighted.mixture.params["means"], plain.mixture.params["means"], atol=1e-6
    )
    assert weighted.score == pytest.approx(plain.score, abs=1e-8)
    assert weighted.score_rows == plain.score_rows


def test_rows_of_weight_zero_are_as_if_they_were_not_there(tmp_path: Path) -> None:
    x, there = rows(), np.arange(CHUNK * CHUNKS) % 2 == 0
    spoiled = np.where(there[:, None], x, 1e3)
    half = stored(tmp_path / "half.zarr", spoiled, there)
    apart = xr.Dataset({"a": ("row", x[there, 0]), "b": ("row", x[there, 1])})
    apart.chunk(row=CHUNK // 2).to_zarr(tmp_path / "apart.zarr", consolidated=False)
    one = run(open_source(half, sample_weight="w"), start=TRUTH)
    other = run(open_source(tmp_path / "apart.zarr"), start=TRUTH)
    for a, b in zip(one.messages, other.messages, strict=True):
        assert_same(a, b)
        assert (a.rows, a.mass, b.mass) == (b.rows, float(b.rows), None)
    assert one.score == pytest.approx(other.score, abs=1e-9)
    assert one.score_rows == other.score_rows


def test_a_partition_with_bad_weights_is_one_that_failed(tmp_path: Path) -> None:
    weights = np.ones(CHUNK * CHUNKS)
    weights[10], weights[CHUNK : CHUNK + 5] = -1.0, np.nan
    source = open_source(stored(tmp_path / "s.zarr", rows(), weights), sample_weight="w")
    result = run(source)
    assert set(result.verdict.failed) == {0}
    assert [m.dropped_rows for m in result.messages] == [0, 5, 0, 0, 0, 0, 0, 0]


def test_the_total_weight_is_not_for_one_partition_to_tell(tmp_path: Path) -> None:
    path = stored(tmp_path / "s.zarr", rows(), np.ones(CHUNK * CHUNKS))
    source = open_source(path, sample_weight="w")
    context = Context(source, Settings(family=FULL, n_components=3), InProcess(), ignore)
    # samples of half of the rows of each partition, which weigh 3 each
    honest = partition.Scores(np.zeros(1), 100, 50, 200, 600.0, 200)
    scored = dict.fromkeys(range(CHUNKS), honest)
    assert all_rows(terms_of(context), scored) == 3 * CHUNK * CHUNKS
    assert honest.mass_to_score == 150.0
    scored[0] = replace(honest, mass=1e300)
    assert 1.0 <= all_rows(terms_of(context), scored) / (3 * CHUNK * CHUNKS) <= 1.0 + 3.0 / CHUNKS


@pytest.mark.parametrize("lie", [np.nan, np.inf, -1.0, 0.0, "600"])
def test_scores_with_absurd_weights_are_no_answer(lie: Any) -> None:
    x = rows()[:200]
    drawn = partition.draw(0, WeightedRows(x, np.full(200, 3.0)), local(FULL, 2))
    assert isinstance(drawn, partition.Drawn)
    asked = Settings(family=FULL, n_components=2)
    source = open_source(x, n_partitions=2, sample_weight=np.full(200, 3.0))
    context = Context(source, asked, InProcess(), ignore)
    samples = {0: drawn, 1: replace(drawn, mass=lie)}
    assert list(Asking(context, samples)(Score((0, 1), [TRUTH])).heard) == [0]


@pytest.mark.parametrize("mass", [1e-300, 1.0, 1e300, 1e308])
def test_where_rows_have_no_weights_none_can_be_claimed(
    mass: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lone liar would be the only one to tell a weight, and rule everybody's penalty."""
    honest_score, honest_fit = partition.score, partition.fit

    def score(i: int, *args: Any) -> Any:
        said = honest_score(i, *args)
        return replace(said, mass=mass) if i == 3 else said

    def message(i: int, *args: Any) -> Any:
        said = honest_fit(i, *args)
        return replace(said, mass=mass) if i == 4 else said

    source = open_source(rows(), n_partitions=8, seed=0)
    asked = Settings(family=FULL, n_components=2)
    truthful = fit(source, asked, InProcess())
    monkeypatch.setattr(partition, "score", score)
    monkeypatch.setattr(partition, "fit", message)
    result = fit(source, asked, InProcess())
    assert result.mixture.score(rows()) == pytest.approx(truthful.mixture.score(rows()), abs=0.01)
    assert list(result.verdict.failed) == [4]
    assert "it claims a weight of" in result.verdict.failed[4]


def test_a_configuration_names_what_weighs_rows(tmp_path: Path) -> None:
    path = stored(tmp_path / "s.zarr", rows(), np.ones(CHUNK * CHUNKS))
    asked = {
        "source": {"path": str(path), "sample_weight": "w"},
        "mixture": {"n_components": 3, "outliers": 50.0, "dtype_work": "float32"},
        "run": {"folder": str(tmp_path / "run")},
    }
    inputs = open_inputs(configuration(asked))
    assert (inputs.source.weight, inputs.source.features) == ("w", ("a", "b"))
    assert inputs.labeled is inputs.source
    settings_asked = fit_settings(configuration(asked))
    assert (settings_asked.outliers, settings_asked.dtype_work) == (50.0, "float32")


@pytest.mark.parametrize("asked", [{"outliers": 0.0}, {"dtype_work": "float16"}])
def test_settings_that_mean_nothing_are_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(asked))):
        Settings(family=FULL, n_components=3, **asked)


def test_weights_shift_the_mixture_where_they_say(tmp_path: Path) -> None:
    x = rows()
    heavy = np.where(TRUTH.labels(x) == 0, 3.0, 1.0)
    source = open_source(stored(tmp_path / "s.zarr", x, heavy), sample_weight="w")
    found = run(source).mixture
    means = TRUTH.params["means"]
    which = np.linalg.norm(found.params["means"][:, None] - means, axis=2).argmin(axis=0)
    expected = TRUTH.weights * [3.0, 1.0, 1.0]
    np.testing.assert_allclose(found.weights[which], expected / expected.sum(), atol=0.03)
