"""Which values parameters may have, and the settings of a run that they stand for."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import Interval, StrOptions

from dfmr_dask.aggregate.aggregators import AGGREGATORS
from dfmr_dask.aggregate.gates import UNITS
from dfmr_dask.corruption import Corruption
from dfmr_dask.data.choosing import KINDS
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.families.base import Family
from dfmr_dask.local.start import STARTS
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.settings import (
    AUTO,
    METHODS,
    PLACES,
    WEIGHTS,
    WORK_DTYPES,
    Settings,
    order_settings,
)

MOST_COMPONENTS = 32767  # labels are int16

SHARED: dict[str, list[Any]] = {  # by the estimators of all families
    "n_components": [Interval(Integral, 1, MOST_COMPONENTS, closed="both"), StrOptions({AUTO})],
    "tol": [Interval(Real, 0.0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "n_init": [Interval(Integral, 1, None, closed="left")],
    "init_params": [StrOptions(set(STARTS))],
    "warm_start": ["boolean"],
    "random_state": ["random_state"],
    "n_partitions": [Interval(Integral, 1, None, closed="left"), None],
    "rows_per_partition": [Interval(Integral, 1, None, closed="left"), None],
    "plan": [StrOptions(set(KINDS)), None],
    "method": [StrOptions(set(METHODS))],
    "weights": [StrOptions(set(WEIGHTS))],
    "gates": [tuple, list, None],
    "rho": [Interval(Real, 1.0, None, closed="left"), None],
    "unit": [StrOptions(set(UNITS))],
    "aggregator": [StrOptions(set(AGGREGATORS))],
    "polish": [Interval(Integral, 0, None, closed="left")],
    "corruption": [Corruption, None],
    "max_components": [Interval(Integral, 1, MOST_COMPONENTS, closed="both")],
    "min_gain": [Interval(Real, 0.0, None, closed="left"), None],
    "places": [StrOptions(set(PLACES))],
}
CONSTRAINTS: dict[str, list[Any]] = {  # of Gaussians
    **SHARED,
    "covariance_type": [StrOptions(set(COVARIANCE_TYPES))],
    "reg_covar": [Interval(Real, 0.0, None, closed="left")],
    "weights_init": ["array-like", None],
    "means_init": ["array-like", None],
    "precisions_init": ["array-like", None],
    "outliers": [Interval(Real, 0.0, None, closed="neither"), None],
    "dtype_work": [StrOptions(set(WORK_DTYPES))],
}
PLAIN_SETTINGS = (
    "tol",
    "reg_covar",
    "max_iter",
    "n_init",
    "init_params",
    "method",
    "weights",
    "rho",
    "unit",
    "aggregator",
    "polish",
    "corruption",
    "outliers",
    "dtype_work",
    "places",
)


def least_order(parameters: Any) -> int:
    """Return the order that rows must be enough for before any is chosen."""
    return 1 if parameters.n_components == AUTO else int(parameters.n_components)


def settings_of(
    parameters: Any, family: Family, seed: int, first: Mixture | None = None
) -> Settings:
    """Return the settings of a run.

    Parameters
    ----------
    parameters : estimator
    family : Family
    seed : int
    first : Mixture, optional
        Where all partitions start.

    Raises
    ------
    ValueError
        When parameters do not fit together.
    """
    corruption = parameters.corruption
    if corruption is not None and corruption.attack == "data":
        raise ValueError("the data attack needs rows of another population: use `dfmr run`")
    order = order_settings(parameters.n_components, parameters.max_components, parameters.min_gain)
    return Settings(
        family=family,
        start=first,
        gates=None if parameters.gates is None else tuple(parameters.gates),
        seed=seed,
        **order,
        **{name: getattr(parameters, name) for name in PLAIN_SETTINGS if hasattr(parameters, name)},
    )
