"""Estimators of counts, categories and mixed tables: the same contract, the same laws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from distributed import Client, LocalCluster
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import dfmr_dask
from dfmr_dask import (
    BernoulliMixture,
    BinomialMixture,
    CategoricalMixture,
    GaussianMixture,
    MixtureModel,
    PoissonMixture,
    read_standard_errors,
)
from dfmr_dask.command.cli import commands
from dfmr_dask.corruption import Corruption
from dfmr_dask.errors import InvalidMixture
from dfmr_dask.families import Binomial, Categorical, DiagonalGaussian, Poisson, Product

pytestmark = [
    pytest.mark.filterwarnings("ignore:not certified"),
    pytest.mark.filterwarnings("ignore:.* rows for .* free parameters"),
]
RNG = np.random.default_rng(0)
LABELS = (RNG.random(900) < 0.4).astype(int)
TABLE = Product(((DiagonalGaussian(), 1), (Poisson(), 1), (Categorical((3,)), 1)))


def rows(kind: str) -> np.ndarray:
    rng = np.random.default_rng(1)
    if kind == "poisson":
        return rng.poisson(np.array([[2.0, 9.0, 4.0], [8.0, 3.0, 4.0]])[LABELS])
    if kind == "categorical":
        shares = np.array([[0.8, 0.1, 0.1], [0.1, 0.2, 0.7]])[LABELS]
        reached = np.cumsum(shares, axis=1)[:, None, :]
        return (rng.random((900, 7, 1)) > reached).sum(axis=2)
    if kind == "table":
        real, count = rng.normal(3.0 * LABELS, 1.0), rng.poisson(2.0 + 6.0 * LABELS)
        return np.column_stack([real, count, rows("categorical")[:, 0]])
    trials = 1 if kind == "bernoulli" else 2
    frequencies = np.where(LABELS[:, None] == 0, 0.15, 0.75)
    return rng.binomial(trials, np.repeat(frequencies, 12, axis=1))


def saved(path: Path, x: np.ndarray, chunk: int) -> None:
    array = zarr.create_array(str(path), shape=x.shape, dtype=x.dtype, chunks=(chunk, x.shape[1]))
    array[:] = x


@pytest.fixture(scope="module")
def client() -> Any:
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


MODELS: dict[str, Any] = {
    "binomial": BinomialMixture(2, random_state=0),
    "bernoulli": BernoulliMixture(2, random_state=0),
    "poisson": PoissonMixture(2, random_state=0),
    "categorical": CategoricalMixture(2, random_state=0),
    "table": MixtureModel(2, family=TABLE, random_state=0),
}
each_model = pytest.mark.parametrize("kind", MODELS)

# What scikit-learn feeds to these checks are real numbers, and so no counts: refused by name.
OF_REAL_ROWS = "whole numbers"


@pytest.mark.filterwarnings("ignore::UserWarning")
@parametrize_with_checks([MixtureModel(), PoissonMixture()])
def test_scikit_learn_contract(estimator: Any, check: Any) -> None:
    """Where a check is of real rows, an estimator of counts must say what it wants instead."""
    if check.func.__name__ == "check_sample_weight_equivalence_on_dense_data":
        pytest.skip("15 rows of 30 features: see the checks of GaussianMixture")
    try:
        check(estimator)
    except (ValueError, AssertionError) as error:
        if isinstance(estimator, MixtureModel) or OF_REAL_ROWS not in reasons(error):
            raise


def reasons(error: BaseException | None) -> str:
    """What an error says, and all those that it came from."""
    told = ""
    while error is not None:
        told += f"{error} "
        error = error.__cause__ or error.__context__
    return told


@each_model
@pytest.mark.parametrize("n_partitions", [None, 12])
def test_groups_are_found(kind: str, n_partitions: int | None) -> None:
    model = clone(MODELS[kind]).set_params(n_partitions=n_partitions)
    x = rows(kind)
    model.fit(x)
    assert adjusted_rand_score(LABELS, model.predict(x)) > 0.7
    assert model.converged_
    assert model.n_components_ == 2
    assert model.predict_proba(x).shape == (900, 2)
    np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1.0)
    assert model.score(x) == pytest.approx(model.score_samples(x).mean())
    assert model.bic(x) > model.aic(x)
    drawn, labels = model.sample(50)
    assert drawn.shape == (50, x.shape[1])
    assert (np.diff(labels) >= 0).all()
    for name, array in model.mixture_.params.items():
        np.testing.assert_array_equal(getattr(model, f"{name}_"), array)


@each_model
def test_what_is_missing_is_left_out(kind: str) -> None:
    x = rows(kind).astype(float)
    gone = np.random.default_rng(2).random(x.shape) < 0.1
    gone[:, 0] &= kind != "table"
    gone[3] = kind != "table"
    holed = np.where(gone, np.nan, x)
    model = clone(MODELS[kind]).fit(holed)
    whole = clone(MODELS[kind]).fit(x)
    for name, array in whole.mixture_.params.items():
        np.testing.assert_allclose(model.mixture_.params[name], array, rtol=0.25, atol=0.06)
    empty = int(gone.all(axis=1).sum())
    assert int(model.partitions_["dropped_rows"].sum()) == empty
    found = model.predict(holed)
    assert (found[3] == -1) == (kind != "table")
    if kind != "table":
        coded = np.where(gone, -1, x).astype(np.int8)
        again = clone(MODELS[kind]).fit(coded)
        for name, array in model.mixture_.params.items():
            np.testing.assert_allclose(again.mixture_.params[name], array, rtol=1e-9)
        np.testing.assert_array_equal(again.predict(coded), found)


@each_model
def test_models_are_saved_and_read_with_the_same_bits(kind: str, tmp_path: Path) -> None:
    model = clone(MODELS[kind]).set_params(n_partitions=10).fit(rows(kind))
    model.save(tmp_path / "model.npz")
    again = type(model).load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.predict_proba(rows(kind)), model.predict_proba(rows(kind)))
    assert again.mixture_.family == model.mixture_.family
    with pytest.raises(InvalidMixture, match="wanted"):
        GaussianMixture.load(tmp_path / "model.npz")
    other = BinomialMixture if kind in ("poisson", "categorical", "table") else PoissonMixture
    with pytest.raises(InvalidMixture, match="wanted"):
        other.load(tmp_path / "model.npz")


@each_model
def test_standard_errors_are_known_and_kept_in_the_folder(kind: str, tmp_path: Path) -> None:
    model = clone(MODELS[kind]).set_params(n_partitions=10)
    model.fit(rows(kind), run=tmp_path / "run")
    table = model.standard_errors_
    for name, array in model.mixture_.params.items():
        assert table[name].shape == array.shape
        assert (table[f"{name}_lower"] <= table[name]).all()
        assert (table[f"{name}_standard_error"] > 0.0).all()
    again = read_standard_errors(tmp_path / "run")
    np.testing.assert_array_equal(again.weights, model.errors_.weights)
    said = CliRunner().invoke(commands, ["show", str(tmp_path / "run")])
    assert said.exit_code == 0, said.output
    assert "Components" in said.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert set(summary["described"]) == set(model.mixture_.family.columns(summary["features"]))


def test_polishing_moves_standard_errors_along() -> None:
    model = BinomialMixture(2, n_partitions=10, polish=1, random_state=0).fit(rows("binomial"))
    assert model.n_passes_ == 1
    assert (model.standard_errors_["frequencies_standard_error"] > 0.0).all()


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("binomial", 3, "whole numbers from 0 to 2"),
        ("bernoulli", 2, "whole numbers from 0 to 1"),
        ("poisson", -4, "whole numbers, not negative"),
        ("poisson", 1.5, "whole numbers, not negative"),
    ],
)
def test_values_that_cannot_be_are_refused(kind: str, value: float, told: str) -> None:
    x = rows(kind).astype(float)
    x[5, 1] = value
    with pytest.raises(ValueError, match=told):
        clone(MODELS[kind]).fit(x)
    model = clone(MODELS[kind]).fit(rows(kind))
    assert model.predict(x)[5] == -1
    assert np.isnan(model.score_samples(x)[5])


def test_levels_are_told_or_looked_up() -> None:
    x = rows("categorical")
    assert CategoricalMixture(2, random_state=0).fit(x).mixture_.family.levels == (3,) * 7
    more = CategoricalMixture(2, levels=5, random_state=0, n_partitions=10).fit(x)
    assert more.mixture_.family.levels == (5,) * 7
    assert (more.probabilities_ > 0.0).all()
    with pytest.raises(ValueError, match="levels has 2 numbers"):
        CategoricalMixture(2, levels=[3, 3]).fit(x)
    with pytest.raises(ValueError, match="below the column's number of levels"):
        CategoricalMixture(2, levels=2).fit(x)
    with pytest.raises(ValueError, match="levels must be said"):
        CategoricalMixture(2).fit(da.from_array(x, chunks=300))


def test_a_store_of_bytes_is_fitted_and_labelled(client: Client, tmp_path: Path) -> None:
    labels = (np.random.default_rng(3).random(3600) < 0.4).astype(int)
    frequencies = np.where(labels[:, None] == 0, 0.15, 0.75) * np.ones(12)
    x = np.random.default_rng(4).binomial(2, frequencies).astype(np.int8)
    x[:300, :6] = 2 - x[:300, :6]  # one chunk of twelve, half of its alleles flipped
    x[5] = -1
    saved(tmp_path / "a.zarr", x, 300)
    model = BinomialMixture(2, plan="chunks", random_state=0).fit(str(tmp_path / "a.zarr"))
    found = np.asarray(model.predict(str(tmp_path / "a.zarr")))
    assert set(model.verdict_.dropped) == {0}
    assert "frequency of component" in model.verdict_.dropped[0]
    assert int(model.partitions_["dropped_rows"][0]) == 1
    assert found[5] == -1
    assert adjusted_rand_score(labels[300:], found[300:]) > 0.95


def test_counts_that_are_none_fail_their_partition_by_name(client: Client, tmp_path: Path) -> None:
    x = np.tile(rows("poisson"), (4, 1)).astype(np.int16)
    x[310, 2] = -7
    saved(tmp_path / "a.zarr", x, 300)
    model = PoissonMixture(2, plan="chunks", random_state=0).fit(str(tmp_path / "a.zarr"))
    assert set(model.verdict_.failed) == {1}
    assert "-7 in column 2" in model.verdict_.failed[1]


def test_liars_are_thrown_out() -> None:
    x = np.random.default_rng(5).permutation(np.tile(rows("poisson"), (5, 1)))
    lies = Corruption("mean", 0.3)
    model = PoissonMixture(2, n_partitions=15, corruption=lies, random_state=0).fit(x)
    assert len(model.verdict_.dropped) == 4
    with pytest.raises(ValueError, match="changes covariances"):
        PoissonMixture(2, n_partitions=15, corruption=Corruption("shrink", 0.3)).fit(x)


@pytest.mark.parametrize("kind", ["poisson", "binomial"])
def test_the_number_of_components_is_chosen(kind: str) -> None:
    x = np.tile(rows(kind), (3, 1))
    model = clone(MODELS[kind]).set_params(n_components="auto", max_components=4, n_partitions=10)
    model.fit(x)
    assert model.n_components_ == 2


def test_a_fit_goes_on_where_it_ended() -> None:
    model = PoissonMixture(2, warm_start=True, random_state=0).fit(rows("poisson"))
    first = model.mixture_
    model.fit(rows("poisson"))
    assert model.n_iter_ <= 3
    np.testing.assert_allclose(model.rates_, first.params["rates"], rtol=1e-3)
    with pytest.raises(ValueError, match="warm_start"):
        model.set_params(n_components=3).fit(rows("poisson"))


def test_frames_keep_their_names() -> None:
    frame = pd.DataFrame(rows("table"), columns=["depth", "fish", "kind"])
    model = clone(MODELS["table"]).set_params(n_partitions=10).fit(frame)
    assert list(model.feature_names_in_) == ["depth", "fish", "kind"]
    assert "poisson_1_rates" in model.standard_errors_
    labels = model.predict(xr.Dataset.from_dataframe(frame)[["depth", "fish", "kind"]])
    np.testing.assert_array_equal(np.asarray(labels), model.predict(frame))


def test_a_run_is_configured_by_family(client: Client, tmp_path: Path) -> None:
    saved(tmp_path / "a.zarr", rows("binomial").astype(np.int8), 90)
    config = tmp_path / "run.yaml"
    config.write_text(
        f"source: {{path: {tmp_path}/a.zarr, plan: chunks}}\n"
        "mixture: {n_components: 2, family: binomial, n_trials: 2}\n"
        f"run: {{folder: {tmp_path}/run}}\nlabels: {{write: false}}\n"
    )
    said = CliRunner().invoke(commands, ["run", str(config)])
    assert said.exit_code == 0, said.output
    model = dfmr_dask.read_mixture(tmp_path / "run" / "model.npz")
    assert model.family == Binomial(2)
    assert "frequency" in said.output
