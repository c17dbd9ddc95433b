"""Displays of the mixture, and of how well it fits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from dfmr_dask.aggregate.goodness import GoodnessOfFit, goodness_of_fit
from dfmr_dask.aggregate.uncertainty import StandardErrors
from dfmr_dask.errors import InvalidSource
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.show.displays.base import Display, RunPath, check, require
from dfmr_dask.show.html.found import found_in
from dfmr_dask.show.pictures import mixture
from dfmr_dask.show.pictures.goodness import plot_goodness


class MixtureDisplay(Display):
    """The mixture itself, how sure it is, and rows of a sample behind it.

    Parameters
    ----------
    mixture : Mixture
    features : sequence of str, optional
        What they are called.
    errors : StandardErrors, optional
    rows : ndarray of shape (n, d), optional

    Attributes
    ----------
    ax_ : Axes
    figure_ : Figure

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import numpy as np
    >>> from dfmr_dask import GaussianMixture, MixtureDisplay
    >>> X = np.random.default_rng(0).normal(size=(300, 1))
    >>> model = GaussianMixture(random_state=0).fit(X)
    >>> MixtureDisplay.from_estimator(model, X).plot().ax_.get_ylabel()
    'density'
    """

    def __init__(  # noqa: D107
        self,
        mixture: Mixture,
        features: Sequence[str] | None = None,
        errors: StandardErrors | None = None,
        rows: NDArray[np.float64] | None = None,
    ) -> None:
        self.mixture = mixture
        self.features = features
        self.errors = errors
        self.rows = rows

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any = None) -> Self:
        """Take the mixture of a fitted estimator, and rows X (n_samples, n_features) to show."""
        check_is_fitted(estimator)
        errors = getattr(estimator, "errors_", None)
        names = getattr(estimator, "feature_names_in_", None)
        known = errors if isinstance(errors, StandardErrors) else None
        rows = None if X is None else _table(X, estimator.mixture_)
        return cls(estimator.mixture_, None if names is None else [*map(str, names)], known, rows)

    @classmethod
    def from_run(cls, run: RunPath) -> Self:
        """Take the mixture of a finished run, or of one of its aggregates, and its sample."""
        found = found_in(run)
        return cls(found.mixture, found.features, found.errors, found.rows)

    def plot(
        self,
        kind: str = "components",
        *,
        pair: tuple[int, int] | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Plot the components along two features, the density along the only one, or weights.

        Parameters
        ----------
        kind : {"components", "weights"}
        pair : two ints, optional
            Numbers of the features; those that tell the components apart best by default.
        ax : Axes, optional
            New ones by default.

        Returns
        -------
        MixtureDisplay
        """
        check("kind", kind, ("components", "weights"))
        if kind == "weights":
            return self.plotted(mixture.plot_weights(self.mixture, errors=self.errors, ax=ax))
        if "means" not in self.mixture.params:
            raise ValueError(f"kind='components' is for Gaussians, not {self.mixture.family.name}")
        told: dict[str, Any] = {"errors": self.errors, "rows": self.rows, "ax": ax}
        if self.mixture.n_features == 1:
            name = "x0" if self.features is None else self.features[0]
            return self.plotted(mixture.plot_density(self.mixture, name, **told))
        return self.plotted(mixture.plot_components(self.mixture, pair, self.features, **told))


class GoodnessOfFitDisplay(Display):
    """How well rows fit the mixture: quantiles of their log densities beside its own rows'.

    Parameters
    ----------
    goodness : GoodnessOfFit

    Attributes
    ----------
    ax_ : Axes
    figure_ : Figure

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask import GaussianMixture, GoodnessOfFitDisplay
    >>> X = np.random.default_rng(0).normal(size=(600, 1))
    >>> model = GaussianMixture(random_state=0).fit(X[:300])
    >>> GoodnessOfFitDisplay.from_estimator(model, X[300:]).goodness.fits
    True
    """

    def __init__(self, goodness: GoodnessOfFit) -> None:  # noqa: D107
        self.goodness = goodness

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, random_state: int = 0) -> Self:
        """Compare rows X (n_samples, n_features) with rows drawn from a fitted estimator."""
        check_is_fitted(estimator)
        rows = _table(X, estimator.mixture_)
        rng = generator(random_state, Stage.FIT_PICTURE)
        return cls(goodness_of_fit(estimator.mixture_, rows, rng))

    @classmethod
    def from_run(cls, run: RunPath, *, random_state: int = 0) -> Self:
        """Compare the sample of a finished run with rows drawn from its mixture.

        Raises
        ------
        InvalidSource
            When the run kept no sample of rows.
        """
        found = found_in(run)
        if found.rows is None:
            raise InvalidSource(
                f"{os.fspath(run)} has no sample of rows of the partitions that were kept; run it "
                "with run.sample_rows above 0, or give rows to from_estimator"
            )
        rng = generator(random_state, Stage.FIT_PICTURE)
        return cls(goodness_of_fit(found.mixture, found.rows, rng))

    def plot(self, *, ax: Axes | None = None) -> Self:
        """Plot the quantiles.

        Parameters
        ----------
        ax : Axes, optional
            New ones by default.

        Returns
        -------
        GoodnessOfFitDisplay
        """
        return self.plotted(plot_goodness(self.goodness, ax=ax))


def _table(X: Any, mixture: Mixture) -> NDArray[np.float64]:
    """Return rows without NaN as an array, or raise."""
    rows = np.asarray(X, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != mixture.n_features:
        raise ValueError(f"X has shape {rows.shape}; wanted (rows, {mixture.n_features})")
    rows = rows[np.isfinite(rows).all(axis=1)]
    require(len(rows), "X has no row without NaN or infinity")
    return rows
