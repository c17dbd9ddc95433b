"""The way that a run takes by the likeness of its pieces: real stores, real cuts, real clusters."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from distributed import Client
from sklearn.mixture import GaussianMixture as Rival

from dfmr_dask.data import Source, open_source
from dfmr_dask.data.files import plain
from dfmr_dask.errors import InvalidMessage, RunDiffers
from dfmr_dask.experiments.populations import dithered, population
from dfmr_dask.families import COVARIANCE_TYPES, Binomial
from dfmr_dask.local import em
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run import pipeline
from dfmr_dask.run.events import Event
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.likeness import positions_of, way_by_samples
from dfmr_dask.run.record import recording, write_model
from dfmr_dask.run.results import Result, partition_table
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.tasks import InProcess, OnCluster
from dfmr_dask.run.way import Shares, Way

FULL = COVARIANCE_TYPES["full"]
SETTINGS = Settings(family=FULL, n_components=3, seed=1)
PICTURE = dithered("china.jpg", 4, generator(1, Stage.SIMULATE))  # 107 x 160 pixels
TILES, BANDS = (27, 40), (9, 160)  # 16 and 12 pieces
DIMS = ("y", "x", "channel")


def written(path: Path, values: Any, chunk: tuple[int, ...]) -> Path:
    array = zarr.create_array(
        path, shape=values.shape, chunks=(*chunk, values.shape[-1]), dtype=values.dtype,
        dimension_names=DIMS[-values.ndim :], config={"write_empty_chunks": True},
    )  # fmt: skip
    array[...] = values
    return path


def opened(path: Path, **options: Any) -> Source:
    return open_source(path, features="channel", **options)


def fitted(source: Source, settings: Settings = SETTINGS, **more: Any) -> Result:
    return pipeline.fit(source, settings, InProcess(), **more)


def same(a: Mixture, b: Mixture) -> bool:
    return np.array_equal(a.weights, b.weights) and all(
        np.array_equal(a.params[name], b.params[name]) for name in a.params
    )


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("picture") / "tiles.zarr", PICTURE, TILES)


@pytest.fixture(scope="module")
def whole(tiles: Path) -> Result:
    return fitted(opened(tiles))


def best(rows: np.ndarray, *found: Mixture) -> float:
    """Score the best that scikit-learn or a climb on all rows finds."""
    rivals = [Rival(3, random_state=i).fit(rows).score(rows) for i in range(3)]
    climbed = [em.fit(rows, one, strength=len(rows) ** -0.5).log_likelihood for one in found]
    return max(float(score) for score in (*rivals, *climbed))


@pytest.mark.parametrize("chunk", [TILES, pytest.param(BANDS, marks=pytest.mark.slow)])
def test_a_picture_in_pieces_is_fitted_as_well_as_all_of_its_pixels(chunk, tmp_path):
    rows = PICTURE.reshape(-1, 3)
    result = fitted(opened(written(tmp_path / "p.zarr", PICTURE, chunk)))
    assert result.way is not None
    assert result.way.likeness.route == "unlike"
    assert result.source is not None
    assert result.source.plan.kind == "interleaved"
    assert len(result.verdict.kept) == len(result.messages) == len(result.source.plan)
    assert sum(message.rows for message in result.messages) == len(rows)
    assert best(rows, result.mixture) - result.mixture.score(rows) < 0.02
    assert any("not alike" in doubt for doubt in result.verdict.doubts)
    forced = fitted(opened(tmp_path / "p.zarr", plan="chunks"))
    assert forced.way is None
    assert forced.mixture.score(rows) < result.mixture.score(rows) - 0.02


def test_the_table_of_pieces_tells_where_they_lie_and_what_they_are_like(whole: Result):
    table = whole.pieces
    assert table is not None
    assert table.sizes == {"piece": 16}
    assert table.attrs["route"] == "unlike"
    assert np.isfinite(table["distance"].values).all()
    assert set(table["group"].values) == set(range(table["group"].values.max() + 1))
    assert np.array_equal(np.unique(table["x"].values), [19.5, 59.5, 99.5, 139.5])
    assert table["rows"].values.sum() == PICTURE[..., 0].size
    assert partition_table(whole.source, whole).sizes["partition"] == 8


def test_random_pixels_are_alike_and_fitted_to_the_same_bits_as_forced_chunks(tmp_path):
    rows = np.random.default_rng(0).permutation(PICTURE.reshape(-1, 3))
    path = written(tmp_path / "rows.zarr", rows, (1100,))
    ours, forced = fitted(opened(path)), fitted(opened(path, plan="chunks"))
    assert ours.way is not None
    assert ours.way.likeness.route == "alike"
    assert same(ours.mixture, forced.mixture)
    assert ours.verdict.kept == forced.verdict.kept
    assert ours.verdict.certified == forced.verdict.certified


@pytest.fixture(scope="module")
def weighted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty pieces that share components, each with weights of its own; one is off."""
    truth = population(3, 2, separation=6.0, seed=0)
    rng, parts = np.random.default_rng(4), []
    for _ in range(20):
        weights = rng.dirichlet([5.0, 5.0, 5.0])
        parts.append(Mixture(truth.family, weights, truth.params).sample(1000, rng)[0])
    parts[3] = parts[3] + 3.0
    return written(tmp_path_factory.mktemp("w") / "w.zarr", np.concatenate(parts), (1000,))


def test_pieces_with_weights_of_their_own_are_filtered_with_weights_left_free(weighted, tmp_path):
    result = run(opened(weighted), tmp_path / "run")
    assert result.way.likeness.route == "weights"
    assert result.settings.weights == "free"
    assert set(range(20)) - set(result.verdict.kept) == {3}
    (tmp_path / "run" / "summary.json").unlink()
    (tmp_path / "run" / "messages" / "00004.npz").unlink()
    again = run(opened(weighted), tmp_path / "run")
    assert again.settings.weights == "free"
    assert same(again.mixture, result.mixture)


def test_an_unreadable_chunk_costs_itself_and_is_named(tmp_path, whole: Result):
    path = written(tmp_path / "p.zarr", PICTURE, TILES)
    (path / "c" / "1" / "2" / "0").unlink()
    result = fitted(opened(path))
    assert result.way is not None
    assert result.way.interleaved
    assert list(result.way.failed) == [6]
    assert len(result.verdict.kept) == len(result.messages)
    assert sum(message.dropped_rows for message in result.messages) == 27 * 40
    assert any("chunk c/1/2/0" in note for note in result.notes)
    assert result.pieces is not None
    assert "c/1/2/0" in result.pieces["reason"].values[6]
    assert result.pieces["group"].values[6] == -1
    rows = PICTURE.reshape(-1, 3)
    assert abs(result.mixture.score(rows) - whole.mixture.score(rows)) < 0.1  # a 16th is missing


def test_a_chunk_of_nan_costs_itself(tmp_path):
    values = PICTURE.copy()
    values[27:54, 80:120] = np.nan
    result = fitted(opened(written(tmp_path / "p.zarr", values, TILES)))
    assert result.way is not None
    assert result.way.interleaved
    assert sum(message.dropped_rows for message in result.messages) == 27 * 40
    assert len(result.verdict.kept) == len(result.messages)


def test_pieces_at_wrong_places_are_dropped_where_that_is_asked_for(tmp_path):
    values = PICTURE.copy()
    values[36:54, 54:81] = generator(0, Stage.DRAW).uniform(size=(18, 27, 3))
    source = opened(written(tmp_path / "p.zarr", values, (18, 27)))
    flagged, dropped, ignored = (
        way_by_samples(source, replace(SETTINGS, places=places), InProcess())
        for places in ("flag", "drop", "ignore")
    )
    assert flagged is not None
    assert dropped is not None
    assert ignored is not None
    assert flagged.likeness.misplaced
    assert flagged.left_out == {}
    assert dict(dropped.left_out) == dict(flagged.likeness.misplaced)
    assert ignored.likeness.misplaced == {}
    out = sum(source.plan.partitions[i].rows for i in dropped.left_out)
    assert dropped.source(source).plan.rows == source.plan.rows - out


def test_a_forced_plan_forces_the_way(tiles: Path):
    for options in ({"plan": "interleaved"}, {"rows_per_partition": 4000}):
        result = fitted(opened(tiles, **options))
        assert result.way is None
        assert result.pieces is None
    paper = fitted(opened(tiles), replace(SETTINGS, method="paper"))
    assert paper.way is None
    alone = fitted(open_source(np.random.default_rng(0).normal(size=(500, 2))))
    assert alone.way is None


def test_pieces_of_very_many_features_are_filtered_unasked(tmp_path: Path):
    wide = np.random.default_rng(0).integers(0, 3, size=(1200, 1, 320), dtype=np.int8)
    path = written(tmp_path / "wide.zarr", wide, (100, 1))
    settings = replace(SETTINGS, family=Binomial(2), n_components=1)
    result = fitted(opened(path), settings)
    assert result.way is None
    assert len(result.verdict.kept) == 12
    assert any("was not asked: 320 features" in note for note in result.notes)


@pytest.mark.slow
def test_one_component_and_a_given_start_are_examined_too(tiles: Path, whole: Result):
    one = fitted(opened(tiles), replace(SETTINGS, n_components=1))
    assert one.way is not None
    assert one.way.likeness.route == "unlike"
    rows = PICTURE.reshape(-1, 3)
    assert np.allclose(one.mixture.params["means"][0], rows.mean(axis=0), atol=1e-3)
    given = fitted(opened(tiles), replace(SETTINGS, start=whole.mixture))
    assert given.way is not None
    assert given.way.interleaved
    assert same(given.start or whole.mixture, whole.mixture)


def test_two_workers_find_the_same_bits(tiles: Path, whole: Result, client: Client):
    result = pipeline.fit(opened(tiles), SETTINGS, OnCluster(client))
    assert same(result.mixture, whole.mixture)


class PlugPulled(BaseException):
    """A run that is cut short."""


def run(source: Source, folder: Path, emit: Callable[[Event], None] = lambda event: None) -> Any:
    with recording(folder, {"aggregate": {}}, source, SETTINGS) as ledger:
        if ledger.is_finished():
            return None
        result = pipeline.fit(source, SETTINGS, InProcess(), ledger=ledger, emit=emit)
        write_model(ledger, source, result, partition_table(result.source or source, result))
        ledger.finish({"kept": list(result.verdict.kept)})
        return result


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(0.1, marks=pytest.mark.slow),
        pytest.param(0.45, marks=pytest.mark.slow),
        pytest.param(0.6, marks=pytest.mark.slow),
        0.9,
        pytest.param(0.97, marks=pytest.mark.slow),
    ],
)
def test_a_run_of_interleaved_partitions_goes_on_to_the_same_bits(tiles, whole, tmp_path, cut):
    seen: list[Event] = []
    fitted(opened(tiles), emit=seen.append)
    left = iter(range(int(cut * len(seen))))

    def pulled(event: Event) -> None:
        if next(left, None) is None:
            raise PlugPulled

    with pytest.raises(PlugPulled):
        run(opened(tiles), tmp_path / "run", pulled)
    result = run(opened(tiles), tmp_path / "run")
    assert same(result.mixture, whole.mixture)
    assert result.way.likeness.route == "unlike"
    assert json.dumps(plain(result.way.plain())) == json.dumps(plain(whole.way.plain()))
    assert run(opened(tiles), tmp_path / "run") is None
    ledger = Ledger.open(tmp_path / "run")
    assert len(ledger.description()["planned_rows"]) == len(ledger.messages()) == 8
    assert (tmp_path / "run" / "pieces.csv").is_file()


def test_rows_that_are_appended_to_unlike_pieces_are_refused(tmp_path):
    path = written(tmp_path / "p.zarr", PICTURE[:90], TILES)
    run(opened(path), tmp_path / "run")
    array = zarr.open_array(path)
    array.resize(PICTURE.shape)
    array[90:] = PICTURE[90:]
    with pytest.raises(RunDiffers, match="the source has grown, and the partitions that the run"):
        run(opened(path), tmp_path / "run")


def test_a_way_survives_json_and_nonsense_is_refused(whole: Result):
    assert whole.way is not None
    told = json.loads(json.dumps(plain(whole.way.plain())))
    again = Way.from_plain(told)
    assert plain(again.plain()) == plain(whole.way.plain())
    assert isinstance(again.shares, Shares)
    nonsense: list[dict[str, Any]] = [{}, {**told, "route": "up"}, {**told, "groups": ["a"]}]
    for value in (*nonsense, {**told, "shares": {"to_fit": 1.0}}, {**told, "pieces": None}):
        with pytest.raises(InvalidMessage, match="no record of the likeness"):
            Way.from_plain(value)


def test_pieces_have_positions_in_units_of_pieces(tiles: Path):
    positions = positions_of(opened(tiles))
    assert positions is not None
    assert positions.shape == (16, 2)
    assert np.allclose(positions[:4, 1], [0.5, 1.5, 2.5, 3.5])
    assert np.allclose(positions[::4, 0], [0.5, 1.5, 2.5, 3.48], atol=0.01)
    assert positions_of(opened(tiles).interleaved()) is None
    assert positions_of(open_source(np.zeros((10, 2)), n_partitions=2)) is None
