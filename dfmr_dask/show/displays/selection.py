"""A display of how the number of components was chosen."""

from __future__ import annotations

import os
from typing import Any, Self

import xarray as xr
from matplotlib.axes import Axes
from sklearn.utils.validation import check_is_fitted

from dfmr_dask.errors import InvalidSource
from dfmr_dask.selection.curve import Selection
from dfmr_dask.show.displays.base import Display, RunPath, check
from dfmr_dask.show.html.found import found_in
from dfmr_dask.show.pictures import selection

NO_CURVE = "the number of components was given; fit with n_components='auto' to see a curve"


class SelectionDisplay(Display):
    """The curve that the number of components was chosen from.

    Parameters
    ----------
    selection : Selection

    Attributes
    ----------
    ax_ : Axes
    figure_ : Figure
    """

    def __init__(self, selection: Selection) -> None:  # noqa: D107
        self.selection = selection

    @classmethod
    def from_estimator(cls, estimator: Any) -> Self:
        """Take the curve of an estimator that was fitted with ``n_components="auto"``."""
        check_is_fitted(estimator, "selection_", msg=f"%(name)s: {NO_CURVE}")
        return cls(_curve(estimator.selection_, estimator.min_gain))

    @classmethod
    def from_run(cls, run: RunPath) -> Self:
        """Take the curve of a finished run that chose its number of components.

        Raises
        ------
        InvalidSource
            When it did not choose any.
        """
        found = found_in(run).selection
        if found is None:
            raise InvalidSource(f"{os.fspath(run)}: {NO_CURVE}")
        return cls(found)

    def plot(self, kind: str = "bic", *, ax: Axes | None = None) -> Self:
        """Plot the criterion, or what each component gains.

        Parameters
        ----------
        kind : {"bic", "gains"}
        ax : Axes, optional
            New ones by default.

        Returns
        -------
        SelectionDisplay
        """
        check("kind", kind, ("bic", "gains"))
        draw = selection.plot_criterion if kind == "bic" else selection.plot_gains
        return self.plotted(draw(self.selection, ax=ax))


def _curve(table: xr.Dataset, min_gain: float | None) -> Selection:
    """Return the curve that a table tells."""
    names = ("score", "gain", "gain_error", "n_parameters")
    scores, gains, errors, parameters = (table[name].values for name in names)
    return Selection(
        tuple(int(k) for k in table["n_components"].values), scores, gains, errors, parameters,
        int(table.attrs["rows"]), table["bic"].values, table["aic"].values,
        table["bic_error"].values, int(table.attrs["chosen"]), str(table.attrs["reason"]), min_gain,
    )  # fmt: skip
