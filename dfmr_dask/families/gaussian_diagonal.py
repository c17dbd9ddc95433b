"""Gaussian components with a variance a feature (``diag``) or one variance (``spherical``).

Features are independent given the component, so that entries may be missing (NaN): they are left
out of sums entry by entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import InvalidMixture
from dfmr_dask.families.base import OBSERVED, Block, Floats, Params, Rows, Statistics, read_params
from dfmr_dask.families.gaussian import LOG_2PI, marginal_blocks, marginal_variances
from dfmr_dask.families.pooling import group_blocks
from dfmr_dask.families.ranges import (
    check_means,
    check_observed,
    check_spread,
    check_variances,
    known_rows,
)
from dfmr_dask.families.unconstrained import GaussianChart, chart_at

TINY = float(np.finfo(np.float64).tiny)


class PseudoRows(NamedTuple):
    """2a rows of the partition's own variances a component, and the floor in their units."""

    strength: float  # a
    variances: NDArray[np.float64]  # (d,)
    floor: float  # smallest variance in units of these
    mean: NDArray[np.float64]  # (d,), of a component that has no entry in a column


@dataclass(frozen=True, slots=True)
class DiagonalGaussian:
    """Gaussian components; parameters ``means`` (K, d) and ``variances`` (K, d).

    Parameters
    ----------
    spherical : bool
        One variance for all features of a component, stored d times so that stacks look alike.

    Notes
    -----
    The M-step is that of :class:`Gaussian`, restricted to the diagonal (Chen & Tan, 2009). NaN is
    an entry that is missing; a row without any entry is none.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> DiagonalGaussian(spherical=True).n_parameters(3, 2)
    11
    """

    spherical: bool = False

    needs_spread: ClassVar[bool] = True
    takes_missing: ClassVar[bool] = True

    @property
    def name(self) -> str:  # noqa: D102
        return "diagonal_gaussian"

    @property
    def options(self) -> Mapping[str, Any]:  # noqa: D102
        return {"spherical": self.spherical}

    def floats(self, x: Rows) -> NDArray[np.float64]:  # noqa: D102
        return x.astype(np.float64, copy=False)

    def complaint(self, x: Rows) -> str:  # noqa: D102
        return ""

    def usable(self, x: Rows) -> NDArray[np.bool_]:  # noqa: D102
        return known_rows(x)

    def n_features(self, params: Params) -> int:  # noqa: D102
        return int(params["means"].shape[-1])

    def n_parameters(self, n_components: int, n_features: int) -> int:  # noqa: D102
        variances = 1 if self.spherical else n_features
        return n_components - 1 + n_components * (n_features + variances)

    def min_rows(self, n_components: int, n_features: int) -> int:  # noqa: D102
        return n_components + 1

    def validated(self, params: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:  # noqa: D102
        means, variances = read_params(params, "means", "variances")
        check_means(means)
        if variances.shape != means.shape:
            raise InvalidMixture(
                f"variances have shape {variances.shape}; means have {means.shape}, wanted the same"
            )
        check_variances(variances)
        if self.spherical and not np.allclose(variances, variances[:, :1], rtol=1e-9, atol=0.0):
            raise InvalidMixture("spherical variances differ between features")
        return {"means": means, "variances": variances}

    def log_density(self, params: Params, x: Rows) -> NDArray[np.float64]:  # noqa: D102
        gone = np.isnan(x)
        some = bool(gone.any())
        out = np.empty((len(x), len(params["means"])))
        for k, variance in enumerate(params["variances"]):
            y = x - params["means"][k]
            if some:
                y[gone] = 0.0
            out[:, k] = (y * y) @ (1.0 / variance)
        normalizers = LOG_2PI + np.log(params["variances"])
        out += ~gone @ normalizers.T if some else normalizers.sum(axis=1)
        out *= -0.5
        return out

    def statistics(self, x: Rows, responsibilities: Floats) -> Statistics:  # noqa: D102
        count, gone = responsibilities.sum(axis=0), np.isnan(x)
        there = np.broadcast_to(count[:, None], (len(count), x.shape[1]))
        if gone.any():
            x, there = np.where(gone, 0.0, x), responsibilities.T @ ~gone
        mass = np.maximum(there, TINY)
        means = (responsibilities.T @ x) / mass
        variances = np.empty_like(means)
        for k, mean in enumerate(means):
            y = np.where(gone, 0.0, x - mean)
            variances[k] = responsibilities[:, k] @ (y * y) / mass[k]
        observed = there / np.maximum(count, TINY)[:, None]
        return Statistics(count, {"means": means, "variances": variances, OBSERVED: observed})

    def expected_statistics(self, params: Params, count: Floats) -> Statistics:  # noqa: D102
        observed = np.ones_like(params["means"])
        return Statistics(np.asarray(count, dtype=np.float64), {**params, OBSERVED: observed})

    def pool(self, statistics: Statistics, groups: Floats) -> Statistics:  # noqa: D102
        mass = np.asarray(groups, dtype=np.float64) * statistics.count
        means, observed = statistics.moments["means"], statistics.moments[OBSERVED]
        count, there = mass.sum(axis=1), mass @ observed
        unit = np.maximum(there, TINY)
        pooled = mass @ (observed * means) / unit
        variances = mass @ (observed * statistics.moments["variances"])
        for block in group_blocks(len(pooled), means.size):
            offset = means[None] - pooled[block, None]
            variances[block] += (mass[block, :, None] * (observed * offset * offset)).sum(axis=1)
        shares = there / np.maximum(count, TINY)[:, None]
        return Statistics(count, {"means": pooled, "variances": variances / unit, OBSERVED: shares})

    def pseudo_rows(  # noqa: D102
        self, overall: Statistics, strength: float, floor: float
    ) -> PseudoRows:
        check_observed(overall.moments[OBSERVED][0])
        mean, variances = overall.moments["means"][0], overall.moments["variances"][0]
        check_spread(variances, mean)
        return PseudoRows(strength, variances, floor, mean)

    def penalty(self, params: Params, pseudo_rows: PseudoRows) -> float:  # noqa: D102
        variances = params["variances"]
        terms = pseudo_rows.variances / variances + np.log(variances)
        return pseudo_rows.strength * float(terms.sum())

    def from_statistics(  # noqa: D102
        self, statistics: Statistics, pseudo_rows: PseudoRows | None = None
    ) -> Params:
        means, variances = statistics.moments["means"], statistics.moments["variances"]
        mass = statistics.count[:, None] * statistics.moments[OBSERVED]
        if pseudo_rows is None:
            return {"means": means, "variances": self._alike(variances, mass)}
        more = 2.0 * pseudo_rows.strength
        variances = (mass * variances + more * pseudo_rows.variances) / (mass + more)
        floor = pseudo_rows.floor * pseudo_rows.variances
        floor = floor.max() if self.spherical else floor
        return {
            "means": np.where(statistics.moments[OBSERVED] > 0.0, means, pseudo_rows.mean),
            "variances": np.maximum(self._alike(variances, mass + more), floor),
        }

    def _alike(
        self, variances: NDArray[np.float64], mass: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return variances as they are or, of spherical components, averaged by their rows."""
        return _averaged(variances, mass) if self.spherical else variances

    def kl(self, p: Params, q: Params) -> NDArray[np.float64]:  # noqa: D102
        log_p, log_q = np.log(p["variances"]).sum(axis=1), np.log(q["variances"]).sum(axis=1)
        out = p["variances"] @ (1.0 / q["variances"]).T
        for b, variance in enumerate(q["variances"]):
            y = p["means"] - q["means"][b]
            out[:, b] += (y * y) @ (1.0 / variance)
        out += log_q[None, :] - log_p[:, None] - p["means"].shape[1]
        return np.maximum(0.5 * out, 0.0)

    def conjugate(self, params: Params) -> NDArray[np.float64]:  # noqa: D102
        variances = params["variances"]
        if self.spherical:  # of the member of the family that has this mean variance
            variances = _averaged(variances)
        logs = np.log(variances).sum(axis=1)
        return np.asarray(-0.5 * (logs + variances.shape[1] * (1.0 + LOG_2PI)))

    def log_inner_product(self, p: Params, q: Params) -> NDArray[np.float64]:  # noqa: D102
        out = np.empty((len(p["means"]), len(q["means"])))
        for a, (mean, variance) in enumerate(zip(p["means"], p["variances"], strict=True)):
            total = variance + q["variances"]
            offset = q["means"] - mean
            out[a] = -0.5 * (offset**2 / total + np.log(total) + LOG_2PI).sum(axis=1)
        return out

    def blocks(self, params: Params, center: Params) -> tuple[Block, ...]:  # noqa: D102
        logs = np.log(params["variances"] / center["variances"])
        if self.spherical:
            spread = logs[..., :1] * np.sqrt(0.5 * logs.shape[-1])
        else:
            spread = logs * np.sqrt(0.5)
        offset = (params["means"] - center["means"]) / np.sqrt(center["variances"])
        return Block("means", offset), Block("covariances", spread)

    def feature_blocks(self, params: Params, center: Params) -> tuple[Block, ...]:  # noqa: D102
        means, variances = marginal_blocks(params, center)
        if self.spherical:  # all features tell the one variance
            more = variances.coordinates * np.sqrt(params["means"].shape[-1])
            variances = variances._replace(coordinates=more)
        return means, variances

    def link(self, name: str) -> None:  # noqa: D102
        return None

    def expectation(self, params: Params) -> NDArray[np.float64]:  # noqa: D102
        return params["means"]

    def described(self, params: Params) -> dict[str, NDArray[np.float64]]:  # noqa: D102
        return {"mean": params["means"], "sd": np.sqrt(marginal_variances(params))}

    def columns(self, features: list[str]) -> dict[str, list[str]]:  # noqa: D102
        return {"mean": features, "sd": features}

    def chart(self, center: Params) -> GaussianChart:  # noqa: D102
        return chart_at(center)

    def fisher_coordinates(self, params: Params, center: Params) -> NDArray[np.float64]:  # noqa: D102
        offset = (params["means"] - center["means"]) / np.sqrt(center["variances"])
        linear = (params["variances"] / center["variances"] - 1.0) * np.sqrt(0.5)
        return np.concatenate([offset, linear], axis=-1)

    def sample(  # noqa: D102
        self, params: Params, labels: NDArray[np.intp], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        z = rng.standard_normal((len(labels), params["means"].shape[1]))
        return z * np.sqrt(params["variances"][labels]) + params["means"][labels]


def _averaged(
    variances: NDArray[np.float64], mass: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Give all features (K, d) of a component the mean of their variances, by their masses."""
    if mass is None or (mass == mass[:, :1]).all():
        mean = variances.mean(axis=1, keepdims=True)
    else:
        mean = (mass * variances).sum(axis=1, keepdims=True) / mass.sum(axis=1, keepdims=True)
    return np.repeat(mean, variances.shape[1], axis=1)
