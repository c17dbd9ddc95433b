"""The tidy table of a comparison, and its summary: ratios of mean errors to the oracle's."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from dfmr_dask.data.files import write_bytes
from dfmr_dask.data.stores import write_dataset
from dfmr_dask.experiments.accuracy import ratio_interval
from dfmr_dask.experiments.cells import COLUMNS
from dfmr_dask.experiments.judging import ORACLE, SCORES, Record

CASE = ["population", "attack", "alpha", "m"]
REPETITION = ["draw", "seed"]
MEANS = ("error", "ari", "log_likelihood", "honest_kept", "byzantine_kept")
UNITS = {"log_likelihood": "nats a row", "seconds": "s"}


def table_of(records: Sequence[Record]) -> pd.DataFrame:
    """Return the records of all cells as one table, its columns in order."""
    return pd.DataFrame.from_records(list(records), columns=list(COLUMNS))


def summarized(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each population, attack, share, m and aggregator.

    Parameters
    ----------
    table : DataFrame
        From :func:`table_of`.

    Returns
    -------
    DataFrame
        ``cases`` (seeds and draws of the population), ``ratio`` with ``low`` and ``high``: the
        ratio of the mean error to the oracle's, and its 95 % bootstrap interval over cases
        (METHOD 10); means of the scores, share of answers that were certified, median seconds;
        ``failures``, how many cases gave no answer, and ``failure``, why the first of them gave
        none. Their ratio is not a number.
    """
    rows = []
    for case, group in table.groupby(CASE, sort=False):
        oracle = _errors(group, ORACLE)
        for name in group["aggregator"].unique():
            ratio = ratio_interval(_errors(group, name), oracle)
            one = group[group["aggregator"] == name]
            reasons = one.loc[one["failure"] != "", "failure"]
            rows.append(
                {
                    **dict(zip(CASE, case, strict=True)),
                    "aggregator": name,
                    "cases": len(one),
                    **dict(zip(("ratio", "low", "high"), ratio, strict=True)),
                    **{score: float(one[score].mean()) for score in MEANS},
                    "certified": float(one["certified"].mean()),
                    "seconds": float(one["seconds"].median()),
                    "failures": len(reasons),
                    "failure": next(iter(reasons), ""),
                }
            )
    return pd.DataFrame(rows)


def write_tables(folder: Path, table: pd.DataFrame, summary: pd.DataFrame) -> dict[str, str]:
    """Write the table as CSV, Zarr and (where pyarrow is there) Parquet, and the summary as CSV.

    Returns
    -------
    dict
        Names and places of the files.
    """
    files = {"table": folder / "table.csv", "summary": folder / "summary.csv"}
    write_bytes(files["table"], table.to_csv(index=False).encode())
    write_bytes(files["summary"], summary.to_csv(index=False).encode())
    files["zarr"] = folder / "table.zarr"
    if files["zarr"].exists():  # of an earlier call; the cells hold all that is in it
        shutil.rmtree(files["zarr"])
    write_dataset(files["zarr"], as_dataset(table))
    if importlib.util.find_spec("pyarrow"):
        files["parquet"] = folder / "table.parquet"
        write_bytes(files["parquet"], table.to_parquet(index=False))
    return {name: str(path) for name, path in files.items()}


def as_dataset(table: pd.DataFrame) -> xr.Dataset:
    """Return the scores along the dimensions of the grid; NaN where nothing was asked."""
    dims = [*CASE, *REPETITION, "aggregator"]
    scores = table.astype({"certified": np.float64})[[*dims, "rows", *SCORES, "certified"]]
    dataset = xr.Dataset.from_dataframe(scores.set_index(dims))
    for name in dims:
        if dataset[name].dtype.kind not in "iuf":  # texts of any length, as Zarr specifies them
            dataset[name] = dataset[name].astype(object)
    for name, unit in UNITS.items():
        dataset[name].attrs["units"] = unit
    return dataset


def summary_text(summary: Sequence[Record]) -> str:
    """Return the ratios of mean errors to the oracle's, one line a case, for people.

    Aggregators that gave no answer keep their place, and stand below with a reason.
    """
    frame = pd.DataFrame(list(summary))
    parts = []
    for (population, m), group in frame.groupby(["population", "m"], sort=False):
        cases = pd.MultiIndex.from_frame(group[["attack", "alpha"]].drop_duplicates())
        wide = group.pivot(index=["attack", "alpha"], columns="aggregator", values="ratio")
        wide = wide.reindex(index=cases, columns=group["aggregator"].unique())
        title = f"{population}, m = {m}: mean error over the oracle's"
        table = wide.to_string(float_format=lambda ratio: f"{ratio:.3g}", na_rep="-")
        parts.append("\n".join([title, table, *_failures(group)]))
    return "\n\n".join(parts)


def _failures(group: pd.DataFrame) -> Iterator[str]:
    """Say of each aggregator how many answers it failed to give, and why the first of them."""
    failed = group[group["failures"] > 0]
    for name, those in failed.groupby("aggregator", sort=False):
        count = those["failures"].sum()
        answers = "answer" if count == 1 else "answers"
        yield f"{name}: {count} {answers} failed: {those['failure'].iloc[0]}"


def _errors(group: pd.DataFrame, name: str) -> list[float]:
    """Return the errors of an aggregator, one a case, in an order that is the same for all."""
    one = group[group["aggregator"] == name].sort_values(REPETITION)
    return [float(value) for value in one["error"]]
