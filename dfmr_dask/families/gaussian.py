"""Gaussian components with full covariances, each its own or one for all (``tied``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import InvalidMixture
from dfmr_dask.families.base import Block, Floats, Params, Rows, Statistics, read_only, read_params
from dfmr_dask.families.factors import factors
from dfmr_dask.families.pooling import group_blocks, shares
from dfmr_dask.families.ranges import check_definite, check_means, check_spread, finite_rows
from dfmr_dask.families.unconstrained import GaussianChart, chart_at

LOG_2PI = float(np.log(2.0 * np.pi))
EPSILON = float(np.finfo(np.float64).eps)


class PseudoRows(NamedTuple):
    """2a rows of the partition's own covariance a component, and the floor in its units."""

    strength: float  # a
    covariance: NDArray[np.float64]  # S_x, (d, d) or (d,)
    floor: float  # smallest eigenvalue in units of diag(S_x)


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Gaussian components; parameters ``means`` (K, d) and ``covariances`` (K, d, d).

    Parameters
    ----------
    tied : bool
        All components share one covariance, stored K times so that every stack looks alike.

    Notes
    -----
    Penalised EM after Chen & Tan (2009), distances and reduction after Zhang & Chen (JMLR 2022)
    and Zhang, Tan & Chen (arXiv 2407.13980).

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import Gaussian
    >>> one = {"means": np.zeros((1, 2)), "covariances": np.eye(2)[None]}
    >>> float(Gaussian().kl(one, one)[0, 0])
    0.0
    """

    tied: bool = False

    needs_spread: ClassVar[bool] = True
    takes_missing: ClassVar[bool] = False

    @property
    def name(self) -> str:  # noqa: D102
        return "gaussian"

    @property
    def options(self) -> Mapping[str, Any]:  # noqa: D102
        return {"tied": self.tied}

    def floats(self, x: Rows) -> NDArray[np.float64]:  # noqa: D102
        return x.astype(np.float64, copy=False)

    def complaint(self, x: Rows) -> str:  # noqa: D102
        return ""

    def usable(self, x: Rows) -> NDArray[np.bool_]:  # noqa: D102
        return finite_rows(x)

    def n_features(self, params: Params) -> int:  # noqa: D102
        return int(params["means"].shape[-1])

    def n_parameters(self, n_components: int, n_features: int) -> int:  # noqa: D102
        covariances = 1 if self.tied else n_components
        size = n_features * (n_features + 1) // 2
        return n_components - 1 + n_components * n_features + covariances * size

    def min_rows(self, n_components: int, n_features: int) -> int:  # noqa: D102
        return n_components * (n_features + 1)

    def validated(self, params: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:  # noqa: D102
        means, covariances = read_params(params, "means", "covariances")
        check_means(means)
        if covariances.shape != (*means.shape, means.shape[1]):
            raise InvalidMixture(
                f"covariances have shape {covariances.shape}; means of shape {means.shape} "
                f"want {(*means.shape, means.shape[1])}"
            )
        check_definite(covariances)
        scale = np.sqrt(np.diagonal(covariances[0]))
        if self.tied and np.any(abs(covariances - covariances[0]) > 1e-9 * np.outer(scale, scale)):
            raise InvalidMixture("tied covariances differ between components")
        return {"means": means, "covariances": read_only(_symmetric(covariances))}

    def log_density(self, params: Params, x: Rows) -> NDArray[np.float64]:  # noqa: D102
        whiteners, log_dets = _whiteners(params["covariances"])
        out = np.empty((len(x), len(whiteners)))
        for k, whitener in enumerate(whiteners):
            y = (x - params["means"][k]) @ whitener.T
            out[:, k] = np.einsum("ij,ij->i", y, y)
        out += x.shape[1] * LOG_2PI + log_dets
        out *= -0.5
        return out

    def statistics(self, x: Rows, responsibilities: Floats) -> Statistics:  # noqa: D102
        count = responsibilities.sum(axis=0)
        mass = np.maximum(count, np.finfo(np.float64).tiny)
        means = (responsibilities.T @ x) / mass[:, None]
        covariances = np.empty((len(count), x.shape[1], x.shape[1]))
        for k, mean in enumerate(means):
            y = x - mean
            covariances[k] = (responsibilities[:, k, None] * y).T @ y / mass[k]
        return Statistics(count, {"means": means, "covariances": covariances})

    def expected_statistics(self, params: Params, count: Floats) -> Statistics:  # noqa: D102
        return Statistics(np.asarray(count, dtype=np.float64), dict(params))

    def pool(self, statistics: Statistics, groups: Floats) -> Statistics:  # noqa: D102
        count, share = shares(statistics.count, groups)
        means = statistics.moments["means"]
        flat = statistics.moments["covariances"].reshape(len(means), -1)
        pooled = share @ means
        covariances = (share @ flat).reshape(len(pooled), means.shape[1], means.shape[1])
        for block in group_blocks(len(pooled), means.size):
            offset = means[None] - pooled[block, None]
            covariances[block] += (share[block, :, None] * offset).transpose(0, 2, 1) @ offset
        return Statistics(count, {"means": pooled, "covariances": covariances})

    def pseudo_rows(  # noqa: D102
        self, overall: Statistics, strength: float, floor: float
    ) -> PseudoRows:
        covariance = overall.moments["covariances"][0]
        check_spread(np.diag(covariance), overall.moments["means"][0])
        return PseudoRows(strength, covariance, floor)

    def penalty(self, params: Params, pseudo_rows: PseudoRows) -> float:  # noqa: D102
        covariances = params["covariances"][:1] if self.tied else params["covariances"]
        whiteners, log_dets = _whiteners(covariances)
        traces = ((whiteners @ pseudo_rows.covariance) * whiteners).sum(axis=(1, 2))
        return pseudo_rows.strength * float((traces + log_dets).sum())

    def from_statistics(  # noqa: D102
        self, statistics: Statistics, pseudo_rows: PseudoRows | None = None
    ) -> Params:
        count, moments = statistics
        means, covariances = moments["means"], moments["covariances"]
        if self.tied:
            covariances = np.tensordot(count, covariances, axes=1)[None] / count.sum()
            count = count.sum(keepdims=True)
        if pseudo_rows is not None:
            a, overall = pseudo_rows.strength, pseudo_rows.covariance
            mass = count[:, None, None]
            covariances = (mass * covariances + 2.0 * a * overall) / (mass + 2.0 * a)
            covariances = _floored(covariances, np.sqrt(np.diag(overall)), pseudo_rows.floor)
        covariances = np.repeat(_symmetric(covariances), len(means) // len(covariances), axis=0)
        return {"means": means, "covariances": covariances}

    def kl(self, p: Params, q: Params) -> NDArray[np.float64]:  # noqa: D102
        whiteners, log_dets_q = _whiteners(q["covariances"])
        _, log_dets_p = _whiteners(p["covariances"])
        d = p["means"].shape[1]
        precisions = whiteners.transpose(0, 2, 1) @ whiteners
        out = p["covariances"].reshape(-1, d * d) @ precisions.reshape(-1, d * d).T
        for b, whitener in enumerate(whiteners):
            y = (p["means"] - q["means"][b]) @ whitener.T
            out[:, b] += np.einsum("ij,ij->i", y, y)
        out += log_dets_q[None, :] - log_dets_p[:, None] - d
        return np.maximum(0.5 * out, 0.0)

    def conjugate(self, params: Params) -> NDArray[np.float64]:  # noqa: D102
        log_dets = _whiteners(params["covariances"])[1]
        return np.asarray(-0.5 * (log_dets + params["means"].shape[1] * (1.0 + LOG_2PI)))

    def log_inner_product(self, p: Params, q: Params) -> NDArray[np.float64]:  # noqa: D102
        d = p["means"].shape[1]
        out = np.empty((len(p["means"]), len(q["means"])))
        for a, (mean, covariance) in enumerate(zip(p["means"], p["covariances"], strict=True)):
            lower = np.linalg.cholesky(covariance + q["covariances"])
            y = np.linalg.solve(lower, (q["means"] - mean)[:, :, None])[:, :, 0]
            log_det = 2.0 * np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
            out[a] = -0.5 * (d * LOG_2PI + log_det + (y * y).sum(axis=1))
        return out

    def blocks(self, params: Params, center: Params) -> tuple[Block, ...]:  # noqa: D102
        whiteners, whitened = _whitened(params, center)
        if self.tied:
            whitened = whitened[..., :1, :, :]
        values, vectors = np.linalg.eigh(whitened)
        values = np.maximum(values, EPSILON * values[..., -1:])  # rounding makes some negative
        logs = (vectors * np.log(values)[..., None, :]) @ vectors.swapaxes(-1, -2)
        means = _whitened_means(params, center, whiteners)
        return Block("means", means), Block("covariances", _half_vector(logs), self.tied)

    def feature_blocks(self, params: Params, center: Params) -> tuple[Block, ...]:  # noqa: D102
        means, variances = marginal_blocks(params, center)
        return means, variances._replace(shared=self.tied)

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
        whiteners, whitened = _whitened(params, center)
        means = _whitened_means(params, center, whiteners)
        return np.concatenate([means, _half_vector(whitened - np.eye(means.shape[-1]))], axis=-1)

    def sample(  # noqa: D102
        self, params: Params, labels: NDArray[np.intp], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        z = rng.standard_normal((len(labels), params["means"].shape[1]))
        for k, lower in enumerate(np.linalg.cholesky(params["covariances"])):
            mine = labels == k
            z[mine] = z[mine] @ lower.T + params["means"][k]
        return z


def marginal_variances(params: Params) -> NDArray[np.float64]:
    """Variances (..., K, d) of each feature, from any Gaussian parameters."""
    variances = params.get("variances")
    if variances is None:
        variances = np.diagonal(params["covariances"], axis1=-2, axis2=-1)
    return variances


def marginal_blocks(params: Params, center: Params) -> tuple[Block, Block]:
    """Coordinates of each feature's mean and variance, as if it were the only feature."""
    variances, middle = marginal_variances(params), marginal_variances(center)
    logs = np.log(variances / middle) * np.sqrt(0.5)
    offset = (params["means"] - center["means"]) / np.sqrt(middle)
    return Block("mean", offset), Block("variance", logs)


def _whiteners(
    covariances: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inverse Cholesky factors and log determinants of a stack (K, d, d)."""
    lower, inverse = factors(covariances)
    return inverse, 2.0 * np.log(np.diagonal(lower, axis1=-2, axis2=-1)).sum(axis=-1)


def _whitened(params: Params, center: Params) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Whiteners of the center, and covariances seen through them."""
    whiteners, _ = _whiteners(center["covariances"])
    return whiteners, _symmetric(whiteners @ params["covariances"] @ whiteners.swapaxes(-1, -2))


def _whitened_means(
    params: Params, center: Params, whiteners: NDArray[np.float64]
) -> NDArray[np.float64]:
    offset = params["means"] - center["means"]
    return (whiteners @ offset[..., None])[..., 0]


def _symmetric(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (matrices + matrices.swapaxes(-1, -2))


def _half_vector(symmetric: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coordinates whose squared length is half the squared Frobenius norm."""
    i, j = np.triu_indices(symmetric.shape[-1], 1)
    diagonal = np.diagonal(symmetric, axis1=-2, axis2=-1) * np.sqrt(0.5)
    return np.concatenate([diagonal, symmetric[..., i, j]], axis=-1)


def _floored(
    covariances: NDArray[np.float64], scale: NDArray[np.float64], floor: float
) -> NDArray[np.float64]:
    """Raise eigenvalues below the floor, in units of ``scale``: the constrained maximum.

    Adding a ridge instead would let the penalised likelihood fall.
    """
    units = np.outer(scale, scale)
    scaled = covariances / units
    try:  # the usual case: one Cholesky tells that nothing lies below the floor
        factors(scaled - floor * np.eye(len(scale)))
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(scaled)
        raised = (vectors * np.maximum(values, floor)[:, None, :]) @ vectors.transpose(0, 2, 1)
        low = values.min(axis=1) < floor
        return np.where(low[:, None, None], raised * units, covariances)
    return covariances
