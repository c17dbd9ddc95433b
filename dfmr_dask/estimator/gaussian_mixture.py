"""``GaussianMixture``: parameters and ``fit`` as scikit-learn has them, for stores of any size."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from dfmr_dask.corruption import Corruption
from dfmr_dask.data.source import Source
from dfmr_dask.errors import InvalidMixture
from dfmr_dask.estimator.fitting import Fitting
from dfmr_dask.estimator.parameters import CONSTRAINTS
from dfmr_dask.estimator.saved import as_scikit_learn
from dfmr_dask.estimator.starts import user_start
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.families.base import Family
from dfmr_dask.families.covariance_types import covariances_of, precisions_cholesky_of
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.settings import MAX_COMPONENTS


class GaussianMixture(Fitting):
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
    unit : {"partition", "component", "entry"}, default="partition"
        ``component`` judges each component of each partition on its own, for failures that hit
        some components of most partitions. Weak against collusion, and so never certified.
        ``entry`` is for families of independent columns, see :class:`~dfmr_dask.BinomialMixture`.
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

    def _family(self, n_features: int, rows: Any = None) -> Family:
        return COVARIANCE_TYPES[self.covariance_type]

    def _takes_missing(self) -> bool:
        family = COVARIANCE_TYPES.get(self.covariance_type)  # tags are asked before it is checked
        return family is not None and family.takes_missing

    def _accepted(self) -> dict[str, Any]:
        finite = "allow-nan" if self._takes_missing() else True
        return super()._accepted() | {"ensure_all_finite": finite}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._takes_missing()
        return tags

    def _family_parameters(self, family: Family) -> dict[str, Any]:
        for name, one in COVARIANCE_TYPES.items():
            if one == family:
                return {"covariance_type": name}
        raise InvalidMixture(f"a Gaussian mixture is wanted; its components are {family}")

    def _first(self, source: Source, family: Family, seed: int) -> Mixture | None:
        return user_start(self, source, seed)

    def _describe(self, mixture: Mixture) -> None:
        kind = self.covariance_type
        self.means_ = np.array(mixture.params["means"])
        self.covariances_ = covariances_of(kind, mixture.params)
        self.precisions_cholesky_ = factors = precisions_cholesky_of(kind, self.covariances_)
        matrix = kind in ("full", "tied")
        self.precisions_ = factors @ factors.swapaxes(-1, -2) if matrix else factors**2

    def to_sklearn(self) -> Any:
        """Return a fitted ``sklearn.mixture.GaussianMixture`` with the same parameters."""
        check_is_fitted(self)
        return as_scikit_learn(self)
