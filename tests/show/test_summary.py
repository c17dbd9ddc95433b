"""A summary says everything in plain values, and the text says what the values say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.corruption import Corruption
from dfmr_dask.data.source import open_source
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.results import Result, as_csv, verdict_table
from dfmr_dask.run.settings import Settings
from dfmr_dask.show.reading import plan_summary, plan_text
from dfmr_dask.show.report import grouped, summary_text
from dfmr_dask.show.summary import Summary, facts_of, summarize

SETTINGS = Settings(family=COVARIANCE_TYPES["diag"], n_components=2)


def mixture(shift: float = 0.0) -> Mixture:
    params = {
        "means": np.array([[0.0, 1.0], [5.0, 6.0]]) + shift,
        "variances": np.full((2, 2), 4.0),
    }
    return Mixture(COVARIANCE_TYPES["diag"], np.array([0.75, 0.25]), params)


def result(**changes: object) -> Result:
    messages = [Message(i, "fitted", rows=90, dropped_rows=10, mixture=mixture()) for i in range(8)]
    messages += [
        Message.failed(8, "chunk 8.0 cannot be decoded"),
        Message(9, "empty", dropped_rows=100),
    ]
    dropped = {i: f"means {i}.5 > 2" for i in (1, 4, 6)}
    values: dict[str, object] = {
        "mixture": mixture(),
        "verdict": Verdict(
            (0, 2, 3, 5, 7), dropped, {8: "chunk 8.0 cannot be decoded"}, (9,), 0, certified=True
        ),
        "messages": tuple(messages),
        "start": mixture(),
        "compared": {"vanilla": mixture(1.0)},
        "score": -3.25,
        "score_rows": 450,
        "scores": {"vanilla": -4.5},
        "seconds": {"start": 1.0, "fit": 2.0},
        "byzantine": (1, 4),
    }
    return Result(**{**values, **changes})  # type: ignore[arg-type]


def summary(settings: Settings = SETTINGS, **changes: object) -> Summary:
    source = open_source(np.zeros((1000, 2)), features=["temp", "salt"], n_partitions=10)
    return summarize(
        facts_of(source),
        result(**changes),
        settings,
        seconds={"fit": 2.0, "label": 0.5},
        files={"model": "runs/a/model.npz"},
        disagreement={"vanilla": 0.125},
    )


def test_a_script_finds_what_it_needs() -> None:
    found = json.loads(json.dumps(summary(), allow_nan=False))
    assert found["rows"] == 720
    assert found["rows_left_out"] == 180
    assert found["partitions"] == 10
    assert found["kept"] == [0, 2, 3, 5, 7]
    assert found["dropped"][1] == {"id": 4, "reason": "means 4.5 > 2"}
    assert found["failed"] == [{"id": 8, "reason": "chunk 8.0 cannot be decoded"}]
    assert found["empty"] == [9]
    assert found["score"] == -3.25
    assert found["seconds"] == {"fit": 2.0, "label": 0.5}
    assert found["files"] == {"model": "runs/a/model.npz"}
    assert found["components"][1] == {"weight": 0.25, "mean": [5.0, 6.0], "sd": [2.0, 2.0]}


def test_other_aggregates_are_measured_against_the_model() -> None:
    (one,) = summary()["compared"]
    # both means of both components are off by 1, variances 4: KL = (1 + 1) / 4 / 2 each
    assert one["ctd"] == pytest.approx(np.sqrt(0.25))
    assert (one["aggregator"], one["score"], one["labels_differ"]) == ("vanilla", -4.5, 0.125)


@pytest.mark.parametrize(
    "words",
    [
        "720 x 2 features (temp, salt); 180 with NaN or infinity left out",
        "10: 5 kept, 3 dropped, 1 failed, 1 empty",
        "dropped 1, 4, 6: such as means 1.5 > 2",
        "failed 8: chunk 8.0 cannot be decoded",
        "2 were made Byzantine by the corruption stage: 2 of them thrown out, and 1 honest",
        "0.7500  0 (2)  1 (2)",
        "vanilla  CTD-KL 0.5  score -4.5  12.5 % of the labels differ",
        "-3.25 nats a row (mean log-likelihood of 450 rows",
        "fit 2.0, label 0.5 (in all 2.5)",
        "runs/a/model.npz",
    ],
)
def test_the_text_says_it(words: str) -> None:
    assert words in summary_text(json.loads(json.dumps(summary())))


def test_doubts_are_loud() -> None:
    doubtful = Verdict((0,), {}, {}, (), 0, certified=False, doubts=("only 1 of 3 pass",))
    text = summary_text(summary(verdict=doubtful))
    assert "NOT CERTIFIED" in text
    assert "only 1 of 3 pass" in text
    assert "NOT CERTIFIED" not in summary_text(summary())


@pytest.mark.parametrize("name", ["vanilla", "coat", "trim", "oracle"])
def test_only_who_filters_can_certify(name: str) -> None:
    settings = replace(SETTINGS, aggregator=name, corruption=Corruption("mean", 0.2))
    text = summary_text(summary(settings, verdict=Verdict((0,), certified=False)))
    assert f"nothing is certified: {name} filters nobody" in text
    assert "doubts below" not in text
    assert "Filter" not in text


def test_the_filter_is_named_with_its_cut() -> None:
    paper = summary(replace(SETTINGS, method="paper"))
    assert (paper["method"], paper["gates"], paper["rho"]) == ("paper", ["l2"], 1.35)
    assert "gates l2; cut-off at rho = 1.35" in summary_text(paper)
    assert "gates blocks; cut-off by the spread of the distances" in summary_text(summary())


def test_components_that_were_left_out_are_counted() -> None:
    judged = np.zeros((10, 2), dtype=bool)
    judged[[0, 2, 3, 5, 7]] = True
    judged[[2, 5], 1] = False
    settings = replace(SETTINGS, unit="component")
    verdict = Verdict((0, 2, 3, 5, 7), {1: "no"}, {8: "no"}, (9,), 0, components_kept=judged)
    found = json.loads(json.dumps(summary(settings, verdict=verdict)))
    assert found["components_left_out"] == {"components": 2, "partitions": 2}
    told = "2 components of 2 kept partitions were left out of the merge"
    assert told in summary_text(found)
    assert summary()["components_left_out"] is None
    assert "left out of the merge" not in summary_text(summary())


def test_the_table_tells_which_components_were_merged() -> None:
    messages = tuple(Message(i, "fitted", rows=90, mixture=mixture()) for i in range(3))
    judged = np.array([[True, True], [True, False], [False, False]])
    one = Verdict((0, 1), {2: "component_0 2 > 1"}, components_kept=judged)
    table = verdict_table(["a", "b", "c"], messages, one)
    assert table["component_kept"].dims == ("partition", "component")
    assert np.array_equal(table["component_kept"], judged)
    assert b"component_kept" not in as_csv(table)
    plain = verdict_table(["a", "b", "c"], messages, replace(one, components_kept=None))
    assert "component_kept" not in plain


@pytest.mark.parametrize(
    ("chosen", "passes", "said"),
    [
        ("aggregate", 1, "kept the aggregate; polished in 1 pass\n"),
        ("polished", 2, "kept the aggregate after more rounds on samples; polished in 2 passes\n"),
        ("start", 0, "kept the start\n"),
    ],
)
def test_what_was_chosen_is_said_in_words(chosen: str, passes: int, said: str) -> None:
    assert said in summary_text(summary(chosen=chosen, passes=passes))


def test_a_score_that_nobody_knows_is_null() -> None:
    found = summary(score=float("nan"), score_rows=0, compared={}, scores={}, chosen="")
    assert found["score"] is None
    text = summary_text(found)
    assert "not known" in text
    assert "Compared" not in text


def test_many_partitions_and_features_stay_readable() -> None:
    many = [{"id": i, "reason": f"means {i}.5 > 2"} for i in range(500)]
    assert grouped(many) == [
        "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 488 more: such as means 0.5 > 2"
    ]
    params = {"means": np.full((2, 40), -1.2345e-5), "variances": np.full((2, 40), 1e-7)}
    forty = Mixture(COVARIANCE_TYPES["diag"], np.array([0.5, 0.5]), params)
    source = open_source(np.zeros((1000, 40)), n_partitions=10)
    found = summarize(
        facts_of(source),
        result(mixture=forty, compared={}),
        SETTINGS,
        seconds={},
        files={},
    )
    text = summary_text(found)
    assert "34 more features" in text
    assert max(map(len, text.splitlines())) < 160


def test_different_reasons_are_said_apart() -> None:
    reasons = [{"id": 1, "reason": "means 9 > 2"}, {"id": 2, "reason": "weights 9 > 2"}]
    assert grouped(reasons) == ["1: means 9 > 2", "2: weights 9 > 2"]


@pytest.mark.parametrize("name", COVARIANCE_TYPES)
def test_every_covariance_type_has_standard_deviations(name: str) -> None:
    means, variances = np.arange(6.0).reshape(3, 2), np.full((3, 2), 9.0)
    spread = (
        {"covariances": variances[:, :, None] * np.eye(2)}
        if name in ("full", "tied")
        else {"variances": variances}
    )
    one = Mixture(COVARIANCE_TYPES[name], np.full(3, 1 / 3), {"means": means, **spread})
    found = summary(mixture=one, compared={})
    assert [c["sd"] for c in found["components"]] == [[3.0, 3.0]] * 3
    assert [c["mean"] for c in found["components"]] == means.tolist()


def test_a_plan_is_shown_with_its_limit(tmp_path: Path) -> None:
    def of(memory: str | None) -> dict[str, Any]:
        names = ["temp", "salt"]
        rows = np.zeros((1000, 2))
        return plan_summary(
            open_source(rows, features=names, n_partitions=10, memory_per_worker=memory)
        )

    found = of("1MiB")
    assert (found["partitions"], found["rows"], found["memory_per_worker"]) == (10, 1000, 1 << 20)
    assert (found["fits"], found["streamed"], found["decoded_per_byte"]) == (False, [], 1.0)
    assert "TOO LITTLE" in plan_text(found)
    assert "enough" in plan_text(of("2GiB"))
    assert "temp, salt" in plan_text(of(None))
