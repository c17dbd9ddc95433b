"""``n_components="auto"`` of the estimator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from dfmr_dask import GaussianMixture
from dfmr_dask.command.config import configuration
from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.run.ledger import Ledger

K = 3
TRUTH = population_with_overlap(K, 2, 0.01, seed=1)
ROWS = TRUTH.sample(3600, np.random.default_rng(0))[0]


def auto(**settings: Any) -> GaussianMixture:
    return GaussianMixture("auto", **{"max_components": 5, "random_state": 0, **settings})


@pytest.mark.slow
@parametrize_with_checks([GaussianMixture("auto", max_components=2, random_state=0)])
def test_it_keeps_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("partitions", [None, 12])
def test_the_order_is_found(partitions: int | None) -> None:
    model = auto(n_partitions=partitions).fit(ROWS)
    assert model.n_components_ == K == len(model.weights_)
    assert model.n_components == "auto"
    assert model.bic_.shape == model.aic_.shape == (5,)
    assert int(np.argmin(model.bic_)) == K - 1
    curve = model.selection_
    assert isinstance(curve, xr.Dataset)
    assert curve["n_components"].values.tolist() == [1, 2, 3, 4, 5]
    assert curve.attrs["chosen"] == K
    np.testing.assert_array_equal(curve["bic"], model.bic_)
    assert clone(model).get_params() == model.get_params()


def test_a_component_must_bring_what_is_asked() -> None:
    model = auto(n_partitions=12)
    gains = model.fit(ROWS).selection_["gain"].values
    model.set_params(min_gain=1.01 * gains[2]).fit(ROWS)
    assert model.n_components_ == 2
    assert "less than" in model.selection_.attrs["reason"]


def test_a_given_order_has_no_curve() -> None:
    model = auto(n_partitions=12).fit(ROWS)
    model.set_params(n_components=2).fit(ROWS)
    assert model.n_components_ == 2
    assert not any(hasattr(model, name) for name in ("bic_", "aic_", "selection_"))


def test_one_component_at_most() -> None:
    model = auto(max_components=1, n_partitions=12).fit(ROWS)
    assert (model.n_components_, model.bic_.shape) == (1, (1,))


def test_all_rows_equal_but_one() -> None:
    with pytest.warns(UserWarning, match="not certified"):
        model = auto(n_partitions=3).fit(np.tile(ROWS[:40], (3, 1)))
    assert 1 <= model.n_components_ <= 5


@pytest.mark.parametrize(
    ("given", "words"),
    [({"n_components": "many"}, "n_components"), ({"max_components": 0}, "max_components"),
     ({"min_gain": -1.0}, "min_gain"), ({"means_init": [[0.0, 0.0]]}, "a start has an order")],
)  # fmt: skip
def test_bad_parameters_are_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        auto().set_params(**given).fit(ROWS)


def test_a_warm_start_has_an_order() -> None:
    model = auto(warm_start=True).fit(ROWS)
    with pytest.raises(ValueError, match="the last fit has an order"):
        model.fit(ROWS)


def test_it_is_saved_with_the_order_that_was_chosen(tmp_path: Path) -> None:
    model = auto(n_partitions=12).fit(ROWS, run=tmp_path / "run")
    model.save(tmp_path / "a.npz")
    again = GaussianMixture.load(tmp_path / "a.npz")
    assert again.n_components == again.n_components_ == K
    assert model.to_sklearn().n_components == K
    ledger = Ledger.open(tmp_path / "run")
    assert ledger.summary()["selection"]["n_components"] == K
    told = configuration(ledger.description()["settings"]).mixture
    assert (told.n_components, told.max_components) == ("auto", 5)
