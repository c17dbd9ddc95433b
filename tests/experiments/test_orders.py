"""Studies of the number of components, made small."""

from __future__ import annotations

import pytest

from dfmr_dask.experiments.orders import (
    POISONS,
    Ordered,
    cases_of,
    orders,
    orders_of_many_features,
    orders_of_photograph,
    told,
)
from dfmr_dask.experiments.orders_from_scores import orders_from_scores
from dfmr_dask.experiments.studies import STUDIES

SMALL = {"components": (3,), "features": (2,), "rows": (400,), "partitions": (14,)}


def exact(found: list[Ordered]) -> list[bool]:
    return [one.chosen == one.case.n_components for one in found]


def test_every_cell_is_visited_once() -> None:
    cases = list(cases_of((3, 5), (2,), (100,), (10, 20), ("mean", "wide"), (0.0, 0.3), (1, 2)))
    assert len(cases) == len(set(cases)) == 2 * 2 * 2 * 3
    assert sum(case.attack == "none" for case in cases) == 8


def test_the_true_order_is_found_whoever_lies(capsys: pytest.CaptureFixture[str]) -> None:
    found = orders(**SMALL, attacks=("mean", "data", "split"), alphas=(0.0, 0.4), seeds=(7,))
    assert all(exact(found))
    assert found[0].rival == 3
    assert found[0].fit_seconds > 0.0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == told(found)[-1] == "all: exact 1.000, within 1 1.000 of 4"


@pytest.mark.slow
def test_scores_alone_find_it_as_well() -> None:
    found = orders_from_scores(**SMALL, attacks=("mean",), alphas=(0.0, 0.3), seeds=(7,))
    assert all(exact(found))
    assert found[1].byzantine_heard == 0


def test_studies_have_names() -> None:
    names = {"orders", "orders-50", "orders-from-scores", "orders-photograph"}
    assert names <= set(STUDIES)


@pytest.mark.slow
def test_a_small_part_of_the_grid() -> None:
    found = orders(
        partitions=(20,), rows=(1000,), attacks=("mean", "wide", "data", *POISONS),
        alphas=(0.0, 0.45), seeds=(2500,), rival=False,
    )  # fmt: skip
    assert sum(exact(found)) >= 0.97 * len(found)
    assert all(abs(one.chosen - one.case.n_components) <= 1 for one in found)


@pytest.mark.slow
def test_fifty_features() -> None:
    found = orders_of_many_features(attacks=("data",), seeds=(2500, 2501))
    assert sum(exact(found)) >= 0.8 * len(found)


@pytest.mark.slow
def test_a_photograph_gets_the_order_that_is_asked() -> None:
    lines = orders_of_photograph(most=12, gains=(0.1, 0.05))
    chosen = [int(line.split("K=")[1].split(",")[0]) for line in lines if "min_gain" in line]
    assert chosen[0] == 12
    assert 4 <= chosen[1] <= chosen[2] < 12
