"""The run folder of a fit: the same as that of ``dfmr run``, so that its commands read it."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from dfmr_dask.data.source import Source
from dfmr_dask.data.weights import GIVEN
from dfmr_dask.estimator.inputs import feature_names
from dfmr_dask.estimator.saved import fitted_facts
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.record import recording, write_model
from dfmr_dask.run.results import Result
from dfmr_dask.run.settings import Settings
from dfmr_dask.show.html.found import Found
from dfmr_dask.show.html.page import with_report
from dfmr_dask.show.pictures.mixture import draw_result
from dfmr_dask.show.pictures.pieces import write_pieces_picture
from dfmr_dask.show.pictures.selection import write_selection_picture
from dfmr_dask.show.summary import facts_of, summarize

# Which parameters stand in which section of a configuration.
SECTIONS = {
    "mixture": (
        *("n_components", "max_components", "min_gain", "covariance_type", "init_params", "n_init"),
        *("tol", "reg_covar", "max_iter", "outliers", "dtype_work"),
    ),
    "aggregate": ("aggregator", "method", "weights", "gates", "rho", "unit", "polish", "places"),
}
CUT = ("plan", "rows_per_partition", "n_partitions")


def recorded_run(
    folder: str | os.PathLike[str], parameters: Any, source: Source, settings: Settings
) -> AbstractContextManager[Ledger]:
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
    told["run"]["sample_rows"] = settings.sample_rows
    told["source"] = {"path": source.location, "features": feature_names(source.features)}
    told["source"] |= {name: getattr(parameters, name) for name in CUT}
    told["source"]["sample_weight"] = None if source.weight == GIVEN else source.weight
    if corruption is not None:
        told["corruption"] = asdict(corruption)
    return recording(Path(folder), told, source, settings)


def finish_run(
    ledger: Ledger,
    model: Any,
    source: Source,
    settings: Settings,
    result: Result,
    partitions: xr.Dataset,
) -> None:
    """Write model, tables and report, and last the summary that marks the run as finished."""
    files = write_model(ledger, source, result, partitions, **fitted_facts(model))
    fitted, used = result.source or source, result.settings or settings
    files |= draw_result(ledger.folder, result, source.features)
    files |= write_selection_picture(ledger.folder, result)
    files |= write_pieces_picture(ledger.folder, result, source.sample_dims)
    told = partial(Found.of, ledger, partitions=partitions, result=result)
    found = summarize(facts_of(fitted), result, used, seconds=result.seconds, files=files)
    ledger.finish(with_report(ledger.folder, found, told))
