"""What a fit leaves behind: attributes as scikit-learn names them, and warnings."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from sklearn.exceptions import ConvergenceWarning

from dfmr_dask.errors import UncertifiedWarning
from dfmr_dask.families.covariance_types import covariances_of, precisions_cholesky_of
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.results import Result, selection_table
from dfmr_dask.selection.curve import Selection


def take(model: Any, result: Result, partitions: xr.Dataset, units: Mapping[str, str]) -> None:
    """Set the fitted attributes."""
    describe(model, result.mixture)
    kept = _kept(result)
    model.verdict_ = result.verdict
    model.partitions_ = partitions
    model.pieces_ = result.pieces
    model.messages_ = result.messages
    model.likeness_ = None if result.way is None else result.way.likeness
    model.n_iter_ = max((message.n_iter for message in kept), default=1)
    model.n_passes_ = int(result.passes)
    model.converged_ = all(message.converged for message in kept)
    model.lower_bound_ = float(result.score)
    model.errors_ = result.errors
    model.units_ = dict(units)
    _describe_selection(model, result.selection)


def _describe_selection(model: Any, found: Selection | None) -> None:
    """Set the curve that the number of components was chosen from, or forget an earlier one."""
    curve = None if found is None else selection_table(found)
    for name, value in (
        ("selection_", curve),
        ("bic_", None if found is None else found.bic.copy()),
        ("aic_", None if found is None else found.aic.copy()),
    ):
        if value is not None:
            setattr(model, name, value)
        elif hasattr(model, name):
            delattr(model, name)


def describe(model: Any, mixture: Mixture) -> None:
    """Set the attributes that say what the mixture is."""
    kind = model.covariance_type
    model.mixture_ = mixture
    model.weights_ = np.array(mixture.weights)
    model.means_ = np.array(mixture.params["means"])
    model.covariances_ = covariances_of(kind, mixture.params)
    model.precisions_cholesky_ = factors = precisions_cholesky_of(kind, model.covariances_)
    matrix = kind in ("full", "tied")
    model.precisions_ = factors @ factors.swapaxes(-1, -2) if matrix else factors**2
    model.n_features_in_ = mixture.n_features
    model.n_components_ = mixture.n_components


def warn_of_doubts(model: Any, result: Result) -> None:
    """Say what is doubtful about a fit, as a warning at the line that asked for it."""
    kept = _kept(result)
    if not model.converged_:
        slow = sum(not message.converged for message in kept)
        warnings.warn(
            f"EM did not converge in {slow} of {len(kept)} kept partitions within "
            f"max_iter = {model.max_iter}",
            ConvergenceWarning,
            stacklevel=3,
        )
    filtered = model.aggregator == "dfmr" and len(result.messages) > 1
    if filtered and not result.verdict.certified:
        doubts = "; ".join(result.verdict.doubts)
        warnings.warn(f"not certified: {doubts}", UncertifiedWarning, stacklevel=3)


def _kept(result: Result) -> list[Message]:
    kept = set(result.verdict.kept)
    return [message for message in result.messages if message.partition in kept]
