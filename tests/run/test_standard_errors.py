"""Standard errors of whole runs: estimator, run folder, aggregates of it, letters, polish."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dfmr_dask import GaussianMixture, read_mixture, read_standard_errors
from dfmr_dask.aggregate.uncertainty import StandardErrors
from dfmr_dask.command.cli import main
from dfmr_dask.corruption import Corruption
from dfmr_dask.errors import InvalidMixture, NoStandardErrors
from dfmr_dask.experiments.populations import population
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.families.covariance_types import shape_of
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.standard_errors import errors_table

TRUTH = population(3, 2, separation=5.0, seed=3)
ROWS = TRUTH.sample(12_000, np.random.default_rng(0))[0]
PLACES = np.zeros((4, 2))


def fitted(run: Path | None = None, **changes: Any) -> GaussianMixture:
    settings = {"n_components": 3, "n_partitions": 12, "random_state": 0, **changes}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GaussianMixture(**settings).fit(ROWS, run=run)


def density(mixture: Mixture) -> Any:
    return mixture.log_density(PLACES)


@pytest.fixture(scope="module")
def model() -> GaussianMixture:
    return fitted()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "a"
    fitted(run, corruption=Corruption("mean", 0.3), polish=1)
    return run


def test_they_stand_beside_the_parameters(model: GaussianMixture) -> None:
    table = model.standard_errors_
    np.testing.assert_array_equal(table["weights"], model.weights_)
    np.testing.assert_array_equal(table["means"], model.means_)
    np.testing.assert_allclose(table["covariances"], model.covariances_)
    assert table["means_standard_error"].dims == ("component", "feature")
    assert table["covariances_upper"].dims == ("component", "feature", "feature_")
    assert table.attrs["level"] == 0.95
    assert "do not cover bad partitions" in table.attrs["notes"][0]
    for name in ("weights", "means", "covariances"):
        assert np.all(table[name + "_lower"] < table[name])
        assert np.all(table[name] < table[name + "_upper"])


def test_they_are_about_what_theory_gives(model: GaussianMixture) -> None:
    """Well separated components: sqrt(sigma^2 / (N w)), and sqrt(w (1 - w) / N)."""
    table, rows = model.standard_errors_, len(ROWS) * model.weights_
    variances = np.diagonal(model.covariances_, axis1=1, axis2=2)
    ratio = table["means_standard_error"] / np.sqrt(variances / rows[:, None])
    assert 0.7 < np.median(ratio) < 1.5
    shares = np.sqrt(model.weights_ * (1.0 - model.weights_) / len(ROWS))
    assert np.all(np.abs(np.log(table["weights_standard_error"] / shares)) < np.log(2.0))


@pytest.mark.parametrize("kind", list(COVARIANCE_TYPES))
def test_every_covariance_type_has_them_in_its_shape(kind: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    model = fitted(run, covariance_type=kind, n_partitions=6)
    table = model.standard_errors_
    assert table["covariances_standard_error"].shape == shape_of(kind, 3, 2)
    np.testing.assert_allclose(table["covariances"], model.covariances_)
    again = read_standard_errors(run).of(density)
    here = model.standard_error(density)
    np.testing.assert_allclose(again.standard_error, here.standard_error, rtol=1e-9)


def test_another_level_makes_other_intervals_of_the_same_errors(model: GaussianMixture) -> None:
    narrow, wide = model.intervals(0.5), model.intervals(0.99)
    xr.testing.assert_equal(narrow["means_standard_error"], wide["means_standard_error"])
    assert np.all(narrow["weights_lower"] > wide["weights_lower"])
    sure = model.standard_error(density, level=0.5)
    assert np.all(sure.upper - sure.lower < 2 * sure.standard_error)
    assert list(sure.notes) == narrow.attrs["notes"]


def test_names_and_units_of_features_are_coordinates(model: GaussianMixture) -> None:
    names = ["temperature", "salinity"]
    table = errors_table(model.errors_, names, {"temperature": "K"}, level=0.9)
    assert table["feature"].values.tolist() == names
    assert table["feature_"].values.tolist() == names
    assert table["units"].values.tolist() == ["K", ""]
    assert table.attrs["level"] == 0.9
    named = pd.DataFrame(ROWS, columns=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = GaussianMixture(3, n_partitions=6, random_state=0).fit(named)
    assert again.standard_errors_["feature"].values.tolist() == names


def test_one_partition_has_none_and_says_why() -> None:
    model = fitted(n_partitions=None)
    assert not hasattr(model, "standard_errors_")
    with pytest.raises(AttributeError, match="n_partitions="):
        model.standard_errors_  # noqa: B018
    with pytest.raises(NoStandardErrors, match="one partition alone was merged"):
        model.standard_error(density)


def test_a_model_from_a_file_says_where_they_are(model: GaussianMixture, tmp_path: Path) -> None:
    model.save(tmp_path / "model.npz")
    with pytest.raises(NoStandardErrors, match="read_standard_errors"):
        GaussianMixture.load(tmp_path / "model.npz").standard_error(density)


def test_a_function_that_is_no_function_of_the_mixture(model: GaussianMixture) -> None:
    with pytest.raises(NoStandardErrors, match=r"raised KeyError\('median'\)"):
        model.standard_error(lambda mixture: mixture.params["median"])


def test_the_folder_of_a_run_has_them(folder: Path) -> None:
    table, errors = xr.open_zarr(folder / "standard_errors.zarr"), read_standard_errors(folder)
    assert isinstance(errors, StandardErrors)
    assert len(errors) == 9  # 3 of 12 lied
    found = errors.parameters()
    np.testing.assert_allclose(table["means_standard_error"], found["means"].standard_error)
    np.testing.assert_allclose(table["weights_upper"], found["weights"].upper)
    model = read_mixture(folder / "model.npz")
    np.testing.assert_allclose(errors.mixture.weights, model.weights)
    assert (folder / "mixture.png").read_bytes().startswith(b"\x89PNG")
    text = json.dumps(json.loads((folder / "summary.json").read_text()))
    assert "do not cover bad partitions" in text


def test_errors_of_a_polished_model_are_laid_around_it(folder: Path) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["polishing_passes"] == 1
    errors = read_standard_errors(folder)
    means = np.array([one["mean"] for one in summary["components"]])
    np.testing.assert_allclose(errors.mixture.params["means"], means)
    middle = np.tensordot(errors.shares, errors.params["means"], axes=1)
    spread = errors.parameters()["means"].standard_error
    assert np.all(np.abs(middle - means) < 0.05 * spread)


def said(command: str, folder: str, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    with pytest.raises(SystemExit) as left:
        main([command, folder, *options])
    assert not left.value.code
    return capsys.readouterr().out


def test_the_text_has_them_in_the_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = said("show", str(folder), capsys)
    assert "± standard error" in shown
    summary = json.loads((folder / "summary.json").read_text())
    first = summary["components"][0]
    assert f"± {first['weight_error']:.4f}"[:7] in shown
    assert "Standard errors\n  standard errors are those of sampling" in shown


def test_an_aggregate_of_the_same_messages_has_its_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "± standard error" in said("aggregate", str(folder), capsys, "--aggregator", "vanilla")
    other = read_standard_errors(folder / "aggregates" / "vanilla-blocks")
    own = read_standard_errors(folder)
    assert len(other) == 12
    apart = other.parameters()["means"].standard_error / own.parameters()["means"].standard_error
    assert apart.max() > 100.0
    alone = said("aggregate", str(folder), capsys, "--aggregator", "coat")
    assert "No standard errors\n  the mixture is no average" in alone
    with pytest.raises(NoStandardErrors, match=r"has no standard_errors\.zarr"):
        read_standard_errors(folder / "aggregates" / "coat-blocks")


def test_a_store_that_holds_something_else_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.npz").write_bytes((folder / "model.npz").read_bytes())
    xr.Dataset({"means": ("x", np.zeros(3))}).to_zarr(tmp_path / "standard_errors.zarr")
    with pytest.raises(InvalidMixture, match="holds no standard errors"):
        read_standard_errors(tmp_path)
