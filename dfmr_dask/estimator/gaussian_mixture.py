"""``GaussianMixture``: parameters and ``fit`` as scikit-learn has them, for stores of any size."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Self

from sklearn.utils.validation import check_is_fitted

from dfmr_dask.corruption import Corruption
from dfmr_dask.errors import InvalidMixture
from dfmr_dask.estimator.answers import Answers
from dfmr_dask.estimator.fitted import describe, take, warn_of_doubts
from dfmr_dask.estimator.folder import finish_run, recorded_run
from dfmr_dask.estimator.parameters import CONSTRAINTS, settings_of
from dfmr_dask.estimator.rows import source_of
from dfmr_dask.estimator.saved import as_scikit_learn, read_estimator, write_estimator
from dfmr_dask.estimator.starts import continued
from dfmr_dask.estimator.uncertain import Uncertain
from dfmr_dask.run import pipeline
from dfmr_dask.run.cluster import open_tasks
from dfmr_dask.run.demands import check_sizes
from dfmr_dask.run.ledger import Ledger
from dfmr_dask.run.outlets import watched
from dfmr_dask.run.results import partition_table
from dfmr_dask.run.sample import ROWS
from dfmr_dask.run.settings import MAX_COMPONENTS


class GaussianMixture(Uncertain, Answers):
    """Gaussian mixture fitted partition by partition, right while almost half of them are bad.

    Parameters
    ----------
    n_components : int or "auto", default=1
        ``auto`` chooses the number of components from the partitions' samples, before the fit.
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
        A start of your own, in scikit-learn's shapes; all partitions begin there. What is missing
        can be told from data in memory alone, stores need means and precisions: without
        ``means_init`` the rest is that of the k-means clusters of the rows, as in scikit-learn;
        beside it missing weights are equal, and precisions those of the covariance of all rows.
    warm_start : bool, default=False
        Whether a further ``fit`` starts all partitions from the mixture of the last one, in place
        of any other start.
    random_state : int, RandomState or None, default=None
        An int gives the same bits again, with any number of workers.
    n_partitions, rows_per_partition : int, optional
        How rows are cut into partitions, see :func:`dfmr_dask.open_source`. Data in memory are
        one partition unless told otherwise.
    plan : {"auto", "chunks", "rows", "interleaved"}, optional
    method : {"blocks", "paper"}, default="blocks"
        The default filter, or that of Zhang, Tan & Chen (arXiv 2407.13980) to the letter.
    weights : {"shared", "free"}, default="shared"
        Whether honest partitions share the weights of the components.
    gates : tuple of {"blocks", "center", "ctd", "fisher", "l2"}, optional
        Distances that an estimate has to pass, in place of the method's own.
    rho : float, optional
        Cut at rho times the radius around the center, in place of a cut without tuning.
    unit : {"partition", "component"}, default="partition"
        ``component`` judges each component of each partition on its own, for failures that hit
        some components of most partitions. Weak against collusion, and so never certified.
    aggregator : {"dfmr", "vanilla", "coat", "trim", "oracle"}, default="dfmr"
    polish : int, default=0
        EM passes over all rows of the kept partitions after the aggregation, each filtered again;
        worth their time where components overlap strongly.
    corruption : Corruption, optional
        A simulated attack, for experiments.
    outliers : float, optional
        Leave out rows further than so many robust spreads (1.4826 times the median distance to the
        median) from their partition's median in any feature, and count them in ``dropped_rows``.
        It is for errors of measurement: rows at a million times the spread take whole components,
        and inflate the floor of all covariances. 1000 leaves heavy tails alone.
    dtype_work : {"float64", "float32"}, default="float64"
        ``float32`` climbs in single precision as far as that can tell, and ends in double.
    max_components : int, default=10
        The most that ``n_components="auto"`` tries.
    min_gain : float, optional
        Nats a row that a further component must bring for ``n_components="auto"``: for real data,
        where the BIC may ask for ever more components.
    places : {"flag", "drop", "ignore"}, default="flag"
        What is done about pieces of a store that fit better at other places than at their own,
        where pieces are not alike: they are told, left out of the fit, or not looked for.

    Attributes
    ----------
    weights_, means_ : ndarrays of shape (K,) and (K, d), heaviest component first
    covariances_, precisions_, precisions_cholesky_ : ndarrays
        (K, d, d), (d, d), (K, d) or (K,) by ``covariance_type``, as in scikit-learn.
    converged_ : bool
        Whether EM converged in all kept partitions.
    n_components_ : int
        Components of the model.
    bic_, aic_ : ndarrays, only after ``n_components="auto"``
        Criteria of 1, 2, ... components on the pooled samples, the lower the better.
    selection_ : xarray.Dataset, only after ``n_components="auto"``
        The curve: score, gain of the last component, and criteria, with standard errors.
    n_iter_ : int
        Most EM iterations of a kept partition.
    n_passes_ : int
        How many of the ``polish`` passes were taken.
    lower_bound_ : float
        Mean log density a row of the final model over the rows that checked it, in nats, weighted
        where rows have weights.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, only where the features have names
    mixture_ : Mixture
    verdict_ : Verdict
        Which partitions were kept and dropped, and why.
    partitions_ : xarray.Dataset
        One entry a partition: where its rows lie, status, distances, reason, log-likelihood.
    standard_errors_ : xarray.Dataset
        Of weights, means and covariances, with 95 % intervals; none with a single partition.
    likeness_ : Likeness or None
        Whether the pieces of a store are alike, and what followed; None where ``plan`` forced it.
    pieces_ : xarray.Dataset or None
        One entry a piece: where it lies, how far it is from the majority, its group by likeness.
    messages_ : tuple of Message
        What each partition said: its estimate, or why it has none.

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
        n_components: int | str = 1,
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
        warm_start: bool = False,
        random_state: Any = None,
        n_partitions: int | None = None,
        rows_per_partition: int | None = None,
        plan: str | None = None,
        method: str = "blocks",
        weights: str = "shared",
        gates: tuple[str, ...] | None = None,
        rho: float | None = None,
        unit: str = "partition",
        aggregator: str = "dfmr",
        polish: int = 0,
        corruption: Corruption | None = None,
        outliers: float | None = None,
        dtype_work: str = "float64",
        max_components: int = MAX_COMPONENTS,
        min_gain: float | None = None,
        places: str = "flag",
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
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_partitions = n_partitions
        self.rows_per_partition = rows_per_partition
        self.plan = plan
        self.method = method
        self.weights = weights
        self.gates = gates
        self.rho = rho
        self.unit = unit
        self.aggregator = aggregator
        self.polish = polish
        self.corruption = corruption
        self.outliers = outliers
        self.dtype_work = dtype_work
        self.max_components = max_components
        self.min_gain = min_gain
        self.places = places

    def fit(
        self,
        X: Any,
        y: None = None,
        sample_weight: Any = None,
        *,
        run: str | os.PathLike[str] | None = None,
        sample_rows: int = ROWS,
    ) -> Self:
        """Fit the mixture.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), DataFrame, or a source
            NumPy and pandas are fitted in this process, and NaN or infinity raises. A Source,
            a path or URL of a Zarr store, Zarr, xarray and Dask objects are fitted on the Dask
            client that is there, else on a local cluster; rows with NaN are dropped and counted.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or str, optional
            How often each row counts: 2 is the row twice, 0 as if it were not there. Shares that
            sum to 1 would say that there is one row in all; give them mean 1. For NumPy, pandas
            and dask.array an array; for stores, xarray and dask.dataframe the name of a variable
            or column, which is no feature then. A Source has its own, see
            :func:`dfmr_dask.open_source`.
        run : path, optional
            A new folder where the run writes its messages, its model and a report.
        sample_rows : int
            Rows of kept partitions that go there too, for the report's pictures; 0 for none.

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
        source = source_of(self, X, sample_weight, seed)
        start, shown = continued(mixture, names, self, source), 0 if run is None else sample_rows
        settings = replace(settings_of(self, source, seed, start), sample_rows=shown)
        check_sizes(source, settings)
        aside = partial(print, file=sys.stderr)
        with ExitStack() as stack:
            tasks = stack.enter_context(open_tasks(in_memory=source.in_memory, say=aside))
            folder = nullcontext() if run is None else recorded_run(run, self, source, settings)
            ledger = stack.enter_context(folder)
            tell = stack.enter_context(watched(tasks, ledger))
            result = pipeline.fit(source, settings, tasks, ledger=ledger, emit=tell)
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
            When the file does not hold a Gaussian mixture of this package.
        """
        params, mixture, facts = read_estimator(path, set(cls._get_param_names()))
        model = cls(**params)
        try:
            model._validate_params()
        except ValueError as error:
            raise InvalidMixture(f"{path}: {error}") from error
        describe(model, mixture)
        for name, value in facts.items():
            setattr(model, name, value)
        return model

    def to_sklearn(self) -> Any:
        """Return a fitted ``sklearn.mixture.GaussianMixture`` with the same parameters."""
        check_is_fitted(self)
        return as_scikit_learn(self)
