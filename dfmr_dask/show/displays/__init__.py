"""Displays of what a fit has found, in the manner of scikit-learn's: made once, plotted at will.

Each draws the same pictures as the report of a run. ``from_estimator`` takes a fitted estimator,
``from_run`` the folder of a finished run; ``plot`` returns the display, with the axes in ``ax_``
and their figure in ``figure_``.
"""

from dfmr_dask.show.displays.estimates import EstimatesDisplay
from dfmr_dask.show.displays.mixture import GoodnessOfFitDisplay, MixtureDisplay
from dfmr_dask.show.displays.selection import SelectionDisplay
from dfmr_dask.show.displays.verdict import VerdictDisplay

__all__ = [
    "EstimatesDisplay",
    "GoodnessOfFitDisplay",
    "MixtureDisplay",
    "SelectionDisplay",
    "VerdictDisplay",
]
