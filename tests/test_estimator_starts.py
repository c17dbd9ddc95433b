"""Sample weights, warm starts, starts given in part, and outliers, as users of the estimator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client, LocalCluster

from dfmr_dask import GaussianMixture, open_source
from dfmr_dask.command.config import configuration
from dfmr_dask.run.ledger import Ledger

pytestmark = pytest.mark.filterwarnings("ignore:not certified")
TYPES = ("full", "tied", "diag", "spherical")
CENTERS = np.array([[0.0, 0.0], [8.0, 8.0]])
FITTED = ("weights_", "means_", "covariances_")


def rows(n: int = 400, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return CENTERS[(rng.random(n) < 0.4).astype(int)] + rng.standard_normal((n, 2))


@pytest.fixture(scope="module")
def client() -> Any:
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def assert_same(one: GaussianMixture, other: GaussianMixture) -> None:
    for name in FITTED:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-8)
    assert one.lower_bound_ == pytest.approx(other.lower_bound_, abs=1e-8)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("whole", [True, False])
def test_weights_are_repetitions(covariance_type: str, whole: bool) -> None:
    x, weights = rows(), np.random.default_rng(1).integers(0, 4, 400)
    if whole:
        weights = weights.astype(float)
    asked = GaussianMixture(
        2, covariance_type=covariance_type, means_init=CENTERS, tol=1e-9, random_state=0
    )
    weighted = asked.fit(x, sample_weight=weights)
    again = GaussianMixture(**asked.get_params()).fit(np.repeat(x, weights.astype(int), axis=0))
    assert_same(weighted, again)
    assert weighted.partitions_["rows"] == np.count_nonzero(weights)


def test_equal_weights_are_no_weights_whatever_their_scale() -> None:
    x = rows(4000)
    plain = GaussianMixture(2, random_state=0).fit(x)
    assert_same(plain, GaussianMixture(2, random_state=0).fit(x, sample_weight=np.ones(4000)))
    heavy = GaussianMixture(2, random_state=0).fit(x, sample_weight=np.full(4000, 50.0))
    np.testing.assert_allclose(heavy.means_, plain.means_, atol=0.01)
    np.testing.assert_allclose(heavy.covariances_, plain.covariances_, atol=0.02)


def test_shares_are_no_counts() -> None:
    with pytest.warns(UserWarning, match="sum to 1, fewer rows than the 11 free parameters"):
        GaussianMixture(2, random_state=0).fit(rows(), sample_weight=np.full(400, 1 / 400))


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        (-np.ones(400), "[Nn]egative"),
        (np.full(400, np.nan), "NaN"),
        (np.ones(3), "shape"),
        (np.zeros(400), "non-zero"),
        ("area", "open_source"),
    ],
)
def test_weights_that_are_none_are_refused(weights: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        GaussianMixture(2).fit(rows(), sample_weight=weights)
    with pytest.raises(ValueError, match="say it to open_source"):
        GaussianMixture(2).fit(open_source(rows()), sample_weight=weights)


def test_too_few_rows_that_count_are_refused() -> None:
    with pytest.raises(ValueError, match="n_samples = 5 "):
        GaussianMixture(2).fit(rows(), sample_weight=np.arange(400) < 5)


def test_names_weigh_what_is_opened_and_labels_ignore_them(client: Any, tmp_path: Path) -> None:
    x, weights = rows(600), np.random.default_rng(1).uniform(0.5, 2.0, 600)
    frame = pd.DataFrame({"a": x[:, 0], "area": weights, "b": x[:, 1]})
    data = xr.Dataset({name: ("row", frame[name].to_numpy()) for name in frame}).chunk(row=300)
    data.to_zarr(tmp_path / "s.zarr", consolidated=False)
    asked = {"random_state": 0, "means_init": CENTERS, "precisions_init": [np.eye(2)] * 2}
    by_path = GaussianMixture(2, **asked).fit(
        tmp_path / "s.zarr", sample_weight="area", run=tmp_path / "run"
    )
    assert list(by_path.feature_names_in_) == ["a", "b"]
    for other in (data, dd.from_pandas(frame, 2), data.compute()):
        cut = {"rows_per_partition": 300} if isinstance(other, xr.Dataset) else {}
        cut = cut if other is not data else {}
        found = GaussianMixture(2, **asked, **cut).fit(other, sample_weight="area")
        np.testing.assert_allclose(found.means_, by_path.means_, atol=0.1)
        assert len(np.asarray(found.predict(other))) == 600
    labels = by_path.fit_predict(tmp_path / "s.zarr", sample_weight="area")
    expected = by_path.predict(frame[["a", "b"]])
    assert np.array_equal(np.asarray(labels), expected)
    told = configuration(Ledger.open(tmp_path / "run").description()["settings"])
    assert told.source.sample_weight == "area"
    masses = [message.mass for message in Ledger.open(tmp_path / "run").messages()]
    assert sum(mass for mass in masses if mass) == pytest.approx(weights.sum())


def test_a_warm_start_goes_on_where_the_last_fit_ended() -> None:
    x = rows()
    model = GaussianMixture(2, warm_start=True, means_init=CENTERS[::-1] + 1.0, tol=1e-8)
    first = model.fit(x).n_iter_
    before = model.means_
    assert model.fit(x).n_iter_ < first  # and not at means_init again
    np.testing.assert_allclose(model.means_, before, atol=1e-3)
    assert model.to_sklearn().warm_start
    model.set_params(n_components=3, means_init=None)
    with pytest.raises(ValueError, match=r"the last fit has 2 components .* wanted 3 .*warm_start"):
        model.fit(x)
    cold = GaussianMixture(2, means_init=CENTERS[::-1] + 1.0, tol=1e-8).fit(x)
    assert cold.fit(x).n_iter_ == first


def test_a_warm_start_wants_the_features_of_the_last_fit() -> None:
    frame = pd.DataFrame(rows(), columns=["a", "b"])
    model = GaussianMixture(2, warm_start=True, random_state=0).fit(frame)
    with pytest.raises(ValueError, match="warm_start: the features of the last fit were"):
        model.fit(frame[["b", "a"]])


def test_clusters_that_complete_a_start_heed_the_weights() -> None:
    x = rows()
    model = GaussianMixture(2, weights_init=[0.5, 0.5], max_iter=1, random_state=0)
    weights = np.where(x[:, 0] > 4.0, 5.0, 1.0)
    shifted = np.repeat(x, weights.astype(int), axis=0)
    weighted = model.fit(x, sample_weight=weights).means_
    repeated = GaussianMixture(**model.get_params()).fit(shifted).means_
    np.testing.assert_allclose(weighted, repeated, atol=1e-6)


def test_a_warm_start_works_on_stores(client: Any, tmp_path: Path) -> None:
    xr.DataArray(rows(900), dims=("row", "feature"), name="x").to_dataset().chunk(row=300).to_zarr(
        tmp_path / "s.zarr", consolidated=False
    )
    model = GaussianMixture(2, warm_start=True, random_state=0).fit(tmp_path / "s.zarr")
    first = model.means_
    model.fit(os.fspath(tmp_path / "s.zarr"))
    np.testing.assert_allclose(model.means_, first, atol=0.02)
    assert set(model.partitions_["start"].values.tolist()) == {"common"}


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("names", [["weights_"], ["precisions_"], ["weights_", "precisions_"]])
def test_what_a_start_lacks_is_told_by_clusters_of_the_rows(
    covariance_type: str, names: list[str]
) -> None:
    x = rows()
    good = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(x)
    part = {f"{name}init": getattr(good, name) for name in names}
    ours = GaussianMixture(2, covariance_type=covariance_type, random_state=0, **part).fit(x)
    assert abs(ours.score(x) - good.score(x)) < 1e-4
    one_step = {"max_iter": 1, "tol": 0.0, "covariance_type": covariance_type}
    near = GaussianMixture(2, random_state=0, **one_step, **part)
    with pytest.warns(UserWarning, match="did not converge"):
        near.fit(x)
    assert near.score(x) > good.score(x) - 0.5  # clusters of the rows, and no random start


def test_means_alone_start_with_the_weighted_covariance_of_all_rows() -> None:
    x, weights = rows(), np.ones(400)
    x[:40], weights[:40] = 1e4, 0.0
    start = {"means_init": CENTERS, "random_state": 0}
    weighted = GaussianMixture(2, **start).fit(x, sample_weight=weights)
    assert_same(weighted, GaussianMixture(2, **start).fit(x[40:]))


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        ({"weights_init": [0.5, 0.5]}, "give means_init and precisions_init"),
        ({"precisions_init": [np.eye(2)] * 2}, "give means_init"),
        ({"means_init": CENTERS}, "give precisions_init"),
    ],
)
def test_stores_want_whole_starts(tmp_path: Path, part: dict[str, Any], wanted: str) -> None:
    data = xr.DataArray(rows(), dims=("row", "feature"), name="x").to_dataset()
    data.to_zarr(tmp_path / "s.zarr", consolidated=False)
    with pytest.raises(ValueError, match=wanted):
        GaussianMixture(2, **part).fit(open_source(tmp_path / "s.zarr"))


def test_outliers_are_left_out_and_counted() -> None:
    x = rows()
    far = np.concatenate([x, [[1e6, -1e6]]])
    asked = {"means_init": CENTERS, "random_state": 0}
    ours = GaussianMixture(2, outliers=1e3, **asked).fit(far)
    assert int(ours.partitions_["dropped_rows"][0]) == 1
    clean = GaussianMixture(2, **asked).fit(x)
    for name in FITTED:  # the penalty counts the row that was left out, as it does with NaN
        np.testing.assert_allclose(getattr(ours, name), getattr(clean, name), atol=1e-3)
    assert ours.lower_bound_ == pytest.approx(ours.score(x), abs=1e-9)
    with pytest.raises(ValueError, match="outliers"):
        GaussianMixture(2, outliers=0.0).fit(x)


def test_single_precision_finds_the_same() -> None:
    x = rows()
    asked = {"means_init": CENTERS, "random_state": 0}
    rough = GaussianMixture(2, dtype_work="float32", **asked).fit(x)
    np.testing.assert_allclose(rough.means_, GaussianMixture(2, **asked).fit(x).means_, atol=1e-3)
    with pytest.raises(ValueError, match="dtype_work"):
        GaussianMixture(2, dtype_work="float16").fit(x)
