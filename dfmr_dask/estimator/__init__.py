"""The scikit-learn estimators: parameters in, fitted attributes out, no mathematics of its own."""

from __future__ import annotations

from dfmr_dask.estimator.gaussian_mixture import GaussianMixture
from dfmr_dask.estimator.mixture_model import (
    BernoulliMixture,
    BinomialMixture,
    CategoricalMixture,
    MixtureModel,
    PoissonMixture,
)

__all__ = [
    "BernoulliMixture",
    "BinomialMixture",
    "CategoricalMixture",
    "GaussianMixture",
    "MixtureModel",
    "PoissonMixture",
]
