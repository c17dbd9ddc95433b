"""Displays draw what the report draws, from an estimator or from the folder of its run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from sklearn import config_context
from sklearn.exceptions import NotFittedError

import dfmr_dask as dfmr
from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.corruption import Corruption
from dfmr_dask.errors import InvalidSource, RunUnfinished
from dfmr_dask.show.html.card import card

mpl.use("agg")
RNG = np.random.default_rng(0)
X = np.concatenate([RNG.normal(-5.0, 1.0, (1600, 2)), RNG.normal(5.0, 1.0, (800, 2))])[
    RNG.permutation(2400)
]
KINDS = [
    (dfmr.VerdictDisplay, {"kind": "order"}),
    (dfmr.VerdictDisplay, {"kind": "along"}),
    (dfmr.VerdictDisplay, {"kind": "distances", "gate": "weights"}),
    (dfmr.VerdictDisplay, {"kind": "deviations"}),
    (dfmr.EstimatesDisplay, {"kind": "map"}),
    (dfmr.EstimatesDisplay, {"kind": "matrix"}),
    (dfmr.MixtureDisplay, {"kind": "components"}),
    (dfmr.MixtureDisplay, {"kind": "components", "pair": (1, 0)}),
    (dfmr.MixtureDisplay, {"kind": "weights"}),
    (dfmr.GoodnessOfFitDisplay, {}),
    (dfmr.SelectionDisplay, {"kind": "bic"}),
    (dfmr.SelectionDisplay, {"kind": "gains"}),
]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Figures of pyplot stay until they are closed."""
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("displays") / "run"
    attack = Corruption("shift", 0.2, size=5.0)
    model = dfmr.GaussianMixture(
        "auto", max_components=3, n_partitions=12, random_state=0, corruption=attack
    )
    return model.fit(X, run=folder), folder


@pytest.mark.parametrize(("display", "options"), KINDS, ids=str)
def test_a_display_comes_from_a_run_and_from_its_estimator(
    fitted: tuple[Any, Path], display: Any, options: dict[str, Any]
) -> None:
    model, folder = fitted
    rows = (X,) if display in (dfmr.MixtureDisplay, dfmr.GoodnessOfFitDisplay) else ()
    labels = []
    for one in (display.from_estimator(model, *rows), display.from_run(folder)):
        assert one.plot(**options) is one
        assert isinstance(one.figure_, Figure)
        assert one.ax_.figure is one.figure_
        labels.append((one.ax_.get_xlabel(), one.ax_.get_ylabel()))
    assert labels[0] == labels[1]


def test_axes_that_come_are_drawn_onto(fitted: tuple[Any, Path]) -> None:
    axis = Figure().subplots()
    one = dfmr.MixtureDisplay.from_estimator(fitted[0]).plot(ax=axis)
    assert one.ax_ is axis
    assert one.figure_ is axis.figure


def test_runs_and_estimators_tell_the_same(fitted: tuple[Any, Path]) -> None:
    model, folder = fitted
    one, other = (
        dfmr.EstimatesDisplay.from_estimator(model),
        dfmr.EstimatesDisplay.from_run(folder),
    )
    assert one.dropped == other.dropped == tuple(model.verdict_.dropped)
    assert np.array_equal(one.matrix.ids, other.matrix.ids)
    assert one.map.center == model.verdict_.center
    curve = dfmr.SelectionDisplay.from_run(folder).selection
    assert dfmr.SelectionDisplay.from_estimator(model).selection.n_components == curve.n_components


def test_what_cannot_be_drawn_is_named(fitted: tuple[Any, Path], tmp_path: Path) -> None:
    model = fitted[0]
    verdict = dfmr.VerdictDisplay.from_estimator(model)
    for options, words in (
        ({"kind": "pie"}, "kind='pie'; allowed are 'order'"),
        ({"kind": "distances", "gate": "l2"}, "gate='l2'; allowed are 'means'"),
        ({"kind": "along", "dim": "time"}, "dim='time'"),
        ({"kind": "map"}, "needs partitions on two dimensions"),
    ):
        with pytest.raises(ValueError, match=words):
            verdict.plot(**options)
    with pytest.raises(ValueError, match=r"X has shape \(3, 5\); wanted \(rows, 2\)"):
        dfmr.MixtureDisplay.from_estimator(model, np.zeros((3, 5)))
    with pytest.raises(ValueError, match="no row without NaN"):
        dfmr.GoodnessOfFitDisplay.from_estimator(model, np.full((3, 2), np.nan))
    with pytest.raises(RunUnfinished, match="holds no run"):
        dfmr.VerdictDisplay.from_run(tmp_path)


def test_a_fit_without_a_curve_a_sample_or_a_filter_says_so(tmp_path: Path) -> None:
    model = dfmr.GaussianMixture(1, random_state=0)
    for display in (dfmr.VerdictDisplay, dfmr.EstimatesDisplay, dfmr.MixtureDisplay):
        with pytest.raises(NotFittedError):
            display.from_estimator(model)
    model.fit(X, run=tmp_path / "run", sample_rows=0)
    with pytest.raises(NotFittedError, match="n_components='auto'"):
        dfmr.SelectionDisplay.from_estimator(model)
    with pytest.raises(InvalidSource, match="n_components='auto'"):
        dfmr.SelectionDisplay.from_run(tmp_path / "run")
    with pytest.raises(InvalidSource, match="no sample of rows"):
        dfmr.GoodnessOfFitDisplay.from_run(tmp_path / "run")
    with pytest.raises(ValueError, match="nothing was filtered"):
        dfmr.VerdictDisplay.from_estimator(model).plot("distances")
    assert dfmr.EstimatesDisplay.from_estimator(model).plot("matrix").ax_


def test_notebooks_show_the_verdict_beside_what_scikit_learn_shows(
    fitted: tuple[Any, Path],
) -> None:
    model, before = fitted[0], dfmr.GaussianMixture(2)
    assert "dfmr-card" not in before._repr_html_()
    shown = model._repr_mimebundle_()
    assert shown["text/plain"] == repr(model)
    assert model._repr_html_().count('class="dfmr-card') == 1
    assert "sk-" in shown["text/html"]
    assert f"{len(model.verdict_.kept)} kept" in shown["text/html"]
    with config_context(display="text"):
        assert "text/html" not in model._repr_mimebundle_()
        assert not hasattr(model, "_repr_html_")


def test_a_card_escapes_what_partitions_say_and_stays_short() -> None:
    dropped = {i: f"reason <b>{'xyz'[i % 3]}{chr(97 + i // 3)}</b>" for i in range(30)}
    html = card(Verdict(tuple(range(30, 2000)), dropped, doubts=("<i>doubt</i>",)))
    assert "<b>" not in html
    assert "<i>" not in html
    assert "&lt;i&gt;" in html
    assert "Not certified" in html
    assert "and 24 more" in html
    assert len(html) < 8000
