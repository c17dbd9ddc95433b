"""A message that exists does not contradict itself, after a journey as well."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest

from dfmr_dask.errors import DfmrError, InvalidMessage
from dfmr_dask.families import DiagonalGaussian, Family
from dfmr_dask.message import SCHEMA, Message
from dfmr_dask.mixture import Mixture
from tests.tables import each_family, random_mixture

MIXTURE = Mixture(DiagonalGaussian(), [1.0], {"means": [[0.0]], "variances": [[1.0]]})

CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "fitted without a mixture": {"status": "fitted", "rows": 10},
    "fitted to no rows": {"status": "fitted", "rows": 0, "mixture": MIXTURE},
    "failed with a mixture": {"status": "failed", "rows": 10, "mixture": MIXTURE},
    "empty with a mixture": {"status": "empty", "mixture": MIXTURE},
    "empty with rows": {"status": "empty", "rows": 10},
    "an unknown status": {"status": "maybe"},
    "no status": {"status": None},
    "an unknown start": {"status": "failed", "start": "elsewhere"},
    "negative partition": {"status": "failed", "partition": -1},
    "negative rows": {"status": "failed", "rows": -1},
    "negative dropped rows": {"status": "empty", "dropped_rows": -1},
    "negative iterations": {"status": "failed", "n_iter": -1},
    "rows that are no whole number": {"status": "failed", "rows": 10.5},
    "rows that are no number": {"status": "failed", "rows": "10"},
    "rows that are NaN": {"status": "failed", "rows": float("nan")},
    "a partition by name": {"status": "failed", "partition": "first"},
    "another schema": {"status": "failed", "schema": SCHEMA + 1},
    "no mass at all": {"status": "failed", "mass": 0.0},
    "negative mass": {"status": "failed", "mass": -1.0},
    "infinite mass": {"status": "failed", "mass": float("inf")},
    "mass that is NaN": {"status": "failed", "mass": float("nan")},
    "mass that is no number": {"status": "failed", "mass": "10"},
    "mass that is a truth": {"status": "failed", "mass": True},
    "no entry at all": {"status": "failed", "observed": 0.0},
    "more entries than all": {"status": "failed", "observed": 1.5},
    "a share that is NaN": {"status": "failed", "observed": float("nan")},
}


@pytest.mark.parametrize("facts", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_contradictions_are_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage):
        Message(**{"partition": 0, **facts})


class Forged:
    """Pickles into the constructor call that a liar would like to make."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts

    def __reduce__(self) -> tuple[Any, ...]:
        defaults = {field.name: field.default for field in fields(Message)}
        return Message, tuple({**defaults, "partition": 0, **self.facts}.values())


@pytest.mark.parametrize("facts", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_contradictions_are_refused_after_a_journey(facts: dict[str, Any]) -> None:
    payload = pickle.dumps(Forged(facts))
    with pytest.raises(InvalidMessage):
        pickle.loads(payload)


def test_bytes_changed_on_the_way_are_refused() -> None:
    payload = pickle.dumps(Message(3, "empty", dropped_rows=7))
    assert payload.count(b"empty") == 1
    with pytest.raises(InvalidMessage, match="ready"):
        pickle.loads(payload.replace(b"empty", b"ready"))


@each_family
def test_a_journey_changes_nothing(family: Family) -> None:
    mixture = random_mixture(family, 3, 2, np.random.default_rng(0))
    message = Message(7, "fitted", 1000, 12, mixture, "", 31, True, -3.25, "own", 0.5)
    message = replace(message, mass=812.5, observed=0.75)
    assert message.size == 812.5 * 0.75
    for arrived in (pickle.loads(pickle.dumps(message)), copy.deepcopy(message)):
        for field in fields(Message):
            if field.name != "mixture":
                assert getattr(arrived, field.name) == getattr(message, field.name)
        assert arrived.mixture.weights.tobytes() == mixture.weights.tobytes()
        for name, array in mixture.params.items():
            assert arrived.mixture.params[name].tobytes() == array.tobytes()


def test_counts_may_be_numpy_numbers() -> None:
    message = Message(np.int64(2), "fitted", np.int64(5), np.uint32(0), MIXTURE, n_iter=np.int32(3))
    assert message.rows == 5


def test_a_failure_says_why_and_has_no_estimate() -> None:
    message = Message.failed(4, "column 2 is constant", rows=90, dropped_rows=10)
    assert (message.partition, message.status, message.mixture) == (4, "failed", None)
    assert (message.rows, message.dropped_rows) == (90, 10)
    assert message.reason == "column 2 is constant"
    assert np.isnan(message.log_likelihood)


def test_a_message_cannot_be_changed() -> None:
    message = Message(0, "empty")
    with pytest.raises(FrozenInstanceError):
        message.rows = 3  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        message.data = np.zeros(3)  # type: ignore[attr-defined]


def test_errors_are_value_errors_of_the_package() -> None:
    assert issubclass(InvalidMessage, DfmrError)
    assert issubclass(InvalidMessage, ValueError)
