"""Estimators of mixtures of other families: counts, yes and no, genotypes, categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from dfmr_dask.errors import InvalidMixture
from dfmr_dask.estimator.answers import FLOATS
from dfmr_dask.estimator.parameters import SHARED
from dfmr_dask.estimator.settable import Settable
from dfmr_dask.families import FAMILIES, Binomial, Categorical, Poisson, family_named
from dfmr_dask.families.base import Family
from dfmr_dask.families.binomial import MOST_TRIALS


@dataclass(eq=False, repr=False, kw_only=True)
class MixtureModel(Settable):
    """Mixture of any family, fitted partition by partition, right while many of them are bad.

    Parameters
    ----------
    n_components : int or "auto", default=1
    family : Family or str, default="diagonal_gaussian"
        Of the components: one of :mod:`dfmr_dask.families`, or of your own (``docs/families.md``);
        or the name of one that needs nothing else to be known.
    tol, max_iter, n_init, init_params, warm_start, random_state
        As for :class:`~dfmr_dask.GaussianMixture`.
    n_partitions, rows_per_partition, plan
        As for :class:`~dfmr_dask.GaussianMixture`.
    method, weights, gates, rho, unit, aggregator, polish, corruption
        As for :class:`~dfmr_dask.GaussianMixture`.
    max_components, min_gain, places
        As for :class:`~dfmr_dask.GaussianMixture`.

    Attributes
    ----------
    weights_ : ndarray of shape (K,), heaviest component first
    mixture_ : Mixture
        With the parameters, which are attributes too, by their names: ``rates_``, ...
    verdict_, partitions_, standard_errors_, likeness_, pieces_, converged_, n_iter_, ...
        As for :class:`~dfmr_dask.GaussianMixture`.

    Notes
    -----
    An entry may be missing: NaN, or -1 in signed integers of counts and levels. It is left out of
    the sums, never imputed; rows without an entry are dropped and counted. Gaussians of full or
    tied covariances know no missing entries: rows that hold NaN are dropped.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask import MixtureModel
    >>> from dfmr_dask.families import Poisson
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.poisson(2.0, (200, 2)), rng.poisson(20.0, (100, 2))])
    >>> MixtureModel(2, family=Poisson(), random_state=0).fit(X).rates_.round(0)
    array([[ 2.,  2.],
           [20., 20.]])
    """

    family: Family | str = "diagonal_gaussian"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SHARED,
        "family": [HasMethods("from_statistics"), StrOptions(set(FAMILIES))],
    }

    def _family(self, n_features: int, rows: Any = None) -> Family:
        return family_named(self.family, {}) if isinstance(self.family, str) else self.family

    def _family_parameters(self, family: Family) -> dict[str, Any]:
        return {"family": family}

    def _accepted(self) -> dict[str, Any]:
        family = self._family(1)
        dtypes = {"dtype": FLOATS} if family.needs_spread else {}
        finite = {} if family.takes_missing else {"ensure_all_finite": True}
        return super()._accepted() | dtypes | finite

    def __sklearn_tags__(self) -> Any:
        tags, family = super().__sklearn_tags__(), self._family(1)
        tags.input_tags.allow_nan = family.takes_missing
        tags.input_tags.positive_only = not family.needs_spread
        return tags


@dataclass(eq=False, repr=False, kw_only=True)
class BinomialMixture(Settable):
    """Mixture of binomial columns: genotypes (two trials) or other counts out of ``n_trials``.

    Parameters
    ----------
    n_components : int or "auto", default=1
    n_trials : int, default=2
        Of each entry: 2 for genotypes counted as alternate alleles, 1 for yes and no.
    tol, max_iter, ...
        As for :class:`~dfmr_dask.MixtureModel`.

    Attributes
    ----------
    weights_, frequencies_ : ndarrays of shape (K,) and (K, d), heaviest component first
    mixture_, verdict_, partitions_, ...
        As for :class:`~dfmr_dask.MixtureModel`.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask import BinomialMixture
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.binomial(2, 0.1, (200, 9)), rng.binomial(2, 0.8, (100, 9))])
    >>> X[0, 0] = -1  # missing
    >>> BinomialMixture(2, random_state=0).fit(X).frequencies_.mean(axis=1).round(1)
    array([0.1, 0.8])
    """

    n_trials: int = 2

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SHARED,
        "n_trials": [Interval(Integral, 1, MOST_TRIALS, closed="both")],
    }

    def _family(self, n_features: int, rows: Any = None) -> Family:
        return Binomial(self.n_trials)

    def _family_parameters(self, family: Family) -> dict[str, Any]:
        if isinstance(family, Binomial):
            return {"n_trials": family.n_trials}
        raise InvalidMixture(f"a binomial mixture is wanted; its components are {family}")


@dataclass(eq=False, repr=False, kw_only=True)
class BernoulliMixture(Settable):
    """Mixture of columns of yes (1) and no (0): a binomial one with a single trial.

    Parameters
    ----------
    n_components, tol, max_iter, ...
        As for :class:`~dfmr_dask.MixtureModel`.

    Attributes
    ----------
    weights_, frequencies_ : ndarrays of shape (K,) and (K, d), heaviest component first
    mixture_, verdict_, partitions_, ...
        As for :class:`~dfmr_dask.MixtureModel`.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask import BernoulliMixture
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.random((200, 9)) < 0.1, rng.random((100, 9)) < 0.8])
    >>> BernoulliMixture(2, random_state=0).fit(X).frequencies_.mean(axis=1).round(1)
    array([0.1, 0.8])
    """

    def _family(self, n_features: int, rows: Any = None) -> Family:
        return Binomial(1)

    def _family_parameters(self, family: Family) -> dict[str, Any]:
        if family == Binomial(1):
            return {}
        raise InvalidMixture(f"a Bernoulli mixture is wanted; its components are {family}")


@dataclass(eq=False, repr=False, kw_only=True)
class PoissonMixture(Settable):
    """Mixture of Poisson columns: counts without an upper end.

    Parameters
    ----------
    n_components, tol, max_iter, ...
        As for :class:`~dfmr_dask.MixtureModel`.

    Attributes
    ----------
    weights_, rates_ : ndarrays of shape (K,) and (K, d), heaviest component first
    mixture_, verdict_, partitions_, ...
        As for :class:`~dfmr_dask.MixtureModel`.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask import PoissonMixture
    >>> rng = np.random.default_rng(0)
    >>> X = np.concatenate([rng.poisson(2.0, (200, 2)), rng.poisson(20.0, (100, 2))])
    >>> PoissonMixture(2, random_state=0).fit(X).rates_.round(0)
    array([[ 2.,  2.],
           [20., 20.]])
    """

    def _family(self, n_features: int, rows: Any = None) -> Family:
        return Poisson()

    def _family_parameters(self, family: Family) -> dict[str, Any]:
        if isinstance(family, Poisson):
            return {}
        raise InvalidMixture(f"a Poisson mixture is wanted; its components are {family}")


@dataclass(eq=False, repr=False, kw_only=True)
class CategoricalMixture(Settable):
    """Mixture of categorical columns, whose entries are levels 0, 1, ...

    Parameters
    ----------
    n_components : int or "auto", default=1
    levels : int or sequence of int, optional
        How many levels all columns have, or each of them. Without it the largest level of each
        column tells, where the data lie in memory; of a store it must be said.
    tol, max_iter, ...
        As for :class:`~dfmr_dask.MixtureModel`.

    Attributes
    ----------
    weights_ : ndarray of shape (K,), heaviest component first
    probabilities_ : ndarray of shape (K, q)
        Of all levels of the first column, then of the second, and so on.
    mixture_, verdict_, partitions_, ...
        As for :class:`~dfmr_dask.MixtureModel`.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask import CategoricalMixture
    >>> rng = np.random.default_rng(0)
    >>> kinds = [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]
    >>> X = np.concatenate([rng.choice(3, (n, 8), p=p) for n, p in zip((200, 100), kinds)])
    >>> model = CategoricalMixture(2, random_state=0).fit(X)
    >>> model.probabilities_.reshape(2, 8, 3).mean(axis=1).round(1)
    array([[0.8, 0.1, 0.1],
           [0.1, 0.1, 0.8]])
    """

    levels: int | Sequence[int] | None = None

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **SHARED,
        "levels": [Interval(Integral, 1, None, closed="left"), "array-like", None],
    }

    def _family(self, n_features: int, rows: Any = None) -> Family:
        if self.levels is not None:
            given = np.asarray(self.levels)
            levels = np.repeat(given, n_features) if given.ndim == 0 else given.ravel()
            if len(levels) != n_features:
                raise ValueError(f"levels has {len(levels)} numbers; wanted {n_features}")
            return Categorical(tuple(int(n) for n in levels))
        if rows is None:
            raise ValueError(
                "levels must be said where data do not lie in memory: how many each column has"
            )
        highest = np.where(np.isfinite(rows), rows, 0).max(axis=0)
        return Categorical(tuple(int(n) + 1 for n in np.maximum(highest, 0)))

    def _family_parameters(self, family: Family) -> dict[str, Any]:
        if isinstance(family, Categorical):
            return {"levels": family.levels}
        raise InvalidMixture(f"a categorical mixture is wanted; its components are {family}")
