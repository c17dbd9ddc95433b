"""Insiders: their chart is exact, their lies are what they are called, and the search is honest."""

from __future__ import annotations

import numpy as np
import pytest

from dfmr_dask.aggregate.aggregators import aggregate
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.experiments.insider_lies import CLAIMS, LAYOUTS, Insider, insider
from dfmr_dask.experiments.insider_ways import ways
from dfmr_dask.experiments.insiders import ROWS, Search, local_fits
from dfmr_dask.randomness import Stage, generator

LIARS = 4


@pytest.fixture(scope="module")
def known() -> Insider:
    truth, fits = local_fits(12, 5, n_components=3, n_features=2)
    return insider(truth, fits, LIARS, ROWS)


@pytest.fixture(scope="module")
def search(known: Insider) -> Search:
    return Search(known, ways(known, generator(5, Stage.COLLUDE)), LIARS / known.m, 5)


def test_the_chart_gives_back_every_estimate(known: Insider) -> None:
    for mixture in known.estimates:
        again = known.chart.mixtures(known.chart.coordinates(mixture)[None])[0]
        assert np.allclose(again.weights, mixture.weights)
        for name, values in mixture.params.items():
            assert np.allclose(again.params[name], values)


def test_the_truth_is_the_origin(known: Insider) -> None:
    assert np.allclose(known.chart.coordinates(known.truth), 0.0)


def test_honest_noise_is_about_one_standard_error(known: Insider) -> None:
    block = known.chart.blocks["means"]
    assert 0.7 < float(np.sqrt((known.honest_noise[:, block] ** 2).mean())) < 2.0


def test_ways_are_of_unit_length_and_keep_covariances_symmetric(search: Search) -> None:
    block, d = search.inside.chart.blocks["covariances"], search.inside.truth.n_features
    for way in search.ways.values():
        square = way[block].reshape(-1, d, d)
        assert np.linalg.norm(way) == pytest.approx(1.0)
        assert np.allclose(square, square.transpose(0, 2, 1))


def test_the_steepest_way_adds_more_error_than_a_random_one(search: Search) -> None:
    known = search.inside

    def after(way: str) -> float:
        point = known.middle + 2.0 * search.ways[way]
        return error(known.chart.mixtures(point[None])[0], known.truth)

    assert after("all steepest") > after("all random")


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_every_layout_leads_liars_along_the_way(search: Search, layout: str) -> None:
    known, way = search.inside, search.ways["all steepest"]
    told = LAYOUTS[layout](known, way, 50.0)
    assert told.shape == known.noise.shape
    assert float(((told - known.middle) @ way).mean()) > 5.0


def test_own_noise_without_a_step_is_the_honest_estimate(search: Search) -> None:
    known = search.inside
    told = LAYOUTS["spread 1"](known, search.ways["all away"], 0.0)
    assert np.allclose(told, known.middle + known.noise)


def test_claims_are_whole_numbers_of_rows() -> None:
    assert {name: claim(2, ROWS) for name, claim in CLAIMS.items()} == {
        "true": [ROWS, ROWS],
        "5": [5, 5],
        "1e9": [10**9, 10**9],
        "mixed": [10**9, 5],
    }


def test_harm_is_the_error_over_the_oracles(search: Search) -> None:
    known = search.inside
    lie = search.tried("all away", "spread 1", "true", 3.0)
    mixture = aggregate(search.messages("all away", "spread 1", "true", 3.0)).mixture
    assert lie.harm == pytest.approx(error(mixture, known.truth) / known.oracle)


def test_liars_who_go_far_are_dropped_and_do_no_harm(search: Search) -> None:
    lie = search.tried("means random", "spread 1", "true", 200.0)
    assert lie.liars_kept == 0.0
    assert lie.harm < 1.2 < search.vanilla(lie)


def test_the_search_finds_no_less_than_any_length_of_its_grid(search: Search) -> None:
    found = max(one.harm for one in search.worst("all steepest", "spread .5"))
    assert found >= search.tried("all steepest", "spread .5", "true", 4.0).harm
