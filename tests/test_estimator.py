"""The estimator keeps scikit-learn's contract, and what it adds for stores holds."""

from __future__ import annotations

import json
import logging
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import sklearn.mixture
import xarray as xr
import zarr
from click.testing import CliRunner
from distributed import Client, LocalCluster
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

import dfmr_dask
from dfmr_dask import GaussianMixture, open_source
from dfmr_dask.command.cli import commands
from dfmr_dask.command.config import configuration
from dfmr_dask.corruption import Corruption
from dfmr_dask.data.files import write_mixture
from dfmr_dask.errors import (
    DfmrError,
    InvalidMixture,
    InvalidSource,
    RunFolderExists,
    UncertifiedWarning,
)
from dfmr_dask.run.ledger import Ledger

pytestmark = pytest.mark.filterwarnings("ignore:not certified")
TYPES = ("full", "tied", "diag", "spherical")
NAMES = ["temp", "salt", "oxygen"]
CENTERS = np.array([[0.0, 0.0, 0.0], [8.0, 8.0, 0.0]])


def rows(n: int = 600, seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    return CENTERS[(rng.random(n) < 0.4).astype(int)] + rng.standard_normal((n, 3))


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("something was computed")


@pytest.fixture(scope="module")
def client() -> Any:
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def model() -> GaussianMixture:
    return GaussianMixture(2, random_state=0).fit(pd.DataFrame(rows(), columns=["a", "b", "c"]))


# scikit-learn compares fits to 15 weighted rows of 30 features with fits to these rows repeated
WEIGHTS_CHECK = "check_sample_weight_equivalence_on_dense_data"


def refusal(estimator: Any) -> Any:
    """What that check must end with where fits cannot be compared; None where they must agree."""
    if estimator.covariance_type in ("full", "tied"):
        return pytest.raises(ValueError, match=r"27 rows came; .* need at least (31|62)")
    if estimator.n_partitions is not None:  # rows are dealt by chance, and there are more of them
        return pytest.raises(AssertionError, match="not equivalent to fitting with removed")
    return None


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks(
    [
        GaussianMixture(2),
        GaussianMixture(2, covariance_type="diag", n_partitions=2),
        GaussianMixture(covariance_type="tied", init_params="kmeans"),
    ]
)
def test_scikit_learn_contract(estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kept_contract(estimator, check, monkeypatch)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks([GaussianMixture(), GaussianMixture(covariance_type="spherical")])
def test_scikit_learn_contract_of_one_component(
    estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_contract(estimator, check, monkeypatch)


def kept_contract(estimator: Any, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else scikit-learn leaves one check out
    ending = refusal(estimator) if check.func.__name__ == WEIGHTS_CHECK else None
    with ending or nullcontext():
        check(estimator)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("n_partitions", [1, 4])
def test_attributes_have_scikit_learns_shapes_and_its_score(
    covariance_type: str, n_partitions: int
) -> None:
    x = rows(2000)
    ours = GaussianMixture(
        2, covariance_type=covariance_type, n_partitions=n_partitions, random_state=0
    ).fit(x)
    theirs = sklearn.mixture.GaussianMixture(
        2, covariance_type=covariance_type, tol=1e-6, random_state=0
    )
    theirs.fit(x)
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        assert getattr(ours, name).shape == getattr(theirs, name).shape
    assert abs(ours.score(x) - theirs.score(x)) < 2e-3
    assert ours.aic(x) == pytest.approx(theirs.aic(x), rel=2e-3)
    assert ours.bic(x) == pytest.approx(theirs.bic(x), rel=2e-3)
    heaviest_first = np.argsort(-theirs.weights_)
    np.testing.assert_allclose(ours.means_, theirs.means_[heaviest_first], atol=0.05)
    assert ours.converged_
    assert ours.n_iter_ >= 1
    assert len(ours.verdict_.kept) == n_partitions == ours.partitions_.sizes["partition"]


@pytest.mark.parametrize("covariance_type", TYPES)
def test_to_sklearn_predicts_the_same(covariance_type: str) -> None:
    x = rows()
    ours = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(x)
    theirs = ours.to_sklearn()
    np.testing.assert_allclose(theirs.predict_proba(x), ours.predict_proba(x), atol=1e-10)
    np.testing.assert_allclose(theirs.score_samples(x), ours.score_samples(x), atol=1e-10)
    assert np.array_equal(theirs.predict(x), ours.predict(x))
    product = ours.precisions_cholesky_ if covariance_type in ("full", "tied") else None
    if product is not None:
        np.testing.assert_allclose(product @ product.swapaxes(-1, -2), ours.precisions_)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_save_and_load_predict_the_same_bits(tmp_path: Path, covariance_type: str) -> None:
    frame = pd.DataFrame(rows(), columns=["a", "b", "c"])
    ours = GaussianMixture(2, covariance_type=covariance_type, random_state=3, tol=1e-5).fit(frame)
    ours.save(tmp_path / "model.npz")
    again = GaussianMixture.load(tmp_path / "model.npz")
    assert np.array_equal(again.predict_proba(frame), ours.predict_proba(frame))
    assert np.array_equal(again.score_samples(frame), ours.score_samples(frame))
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        assert np.array_equal(getattr(again, name), getattr(ours, name))
    assert list(again.feature_names_in_) == ["a", "b", "c"]
    assert (again.n_features_in_, again.n_iter_, again.converged_, again.lower_bound_) == (
        ours.n_features_in_,
        ours.n_iter_,
        ours.converged_,
        ours.lower_bound_,
    )
    assert again.get_params() == ours.get_params()
    assert np.array_equal(again.sample(5)[0], ours.sample(5)[0])
    assert again.to_sklearn().covariance_type == covariance_type


def test_what_is_no_saved_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_bytes(b"no archive at all")
    np.savez(tmp_path / "other.npz", weights=np.ones(1))
    for name in ("text.npz", "other.npz"):
        with pytest.raises(DfmrError):
            GaussianMixture.load(tmp_path / name)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        GaussianMixture().save(tmp_path / "never.npz")
    assert not (tmp_path / "never.npz").exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("wrap", [np.asarray, pd.DataFrame])
def test_bad_numbers_in_memory_raise(model: GaussianMixture, bad: float, wrap: Any) -> None:
    x = rows()
    x[3, 1] = bad
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        GaussianMixture(2).fit(wrap(x))
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        GaussianMixture(2).fit(rows()).predict(wrap(x))


def test_float32_is_fitted_as_it_comes() -> None:
    x = rows().astype(np.float32)
    ours = GaussianMixture(2, random_state=0).fit(x)
    assert ours.means_.dtype == np.float64
    assert abs(ours.score(x) - GaussianMixture(2, random_state=0).fit(rows()).score(rows())) < 1e-4


def test_same_seed_same_bits_and_generators_are_seeds() -> None:
    x = rows()
    one = GaussianMixture(2, random_state=5, n_partitions=3).fit(x)
    two = GaussianMixture(2, random_state=5, n_partitions=3).fit(x)
    assert np.array_equal(one.means_, two.means_)
    drawn = GaussianMixture(2, random_state=np.random.RandomState(0)).fit(x)
    again = GaussianMixture(2, random_state=np.random.RandomState(0)).fit(x)
    assert np.array_equal(drawn.means_, again.means_)
    assert not np.array_equal(drawn.sample(3)[0], drawn.sample(3)[0])


def test_sample_follows_the_mixture(model: GaussianMixture) -> None:
    x, y = model.sample(4000)
    assert x.shape == (4000, 3)
    assert np.array_equal(y, np.sort(y))
    np.testing.assert_allclose(np.bincount(y) / 4000, model.weights_, atol=0.03)
    np.testing.assert_allclose(x[y == 1].mean(axis=0), model.means_[1], atol=0.15)
    with pytest.raises(ValueError, match="n_samples = 0"):
        model.sample(0)


@pytest.mark.parametrize(
    ("n", "parameters", "text"),
    [
        (1, {}, "n_samples = 1"),
        (3, {"n_components": 4, "covariance_type": "diag"}, "n_components = 4"),
        (7, {"n_components": 2}, "at least 8"),
        (7, {"n_components": 2, "covariance_type": "tied"}, "at least 8"),
    ],
)
def test_too_few_rows_are_refused(n: int, parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        GaussianMixture(**parameters).fit(rows(n))


def test_scarce_rows_are_a_warning() -> None:
    with pytest.warns(UserWarning, match="12 rows for 19 free parameters"):
        GaussianMixture(2, random_state=0).fit(rows(12))


def test_what_is_doubtful_is_a_warning() -> None:
    with pytest.warns(UncertifiedWarning, match="not certified: .*3 usable partitions"):
        GaussianMixture(2, random_state=0, n_partitions=3).fit(rows())
    with pytest.warns(ConvergenceWarning, match="1 of 1 kept partitions within max_iter = 1"):
        hasty = GaussianMixture(2, random_state=0, max_iter=1, tol=0.0).fit(rows())
    assert not hasty.converged_
    assert hasty.n_iter_ == 1


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_start_of_the_users_is_where_all_begin(covariance_type: str) -> None:
    x = rows()
    good = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(x)
    ours = GaussianMixture(
        2,
        covariance_type=covariance_type,
        weights_init=good.weights_,
        means_init=good.means_,
        precisions_init=good.precisions_,
    ).fit(x)
    assert ours.n_iter_ <= good.n_iter_ + 1
    np.testing.assert_allclose(ours.means_, good.means_, atol=1e-2)
    only_means = GaussianMixture(2, covariance_type=covariance_type, means_init=good.means_).fit(x)
    assert abs(only_means.score(x) - good.score(x)) < 1e-2


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"means_init": np.zeros((2, 2))}, r"means_init has shape \(2, 2\); wanted \(2, 3\)"),
        ({"weights_init": [0.5, 0.4]}, "weights"),
        ({"precisions_init": np.ones((2, 3, 3))}, "precisions_init has no inverse"),
        ({"means_init": CENTERS, "weights_init": [1.0]}, "weights_init has shape"),
        ({"means_init": CENTERS, "precisions_init": np.eye(3)}, "precisions_init has shape"),
        ({"means_init": CENTERS * np.nan}, "means_init holds NaN"),
        ({"gates": ("blocks", "lagrange")}, "lagrange"),
        ({"corruption": Corruption("data", 0.3)}, "another population"),
        ({"n_partitions": 2, "rows_per_partition": 100}, "rows_per_partition"),
    ],
)
def test_parameters_that_do_not_fit_together(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        GaussianMixture(2, **parameters).fit(rows())


def test_a_plan_is_said_once() -> None:
    source = open_source(rows(), n_partitions=2)
    with pytest.raises(ValueError, match="has a plan"):
        GaussianMixture(2, n_partitions=3).fit(source)
    assert GaussianMixture(2, random_state=0).fit(source).partitions_.sizes["partition"] == 2


def test_lying_partitions_are_named(client: Any) -> None:
    ours = GaussianMixture(
        2, n_partitions=12, random_state=0, corruption=Corruption("mean", 0.25)
    ).fit(rows(6000))
    assert len(ours.verdict_.dropped) == 3
    assert int(ours.partitions_["kept"].sum()) == 9
    np.testing.assert_allclose(ours.means_[np.argsort(ours.means_[:, 0])], CENTERS, atol=0.15)


def test_a_run_folder_is_that_of_the_command(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    attack = Corruption("mean", 0.25)
    ours = GaussianMixture(2, random_state=0, n_partitions=12, corruption=attack)
    ours.fit(rows(1200), run=folder)
    again = GaussianMixture.load(folder / "model.npz")
    assert np.array_equal(again.predict_proba(rows()), ours.predict_proba(rows()))
    assert not hasattr(again, "feature_names_in_")
    ledger = Ledger.open(folder)
    assert len(ledger.messages()) == 12
    assert ledger.summary()["kept"] == list(ours.verdict_.kept)
    told = configuration(ledger.description()["settings"])
    assert (told.mixture.n_components, told.source.n_partitions) == (2, 12)
    asked = ["aggregate", os.fspath(folder), "--aggregator", "vanilla", "--json"]
    answer = CliRunner().invoke(commands, asked, catch_exceptions=False)
    assert len(json.loads(answer.stdout)["kept"]) == 12
    with pytest.raises(RunFolderExists):
        GaussianMixture(2, random_state=0).fit(rows(), run=folder)


@pytest.fixture(scope="module")
def grid() -> xr.Dataset:
    x = rows(20 * 30).reshape(20, 30, 3)
    x[0, 0, 0], x[7, 3, 2], x[19, 29, 1] = np.nan, np.inf, np.nan
    dims = ("lat", "lon")
    return xr.Dataset(
        {name: (dims, x[..., i]) for i, name in enumerate(NAMES)},
        coords={"lat": np.linspace(-10, 10, 20), "lon": np.arange(30), "depth": 5.0},
        attrs={"title": "ocean"},
    )


@pytest.fixture(scope="module")
def on_grid(client: Any, grid: xr.Dataset, tmp_path_factory: Any) -> Any:
    path = tmp_path_factory.mktemp("stores") / "grid.zarr"
    grid.chunk(lat=10, lon=15).to_zarr(path, zarr_format=2)
    return path, GaussianMixture(2, random_state=0).fit(open_source(path, features=NAMES))


def test_store_rows_with_bad_numbers_are_dropped_and_counted(on_grid: Any) -> None:
    _, ours = on_grid
    assert int(ours.partitions_["dropped_rows"].sum()) == 3
    assert int(ours.partitions_["rows"].sum()) == 597
    assert list(ours.feature_names_in_) == NAMES
    assert ours.n_features_in_ == 3


def test_labels_come_back_on_the_grid(on_grid: Any, grid: xr.Dataset, tmp_path: Path) -> None:
    path, ours = on_grid
    with dask.config.set(scheduler=refuse):
        by_path, by_source = ours.predict(path), ours.predict(open_source(path, features=NAMES))
        by_grid, by_dimension = ours.predict(grid), ours.predict(grid.to_dataarray("feature"))
        share = ours.predict_proba(path)
    expected = by_grid.values
    assert expected[0, 0] == expected[7, 3] == expected[19, 29] == -1
    good = expected >= 0
    table = np.stack([grid[name].values for name in ours.feature_names_in_], axis=-1)[good]
    frame = pd.DataFrame(table, columns=ours.feature_names_in_)
    assert np.array_equal(expected[good], ours.predict(frame))
    for asked in (by_path, by_source, by_dimension):
        assert asked.dims == ("lat", "lon")
        assert np.array_equal(asked.values, expected)
        xr.testing.assert_equal(asked.coords["lat"], grid.coords["lat"])
        assert "depth" in asked.coords
    assert share.dims == ("lat", "lon", "component")
    turned = ours.predict(open_source(path, features=["salt", "temp", "oxygen"]))
    assert np.array_equal(turned.values, expected)
    by_path.to_zarr(tmp_path / "labels.zarr", consolidated=False)
    again = xr.open_zarr(tmp_path / "labels.zarr", consolidated=False, mask_and_scale=False)
    assert np.array_equal(again["label"].values, expected)


def test_scores_of_lazy_data_leave_bad_rows_out(on_grid: Any, grid: xr.Dataset) -> None:
    path, ours = on_grid
    table = np.stack([grid[name].values for name in ours.feature_names_in_], axis=-1).reshape(-1, 3)
    table = table[np.isfinite(table).all(axis=1)]
    frame = pd.DataFrame(table, columns=ours.feature_names_in_)
    spoiled = pd.concat([frame, frame.iloc[:2] * np.nan], ignore_index=True)
    kinds = [
        path,
        grid,
        da.from_array(spoiled.to_numpy(), chunks=(100, 3)),
        dd.from_pandas(spoiled, 3),
    ]
    for kind in kinds:
        assert ours.score(kind) == pytest.approx(ours.score(frame), rel=1e-12)
        assert ours.bic(kind) == pytest.approx(ours.bic(frame), rel=1e-12)
    with pytest.raises(InvalidSource, match="no row"):
        ours.score(da.full((4, 3), np.nan))


def test_dask_answers_are_dask(model: GaussianMixture, client: Any) -> None:
    x = rows()
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    shuffled = dd.from_pandas(frame[["c", "a", "b"]].assign(other=1.0), npartitions=2)
    with dask.config.set(scheduler=refuse):
        lazy = model.predict(da.from_array(x, chunks=(100, 3)))
        by_name = model.predict(shuffled)
        density = model.score_samples(shuffled)
    assert isinstance(lazy, da.Array)
    assert lazy.chunks == ((100,) * 6,)
    assert np.array_equal(lazy.compute(), model.predict(frame))
    assert np.array_equal(by_name.compute().to_numpy(), model.predict(frame))
    np.testing.assert_allclose(density.compute().to_numpy(), model.score_samples(frame))


def test_zarr_arrays_and_paths_are_fitted_alike(client: Any, tmp_path: Path) -> None:
    array = zarr.create_array(tmp_path / "x.zarr", shape=(600, 3), chunks=(200, 3), dtype="f8")
    array[:] = rows()
    by_path = GaussianMixture(2, random_state=0).fit(os.fspath(tmp_path / "x.zarr"))
    by_array = GaussianMixture(2, random_state=0).fit(array)
    assert np.array_equal(by_path.means_, by_array.means_)
    assert not hasattr(by_path, "feature_names_in_")
    assert by_path.predict(tmp_path / "x.zarr").dims == ("row",)
    with pytest.raises(ValueError, match="give precisions_init"):
        GaussianMixture(2, means_init=CENTERS).fit(array)


def test_other_features_are_refused(on_grid: Any, model: GaussianMixture, grid: xr.Dataset) -> None:
    path, ours = on_grid
    with pytest.raises(InvalidSource, match=r"'oxygen'\] not among"):
        ours.predict(open_source(path, features=["salt", "temp"]))
    for other in (grid[["temp", "salt"]], grid.rename(oxygen="nitrate")):
        with pytest.raises(InvalidSource, match=r"'oxygen'\] not among"):
            ours.predict(other)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(pd.DataFrame(rows(), columns=["a", "b", "d"]))


def named_alike(x: np.ndarray[Any, Any], names: str, path: Path) -> dict[str, Any]:
    """The rows with columns of these names, as everything that can be opened."""
    frame = xr.DataArray(x, dims=("row", "band"), coords={"band": list(names)}, name="pixels")
    variables = frame.to_dataset("band")
    frame.to_zarr(path / f"one-{names}.zarr")
    variables.to_zarr(path / f"many-{names}.zarr")
    return {
        "array": frame,
        "dask": frame.chunk(row=100),
        "dataset": variables,
        "one variable": frame.to_dataset(),
        "path": path / f"one-{names}.zarr",
        "path of variables": path / f"many-{names}.zarr",
        "group": zarr.open_group(path / f"one-{names}.zarr", mode="r"),
        "source": open_source(frame),
        "source of a table": open_source(x, features=list(names)),
        "turned": frame.transpose(),
    }


def test_features_are_matched_by_name_wherever_there_are_names(
    model: GaussianMixture, tmp_path: Path
) -> None:
    x = rows()
    expected = model.predict(pd.DataFrame(x, columns=list("abc")))
    for kind, data in named_alike(x[:, [2, 0, 1]], "cab", tmp_path).items():
        assert np.array_equal(np.asarray(model.predict(data)), expected), kind
    others = named_alike(x, "abn", tmp_path)
    del others["turned"]  # by the names nobody can tell which dimension holds the features
    for kind, data in others.items():
        with pytest.raises(InvalidSource, match=r"fitted on \['a', 'b', 'c'\]; \['c'\] not am"):
            model.predict(data)
            pytest.fail(kind)
    twice = xr.DataArray(x, dims=("row", "band"), coords={"band": list("abb")})
    with pytest.raises(InvalidSource, match="not once"):
        model.predict(twice)


def test_only_data_without_names_are_matched_by_position(
    model: GaussianMixture, tmp_path: Path
) -> None:
    x = rows()
    expected = model.predict(pd.DataFrame(x, columns=list("abc")))
    array = zarr.create_array(tmp_path / "x.zarr", shape=(600, 3), chunks=(200, 3), dtype="f8")
    array[:] = x
    bare = xr.DataArray(x, dims=("row", "band"))
    for data in (bare, bare.chunk(row=50), array, tmp_path / "x.zarr", open_source(bare)):
        assert np.array_equal(np.asarray(model.predict(data)), expected)
    with pytest.raises(InvalidSource, match="2 features; the mixture has 3"):
        model.predict(bare[:, :2])


@pytest.mark.parametrize("named", [True, False])
def test_a_grid_beside_the_rows_of_the_fit(client: Any, tmp_path: Path, named: bool) -> None:
    x = rows()
    band = {"channel": ["red", "green", "blue"]} if named else {}
    table = xr.Dataset({"row_values": (("row", "channel"), x)}, coords=band).chunk(row=200)
    grid = xr.Dataset({"color": (("y", "x", "channel"), x.reshape(20, 30, 3))}, coords=band)
    table.to_zarr(tmp_path / "s.zarr", group="rows", consolidated=False)
    grid.to_zarr(tmp_path / "s.zarr", group="photograph", mode="a", consolidated=False)
    source = open_source(tmp_path / "s.zarr", group="rows", features="channel")
    ours = GaussianMixture(2, random_state=0).fit(source)
    expected = ours.predict(grid).values
    stored = tmp_path / "s.zarr" / "photograph"
    opened = xr.open_zarr(stored, consolidated=False)
    turned = opened["color"].transpose("channel", "x", "y")
    for data in (stored, os.fspath(stored), zarr.open_group(stored, mode="r"), opened):
        assert ours.predict(data).dims == ("y", "x")
        assert np.array_equal(ours.predict(data).values, expected)
    assert np.array_equal(ours.predict(turned).values, expected.T)
    assert np.array_equal(expected.ravel(), ours.predict(source).values)


class Warned(logging.Handler):
    """Remembers what was logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.mark.parametrize("kind", ["array", "dataarray", "dataset", "frame"])
def test_the_scheduler_has_nothing_to_say_about_dask_input(client: Any, kind: str) -> None:
    x = rows(1200)
    array = xr.DataArray(x, dims=("row", "band"), coords={"band": list("abc")}).chunk(row=200)
    data = {
        "array": array.data,
        "dataarray": array,
        "dataset": array.to_dataset("band"),
        "frame": dd.from_pandas(pd.DataFrame(x, columns=list("abc")), npartitions=6),
    }[kind]
    heard, log = Warned(), logging.getLogger("distributed.scheduler")
    log.addHandler(heard)
    try:
        for _ in range(2):
            GaussianMixture(2, random_state=0).fit(data)
    finally:
        log.removeHandler(heard)
    assert not heard.texts


def test_what_is_in_memory_needs_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfmr_dask.run.cluster._client", refuse)
    array = xr.DataArray(rows(), dims=("row", "band"))
    stored = zarr.create_array(store={}, shape=(600, 3), chunks=(200, 3), dtype="f8")
    stored[:] = rows()
    for data in (array, array.to_dataset("band"), stored):
        ours = GaussianMixture(2, random_state=0, means_init=CENTERS).fit(data)
        assert ours.partitions_.sizes["partition"] == (3 if data is stored else 1)


def test_a_mixture_written_by_others_loads_as_an_estimator(
    tmp_path: Path, model: GaussianMixture
) -> None:
    write_mixture(tmp_path / "bare.npz", model.mixture_)
    assert GaussianMixture.load(tmp_path / "bare.npz").predict(rows()).shape == (600,)
    for facts in (
        {"params": {"shape": 3}},
        {"params": {"tol": -1.0}},
        {"params": [1]},
        {"features": ["a"]},
        {"converged": "yes"},
    ):
        write_mixture(tmp_path / "wrong.npz", model.mixture_, **facts)
        with pytest.raises(InvalidMixture):
            GaussianMixture.load(tmp_path / "wrong.npz")


def test_public_names() -> None:
    assert set(dir(dfmr_dask)) >= {"GaussianMixture", "open_source", "read_mixture"}
    assert dfmr_dask.__version__ == "0.1.0"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dfmr_dask.nothing  # noqa: B018
    assert issubclass(InvalidMixture, ValueError)
