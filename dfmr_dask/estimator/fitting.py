"""``fit`` of every estimator: from data to attributes, whatever the family of the components."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from dfmr_dask.data.source import Source
from dfmr_dask.errors import InvalidMixture
from dfmr_dask.estimator.answers import Answers
from dfmr_dask.estimator.fitted import describe, take, warn_of_doubts
from dfmr_dask.estimator.folder import finish_run, recorded_run
from dfmr_dask.estimator.parameters import settings_of
from dfmr_dask.estimator.rows import source_of
from dfmr_dask.estimator.saved import read_estimator, write_estimator
from dfmr_dask.estimator.starts import continued
from dfmr_dask.estimator.uncertain import Uncertain
from dfmr_dask.families.base import Family
from dfmr_dask.mixture import Mixture
from dfmr_dask.run import pipeline
from dfmr_dask.run.cluster import open_tasks
from dfmr_dask.run.demands import check_sizes
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.results import partition_table


class Fitting(Uncertain, Answers):
    """What all estimators do alike; one says of which family it is, and what it leaves behind."""

    def _family(self, n_features: int, rows: Any = None) -> Family:
        """Return the family of the components.

        Parameters
        ----------
        n_features : int
        rows : array of shape (n, d), optional
            Where data lie in memory.
        """
        raise NotImplementedError

    def _family_parameters(self, family: Family) -> dict[str, Any]:
        """Return the parameters of the estimator that stand for a family, or raise."""
        raise NotImplementedError

    def _first(self, source: Source, family: Family, seed: int) -> Mixture | None:
        """Return where the user wants all partitions to start, if anywhere."""
        return None

    def _describe(self, mixture: Mixture) -> None:
        """Set the attributes that the family has."""
        for name, array in mixture.params.items():
            setattr(self, f"{name}_", np.array(array))

    def fit(
        self,
        X: Any,
        y: None = None,
        sample_weight: Any = None,
        *,
        run: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Fit the mixture.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), DataFrame, or a source
            NumPy and pandas are fitted in this process, and NaN or infinity raises (of families
            whose entries may be missing, infinity alone). A Source, a path or URL of a Zarr store,
            Zarr, xarray and Dask objects are fitted on the Dask client that is there, else on a
            local cluster; rows with NaN (or without any entry) are dropped and counted.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or str, optional
            How often each row counts: 2 is the row twice, 0 as if it were not there. Shares that
            sum to 1 would say that there is one row in all; give them mean 1. For NumPy, pandas
            and dask.array an array; for stores, xarray and dask.dataframe the name of a variable
            or column, which is no feature then. A Source has its own, see
            :func:`dfmr_dask.open_source`.
        run : path, optional
            A new folder where the run writes its messages and its model.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            When there are fewer rows than ``n_components``, or than K(d+1) for ``full`` and
            ``tied``, parameters do not fit together, or weights are no weights.
        InvalidSource
            When data cannot be opened or are no rows of numbers.
        TooFewMessages
            When half of the partitions, or more, gave no usable fit.
        """
        self._validate_params()
        if run is not None:
            Ledger.check(run)
        seed = self._seed()
        last = (getattr(self, name, None) for name in ("mixture_", "feature_names_in_"))
        mixture, names = last if self.warm_start else (None, None)
        source, family = source_of(self, X, sample_weight, seed)
        last_one = continued(mixture, names, self, source, family)
        first = self._first(source, family, seed) if last_one is None else last_one
        settings = settings_of(self, family, seed, first)
        check_sizes(source, settings)
        aside = partial(print, file=sys.stderr)
        with ExitStack() as stack:
            tasks = stack.enter_context(open_tasks(in_memory=source.in_memory, say=aside))
            folder = nullcontext() if run is None else recorded_run(run, self, source, settings)
            ledger = stack.enter_context(folder)
            result = pipeline.fit(source, settings, tasks, ledger=ledger)
            take(self, result, partition_table(result.source or source, result), source.units)
            if ledger is not None:
                finish_run(ledger, self, source, settings, result, self.partitions_)
        warn_of_doubts(self, result)
        return self

    def fit_predict(self, X: Any, y: None = None, sample_weight: Any = None) -> Any:
        """Fit the mixture and return the labels of the same rows, whatever their weights."""
        return self.fit(X, sample_weight=sample_weight).predict(X)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write model, parameters and feature names as plain arrays into one file.

        The verdict, the table of partitions, and starts given as arrays are not part of it.
        """
        check_is_fitted(self)
        write_estimator(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` wrote; nothing is unpickled, predictions are the same bits.

        Raises
        ------
        InvalidMixture
            When the file does not hold such a mixture of this package.
        """
        params, mixture, facts = read_estimator(path, set(cls._get_param_names()))
        model = cls()
        try:
            model.set_params(**params, **model._family_parameters(mixture.family))
        except InvalidMixture as error:
            raise InvalidMixture(f"{path}: {error}") from error
        try:
            model._validate_params()
        except ValueError as error:
            raise InvalidMixture(f"{path}: {error}") from error
        describe(model, mixture)
        for name, value in facts.items():
            setattr(model, name, value)
        return model
