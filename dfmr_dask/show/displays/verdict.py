"""A display of what became of the partitions."""

from __future__ import annotations

from typing import Any, Self

import xarray as xr
from matplotlib.axes import Axes
from sklearn.utils.validation import check_is_fitted

from dfmr_dask.show.displays.base import Display, RunPath, check, require
from dfmr_dask.show.html.found import found_in
from dfmr_dask.show.pictures import deviations, partitions


class VerdictDisplay(Display):
    """What became of the partitions, and why.

    Parameters
    ----------
    table : xarray.Dataset
        Of partitions, as ``partitions_`` of an estimator has it.

    Attributes
    ----------
    ax_ : Axes
    figure_ : Figure

    Examples
    --------
    >>> import matplotlib
    >>> matplotlib.use("agg")
    >>> import numpy as np
    >>> from dfmr_dask import GaussianMixture, VerdictDisplay
    >>> X = np.random.default_rng(0).normal(size=(1200, 1))
    >>> model = GaussianMixture(n_partitions=12, random_state=0).fit(X)
    >>> VerdictDisplay.from_estimator(model).plot("distances").ax_.get_xlabel()
    'partitions, closest first'
    """

    def __init__(self, table: xr.Dataset) -> None:  # noqa: D107
        self.table = table

    @classmethod
    def from_estimator(cls, estimator: Any) -> Self:
        """Take the partitions of a fitted estimator."""
        check_is_fitted(estimator, "partitions_")
        return cls(estimator.partitions_)

    @classmethod
    def from_run(cls, run: RunPath) -> Self:
        """Take the partitions of a finished run, or of one of its aggregates."""
        return cls(found_in(run).partitions)

    def plot(
        self,
        kind: str = "order",
        *,
        gate: str | None = None,
        dim: str | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Plot one of the pictures of partitions.

        Parameters
        ----------
        kind : {"order", "along", "map", "distances", "deviations"}
            A cell for each partition in its order; distances along a dimension of the source; a
            map over its last two dimensions; sorted distances of a gate, with its cut-off; what
            deviates in those that were dropped.
        gate : str, optional
            Of the distances; the first one by default.
        dim : str, optional
            Along which; the partitions in their order by default.
        ax : Axes, optional
            New ones by default.

        Returns
        -------
        VerdictDisplay

        Raises
        ------
        ValueError
            When there is no such picture of these partitions.
        """
        return self.plotted(self._drawn(kind, gate, dim, ax))

    def _drawn(self, kind: str, gate: str | None, dim: str | None, ax: Axes | None) -> Axes:
        gates, dims = partitions.gates_of(self.table), partitions.varying(self.table)
        check("kind", kind, ("order", "along", "map", "distances", "deviations"))
        if kind == "order":
            return partitions.plot_order(self.table, ax=ax)
        if kind in ("along", "distances"):
            require(gates, f"kind={kind!r}: nothing was filtered, so that there are no distances")
        if kind == "along":
            if dim is not None:
                check("dim", dim, ("partition", *dims))
            return partitions.plot_along(self.table, dim, ax=ax)
        if kind == "distances":
            if gate is not None:
                check("gate", gate, gates)
            return partitions.plot_distances(self.table, gate, ax=ax)
        if kind == "map":
            require(len(dims) > 1, f"kind='map' needs partitions on two dimensions; came {dims}")
            return partitions.plot_map(self.table, ax=ax)
        found = deviations.most_deviating(self.table)
        require(len(found.partitions), "kind='deviations': no partition was dropped")
        return deviations.plot_deviations(found, ax=ax)
