"""What a fitted mixture answers: labels, probabilities, scores, new rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from dask.base import compute
from numpy.typing import NDArray
from sklearn.base import DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from dfmr_dask.data.features import Expected
from dfmr_dask.errors import InvalidSource
from dfmr_dask.estimator.inputs import is_table, opened
from dfmr_dask.estimator.shown import Shown
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run.labelling import labels, log_density, posterior

FLOATS = (np.float64, np.float32)


class Answers(DensityMixin, Shown):  # type: ignore[misc]
    """Predictions of an estimator with a fitted ``mixture_``.

    NumPy and pandas input is answered at once, with NumPy arrays, and NaN or infinity raises, as
    in scikit-learn. For Dask, xarray, Zarr, paths and sources answers are lazy, on the grid or
    index of the input, and rows with NaN or infinity get the label -1 and NaN. Where entries may be
    missing, NaN is one that is, everywhere: the others of its row answer.
    """

    mixture_: Mixture
    random_state: Any

    def predict(self, X: Any) -> Any:
        """Return the most probable component of each row: integers of shape (n_samples,).

        Lazy answers are int16, with ``flag_values`` and ``_FillValue`` -1 on xarray.
        """
        answer = self._ask(labels, X)
        return answer.astype(np.intp) if isinstance(answer, np.ndarray) else answer

    def predict_proba(self, X: Any) -> Any:
        """Return the posterior probability of each component, shape (n_samples, n_components)."""
        return self._ask(posterior, X)

    def score_samples(self, X: Any) -> Any:
        """Return the log density of each row in nats, shape (n_samples,)."""
        return self._ask(log_density, X)

    def score(self, X: Any, y: None = None) -> float:
        """Return the mean log density a row in nats, over rows without NaN; this one computes."""
        total, rows = self._log_likelihood(X)
        return total / rows

    def aic(self, X: Any) -> float:
        """Return Akaike's criterion on rows X: the lower the better."""
        total, _ = self._log_likelihood(X)
        return 2.0 * self.mixture_.n_parameters - 2.0 * total

    def bic(self, X: Any) -> float:
        """Return the Bayesian information criterion on rows X: the lower the better."""
        total, rows = self._log_likelihood(X)
        return float(self.mixture_.n_parameters * np.log(rows) - 2.0 * total)

    def sample(self, n_samples: int = 1) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Draw rows (n_samples, n_features) and the components (n_samples,) that they come from.

        Raises
        ------
        ValueError
            When ``n_samples`` is below 1.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"n_samples = {n_samples}; at least one row must be drawn")
        rows, drawn = self.mixture_.sample(n_samples, generator(self._seed(), Stage.DRAW))
        order = np.argsort(drawn, kind="stable")  # by component, as scikit-learn returns them
        return rows[order], drawn[order]

    def _seed(self) -> int:
        """Return the seed that ``random_state`` stands for."""
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _accepted(self) -> dict[str, Any]:
        """Return what scikit-learn's validation of a table is told."""
        return {"dtype": FLOATS}

    def _ask(self, question: Callable[..., Any], X: Any) -> Any:
        check_is_fitted(self)
        if is_table(X):
            return question(self.mixture_, validate_data(self, X, reset=False, **self._accepted()))
        names = getattr(self, "feature_names_in_", None)
        known = None if names is None else tuple(map(str, names))
        data, features = opened(X, Expected(self.mixture_.n_features, known))
        return question(self.mixture_, data, features=features)

    def _log_likelihood(self, X: Any) -> tuple[float, int]:
        """Sum of log densities over rows without NaN, and how many these are."""
        values = self.score_samples(X)
        if isinstance(values, np.ndarray):
            return float(values.sum()), len(values)
        if isinstance(values, da.Array):
            both = da.nansum(values), (~da.isnan(values)).sum()
        else:
            both = values.sum(), values.count()
        total, rows = compute(*both)
        if not rows:
            raise InvalidSource("there is no row without NaN or infinity to score")
        return float(total), int(rows)
