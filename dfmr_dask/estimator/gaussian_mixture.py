"""``GaussianMixture``: parameters and ``fit`` as scikit-learn has them, for stores of any size."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import ExitStack, nullcontext
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import xarray as xr
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.corruption import Corruption
from dfmr_dask.data.source import Source, open_source
from dfmr_dask.errors import InvalidMixture, UncertifiedWarning
from dfmr_dask.estimator.answers import FLOATS, Answers
from dfmr_dask.estimator.folder import finish_run, recorded_run
from dfmr_dask.estimator.inputs import check_size, feature_names, is_table
from dfmr_dask.estimator.parameters import CONSTRAINTS, settings_of
from dfmr_dask.estimator.saved import as_scikit_learn, read_estimator, write_estimator
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.families.covariance_types import covariances_of, precisions_cholesky_of
from dfmr_dask.mixture import Mixture
from dfmr_dask.run import pipeline
from dfmr_dask.run.cluster import open_tasks
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.results import Result, partition_table


class GaussianMixture(Answers):
    """Gaussian mixture fitted partition by partition, right while almost half of them are bad.

    Parameters
    ----------
    n_components : int, default=1
    covariance_type : {"full", "tied", "diag", "spherical"}, default="full"
    tol : float, default=1e-6
        EM of a partition stops when an iteration gains less than this, in nats a row.
    reg_covar : float, default=1e-6
        Smallest eigenvalue of a covariance, in units of the features' variances.
    max_iter : int, default=500
        EM iterations of a partition at most.
    n_init : int, default=2
        Starts that each partition tries on its sample.
    init_params : {"overfit", "k-means++", "kmeans", "random"}, default="overfit"
        How they are found; ``overfit`` fits 2K components and merges them.
    weights_init, means_init, precisions_init : array-likes, optional
        A start of your own, in scikit-learn's shapes; all partitions begin there. It needs
        ``means_init``. Missing weights are equal. Missing precisions are those of the covariance
        of all rows, which only data in memory can tell: for stores they must be given.
    random_state : int, RandomState or None, default=None
        An int gives the same bits again, with any number of workers.
    n_partitions, rows_per_partition : int, optional
        How rows are cut into partitions, see :func:`dfmr_dask.open_source`. Data in memory are
        one partition unless told otherwise.
    plan : {"chunks", "rows", "interleaved"}, optional
    method : {"blocks", "paper"}, default="blocks"
        The default filter, or that of Zhang, Tan & Chen (arXiv 2407.13980) to the letter.
    weights : {"shared", "free"}, default="shared"
        Whether honest partitions share the weights of the components.
    gates : tuple of {"blocks", "ctd", "fisher", "l2"}, optional
        Distances that an estimate has to pass, in place of the method's own.
    rho : float, optional
        Cut at rho times the radius around the center, in place of a cut without tuning.
    aggregator : {"dfmr", "vanilla", "coat", "trim", "oracle"}, default="dfmr"
    corruption : Corruption, optional
        A simulated attack, for experiments.

    Attributes
    ----------
    weights_, means_ : ndarrays of shape (K,) and (K, d), heaviest component first
    covariances_, precisions_, precisions_cholesky_ : ndarrays
        (K, d, d), (d, d), (K, d) or (K,) by ``covariance_type``, as in scikit-learn.
    converged_ : bool
        Whether EM converged in all kept partitions.
    n_iter_ : int
        Most EM iterations of a kept partition.
    lower_bound_ : float
        Mean log density a row of the final model over the rows that checked it, in nats.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, only where the features have names
    mixture_ : Mixture
    verdict_ : Verdict
        Which partitions were kept and dropped, and why.
    partitions_ : xarray.Dataset
        One entry a partition: where its rows lie, status, distances, reason, log-likelihood.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask import GaussianMixture
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.normal(-5, 1, (200, 2)), rng.normal(5, 1, (100, 2))])
    >>> GaussianMixture(2, random_state=0).fit(X).means_.round(0)
    array([[-5., -5.],
           [ 5.,  5.]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    def __init__(  # noqa: D107
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-6,
        reg_covar: float = 1e-6,
        max_iter: int = 500,
        n_init: int = 2,
        init_params: str = "overfit",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        random_state: Any = None,
        n_partitions: int | None = None,
        rows_per_partition: int | None = None,
        plan: str | None = None,
        method: str = "blocks",
        weights: str = "shared",
        gates: tuple[str, ...] | None = None,
        rho: float | None = None,
        aggregator: str = "dfmr",
        corruption: Corruption | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.n_partitions = n_partitions
        self.rows_per_partition = rows_per_partition
        self.plan = plan
        self.method = method
        self.weights = weights
        self.gates = gates
        self.rho = rho
        self.aggregator = aggregator
        self.corruption = corruption

    def fit(self, X: Any, y: None = None, *, run: str | os.PathLike[str] | None = None) -> Self:
        """Fit the mixture.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), DataFrame, or a source
            NumPy and pandas are fitted in this process, and NaN or infinity raises. A Source,
            a path or URL of a Zarr store, Zarr, xarray and Dask objects are fitted on the Dask
            client that is there, else on a local cluster; rows with NaN are dropped and counted.
        y : ignored
        run : path, optional
            A new folder where the run writes its messages and its model.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            When there are fewer rows than ``n_components``, or than K(d+1) for ``full`` and
            ``tied``, or parameters do not fit together.
        InvalidSource
            When data cannot be opened or are no rows of numbers.
        TooFewMessages
            When half of the partitions, or more, gave no usable fit.
        """
        self._validate_params()
        if run is not None:
            Ledger.check(run)
        seed = self._seed()
        source = self._opened(X, seed)
        settings = settings_of(self, source, seed)
        pipeline.check_sizes(source, settings)
        aside = partial(print, file=sys.stderr)
        with ExitStack() as stack:
            tasks = stack.enter_context(open_tasks(in_memory=source.in_memory, say=aside))
            folder = nullcontext() if run is None else recorded_run(run, self, source, settings)
            ledger = stack.enter_context(folder)
            result = pipeline.fit(source, settings, tasks, ledger=ledger)
            self._take(result, partition_table(source, result))
            if ledger is not None:
                finish_run(ledger, self, source, settings, result, self.partitions_)
        self._warn(result)
        return self

    def fit_predict(self, X: Any, y: None = None) -> Any:
        """Fit the mixture and return the labels of the same rows."""
        return self.fit(X).predict(X)

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
            When the file does not hold a Gaussian mixture of this package.
        """
        params, mixture, facts = read_estimator(path, set(cls._get_param_names()))
        model = cls(**params)
        try:
            model._validate_params()
        except ValueError as error:
            raise InvalidMixture(f"{path}: {error}") from error
        model._describe(mixture)
        for name, value in facts.items():
            setattr(model, name, value)
        return model

    def to_sklearn(self) -> Any:
        """Return a fitted ``sklearn.mixture.GaussianMixture`` with the same parameters."""
        check_is_fitted(self)
        return as_scikit_learn(self)

    def _opened(self, X: Any, seed: int) -> Source:
        """Validate or open X, and set what scikit-learn calls the features that came in."""
        cut: dict[str, Any] = {
            "plan": self.plan,
            "rows_per_partition": self.rows_per_partition,
            "n_partitions": self.n_partitions,
        }
        if is_table(X):
            table = validate_data(self, X, dtype=FLOATS)
            self._check_size(*table.shape)
            names = getattr(self, "feature_names_in_", None)
            named = None if names is None else list(names)
            return open_source(table, features=named, **cut, seed=seed)
        given = [name for name, value in cut.items() if value is not None]
        if isinstance(X, Source) and given:
            raise ValueError(f"{given} came with a source, which has a plan; say it to open_source")
        source = X if isinstance(X, Source) else open_source(X, **cut, seed=seed)
        self._check_size(source.n_rows, source.n_features)
        self.n_features_in_ = source.n_features
        names = feature_names(source.features)
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        return source

    def _check_size(self, rows: int | None, n_features: int) -> None:
        family = COVARIANCE_TYPES[self.covariance_type]
        check_size(family, self.n_components, rows, n_features)

    def _take(self, result: Result, partitions: xr.Dataset) -> None:
        """Set the fitted attributes."""
        self._describe(result.mixture)
        self.verdict_: Verdict = result.verdict
        self.partitions_ = partitions
        kept = [m for m in result.messages if m.partition in set(result.verdict.kept)]
        self.n_iter_ = max((message.n_iter for message in kept), default=1)
        self.converged_ = all(message.converged for message in kept)
        self.lower_bound_ = float(result.score)

    def _warn(self, result: Result) -> None:
        """Say what is doubtful."""
        kept = [m for m in result.messages if m.partition in set(result.verdict.kept)]
        if not self.converged_:
            slow = sum(not message.converged for message in kept)
            warnings.warn(
                f"EM did not converge in {slow} of {len(kept)} kept partitions within "
                f"max_iter = {self.max_iter}",
                ConvergenceWarning,
                stacklevel=3,
            )
        filtered = self.aggregator == "dfmr" and len(result.messages) > 1
        if filtered and not result.verdict.certified:
            doubts = "; ".join(result.verdict.doubts)
            warnings.warn(f"not certified: {doubts}", UncertifiedWarning, stacklevel=3)

    def _describe(self, mixture: Mixture) -> None:
        """Set the attributes that say what the mixture is."""
        self.mixture_ = mixture
        self.weights_ = np.array(mixture.weights)
        self.means_ = np.array(mixture.params["means"])
        self.covariances_ = covariances_of(self.covariance_type, mixture.params)
        self.precisions_cholesky_ = precisions_cholesky_of(self.covariance_type, self.covariances_)
        factors = self.precisions_cholesky_
        matrix = self.covariance_type in ("full", "tied")
        self.precisions_ = factors @ factors.swapaxes(-1, -2) if matrix else factors**2
        self.n_features_in_ = mixture.n_features
