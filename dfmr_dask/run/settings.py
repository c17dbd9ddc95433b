"""The settings of a run, as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from dfmr_dask.aggregate.aggregators import AGGREGATORS, rule_named
from dfmr_dask.aggregate.component_filter import check_rule
from dfmr_dask.aggregate.filtering import GATES
from dfmr_dask.aggregate.gates import UNITS, Rule
from dfmr_dask.corruption import Corruption
from dfmr_dask.families.base import Family
from dfmr_dask.local.start import STARTS
from dfmr_dask.mixture import Mixture

METHODS = ("blocks", "paper")
WEIGHTS = ("shared", "free")
WORK_DTYPES = ("float64", "float32")
PLACES = ("flag", "drop", "ignore")
AUTO, MAX_COMPONENTS = "auto", 10  # n_components that is chosen, and the most that it may be


@dataclass(frozen=True, slots=True)
class OrderSettings:
    """How the number of components is chosen.

    Parameters
    ----------
    max_components : int
        The largest that is tried.
    min_gain : float, optional
        Nats a row that a further component must bring; without it the BIC alone chooses.

    Raises
    ------
    ValueError
        When a value is out of range.
    """

    max_components: int = MAX_COMPONENTS
    min_gain: float | None = None

    def __post_init__(self) -> None:
        _check_positive("max_components", self.max_components, at_least=1)
        if self.min_gain is not None:
            _check_positive("min_gain", self.min_gain, at_least=0.0)


def order_settings(
    n_components: int | str, max_components: int = MAX_COMPONENTS, min_gain: float | None = None
) -> dict[str, Any]:
    """Return the settings that say the order: a number, or how one is chosen for ``"auto"``.

    Raises
    ------
    ValueError
        When it is neither.

    Examples
    --------
    >>> from dfmr_dask.run.settings import order_settings
    >>> order_settings(3)
    {'n_components': 3}
    >>> order_settings("auto", 6)["selection"]
    OrderSettings(max_components=6, min_gain=None)
    """
    if n_components == AUTO:
        return {"n_components": 1, "selection": OrderSettings(max_components, min_gain)}
    if isinstance(n_components, str):
        raise ValueError(f"n_components={n_components!r}; wanted a number, or {AUTO!r}")
    return {"n_components": n_components}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a mixture is fitted and aggregated.

    Parameters
    ----------
    family : Family
    n_components : int
        The order K.
    tol : float
        EM stops when an iteration gains less than this, in nats a row.
    reg_covar : float
        Smallest eigenvalue of a covariance in units of the partition's variances.
    max_iter : int
        EM iterations a partition.
    n_init : int
        Starts that each proposal is the best of.
    init_params : {"overfit", "k-means++", "kmeans", "random"}
    start : Mixture, optional
        Where every partition starts; nothing is voted on then.
    method : {"blocks", "paper"}
        ``paper``: own starts, own penalty, L² and rho.
    weights : {"shared", "free"}
        ``free`` where honest partitions may differ in their weights.
    gates : tuple of {"blocks", "center", "ctd", "fisher", "l2"}, optional
    rho : float, optional
    unit : {"partition", "component"}
        ``component`` judges each component of each partition on its own, for failures that hit
        components and not partitions; weak against collusion, and never certified.
    aggregator : {"dfmr", "vanilla", "coat", "trim", "oracle"}
    compare : tuple of aggregators
        Computed beside, from the same messages.
    polish : int
        EM passes over all rows of the kept partitions after the aggregation, each filtered again.
    seed : int
    corruption : Corruption, optional
        Simulates Byzantine partitions.
    outliers : float, optional
        Rows further than so many robust spreads from their partition's median are left out.
    dtype_work : {"float64", "float32"}
        ``float32`` climbs in single precision as far as that can tell, and ends in double.
    selection : OrderSettings, optional
        How the order is chosen from the samples; ``n_components`` is 1 until it is.
    shared_components : bool
        Partitions have all but their weights in common, as the likeness of the pieces told: local
        fits lean on the common start in components of which they have few rows.
    places : {"flag", "drop", "ignore"}
        What is done about pieces of an ``auto`` plan that fit better at other places than at their
        own: they are told, left out of interleaved partitions as well, or not looked for.
    sample_rows : int
        Rows of the kept partitions that are taken for pictures; they change no result.

    Raises
    ------
    ValueError
        When a value is not among those allowed; the text names it.
    """

    family: Family
    n_components: int
    tol: float = 1e-6
    reg_covar: float = 1e-6
    max_iter: int = 500
    n_init: int = 2
    init_params: str = "overfit"
    start: Mixture | None = None
    method: str = "blocks"
    weights: str = "shared"
    gates: tuple[str, ...] | None = None
    rho: float | None = None
    unit: str = "partition"
    aggregator: str = "dfmr"
    compare: tuple[str, ...] = ()
    polish: int = 0
    seed: int = 0
    corruption: Corruption | None = None
    outliers: float | None = None
    dtype_work: str = "float64"
    selection: OrderSettings | None = None
    places: str = "flag"
    shared_components: bool = False
    sample_rows: int = 0

    def __post_init__(self) -> None:
        _check_choice("init_params", self.init_params, STARTS)
        _check_choice("method", self.method, METHODS)
        _check_choice("weights", self.weights, WEIGHTS)
        _check_choice("unit", self.unit, UNITS)
        _check_choice("aggregator", self.aggregator, AGGREGATORS)
        _check_choice("dtype_work", self.dtype_work, WORK_DTYPES)
        _check_choice("places", self.places, PLACES)
        for gate in self.gates or ():
            _check_choice("gates", gate, GATES)
        for name in self.compare:
            _check_choice("compare", name, AGGREGATORS)
        for name in ("n_components", "max_iter", "n_init"):
            _check_positive(name, getattr(self, name), at_least=1)
        for name in ("tol", "reg_covar", "polish", "sample_rows"):
            _check_positive(name, getattr(self, name), at_least=0)
        if self.outliers is not None and not self.outliers > 0.0:
            raise ValueError(f"outliers={self.outliers!r}; wanted more than 0, or None")
        if self.rho is not None and self.rho < 1.0:
            raise ValueError(f"rho={self.rho}: the ball around the center already has rho = 1")
        if self.unit == "component":
            check_rule(self.family, self.rule)
        if self.corruption is not None:
            most = self.selection.max_components if self.selection else self.n_components
            self.corruption.check_order(most)
        if self.selection is not None and self.start is not None:
            raise ValueError("a start has an order; wanted none beside n_components='auto'")
        if self.corruption is None and "oracle" in (self.aggregator, *self.compare):
            raise ValueError("the oracle exists in simulations only: it needs a corruption")

    @property
    def rule(self) -> Rule:
        """How the aggregation filters."""
        return replace(rule_named(self.method, self.weights, self.gates, self.rho), unit=self.unit)


def _check_choice(name: str, value: str, allowed: Iterable[str]) -> None:
    names = tuple(allowed)
    if value not in names:
        raise ValueError(f"{name}={value!r}; allowed are {', '.join(map(repr, names))}")


def _check_positive(name: str, value: float, *, at_least: float) -> None:
    if isinstance(value, bool) or not value >= at_least:
        raise ValueError(f"{name}={value!r}; wanted a number, at least {at_least}")
