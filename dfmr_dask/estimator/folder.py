"""The run folder of a fit: the same as that of ``dfmr run``, so that its commands read it."""

from __future__ import annotations

import os
from typing import Any

import xarray as xr

from dfmr_dask.data.files import plain
from dfmr_dask.data.source import Source
from dfmr_dask.estimator.inputs import feature_names
from dfmr_dask.estimator.saved import facts_of
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.results import Result
from dfmr_dask.run.settings import Settings
from dfmr_dask.show import summary

# Which parameters stand in which section of a configuration.
SECTIONS = {
    "mixture": (
        *("n_components", "covariance_type", "init_params", "n_init"),
        *("tol", "reg_covar", "max_iter"),
    ),
    "aggregate": ("aggregator", "method", "weights", "gates", "rho"),
}
CUT = ("plan", "rows_per_partition", "n_partitions")


def begin_run(
    folder: str | os.PathLike[str], parameters: Any, source: Source, settings: Settings
) -> Ledger:
    """Begin a folder with what is to be done.

    Raises
    ------
    RunFolderExists
        When the folder holds something.
    """
    corruption = settings.corruption
    told = {
        section: {name: getattr(parameters, name) for name in names}
        for section, names in SECTIONS.items()
    }
    told["run"] = {"folder": os.fspath(folder), "seed": settings.seed}
    told["source"] = {"path": source.location, "features": feature_names(source.features)}
    told["source"] |= {name: getattr(parameters, name) for name in CUT}
    if corruption is not None:
        told["corruption"] = {
            name: getattr(corruption, name) for name in ("attack", "fraction", "stages")
        }
    known = source.n_rows is not None
    description = {
        "settings": told,
        "source": source.description,
        "planned_rows": [p.rows for p in source.plan.partitions] if known else None,
    }
    return Ledger.create(os.fspath(folder), plain(description))


def finish_run(
    ledger: Ledger, model: Any, source: Source, result: Result, partitions: xr.Dataset
) -> None:
    """Write model and table, and last the summary that marks the run as finished."""
    facts = facts_of(model) | {"features": list(source.features), "units": dict(source.units)}
    written = ledger.record_model(model.mixture_, partitions, **facts)
    names = ("model", "partitions", "partitions_csv")
    files = dict(zip(names, map(str, written), strict=True))
    found = summary.summarize(
        summary.facts_of(source),
        result,
        aggregator=model.aggregator,
        method=model.method,
        seconds=result.seconds,
        files=files,
    )
    ledger.finish(found)
