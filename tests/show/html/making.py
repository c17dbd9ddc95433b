"""Folders of finished runs for tests: all is real but for the local fits, which are made up."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dfmr_dask.aggregate.aggregators import Aggregation, aggregate
from dfmr_dask.aggregate.uncertainty import reported_errors
from dfmr_dask.data.source import Source, open_source
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.record import recording, write_model
from dfmr_dask.run.results import Result, partition_table
from dfmr_dask.run.sample import Sample
from dfmr_dask.run.settings import Settings
from dfmr_dask.selection.curve import Selection
from dfmr_dask.show.html.found import Found
from dfmr_dask.show.html.page import with_report
from dfmr_dask.show.summary import facts_of, summarize

ROWS = 400  # of a partition, as the messages claim


def truth(order: int, d: int, kind: str = "diag") -> Mixture:
    """Components that lie apart."""
    rng = np.random.default_rng(order + 100 * d)
    params: dict[str, Any] = {"means": 8.0 * rng.normal(size=(order, d))}
    if kind == "diag":
        params["variances"] = np.exp(0.3 * rng.normal(size=(order, d)))
    else:
        params["covariances"] = np.tile(np.eye(d), (order, 1, 1))
    weights = rng.dirichlet(np.full(order, 20.0))
    return Mixture(COVARIANCE_TYPES[kind], weights, params).canonical()


def said(
    m: int,
    mixture: Mixture,
    liars: Collection[int] = (),
    failed: Mapping[int, str] | None = None,
    empty: Collection[int] = (),
) -> list[Message]:
    """Messages as far from the truth as sampling makes them; liars shift all means."""
    rng = np.random.default_rng(m)
    order = mixture.n_components
    reasons, out = failed or {}, []
    for i in range(m):
        if i in reasons or i in empty:
            message = Message.failed(i, reasons[i]) if i in reasons else Message(i, "empty")
            out.append(message)
            continue
        rows = ROWS * mixture.weights[:, None]
        noise = rng.normal(size=(order, mixture.n_features)) / np.sqrt(rows)
        params = dict(mixture.params)
        params["means"] = params["means"] + noise + (5.0 if i in liars else 0.0)
        if "variances" in params:
            spread = np.sqrt(2.0 / rows) * rng.normal(size=params["variances"].shape)
            params["variances"] = params["variances"] * np.exp(spread)
        weights = rng.multinomial(ROWS, mixture.weights) / ROWS
        weights = np.maximum(weights, 1e-3) / np.maximum(weights, 1e-3).sum()
        out.append(Message(i, "fitted", ROWS, mixture=Mixture(mixture.family, weights, params)))
    return out


def source_of(m: int, d: int, features: Sequence[str] | None = None) -> Source:
    """A source in memory of m partitions, none of whose rows is read."""
    names = [f"x{i}" for i in range(d)] if features is None else list(features)
    return open_source(np.zeros((m * ROWS, d)), features=names, n_partitions=m)


def finished(
    folder: Path,
    messages: Sequence[Message],
    source: Source,
    mixture: Mixture,
    *,
    sample: bool = True,
    selection: Selection | None = None,
    aggregation: Aggregation | None = None,
) -> dict[str, Any]:
    """Write all that a run leaves, the report among it, and return the summary."""
    found = aggregate(messages) if aggregation is None else aggregation
    rng = np.random.default_rng(0)
    kept = found.verdict.kept or (0,)
    rows = Sample(mixture.sample(300, rng)[0], rng.choice(kept, 300).astype(np.intp))
    result = Result(
        found.mixture, found.verdict, tuple(messages), None, {}, -1.5, 900, {}, {"fit": 1.0},
        errors=reported_errors(messages, found.parts, found.mixture, "aggregate", 0),
        selection=selection, sample=rows if sample else None,
    )  # fmt: skip
    settings = Settings(family=mixture.family, n_components=mixture.n_components)
    told = {
        "source": {"path": source.location, "features": list(source.features)},
        "mixture": {"n_components": mixture.n_components, "covariance_type": "diag"},
        "aggregate": {"aggregator": "dfmr", "method": "blocks"},
        "run": {"folder": str(folder), "seed": 0},
    }
    with recording(folder, told, source, settings) as ledger:
        ledger.record_messages(list(messages))
        if selection is not None:
            ledger.record_selection(selection)
        table = partition_table(source, result)
        files = write_model(ledger, source, result, table)
        summary = summarize(facts_of(source), result, settings, seconds=result.seconds, files=files)

        def gathered(summary: dict[str, Any]) -> Found:
            return Found.of(ledger, summary, table, result)

        summary = with_report(folder, summary, gathered)
        ledger.finish(summary)
    return summary


def made(
    folder: Path,
    *,
    m: int = 14,
    order: int = 3,
    d: int = 2,
    kind: str = "diag",
    liars: Collection[int] = (4, 9),
    failed: Mapping[int, str] | None = None,
    empty: Collection[int] = (),
    features: Sequence[str] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Write the folder of a run of some size; see :func:`finished`."""
    mixture = truth(order, d, kind)
    messages = said(m, mixture, liars, failed, empty)
    return finished(folder, messages, source_of(m, d, features), mixture, **options)
