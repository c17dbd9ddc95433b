"""From what ``fit`` is given to the source that is fitted."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight, validate_data

from dfmr_dask.data.source import Source, open_source
from dfmr_dask.estimator.inputs import check_size, feature_names, free_parameters, is_table
from dfmr_dask.estimator.parameters import least_order
from dfmr_dask.families.base import Family


def source_of(model: Any, X: Any, sample_weight: Any, seed: int) -> tuple[Source, Family]:
    """Validate or open X, and tell the family; set what scikit-learn calls the features that came.

    Parameters
    ----------
    model : estimator
    X : as in ``fit``
    sample_weight : array-like, str or None
    seed : int
        Of plans that draw.

    Raises
    ------
    ValueError
        When rows or weights are none, or too few, or a plan came twice.
    """
    cut = {name: getattr(model, name) for name in ("plan", "rows_per_partition", "n_partitions")}
    if is_table(X):
        return _table(model, X, sample_weight, {**cut, "seed": seed})
    given = [name for name, value in cut.items() if value is not None]
    if isinstance(X, Source) and given:
        raise ValueError(f"{given} came with a source, which has a plan; say it to open_source")
    if isinstance(X, Source) and sample_weight is not None:
        raise ValueError("sample_weight came with a source; say it to open_source")
    source = (
        X
        if isinstance(X, Source)
        else open_source(X, sample_weight=sample_weight, **cut, seed=seed)
    )
    family = model._family(source.n_features)
    check_size(family, least_order(model), source.n_rows, source.n_features)
    model.n_features_in_ = source.n_features
    names = feature_names(source.features)
    if names is not None:
        model.feature_names_in_ = np.array(names, dtype=object)
    elif hasattr(model, "feature_names_in_"):
        del model.feature_names_in_
    return source, family


def _table(model: Any, X: Any, sample_weight: Any, cut: dict[str, Any]) -> tuple[Source, Family]:
    """Validate a table as scikit-learn does."""
    table = validate_data(model, X, **model._accepted())
    family = model._family(table.shape[1], table)
    if why := family.complaint(table):
        raise ValueError(why)
    weights = None if sample_weight is None else _weights(sample_weight, table)
    there = len(table) if weights is None else int(np.count_nonzero(weights))
    check_size(family, least_order(model), there, table.shape[1])
    if weights is not None:
        free = free_parameters(family, least_order(model), table.shape[1])
        _check_mass(float(weights.sum()), free)
    names = getattr(model, "feature_names_in_", None)
    named = None if names is None else list(names)
    return open_source(table, features=named, sample_weight=weights, **cut), family


def _weights(sample_weight: Any, table: NDArray[Any]) -> NDArray[np.float64]:
    """Return the weights of a table, checked by scikit-learn's rules."""
    if isinstance(sample_weight, str):
        raise ValueError(
            f"sample_weight={sample_weight!r} came with a table in memory; wanted an array of "
            f"{len(table)} numbers. Names are for stores, xarray and Dask, or open_source(frame, "
            f"sample_weight={sample_weight!r})"
        )
    checked = _check_sample_weight(sample_weight, table, dtype=np.float64, ensure_non_negative=True)
    if not checked.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return np.asarray(checked, dtype=np.float64)


def _check_mass(mass: float, free: int) -> None:
    """Warn of weights that are no counts: a penalty made for so few rows would rule the fit."""
    if mass < free:
        warnings.warn(
            f"the sample weights sum to {mass:.6g}, fewer rows than the {free} free parameters; "
            "weights are counts of rows: divide them by their mean if they are shares",
            UserWarning,
            stacklevel=5,
        )
