"""Are pieces alike? Laws of the test, its routes, and what liars can do to it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dfmr_dask.aggregate.questions import Answers, Terms, conclude
from dfmr_dask.families import Gaussian
from dfmr_dask.likeness import examined
from dfmr_dask.local.resemblance import resemblance
from dfmr_dask.local.start import Sample
from dfmr_dask.mixture import Mixture
from tests.likeness.asking import START, answers, asked, claiming, drawn, mixture


def moving(m: int, seed: int = 0) -> list[np.ndarray]:
    """Pieces whose components move from one to the next."""
    return [
        drawn(1, seed=seed + i, truth=mixture([0.3, 0.5, 0.2], START.params["means"] + 0.4 * i))[0]
        for i in range(m)
    ]


def test_alike_pieces_are_alike() -> None:
    found = asked(drawn(20))
    assert found.route == "alike"
    assert found.size < 2.0
    assert found.pieces == tuple(range(20))
    assert set(found.groups) == {0}
    assert not found.off and not found.misplaced


def test_weights_of_their_own_are_told_from_components_of_their_own() -> None:
    assert asked(drawn(20, drift=5.0)).route == "weights"
    assert asked(moving(20)).route == "unlike"


def test_p_values_of_alike_pieces_are_uniform() -> None:
    found = [asked(drawn(10, n=150, seed=100 + seed)).p_value for seed in range(50)]
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    assert np.mean(np.array(found) < 0.05) < 0.2


def test_size_grows_with_the_spread_and_p_falls() -> None:
    found = [asked(drawn(20, n=600, drift=drift)) for drift in (1e6, 100.0, 10.0, 2.0)]
    sizes = [one.size for one in found]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 20.0 * sizes[0]
    assert found[-1].p_value < 1e-9 < found[0].p_value


def test_names_of_components_do_not_matter() -> None:
    pieces = drawn(16, drift=20.0)
    one, other = asked(pieces), asked(pieces, START.reordered([2, 0, 1]))
    assert one.route == other.route
    assert np.isclose(one.size, other.size)
    assert np.isclose(one.p_value, other.p_value, rtol=1e-6)
    np.testing.assert_allclose(one.distances, other.distances, rtol=1e-6)
    np.testing.assert_allclose(one.components[[2, 0, 1]], other.components, rtol=1e-6)
    np.testing.assert_array_equal(one.groups, other.groups)


def test_the_order_of_pieces_does_not_matter() -> None:
    pieces, order = drawn(16, drift=20.0), np.random.default_rng(0).permutation(16)
    one, other = asked(pieces), asked([pieces[i] for i in order])
    assert one.route == other.route
    assert np.isclose(one.size, other.size)
    np.testing.assert_allclose(one.distances[order], other.distances, rtol=1e-6)
    together = one.groups[:, None] == one.groups
    np.testing.assert_array_equal(
        together[np.ix_(order, order)], other.groups[:, None] == other.groups
    )


def test_what_differs_is_named() -> None:
    rng = np.random.default_rng(3)
    pieces = [
        x + np.array([0.0, shift]) for x, shift in zip(drawn(20), rng.normal(size=20), strict=True)
    ]
    found = asked(pieces)
    assert found.features[1] > 10.0 * found.features[0]
    assert "features" in found.reason or "densities" in found.reason or "shares" in found.reason


@pytest.mark.parametrize("bad", [6, 9])
def test_bad_pieces_among_alike_ones_are_off_and_nothing_more(bad: int) -> None:
    alien = mixture([0.2, 0.2, 0.6], [[9.0, 9.0], [4.0, 2.0], [1.0, 5.0]])
    found = asked([*drawn(bad, seed=9, truth=alien), *drawn(20 - bad)])
    assert found.route == "alike"
    assert set(found.off) == set(range(bad))
    assert found.p_value > 1e-4
    assert all("standard errors" in reason for reason in found.off.values())


@pytest.mark.parametrize(
    "lie",
    [
        claiming(means=np.full(6, np.nan)),
        claiming(means=np.zeros(3)),
        claiming(means=np.full(6, 1e300)),
        claiming(covariance=-np.eye(6)),
        claiming(scores=np.array([0.0, np.inf, 0.0])),
        claiming(rows=0.0),
        claiming(rows=float("nan")),
        claiming(mixture="mine"),
        lambda said: None,
    ],
)
def test_garbage_is_no_answer(lie: object) -> None:
    found = asked(drawn(20), lies=dict.fromkeys(range(9), lie))  # type: ignore[arg-type]
    assert found.pieces == tuple(range(9, 20))
    assert found.route == "alike"


@pytest.mark.parametrize(
    "lie",
    [
        claiming(means=np.array([9.0, -5.0, 3.0, 1e6, 1e6, -1e6])),
        claiming(covariance=1e30 * np.eye(6)),
        claiming(covariance=np.zeros((6, 6))),
        claiming(rows=1e12),
        claiming(rows=1.0, fitted_rows=1.0),
        claiming(scores=np.array([0.0, -1e9, 1e9])),
        claiming(scores=np.array([0.0, 1e9, -1e9])),
        claiming(mixture=None),
    ],
)
@pytest.mark.parametrize("kind", ["alike", "weights", "unlike"])
def test_valid_lies_do_not_change_the_route(kind: str, lie: object) -> None:
    pieces = {"alike": drawn(20), "weights": drawn(20, drift=5.0), "unlike": moving(20)}[kind]
    found = asked(pieces, lies=dict.fromkeys(range(0, 20, 4), lie))  # type: ignore[arg-type]
    assert found.route == kind
    assert np.isfinite(found.distances).all()


def test_one_component_has_no_shares_and_is_tested_all_the_same() -> None:
    start = mixture([1.0], [[0.0, 0.0]])
    rng = np.random.default_rng(0)
    alike = [rng.standard_normal((300, 2)) for _ in range(20)]
    assert asked(alike, start).route == "alike"
    assert asked([x + 0.5 * rng.standard_normal(2) for x in alike], start).route == "unlike"
    assert (
        asked([x * s for x, s in zip(alike, rng.uniform(0.5, 2, 20), strict=True)], start).route
        == "unlike"
    )


def test_one_piece_differs_from_nobody() -> None:
    found = asked(drawn(1))
    assert (found.route, found.p_value, found.size) == ("alike", 1.0, 0.0)
    assert "one piece" in found.reason


def test_two_pieces() -> None:
    assert asked(drawn(2)).route == "alike"
    assert asked([drawn(1)[0], moving(20)[-1]]).route == "unlike"


def test_pieces_that_are_alike_to_the_bit() -> None:
    found = asked([drawn(1)[0]] * 12)
    assert (found.route, found.p_value, found.size) == ("alike", 1.0, 0.0)
    np.testing.assert_array_equal(found.distances, np.zeros(12))


def test_nobody_answers() -> None:
    terms = Terms(START.family, 3, 2, 0, 5)
    found = conclude(examined(terms, range(5), START), lambda question: Answers({}))
    assert found.route == "alike"
    assert found.pieces == ()
    assert "nothing is known" in found.reason


def test_a_component_that_one_piece_has() -> None:
    start = mixture([0.4, 0.59, 0.01], [[0.0, 0.0], [4.0, 0.0], [40.0, 40.0]])
    others = mixture([0.4, 0.6], [[0.0, 0.0], [4.0, 0.0]])
    found = asked([*drawn(19, truth=others), *drawn(1, truth=start, n=600)], start)
    assert found.route == "alike"
    assert np.isfinite(found.components).all()
    assert np.isfinite(found.size)


def test_pieces_of_very_different_sizes() -> None:
    rng = np.random.default_rng(0)
    sizes = np.exp(rng.uniform(np.log(60), np.log(6000), 30)).astype(int)
    pieces = [drawn(1, n=int(n), seed=i)[0] for i, n in enumerate(sizes)]
    found = asked(pieces)
    assert found.route == "alike"
    assert len(found.off) <= 1


def test_two_kinds_of_pieces_are_two_groups() -> None:
    other = mixture([0.6, 0.1, 0.3], START.params["means"] + 3.0)
    found = asked([*drawn(12), *drawn(8, seed=5, truth=other)])
    assert set(found.groups[:12]) == {0}
    assert 0 not in found.groups[12:]
    assert found.groups.max() <= 3


def test_a_full_covariance_family() -> None:
    params = {"means": START.params["means"], "covariances": np.tile(np.eye(2), (3, 1, 1))}
    start = Mixture(Gaussian(), START.weights, params)
    assert asked(drawn(15), start).route == "alike"
    assert asked(moving(15), start).route == "unlike"


def test_answers_say_how_many_weighted_rows_count() -> None:
    x = drawn(1)[0]
    weight = np.repeat([0.0, 2.0], 100)
    said = resemblance(Sample(x[:200], x[200:300], weight, np.ones(100)), START)
    alone = answers([np.concatenate([x[100:200], x[100:200], x[200:300]])], START)[0]
    assert said.fitted_rows == pytest.approx(100.0)
    np.testing.assert_allclose(said.means, alone.means)
