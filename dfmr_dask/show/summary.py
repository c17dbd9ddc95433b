"""What a run has found, as one JSON object."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from dfmr_dask.aggregate.distances import ctd
from dfmr_dask.aggregate.estimates import collect
from dfmr_dask.aggregate.jackknife import jackknifed
from dfmr_dask.aggregate.uncertainty import StandardErrors
from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.data.files import plain
from dfmr_dask.data.source import Source
from dfmr_dask.errors import NoStandardErrors
from dfmr_dask.families.base import Params
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.results import Result
from dfmr_dask.run.settings import Settings
from dfmr_dask.run.standard_errors import told_of
from dfmr_dask.selection.curve import as_plain
from dfmr_dask.show.likeness_text import likeness_summary

Summary = dict[str, Any]
LIBRARIES = ("numpy", "scipy", "scikit-learn", "numba", "dask", "distributed", "xarray", "zarr")


def facts_of(source: Source) -> dict[str, Any]:
    """Return what a summary says about its source: location, features, plan."""
    return {
        "source": source.location,
        "features": list(source.features),
        "plan": source.plan.kind,
        "partitions": len(source.plan),
    }


def summarize(
    facts: Mapping[str, Any],
    result: Result,
    settings: Settings,
    *,
    seconds: Mapping[str, float],
    files: Mapping[str, str],
    disagreement: Mapping[str, float] | None = None,
    errors: Mapping[str, float] | None = None,
) -> Summary:
    """Return what a run has found as plain values.

    Parameters
    ----------
    facts : mapping
        From :func:`facts_of`.
    result : Result
    settings : Settings
        How the messages became the model.
    seconds : mapping of stages to seconds
    files : mapping of names to paths
    disagreement : mapping of aggregators to shares, optional
        Share of labeled rows that the other aggregates label otherwise.
    errors : mapping of aggregators to float, optional
        Distance from the truth of a simulation.

    Returns
    -------
    dict
        ``rows``, ``partitions``, ``kept`` (ids), ``dropped`` (id and reason each), ``score``
        (mean log-likelihood a row over the kept partitions, in nats), ``seconds`` by stage,
        ``files``, and more; ``components_left_out`` is null unless components were judged one by
        one: how many (``components``) of how many of the kept partitions (``partitions``).
        ``selection`` is null unless the number of components was chosen: the curve over orders.
        ``likeness`` is null unless the plan was ``auto``: which way the run took, and why.
        ``versions`` of libraries, and when it was ``finished``.
    """
    verdict, messages = result.verdict, result.messages
    return {
        **facts,
        "rows": sum(message.rows for message in messages),
        "rows_left_out": sum(message.dropped_rows for message in messages),
        "kept": [int(i) for i in verdict.kept],
        "dropped": _reasons(verdict.dropped),
        "failed": _reasons(verdict.failed),
        "empty": [int(i) for i in verdict.empty],
        "byzantine": [int(i) for i in result.byzantine],
        "aggregator": settings.aggregator,
        "method": settings.method,
        "gates": list(settings.rule.gates),
        "rho": settings.rule.rho,
        "unit": settings.unit,
        "chosen": result.chosen,
        "polishing_passes": int(result.passes),
        "components_left_out": _left_out(verdict),
        "certified": bool(verdict.certified),
        "doubts": list(verdict.doubts),
        "notes": list(result.notes),
        "score": float(result.score) if np.isfinite(result.score) else None,
        "score_rows": int(result.score_rows),
        "error": (errors or {}).get(settings.aggregator),
        "components": components(result.mixture, result.errors),
        "standard_errors": told_of(result.errors),
        "selection": None if result.selection is None else plain(as_plain(result.selection)),
        "compared": _compared(result, disagreement or {}, errors or {}),
        "seconds": {stage: round(float(value), 3) for stage, value in seconds.items()},
        "likeness": likeness_summary(result.way, facts["features"]),
        "versions": versions(),
        "finished": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "files": dict(files),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of what the numbers depend on most."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def components(
    mixture: Mixture, errors: StandardErrors | NoStandardErrors | None = None
) -> list[dict[str, Any]]:
    """Return weight, mean and standard deviations of each component as plain values.

    Where standard errors are known, they stand beside them: ``weight_error``, ``mean_error`` and
    ``sd_error``; null for a component that one partition alone stands for.

    Examples
    --------
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.mixture import Mixture
    >>> from dfmr_dask.show.summary import components
    >>> components(Mixture(DiagonalGaussian(), [1.0], {"means": [[2.0]], "variances": [[9.0]]}))
    [{'weight': 1.0, 'mean': [2.0], 'sd': [3.0]}]
    """
    sd = _sd(mixture.params)
    columns = {"weight": mixture.weights, "mean": mixture.params["means"], "sd": sd}
    if isinstance(errors, StandardErrors):
        found = errors.parameters()
        columns |= {
            "weight_error": found["weights"].standard_error,
            "mean_error": found["means"].standard_error,
            "sd_error": np.where(
                np.isnan(found["means"].standard_error),
                np.nan,
                jackknifed(sd, _sd(errors.params), errors.shares).standard_error,
            ),
        }
    return [
        {name: _plain(column[k]) for name, column in columns.items()}
        for k in range(mixture.n_components)
    ]


def _sd(params: Params) -> Any:
    """Return standard deviations (..., K, d)."""
    variances = params.get("variances")
    if variances is None:
        variances = np.diagonal(params["covariances"], axis1=-2, axis2=-1)
    return np.sqrt(variances)


def _plain(values: Any) -> Any:
    """Return numbers as JSON has them, null for NaN."""
    if np.ndim(values):
        return [_plain(value) for value in values]
    return None if np.isnan(values) else float(values)


def _left_out(verdict: Verdict) -> dict[str, int] | None:
    """Count what was left out of the kept partitions, where components were judged one by one."""
    if verdict.components_kept is None:
        return None
    out = ~verdict.components_kept[list(verdict.kept)]
    return {"components": int(out.sum()), "partitions": int(out.any(axis=1).sum())}


def _reasons(reasons: Mapping[int, str]) -> list[dict[str, Any]]:
    return [{"id": int(i), "reason": reason} for i, reason in sorted(reasons.items())]


def _compared(
    result: Result, disagreement: Mapping[str, float], errors: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Tell how far the other aggregates of the same messages are from the model."""
    if not result.compared:
        return []
    mixtures = [result.mixture, *result.compared.values()]
    far = ctd(collect([_said(i, mixture) for i, mixture in enumerate(mixtures)])[0])[0]
    return [
        {
            "aggregator": name,
            "ctd": float(far[i]),
            "score": result.scores.get(name),
            "labels_differ": disagreement.get(name),
            "error": errors.get(name),
        }
        for i, name in enumerate(result.compared, start=1)
    ]


def _said(i: int, mixture: Mixture) -> Message:
    return Message(i, "fitted", rows=1, mixture=mixture)
