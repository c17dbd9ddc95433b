"""A fitted estimator as plain arrays, and as scikit-learn's own."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import sklearn.mixture

from dfmr_dask.data.files import plain, read_facts, read_mixture, write_mixture
from dfmr_dask.errors import InvalidMixture
from dfmr_dask.estimator.inputs import feature_names
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.places import check_place

FACTS: Mapping[str, type | tuple[type, ...]] = {
    "n_iter": int,
    "n_passes": int,
    "converged": bool,
    "lower_bound": (float, int),
}
TWIN_PARAMETERS = (
    "covariance_type",
    "tol",
    "reg_covar",
    "max_iter",
    "n_init",
    "warm_start",
    "random_state",
)
TWIN_ATTRIBUTES = (
    *("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"),
    *("converged_", "n_iter_", "lower_bound_", "n_features_in_", "feature_names_in_"),
)
Path = str | os.PathLike[str]


def write_estimator(model: Any, path: Path) -> None:
    """Write mixture, parameters, feature names and facts of the fit into one file.

    Raises
    ------
    OSError
        When nothing can be written there.
    """
    file = pathlib.Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder; wanted the name of a file")
    check_place(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_mixture(path, model.mixture_, **fitted_facts(model))


def fitted_facts(model: Any) -> dict[str, Any]:
    """Return what is written beside the mixture, as plain values."""
    params = {
        name: value
        for name, value in model.get_params(deep=False).items()
        if _is_plain(value) and name not in model._family_parameters(model.mixture_.family)
    }
    names = getattr(model, "feature_names_in_", None)
    facts = {name: getattr(model, f"{name}_") for name in FACTS if hasattr(model, f"{name}_")}
    told: dict[str, Any] = plain({"params": params, "features": names, **facts})
    return told


def read_estimator(path: Path, known: set[str]) -> tuple[dict[str, Any], Mixture, dict[str, Any]]:
    """Return parameters, mixture and further fitted attributes from a file.

    Raises
    ------
    InvalidMixture
        When the file holds anything else than a mixture and plain facts about it.
    """
    mixture, facts = read_mixture(path), read_facts(path)
    params = facts.get("params", {})
    if not isinstance(params, dict) or not all(map(_is_plain, params.values())):
        raise InvalidMixture(f"{path}: params are {params!r:.80}; wanted plain values by name")
    if unknown := set(params) - known:
        raise InvalidMixture(f"{path} has parameters that are not known here: {sorted(unknown)}")
    gates = params.get("gates")
    params = {**params, "gates": tuple(gates) if isinstance(gates, list) else gates}
    params |= {"n_components": mixture.n_components}
    return params, mixture, _attributes(path, mixture, facts)


def as_scikit_learn(model: Any) -> Any:
    """Return scikit-learn's own estimator with the same fitted attributes."""
    init = {} if model.init_params == "overfit" else {"init_params": model.init_params}
    given = {name: getattr(model, name) for name in TWIN_PARAMETERS}
    twin = sklearn.mixture.GaussianMixture(model.mixture_.n_components, **given, **init)
    for name in TWIN_ATTRIBUTES:
        if hasattr(model, name):
            value = getattr(model, name)
            setattr(twin, name, value.copy() if isinstance(value, np.ndarray) else value)
    return twin


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(item, str) for item in value)
    return value is None or isinstance(value, bool | int | float | str | np.number)


def _attributes(path: Path, mixture: Mixture, facts: dict[str, Any]) -> dict[str, Any]:
    """Check the facts that become fitted attributes."""
    found: dict[str, Any] = {}
    for name, kind in FACTS.items():
        value = facts.get(name)
        if value is not None and not isinstance(value, kind):
            raise InvalidMixture(f"{path}: {name} is {value!r:.80}")
        if value is not None:
            found[f"{name}_"] = value
    names = facts.get("features")
    if names is None:
        return found
    right = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not right or len(names) != mixture.n_features:
        raise InvalidMixture(
            f"{path}: features are {names!r:.80}; wanted {mixture.n_features} names"
        )
    named = feature_names(names)
    return found if named is None else found | {"feature_names_in_": np.array(named, dtype=object)}
