"""How sure a merged mixture is: each partition is left out in turn, and nothing is refitted.

A mixture that was merged from m partitions comes with m mixtures merged from all but one of them,
with the same components put together as in the merge of all. How much these differ tells how much
the merged one would differ, had other rows been drawn: for every parameter, and for any function of
the mixture. It takes the partitions' estimates alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.aggregate.caveats import FROM_SAMPLES, NOT_MERGED, ONE_PARTITION, caveats
from dfmr_dask.aggregate.functions import value_of
from dfmr_dask.aggregate.jackknife import (
    LEVEL,
    LOG_ODDS,
    LOGARITHM,
    Jackknifed,
    Scale,
    jackknifed,
)
from dfmr_dask.aggregate.parts import Parts, Pieces
from dfmr_dask.errors import NoStandardErrors
from dfmr_dask.families.base import Params, stack, take
from dfmr_dask.families.factors import factors
from dfmr_dask.families.unconstrained import covered
from dfmr_dask.message import Message
from dfmr_dask.mixture import Mixture

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class StandardErrors:
    """A merged mixture, and the mixtures that are merged without one partition each.

    Attributes
    ----------
    mixture : Mixture
    shares : ndarray of shape (m,)
        Share of all rows that each left-out partition has (or group of them, beyond 1000).
    weights : ndarray of shape (m, K)
        Of the mixtures without one partition; components are numbered as in ``mixture``.
    params : mapping of names to ndarrays of shape (m, K, ...)
    alone : tuple of int
        Components that the estimate of one partition alone stands for: nothing tells how sure
        their means and covariances are.
    notes : tuple of str
        What the errors don't cover.
    """

    mixture: Mixture
    shares: Array
    weights: Array
    params: Params
    alone: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.shares)

    def without(self, i: int) -> Mixture:
        """Return the mixture without the i-th partition, or group."""
        return Mixture(self.mixture.family, self.weights[i], take(self.params, i))

    def of(self, function: Callable[[Mixture], Any], level: float = LEVEL) -> Jackknifed:
        """Return how sure any function of the mixture is.

        Parameters
        ----------
        function : callable
            Takes a Mixture, and returns a number or an array of numbers, of the same shape for all
            mixtures. Components have the same numbers in all of them.
        level : float
            Of the interval.

        Raises
        ------
        NoStandardErrors
            When the function raises, or returns NaN, infinity, another shape, or no numbers.

        Examples
        --------
        >>> from dfmr_dask.aggregate.aggregators import aggregate
        >>> from dfmr_dask.aggregate.uncertainty import standard_errors
        >>> from dfmr_dask.families import DiagonalGaussian
        >>> from dfmr_dask.message import Message
        >>> from dfmr_dask.mixture import Mixture
        >>> def said(i, mean):
        ...     one = {"means": [[mean]], "variances": [[1.0]]}
        ...     return Message(i, "fitted", 100, mixture=Mixture(DiagonalGaussian(), [1.0], one))
        >>> messages = [said(i, 0.1 * i) for i in range(11)]
        >>> found = standard_errors(messages, aggregate(messages, aggregator="vanilla").parts)
        >>> sure = found.of(lambda mixture: mixture.params["means"][0, 0])
        >>> round(float(sure.standard_error), 3)  # their standard deviation over sqrt(11)
        0.1
        """
        value = value_of(function, self.mixture, "the mixture", None)
        many = [
            value_of(function, self.without(i), f"the mixture without part {i}", value.shape)
            for i in range(len(self))
        ]
        return replace(jackknifed(value, np.stack(many), self.shares, level), notes=self.notes)

    def parameters(
        self, level: float = LEVEL, names: Sequence[str] | None = None
    ) -> dict[str, Jackknifed]:
        """Return how sure weights and parameters are, by name, in the shapes of the mixture's.

        Intervals of weights are symmetric in their log odds, those of variances in their
        logarithms, those of frequencies and rates in their natural parameters, so that they stay
        within what is possible. Means and covariances of a component
        that one partition alone stands for are NaN.

        Parameters
        ----------
        level : float
            Of the intervals.
        names : sequence of str, optional
            ``"weights"`` or names of parameters; all of them by default.
        """
        wanted = ("weights", *self.mixture.params) if names is None else names
        return {name: self._parameter(name, level) for name in wanted}

    def _parameter(self, name: str, level: float) -> Jackknifed:
        if name == "weights":
            scale = LOG_ODDS if self.mixture.n_components > 1 else None
            return jackknifed(self.mixture.weights, self.weights, self.shares, level, scale=scale)
        value, without = self.mixture.params[name], self.params[name]
        variances, link = _variances(name, value), self.mixture.family.link(name)
        scale = None if variances is None else LOGARITHM
        scale = scale if link is None else Scale(*link)
        return self._unless_alone(
            jackknifed(value, without, self.shares, level, scale=scale, where=variances)
        )

    def _moved(self, new: Params) -> Params:
        """Let parameters without a partition make the step from those of the mixture to others."""
        old, family = self.mixture.params, self.mixture.family
        if family.needs_spread or not covered(family):
            return {name: _moved(name, a, old[name], new[name]) for name, a in self.params.items()}
        chart: Any = getattr(family, "chart")(old)  # noqa: B009  # what not every family has
        step = chart.vectors(new) - chart.vectors(old)
        return stack(
            [chart.params(chart.vectors(take(self.params, i)) + step) for i in range(len(self))]
        )

    def _unless_alone(self, one: Jackknifed) -> Jackknifed:
        if not self.alone:
            return one
        arrays = {}
        for name in ("standard_error", "lower", "upper", "corrected"):
            arrays[name] = getattr(one, name).copy()
            arrays[name][list(self.alone)] = np.nan
        return replace(one, **arrays)

    def recentered(self, mixture: Mixture, *notes: str) -> StandardErrors:
        """Return the same errors around another mixture, component by component.

        An EM iteration over all rows from an average of local estimates moves the average by what
        is mostly bias: to first order its sampling error stays what it was. So each mixture
        without a partition makes the step that the merged one made: a shift of means, a congruence
        of covariances, a factor of variances and weights, a shift of natural parameters.

        Parameters
        ----------
        mixture : Mixture
            Of the same family; its components are numbered as here.
        *notes : str
            To add.
        """
        weights = self.weights * (mixture.weights / self.mixture.weights)
        params = self._moved(mixture.params)
        return replace(
            self,
            mixture=mixture,
            weights=weights / weights.sum(axis=1, keepdims=True),
            params=params,
            notes=(*self.notes, *notes),
        )


def standard_errors(
    messages: Sequence[Message], parts: Parts | None, mixture: Mixture | None = None
) -> StandardErrors:
    """Merge all but one of the partitions, for each of them, as all of them were merged.

    Parameters
    ----------
    messages : sequence of Message
    parts : Parts or None
        Of an :class:`~dfmr_dask.aggregate.aggregators.Aggregation` of these messages.
    mixture : Mixture, optional
        What EM passes over the rows made of the merged mixture: the errors are laid around it.

    Raises
    ------
    NoStandardErrors
        When fewer than two partitions were merged, or the mixture is no average of what partitions
        say.

    References
    ----------
    EVIDENCE 10: the delete-one-partition jackknife with fixed assignment.
    """
    if parts is None:
        raise NoStandardErrors(NOT_MERGED)
    if len(parts.ids) < 2:
        raise NoStandardErrors(ONE_PARTITION)
    said = {message.partition: message.mixture for message in messages}
    mixtures = [one for i in parts.ids if (one := said[int(i)]) is not None]
    along = np.arange(len(mixtures))[:, None], parts.order
    weights = np.stack([one.weights for one in mixtures])[along]
    params = take(stack([one.params for one in mixtures]), along)
    pieces = Pieces.of(mixtures[0].family, weights, params, parts)
    without = [pieces.mixture(i) for i in range(len(pieces.rows))]
    whole, alone = Mixture(pieces.family, *pieces.mixture()), pieces.alone()
    found = StandardErrors(
        whole,
        pieces.rows / pieces.rows.sum(),
        np.stack([one for one, _ in without]),
        stack([one for _, one in without]),
        alone,
        tuple(caveats(parts, alone, polished=mixture is not None)),
    )
    return found if mixture is None else found.recentered(mixture)


def reported_errors(
    messages: Sequence[Message], parts: Parts | None, mixture: Mixture, chosen: str, passes: int
) -> StandardErrors | NoStandardErrors:
    """Return the standard errors of the mixture that is reported, or why it has none.

    Parameters
    ----------
    messages : sequence of Message
    parts : Parts or None
        What the aggregate was merged from.
    mixture : Mixture
        What is reported, its components numbered as the aggregate's.
    chosen : {"aggregate", "polished", "start", "center"}
        What the check at the end let stand.
    passes : int
        How many polishing passes over the rows were taken from there.
    """
    if chosen in ("start", "center"):
        return NoStandardErrors(
            f"the check kept the {chosen}, which is no average of what partitions say; merge their "
            "estimates alone (dfmr aggregate) to see how sure these are"
        )
    try:
        found = standard_errors(
            messages, parts, mixture if passes or chosen == "polished" else None
        )
    except NoStandardErrors as reason:
        return reason
    notes = (*found.notes, FROM_SAMPLES) if chosen == "polished" else found.notes
    if parts is not None and parts.entries is not None:
        found = found.recentered(mixture)  # in which gaps were filled before the last verdict
    return replace(found, mixture=mixture, notes=notes)  # to the bit what is reported


def _moved(name: str, without: Array, old: Array, new: Array) -> Array:
    """Let parameters without a partition make the step from old to new ones."""
    if name == "covariances":
        step = factors(new)[0] @ factors(old)[1]
        return np.asarray(step @ without @ step.swapaxes(-1, -2))
    return without * (new / old) if name == "variances" else without + (new - old)


def _variances(name: str, value: Array) -> Mask | None:
    """Mark variances among the parameters of a name, if there are any."""
    name = name.rpartition("_")[2]  # what stands before tells the part of a product
    if name == "variances":
        return np.ones(value.shape, dtype=bool)
    if name == "covariances":
        return np.broadcast_to(np.eye(value.shape[-1], dtype=bool), value.shape)
    return None
