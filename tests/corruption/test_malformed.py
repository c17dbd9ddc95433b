"""Malformed estimates: each liar another one, refused wherever it arrives, with its reason."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from distributed import Client

from dfmr_dask.aggregate.aggregators import aggregate
from dfmr_dask.aggregate.estimates import collect
from dfmr_dask.corruption import (
    MALFORMED,
    Corruption,
    Forged,
    corrupted,
    corrupted_message,
    corrupted_scores,
    lies,
)
from dfmr_dask.data.source import Source, open_source
from dfmr_dask.errors import InvalidMixture
from dfmr_dask.experiments.accuracy import error
from dfmr_dask.experiments.populations import population
from dfmr_dask.families import COVARIANCE_TYPES, Family
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.cluster import local_cluster
from dfmr_dask.run.pipeline import Settings, fit
from dfmr_dask.run.tasks import InProcess, OnCluster
from tests.corruption.test_attacks import honest, truth_of
from tests.tables import each_family

MANY = len(MALFORMED)
TRUTH = population(2, 2, separation=6.0, seed=3)


@each_family
def test_each_liar_says_another_one_and_all_end_as_failed(family: Family) -> None:
    truth, said = truth_of(family), honest(truth_of(family), 2 * MANY + 1)
    after = lies(said, Corruption("malformed", 0.45), range(MANY), known=truth, seed=0)
    _, failed = collect(after)
    assert sorted(failed) == list(range(MANY))
    assert all(failed.values())
    assert len(set(failed.values())) >= 9
    verdict = aggregate(after).verdict
    assert dict(verdict.failed) == failed
    assert len(verdict.kept) >= MANY


@each_family
def test_what_is_forged_looks_real_until_it_is_rebuilt(family: Family) -> None:
    truth = truth_of(family)
    kinds = {"wrong dimension", "huge order"}  # mixtures, of another kind than asked for
    for turn, name in enumerate(MALFORMED):
        rng = np.random.default_rng(0)
        lie = corrupted(truth, "malformed", rng, turn=turn)
        assert isinstance(lie, Mixture) == (name in kinds)
        if isinstance(lie, Forged):
            sent = pickle.dumps(lie)
            with pytest.raises(InvalidMixture):
                pickle.loads(sent)
            with pytest.raises(InvalidMixture):
                lie.opened()


def test_a_forged_message_is_a_message_on_the_wire() -> None:
    truth = truth_of(COVARIANCE_TYPES["full"])
    message = honest(truth)[0]
    corruption = Corruption("malformed", 0.2, claimed_rows=7)
    lie = corrupted_message(message, corruption, 0, known=truth)
    assert isinstance(lie, Forged)
    assert lie.kind is Message
    assert lie.arguments[2] == 7
    with pytest.raises(InvalidMixture, match="NaN"):
        pickle.loads(pickle.dumps(lie))


def test_malformed_scores_are_no_scores() -> None:
    lengths = set()
    for seed in range(20):
        said = corrupted_scores(np.zeros(4), np.random.default_rng(seed), "malformed")
        assert np.isnan(said).all()
        lengths.add(len(said))
    assert lengths == {4, 5}


@pytest.fixture(scope="module")
def source() -> Source:
    rows, _ = TRUTH.sample(6000, generator(0, Stage.SIMULATE))
    return open_source(rows, n_partitions=20)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Client]:
    with local_cluster(n_workers=1) as one, Client(one, set_as_default=False) as client:
        yield client


def asked(**options: Any) -> Settings:
    corruption = Corruption(**{"attack": "malformed", "fraction": 0.4, **options})
    family = COVARIANCE_TYPES["full"]
    return Settings(family=family, n_components=2, seed=1, corruption=corruption)


def test_a_run_names_the_reason_of_each_malformed_estimate(source: Source, cluster: Client) -> None:
    """Tasks of other processes send it as a hostile task would, and those of this one too."""
    here = fit(source, asked(), InProcess())
    there = fit(source, asked(), OnCluster(cluster))
    for result in (here, there):
        assert sorted(result.verdict.failed) == list(result.byzantine)
        assert len(set(result.verdict.failed.values())) >= 5
        assert any("InvalidMixture: " in reason for reason in result.verdict.failed.values())
        assert error(result.mixture, TRUTH) < 0.3
    assert here.verdict.failed == there.verdict.failed


@pytest.mark.parametrize("attack", ["collude", "sneak", "permute", "duplicate", "none"])
def test_every_stage_of_a_run_meets_other_attacks(source: Source, attack: str) -> None:
    result = fit(source, asked(attack=attack, claimed_rows=10**9), InProcess())
    assert not result.verdict.failed
    assert error(result.mixture, TRUTH) < 0.5
    told = {m.partition: m.rows for m in result.messages}
    assert all((told[i] == 10**9) == (i in result.byzantine) for i in told)


def test_a_run_refuses_a_component_that_it_does_not_have(source: Source) -> None:
    with pytest.raises(ValueError, match="component 2 is to be struck; mixtures of 2 components"):
        fit(source, asked(attack="mean", component=2), InProcess())
