"""What every family of component distributions must be able to do.

A family is one small file. Everything that EM, distances, filter and reduction need follows from
few functions of *stacked parameters*: a mapping from names to arrays whose leading axis counts
components. The families are exponential, so that the M-step and the KL barycentre of weighted
components are one formula, :meth:`Family.from_statistics` of pooled statistics (METHOD: Zhang &
Chen, JMLR 2022, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import InvalidMixture

OBSERVED = "observed"  # in statistics: which share of a group's rows has an entry in a column
Floats = NDArray[np.floating[Any]]
Rows = NDArray[Any]
Params = Mapping[str, NDArray[np.float64]]
Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]
Link = tuple[Function, Function]


class Statistics(NamedTuple):
    """Expected sufficient statistics of several groups of rows, in a form that adds up stably.

    Attributes
    ----------
    count : ndarray of shape (K,)
        Rows (or mass) in each group.
    moments : mapping of names to ndarrays of shape (K, ...)
        What the family needs to know of each group, per unit of mass.
    """

    count: NDArray[np.float64]  # type: ignore[assignment]  # hides tuple.count, which nobody needs
    moments: Params


def observed_share(statistics: Statistics) -> float:
    """Return the share of the rows' entries that are there, in columns where some may be missing.

    Those of a product have the names of its parts before them.
    """
    told = [array for name, array in statistics.moments.items() if name.endswith(OBSERVED)]
    return float(np.concatenate(told, axis=1).mean()) if told else 1.0


class Block(NamedTuple):
    """Variance-stabilised coordinates of one kind of parameter (METHOD, the studentised blocks).

    For rows drawn from the model, each coordinate of an estimate from n rows has variance 1/n
    about the same place, whatever the parameters are.

    Attributes
    ----------
    name : str
        ``"means"``, ``"covariances"``, ...
    coordinates : ndarray of shape (..., K, p), or (..., 1, p) when the components share it
    shared : bool
        One block for all components (``tied``), estimated from all rows of a partition.
    independent : bool
        Columns are estimated independently of each other, so that there may be many more
        coordinates than partitions without any direction in which these spread widest.
    """

    name: str
    coordinates: NDArray[np.float64]
    shared: bool = False
    independent: bool = False


class Family(Protocol):
    """The contract of a family; see ``gaussian.py`` for a complete example.

    ``K`` counts components, ``A`` and ``B`` components of two stacks, ``d`` features, ``n`` rows.
    A family may also have ``chart(center)``, vectors of its parameters for EM to extrapolate in,
    see ``unconstrained.py``.
    """

    @property
    def name(self) -> str:
        """The family's name in :data:`dfmr_dask.families.FAMILIES`."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """Keyword arguments that make this family again, as plain values."""
        ...

    @property
    def needs_spread(self) -> bool:
        """Whether a column that is constant in a partition cannot be fitted there."""
        ...

    @property
    def takes_missing(self) -> bool:
        """Whether entries may be missing: they are left out of sums, and the row stays."""
        ...

    def floats(self, x: Rows) -> NDArray[np.float64]:
        """Return rows of any dtype as float64, NaN where an entry is missing."""
        ...

    def complaint(self, x: Rows) -> str:
        """Say what is wrong with rows that the family cannot have; nothing where all is well."""
        ...

    def usable(self, x: Rows) -> NDArray[np.bool_]:
        """Tell which rows can be fitted, shape (n,)."""
        ...

    def validated(self, params: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
        """Copy ``params`` into read-only float64 arrays, or raise :class:`InvalidMixture`."""
        ...

    def n_features(self, params: Params) -> int:
        """Return the number of columns d of a row."""
        ...

    def n_parameters(self, n_components: int, n_features: int) -> int:
        """Return the number of free parameters of a mixture, weights included."""
        ...

    def min_rows(self, n_components: int, n_features: int) -> int:
        """Return how many rows a fit needs at the very least."""
        ...

    def log_density(self, params: Params, x: Rows) -> NDArray[np.float64]:
        """Log density of each row under each component, shape (n, K)."""
        ...

    def statistics(self, x: Rows, responsibilities: Floats) -> Statistics:
        """Sum up rows (n, d) with weights (n, K)."""
        ...

    def expected_statistics(self, params: Params, count: Floats) -> Statistics:
        """Return what ``count`` rows drawn from each component would sum up to."""
        ...

    def pool(self, statistics: Statistics, groups: Floats) -> Statistics:
        """Add up statistics: ``groups[g, a]`` tells how many times a goes into g."""
        ...

    def pseudo_rows(self, overall: Statistics, strength: float, floor: float) -> Any:
        """Prepare the penalty from a partition's overall statistics (one group).

        Raises
        ------
        DegenerateRows
            When the rows cannot carry a fit, for instance since a column is constant.
        """
        ...

    def penalty(self, params: Params, pseudo_rows: Any) -> float:
        """Return what the penalty takes off the log likelihood."""
        ...

    def from_statistics(self, statistics: Statistics, pseudo_rows: Any = None) -> Params:
        """M-step, with or without penalty, and KL barycentre: one formula."""
        ...

    def kl(self, p: Params, q: Params) -> NDArray[np.float64]:
        """KL(p_a || q_b) in nats, shape (A, B)."""
        ...

    def conjugate(self, params: Params) -> NDArray[np.float64]:
        """F*, the convex conjugate of the log partition function at each component, (K,)."""
        ...

    def log_inner_product(self, p: Params, q: Params) -> NDArray[np.float64]:
        """log of the integral of p_a q_b, shape (A, B)."""
        ...

    def blocks(self, params: Params, center: Params) -> tuple[Block, ...]:
        """Variance-stabilised coordinates of stacks (..., K, ...) at a center (K, ...)."""
        ...

    def feature_blocks(self, params: Params, center: Params) -> tuple[Block, ...]:
        """Blocks (..., K, d or more) in which each coordinate tells of one feature alone.

        Their names are those of one parameter: ``"mean"``, ``"frequency"``.
        """
        ...

    def link(self, name: str) -> Link | None:
        """Return functions to a scale on which a parameter has no bounds, and back from it.

        None where it has none, or where it is a variance or covariance of Gaussians.
        """
        ...

    def expectation(self, params: Params) -> NDArray[np.float64]:
        """Mean of a row under each component, shape (..., K, d)."""
        ...

    def described(self, params: Params) -> dict[str, NDArray[np.float64]]:
        """What a summary tells of each component by name, shapes (..., K, d or more)."""
        ...

    def columns(self, features: list[str]) -> dict[str, list[str]]:
        """What each number of :meth:`described` is about, by the names of the features."""
        ...

    def fisher_coordinates(self, params: Params, center: Params) -> NDArray[np.float64]:
        """Linear coordinates (..., K, p) at a center, in which squared length is 2 KL nearby."""
        ...

    def sample(
        self, params: Params, labels: NDArray[np.intp], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Draw a row (n, d) from the component that each label names."""
        ...


def take(params: Params, index: Any) -> dict[str, NDArray[np.float64]]:
    """Select components (or reorder them) along the leading axis of every array."""
    return {name: array[index] for name, array in params.items()}


def stack(many: list[Params] | tuple[Params, ...]) -> dict[str, NDArray[np.float64]]:
    """Stack parameters of several mixtures of one order: a new leading axis m."""
    return {name: np.stack([params[name] for params in many]) for name in many[0]}


def flatten(stacked: Params) -> dict[str, NDArray[np.float64]]:
    """Merge the two leading axes (m, K) into one of m K components."""
    return {name: array.reshape(-1, *array.shape[2:]) for name, array in stacked.items()}


def read_params(params: Mapping[str, Any], *names: str) -> list[NDArray[np.float64]]:
    """Return read-only copies of the named arrays; raise InvalidMixture unless just these came."""
    if set(params) != set(names):
        raise InvalidMixture(f"parameters are {list(params)}; wanted {list(names)}")
    return [read_only(params[name]) for name in names]


def read_only(array: Any) -> NDArray[np.float64]:
    """Copy into a C-ordered float64 array that nobody can write to, or raise InvalidMixture."""
    try:
        given = np.asarray(array)
    except ValueError as error:
        raise InvalidMixture(
            f"weights and parameters must be arrays of numbers: {error}"
        ) from error
    if given.dtype.kind not in "biuf":
        raise InvalidMixture(f"weights and parameters must be real numbers, not {given.dtype}")
    with np.errstate(over="ignore"):  # what is too large for a double becomes infinite
        copy = np.array(given, dtype=np.float64, order="C")
    copy.flags.writeable = False
    return copy
