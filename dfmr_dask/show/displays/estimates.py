"""A display of who agrees with whom."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Self

from matplotlib.axes import Axes
from sklearn.utils.validation import check_is_fitted

from dfmr_dask.aggregate.estimates import Estimates, collect
from dfmr_dask.aggregate.map import EstimateMap, estimate_map
from dfmr_dask.aggregate.matrix import DistanceMatrix, distance_matrix
from dfmr_dask.show.displays.base import Display, RunPath, check
from dfmr_dask.show.html.found import found_in
from dfmr_dask.show.pictures import estimates


class EstimatesDisplay(Display):
    """Who agrees with whom: local estimates on a plane, and the distances between them.

    Parameters
    ----------
    map : EstimateMap
    matrix : DistanceMatrix
    dropped : collection of int
        Partitions that the filter left out.

    Attributes
    ----------
    ax_ : Axes
    figure_ : Figure
    """

    def __init__(  # noqa: D107
        self, map: EstimateMap, matrix: DistanceMatrix, dropped: Collection[int] = ()
    ) -> None:
        self.map = map
        self.matrix = matrix
        self.dropped = tuple(dropped)

    @classmethod
    def from_estimator(cls, estimator: Any) -> Self:
        """Take the local estimates of a fitted estimator."""
        check_is_fitted(estimator, "messages_")
        verdict = estimator.verdict_
        return cls._of(collect(estimator.messages_)[0], verdict.center, verdict.dropped)

    @classmethod
    def from_run(cls, run: RunPath) -> Self:
        """Take the local estimates of a finished run, judged by it or by one of its aggregates."""
        found = found_in(run)
        center = int(found.partitions.attrs.get("center", -1))
        dropped = [one["id"] for one in found.summary["dropped"]]
        return cls._of(collect(found.messages, found.planned_rows)[0], center, dropped)

    @classmethod
    def _of(cls, said: Estimates, center: int | None, dropped: Collection[int]) -> Self:
        laid = estimate_map(said, center)
        return cls(laid, distance_matrix(said, laid.center, dropped), dropped)

    def plot(self, kind: str = "map", *, ax: Axes | None = None) -> Self:
        """Plot the estimates.

        Parameters
        ----------
        kind : {"map", "matrix"}
        ax : Axes, optional
            New ones by default.

        Returns
        -------
        EstimatesDisplay
        """
        check("kind", kind, ("map", "matrix"))
        if kind == "matrix":
            return self.plotted(estimates.plot_matrix(self.matrix, self.dropped, ax=ax))
        return self.plotted(estimates.plot_estimates(self.map, self.dropped, ax=ax))
