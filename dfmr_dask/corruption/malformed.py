"""Estimates that are none: what a broken or hostile partition may send in place of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfmr_dask.mixture import Mixture

HUGE_ORDER = 1000  # components of an estimate that is far too large

Raw = tuple[Any, dict[str, Any]]  # weights and parameters as they are sent


@dataclass(frozen=True, slots=True, eq=False)
class Forged:
    """A value that its own constructor would refuse.

    Sent to another process it says that it is what it is not, as a hostile task would; the
    constructor that rebuilds it there is what refuses it.

    Attributes
    ----------
    kind : callable
        The constructor of what it claims to be.
    arguments : tuple
        Forged values among them are rebuilt first.

    Examples
    --------
    >>> from dfmr_dask.corruption import Forged
    >>> from dfmr_dask.message import Message
    >>> Forged(Message, (-1, "failed")).opened()
    Traceback (most recent call last):
    dfmr_dask.errors.InvalidMessage: partition is -1; wanted a whole number, not negative
    """

    kind: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        """Look like the real thing on the wire."""
        return self.kind, self.arguments

    def opened(self) -> Any:
        """Rebuild it as its receiver would; raises what the constructor raises."""
        return self.kind(
            *(one.opened() if isinstance(one, Forged) else one for one in self.arguments)
        )


def forged(mixture: Mixture, turn: int) -> Mixture | Forged:
    """Return a malformed estimate, another one each turn.

    Some are mixtures by themselves, of another order or dimension than everybody else's.
    """
    make = tuple(MALFORMED.values())[turn % len(MALFORMED)]
    weights, params = make(mixture)
    try:
        return Mixture(mixture.family, weights, params)
    except ValueError:
        return Forged(Mixture, (mixture.family, weights, params))


def _weights(change: Callable[[Any], Any]) -> Callable[[Mixture], Raw]:
    """Spoil the weights."""
    return lambda mixture: (change(mixture.weights), dict(mixture.params))


def _means(change: Callable[[Any], Any]) -> Callable[[Mixture], Raw]:
    """Spoil the means, or whatever parameters the family has first."""

    def make(mixture: Mixture) -> Raw:
        params = dict(mixture.params)
        name = next(iter(params))
        return mixture.weights, {**params, name: change(params[name])}

    return make


def _spread(change: Callable[[Any], Any]) -> Callable[[Mixture], Raw]:
    """Spoil the covariances, or variances, or whatever parameters the family has last."""

    def make(mixture: Mixture) -> Raw:
        params = dict(mixture.params)
        name = list(params)[-1]
        return mixture.weights, {**params, name: change(params[name])}

    return make


def _first(value: float) -> Callable[[Any], Any]:
    """Put a value in the place of the first number."""

    def change(array: Any) -> Any:
        out = np.array(array)
        out.flat[0] = value
        return out

    return change


def _asymmetric(array: Any) -> Any:
    """Tilt the matrices; variances, and matrices of one row, become negative instead."""
    if array.ndim < 3 or array.shape[-1] < 2:
        return -array
    out = np.array(array)
    out[:, 0, 1] += 0.5 * out[:, 0, 0]
    return out


def _other_order(mixture: Mixture) -> Raw:
    """Repeat the first component many times: a mixture, of an order that nobody asked for."""
    params = {name: np.repeat(a[:1], HUGE_ORDER, axis=0) for name, a in mixture.params.items()}
    return np.full(HUGE_ORDER, 1.0 / HUGE_ORDER), params


def _other_dimension(mixture: Mixture) -> Raw:
    """Say every feature, and one more: a mixture of rows that nobody has."""
    if "means" not in mixture.params:
        wider = {n: np.concatenate([a, a[:, :1]], axis=1) for n, a in mixture.params.items()}
        return mixture.weights, wider
    order, d = mixture.params["means"].shape
    params: dict[str, Any] = {"means": np.zeros((order, d + 1))}
    if "covariances" in mixture.params:
        params["covariances"] = np.repeat(np.eye(d + 1)[None], order, axis=0)
    else:
        params["variances"] = np.ones((order, d + 1))
    return mixture.weights, params


MALFORMED: Mapping[str, Callable[[Mixture], Raw]] = {
    "nan": _means(_first(np.nan)),
    "infinity": _means(_first(np.inf)),
    "negative weight": _weights(lambda w: np.append(w[:-1] + 2.0 / len(w), w[-1] - 2.0)),
    "weights that sum to 2": _weights(lambda w: 2.0 * w),
    "nan weight": _weights(_first(np.nan)),
    "not positive definite": _spread(lambda c: -c),
    "singular": _spread(np.zeros_like),
    "asymmetric": _spread(_asymmetric),
    "wrong shape": _means(np.ravel),
    "missing components": _means(lambda m: np.concatenate([m, m])),
    "wrong dimension": _other_dimension,
    "huge order": _other_order,
    "huge numbers": _means(_first(1e300)),
    "text": _means(lambda m: m.astype(str)),
    "complex numbers": _spread(lambda c: c + 1j),
    "nothing": lambda mixture: (np.empty(0), {}),
}
