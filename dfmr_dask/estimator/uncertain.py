"""How sure a fitted estimator is of its parameters, and of any function of its mixture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import xarray as xr
from sklearn.utils.validation import check_is_fitted

from dfmr_dask.aggregate.jackknife import LEVEL, Jackknifed
from dfmr_dask.aggregate.uncertainty import StandardErrors
from dfmr_dask.errors import NoStandardErrors
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.standard_errors import errors_table

READ = (
    "a model that was read from a file has no standard errors; dfmr_dask.read_standard_errors "
    "reads those in the folder of a run"
)


class Uncertain:
    """Standard errors of an estimator whose fit left ``errors_`` behind.

    They come from what remains of the mixture when each partition is left out in turn, so that a
    fit to a single partition has none.
    """

    errors_: StandardErrors | NoStandardErrors

    @property
    def standard_errors_(self) -> xr.Dataset:
        """Weights, means and covariances with standard errors and 95 % intervals.

        Raises
        ------
        AttributeError
            When the fit has none; it says why.
        """
        try:
            return self.intervals()
        except NoStandardErrors as error:
            raise AttributeError(str(error)) from error

    def intervals(self, level: float = LEVEL) -> xr.Dataset:
        """Return weights, means and covariances with standard errors and intervals.

        Parameters
        ----------
        level : float, default=0.95

        Returns
        -------
        xarray.Dataset
            See :func:`~dfmr_dask.run.standard_errors.errors_table`.

        Raises
        ------
        NoStandardErrors
            When the fit has none; it says why.
        """
        errors, model = self._errors(), self
        names = getattr(model, "feature_names_in_", None)
        numbers = map(str, range(errors.mixture.n_features))
        features = list(numbers if names is None else map(str, names))
        return errors_table(errors, features, getattr(model, "units_", None), level)

    def standard_error(
        self, function: Callable[[Mixture], Any], level: float = LEVEL
    ) -> Jackknifed:
        """Return how sure any function of the mixture is: a density, a quantile, a distance.

        Parameters
        ----------
        function : callable
            Takes a :class:`~dfmr_dask.mixture.Mixture` and returns a number, or an array of the
            same shape for all mixtures. Components have the same numbers as in ``means_``.
        level : float, default=0.95
            Of the interval.

        Returns
        -------
        Jackknifed
            ``value``, ``standard_error``, ``lower``, ``upper``, ``corrected``, and ``notes``: what
            the error does not cover.

        Raises
        ------
        NoStandardErrors
            When the fit has none, or the function raises or returns anything but finite numbers.

        Examples
        --------
        >>> import numpy as np
        >>> from dfmr_dask import GaussianMixture
        >>> X = np.random.default_rng(0).normal(size=(4000, 1))
        >>> model = GaussianMixture(n_partitions=10, random_state=0).fit(X)
        >>> sure = model.standard_error(lambda mixture: mixture.log_density(np.zeros((1, 1))))
        >>> sure.lower < -0.5 * np.log(2 * np.pi) < sure.upper
        array([ True])
        """
        return self._errors().of(function, level)

    def _errors(self) -> StandardErrors:
        check_is_fitted(self)
        errors = getattr(self, "errors_", None)
        if not isinstance(errors, StandardErrors):
            raise NoStandardErrors(READ) if errors is None else NoStandardErrors(str(errors))
        return errors
