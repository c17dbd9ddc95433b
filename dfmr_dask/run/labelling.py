"""Lazy answers for the rows of any source: their label, their posterior, their log density.

NumPy and pandas are answered at once, in tiles of rows. Dask, xarray and sources are answered
lazily, block by block: a grid keeps its dimensions, chunks, coordinates and attributes, and is
never stacked into a table (which would merge its chunks). Rows that hold NaN or infinity
(or, where entries may be missing, no entry at all) get the label -1 and a posterior and log density
of NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from dask.base import is_dask_collection, tokenize
from dask.delayed import delayed
from dask.utils import is_dataframe_like
from numpy.typing import NDArray

from dfmr_dask.data.features import Expected
from dfmr_dask.data.source import Source
from dfmr_dask.data.views import lazy_rows
from dfmr_dask.errors import InvalidSource
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.fields import coordinates_along, describing_attributes
from dfmr_dask.run.tally import tiles

KEY = "dfmr-label"  # how the tasks are called in the Dask dashboard
NO_LABEL = -1
COMPONENT = "component"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a row: the names of the answer, and what a bad row gets."""

    name: str
    answer: str  # what a mixture calls it
    dtype: str
    bad: float
    wide: bool  # an answer for each component
    long_name: str


LABEL = Question("label", "labels", "int16", NO_LABEL, False, "most probable component")
POSTERIOR = Question(
    "posterior",
    "responsibilities",
    "float64",
    np.nan,
    True,
    "posterior probability of each component",
)
LOG_DENSITY = Question(
    "log_density",
    "log_density",
    "float64",
    np.nan,
    False,
    "log density under the mixture, in nats",
)

QUESTIONS = {"labels": LABEL, "posterior": POSTERIOR, "log_density": LOG_DENSITY}


def labels(mixture: Mixture, data: Any, *, features: Sequence[str] | str | None = None) -> Any:
    """Return the most probable component of each row: int16, -1 for rows with NaN or infinity.

    Parameters
    ----------
    mixture : Mixture
    data : ndarray, pandas.DataFrame, dask.array, dask.dataframe, xarray object or Source
        Rows of ``mixture.n_features`` numbers. Of arrays, the last axis holds the features.
    features : sequence of str or str, optional
        The columns (dataframes) or variables (Dataset) that are the features, in the mixture's
        order; or the dimension that they lie along (xarray). Default: all numeric ones (those of
        a Dataset sorted by name); of a DataArray the dimension called ``feature``, or the last of
        two. A source has its own.

    Returns
    -------
    labels : the same kind of object without features
        NumPy and pandas: computed. Dask, xarray and sources: lazy; an xarray answer keeps the
        other dimensions, coordinates and attributes, and has ``flag_values``, ``flag_meanings``,
        and ``_FillValue`` -1 when it is written.

    Raises
    ------
    InvalidSource
        When data hold other features than the mixture, or are no rows of numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.mixture import Mixture
    >>> from dfmr_dask.run.labelling import labels
    >>> mixture = Mixture(DiagonalGaussian(), [0.5, 0.5],
    ...                   {"means": [[-1.0], [1.0]], "variances": [[1.0], [1.0]]})
    >>> labels(mixture, np.array([[-2.0], [np.nan], [3.0]]))
    array([ 0, -1,  1], dtype=int16)
    """
    return ask(LABEL, mixture, data, features)


def posterior(mixture: Mixture, data: Any, *, features: Sequence[str] | str | None = None) -> Any:
    """Return the posterior probabilities of each row, along a last axis ``component``.

    Parameters, laziness and errors are those of :func:`labels`; rows with NaN or infinity get NaN.
    """
    return ask(POSTERIOR, mixture, data, features)


def log_density(mixture: Mixture, data: Any, *, features: Sequence[str] | str | None = None) -> Any:
    """Return the log density of each row in nats.

    Parameters, laziness and errors are those of :func:`labels`; rows with NaN or infinity get NaN.
    """
    return ask(LOG_DENSITY, mixture, data, features)


def ask(
    question: Question, mixture: Mixture, data: Any, features: Sequence[str] | str | None
) -> Any:
    """Answer a question about each row of any kind of data."""
    if isinstance(data, Source | xr.DataArray | xr.Dataset):
        rows = lazy_rows(data, Expected(mixture.n_features), features)
        return _ask_field(question, mixture, rows)
    if is_dask_collection(data) and is_dataframe_like(data):
        return _ask_dask_frame(question, mixture, data, features)
    if isinstance(data, da.Array):
        return _ask_blocks(question, mixture, _as_table(mixture, data))
    if isinstance(data, pd.DataFrame):
        return _ask_frame(data, question, mixture, _columns(mixture, data, features))
    return _ask_rows(_as_table(mixture, np.asarray(data)), question, mixture)


def answered(
    questions: Sequence[Question], mixture: Mixture, rows: NDArray[Any]
) -> tuple[NDArray[Any], ...]:
    """Answer several questions about rows (n, d) of any real dtype, from one pass over them.

    Returns
    -------
    tuple of ndarray
        For each question (n,), or (n, K) where an answer has a number for each component.
    """
    wide = [(mixture.n_components,) if one.wide else () for one in questions]
    out = tuple(
        np.empty((len(rows), *more), one.dtype) for one, more in zip(questions, wide, strict=True)
    )
    names = [one.answer for one in questions]
    for place in tiles(rows):  # so that a block needs little memory beside itself
        tile = rows[place]
        fine = mixture.family.usable(tile)
        whole = bool(fine.all())  # as a rule; then nothing is copied
        good: Any = slice(None) if whole else fine
        came = mixture.answers(tile[good], names) if whole or good.any() else {}
        for one, values in zip(questions, out, strict=True):
            if not whole:
                values[place] = one.bad
            if came:
                values[place][good] = came[one.answer]
    return out


def _ask_rows(x: NDArray[Any], question: Question, mixture: Mixture) -> NDArray[Any]:
    """Answer eagerly for an array (..., d)."""
    (out,) = answered([question], mixture, x.reshape(-1, x.shape[-1]))
    return out.reshape(*x.shape[:-1], *out.shape[1:])


def _ask_blocks(question: Question, mixture: Mixture, x: da.Array) -> da.Array:
    """Answer lazily (..., d); the mixture is one task of the graph, not a part of each of them."""
    rows = x.rechunk({x.ndim - 1: -1})
    wide = ((mixture.n_components,),) if question.wide else ()
    chunks = (*rows.chunks[:-1], *wide)
    shape: dict[str, Any] = {} if question.wide else {"drop_axis": rows.ndim - 1}
    answer: da.Array = da.map_blocks(
        _ask_rows,
        rows,
        question=question,
        mixture=delayed(mixture, name=f"{KEY}-{tokenize(mixture)}", traverse=False),
        name=f"{KEY}-{tokenize(question.name, mixture, rows.name)}",
        chunks=chunks,
        dtype=np.dtype(question.dtype),
        meta=np.empty((0,) * len(chunks), dtype=question.dtype),
        **shape,
    )
    return answer


def _ask_field(question: Question, mixture: Mixture, x: xr.DataArray) -> xr.DataArray:
    return field(question, mixture, x, _ask_blocks(question, mixture, x.data))


def field(question: Question, mixture: Mixture, x: xr.DataArray, values: Any) -> xr.DataArray:
    """Give answers the dimensions, coordinates and attributes of the rows (..., feature)."""
    dims = x.dims[:-1]
    out = xr.DataArray(
        values,
        coords=coordinates_along(x, dims),
        dims=(*dims, COMPONENT) if question.wide else dims,
        name=question.name,
    )
    if question.wide:
        out = out.assign_coords({COMPONENT: np.arange(mixture.n_components)})
    out.attrs = describing_attributes(x.attrs) | {"long_name": question.long_name}
    if question.wide or question is LOG_DENSITY:
        out.attrs["units"] = "1"
        return out
    dtype = np.dtype(question.dtype)
    names = (f"{COMPONENT}_{k}" for k in range(mixture.n_components))
    out.attrs |= {
        "flag_values": np.arange(mixture.n_components, dtype=dtype),
        "flag_meanings": " ".join(names),
    }
    out.encoding = {"_FillValue": dtype.type(NO_LABEL), "dtype": dtype}
    return out


def _ask_frame(
    frame: pd.DataFrame, question: Question, mixture: Mixture, columns: Sequence[Any]
) -> pd.Series[Any] | pd.DataFrame:
    """Answer for a dataframe, with its index."""
    rows = frame[list(columns)].to_numpy(dtype=np.float64, na_value=np.nan)
    values = _ask_rows(rows, question, mixture)
    if not question.wide:
        return pd.Series(values, index=frame.index, name=question.name)
    names = [f"{COMPONENT}_{k}" for k in range(mixture.n_components)]
    return pd.DataFrame(values, index=frame.index, columns=names)


def _ask_dask_frame(
    question: Question, mixture: Mixture, frame: Any, features: Sequence[str] | str | None
) -> Any:
    from dask.dataframe import map_partitions  # noqa: PLC0415  a second to import, rarely needed

    columns = _columns(mixture, frame, features)
    meta = _ask_frame(frame._meta, question, mixture, columns)
    one = delayed(mixture, name=f"{KEY}-{tokenize(mixture)}", traverse=False)
    return map_partitions(_ask_frame, frame, question, one, columns, meta=meta, token=KEY)


def _columns(mixture: Mixture, frame: Any, features: Sequence[str] | str | None) -> list[Any]:
    """Return the columns that hold the mixture's features."""
    numeric = [name for name, dtype in frame.dtypes.items() if pd.api.types.is_numeric_dtype(dtype)]
    wanted = [features] if isinstance(features, str) else list(features or numeric)
    if missing := [name for name in wanted if name not in numeric]:
        raise InvalidSource(f"no numeric columns {missing}; there are {numeric}")
    _check_features(mixture, len(wanted), f"columns {wanted}")
    return wanted


def _as_table(mixture: Mixture, x: Any) -> Any:
    """Return an array (..., d) of numbers; one axis alone is one feature."""
    if x.dtype.kind not in "biuf":
        raise InvalidSource(f"rows of numbers are wanted, and dtype {x.dtype} came")
    table = x[:, None] if x.ndim == 1 else x
    _check_features(mixture, table.shape[-1] if table.ndim else 0, f"an array of shape {x.shape}")
    return table


def _check_features(mixture: Mixture, n_features: int, what: str) -> None:
    if n_features != mixture.n_features:
        raise InvalidSource(
            f"{what} came, with {n_features} features; the mixture has {mixture.n_features}"
        )
