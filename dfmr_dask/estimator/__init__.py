"""The scikit-learn estimator: parameters in, fitted attributes out, no mathematics of its own."""

from __future__ import annotations

from dfmr_dask.estimator.gaussian_mixture import GaussianMixture

__all__ = ["GaussianMixture"]
