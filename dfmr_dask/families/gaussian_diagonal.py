"""Gaussian components with a variance a feature (``diag``) or one variance (``spherical``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import InvalidMixture
from dfmr_dask.families.base import Block, Floats, Params, Rows, Statistics, read_params
from dfmr_dask.families.gaussian import (
    LOG_2PI,
    PseudoRows,
    marginal_blocks,
    marginal_variances,
)
from dfmr_dask.families.pooling import group_blocks, shares
from dfmr_dask.families.ranges import (
    check_means,
    check_spread,
    check_variances,
    finite_rows,
)
from dfmr_dask.families.unconstrained import GaussianChart, chart_at


@dataclass(frozen=True, slots=True)
class DiagonalGaussian:
    """Gaussian components; parameters ``means`` (K, d) and ``variances`` (K, d).

    Parameters
    ----------
    spherical : bool
        One variance for all features of a component, stored d times so that stacks look alike.

    Notes
    -----
    The M-step is that of :class:`Gaussian`, restricted to the diagonal (Chen & Tan, 2009).

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> DiagonalGaussian(spherical=True).n_parameters(3, 2)
    11
    """

    spherical: bool = False

    needs_spread: ClassVar[bool] = True

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
        return finite_rows(x)

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
        out = np.empty((len(x), len(params["means"])))
        for k, variance in enumerate(params["variances"]):
            y = x - params["means"][k]
            out[:, k] = (y * y) @ (1.0 / variance)
        out += x.shape[1] * LOG_2PI + np.log(params["variances"]).sum(axis=1)
        out *= -0.5
        return out

    def statistics(self, x: Rows, responsibilities: Floats) -> Statistics:  # noqa: D102
        count = responsibilities.sum(axis=0)
        mass = np.maximum(count, np.finfo(np.float64).tiny)
        means = (responsibilities.T @ x) / mass[:, None]
        variances = np.empty_like(means)
        for k, mean in enumerate(means):
            y = x - mean
            variances[k] = responsibilities[:, k] @ (y * y) / mass[k]
        return Statistics(count, {"means": means, "variances": variances})

    def expected_statistics(self, params: Params, count: Floats) -> Statistics:  # noqa: D102
        return Statistics(np.asarray(count, dtype=np.float64), dict(params))

    def pool(self, statistics: Statistics, groups: Floats) -> Statistics:  # noqa: D102
        count, share = shares(statistics.count, groups)
        means = statistics.moments["means"]
        pooled = share @ means
        variances = share @ statistics.moments["variances"]
        for block in group_blocks(len(pooled), means.size):
            offset = means[None] - pooled[block, None]
            variances[block] += (share[block, :, None] * offset * offset).sum(axis=1)
        return Statistics(count, {"means": pooled, "variances": variances})

    def pseudo_rows(  # noqa: D102
        self, overall: Statistics, strength: float, floor: float
    ) -> PseudoRows:
        variances = overall.moments["variances"][0]
        check_spread(variances, overall.moments["means"][0])
        return PseudoRows(strength, variances, floor)

    def penalty(self, params: Params, pseudo_rows: PseudoRows) -> float:  # noqa: D102
        variances = params["variances"]
        terms = pseudo_rows.covariance / variances + np.log(variances)
        return pseudo_rows.strength * float(terms.sum())

    def from_statistics(  # noqa: D102
        self, statistics: Statistics, pseudo_rows: PseudoRows | None = None
    ) -> Params:
        means, variances = statistics.moments["means"], statistics.moments["variances"]
        if pseudo_rows is not None:
            a, mass = pseudo_rows.strength, statistics.count[:, None]
            variances = (mass * variances + 2.0 * a * pseudo_rows.covariance) / (mass + 2.0 * a)
        if self.spherical:
            variances = _averaged(variances)
        if pseudo_rows is not None:
            floor = pseudo_rows.floor * pseudo_rows.covariance
            variances = np.maximum(variances, floor.max() if self.spherical else floor)
        return {"means": means, "variances": variances}

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


def _averaged(variances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give all features of a component the mean of their variances."""
    return np.repeat(variances.mean(axis=1, keepdims=True), variances.shape[1], axis=1)
