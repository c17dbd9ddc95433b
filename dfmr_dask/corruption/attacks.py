"""Attacks by name: what a liar makes of its estimate, and of what all liars know (METHOD 9)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from dfmr_dask.aggregate.alignment import saturated_cost
from dfmr_dask.corruption.kinds import Attack, Attacked, Knowledge
from dfmr_dask.corruption.rows import FAULTS
from dfmr_dask.families.base import Params
from dfmr_dask.families.unconstrained import Chart, covered
from dfmr_dask.mixture import Mixture

SNEAKED_ROWS = 5.0  # too few for anybody to test the component that they make up

Chosen = NDArray[np.intp]


def _honest(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """Say what was found: in rows of another population (``data``), or in one's own."""
    return mixture.weights, mixture.params


def _means(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """Means drawn from N(0, size² I); of other families natural parameters, size deviations off."""
    if not _has_means(mixture):
        length = knowledge.size * mixture.n_features**0.5
        return _moved(mixture, _struck(mixture, knowledge), length, knowledge.own)
    drawn = knowledge.own.normal(scale=knowledge.size, size=mixture.params["means"].shape)
    return mixture.weights, _with_means(mixture, drawn, _struck(mixture, knowledge))


def _covariances(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """S + BBᵀ, with B of standard normals; diagonal families take the diagonal of it."""
    params = mixture.params
    order, d = params["means"].shape
    b = knowledge.own.standard_normal((order, d, d))
    if _tied(mixture):
        b = np.repeat(b[:1], order, axis=0)
    added, struck = b @ b.transpose(0, 2, 1), _sharing(mixture, _struck(mixture, knowledge))
    if "covariances" in params:
        return mixture.weights, _with(params, "covariances", struck, params["covariances"] + added)
    diagonal = np.diagonal(added, axis1=1, axis2=2)
    if getattr(mixture.family, "spherical", False):
        diagonal = np.repeat(diagonal.mean(axis=1, keepdims=True), d, axis=1)
    return mixture.weights, _with(params, "variances", struck, params["variances"] + diagonal)


def _weights(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """Dirichlet weights with parameters drawn from 10..19."""
    rng = knowledge.own
    return rng.dirichlet(rng.integers(10, 20, size=mixture.n_components)), mixture.params


def _sign_flip(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """Means with the opposite sign; of other families natural parameters: alleles are swapped."""
    if not _has_means(mixture):
        chart = _chart(mixture)
        turned = chart.params(-chart.vectors(mixture.params))
        return mixture.weights, _replaced(mixture, turned, _struck(mixture, knowledge))
    flipped = -mixture.params["means"]
    return mixture.weights, _with_means(mixture, flipped, _struck(mixture, knowledge))


def _shift(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """Every mean moved by size n^(-1/2) deviations a feature, each liar and component its own way.

    The way is a random direction, and the length that of such a step in each of the d features.
    """
    length = knowledge.size * (mixture.n_features / knowledge.rows) ** 0.5
    return _moved(mixture, _struck(mixture, knowledge), length, knowledge.own)


def _collude(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """What all know, every mean moved as in ``shift``: the same from every liar."""
    length = knowledge.size * (mixture.n_features / knowledge.usual_rows) ** 0.5
    return _moved(knowledge.known, _named(knowledge), length, knowledge.shared)


def _imitate(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """Add the step that all colluders take to one's own estimate: they spread as the honest do."""
    return _drawn_to(mixture, knowledge, 1.0)


def _huddle(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """Collude, with a tenth of the spread that the honest have."""
    return _drawn_to(mixture, knowledge, 0.1)


def _drawn_to(mixture: Mixture, knowledge: Knowledge, spread: float) -> Attacked:
    """Take so much of what one's own estimate differs from what all know, and the common step."""
    known = knowledge.known
    own = mixture.reordered(_matched(mixture, known))
    weights = known.weights + spread * (own.weights - known.weights)
    params = {name: a + spread * (own.params[name] - a) for name, a in known.params.items()}
    length = knowledge.size * (mixture.n_features / knowledge.usual_rows) ** 0.5
    between = Mixture(mixture.family, weights, params)
    return _moved(between, _named(knowledge), length, knowledge.shared)


def _wide(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """One broad and light component moved by so many of its deviations, all liars the same way."""
    struck = _struck(mixture, knowledge, int(np.argmax(_traces(knowledge.known))))
    return _moved(mixture, struck, knowledge.size, knowledge.shared)


def _shrink(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """Covariances times a factor."""
    return mixture.weights, _scaled(mixture, _struck(mixture, knowledge), knowledge.size)


def _needle(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """The lightest component made tiny: its covariance times a factor."""
    struck = _struck(mixture, knowledge, int(np.argmin(knowledge.known.weights)))
    return mixture.weights, _scaled(mixture, struck, knowledge.size)


def _sneak(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """The lightest component made one of five rows, far away; the others share its weight."""
    struck = _struck(mixture, knowledge, int(np.argmin(knowledge.known.weights)))
    _, params = _moved(mixture, struck, knowledge.size, knowledge.shared)
    if mixture.n_components == 1:
        return mixture.weights, params
    weights = mixture.weights.copy()
    weights[struck] = min(SNEAKED_ROWS / knowledge.rows, 0.5)
    others = np.delete(np.arange(len(weights)), struck)
    weights[others] *= (1.0 - weights[struck].sum()) / weights[others].sum()
    return weights, params


def _component(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """One component moved by so many of its deviations; all liars agree which, and where to."""
    drawn = int(knowledge.shared.integers(knowledge.known.n_components))
    return _moved(mixture, _struck(mixture, knowledge, drawn), knowledge.size, knowledge.shared)


def _duplicate(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """What all know, as it is."""
    return knowledge.known.weights, knowledge.known.params


def _permute(mixture: Mixture, knowledge: Knowledge) -> Attacked:
    """Give the components other labels."""
    other = mixture.reordered(knowledge.own.permutation(mixture.n_components))
    return other.weights, other.params


ATTACKS: Mapping[str, Attack] = {
    "none": Attack(_honest, harmless=True, stages=("messages",)),
    "data": Attack(_honest, stages=("rows",)),
    "mean": Attack(_means, 100.0, "some"),
    "covariance": Attack(_covariances, None, "some", spreads=True),
    "weight": Attack(_weights),
    "sign_flip": Attack(_sign_flip, None, "some"),
    "shift": Attack(_shift, 10.0, "some"),
    "collude": Attack(_collude, 10.0, "some"),
    "imitate": Attack(_imitate, 10.0),
    "huddle": Attack(_huddle, 10.0),
    "wide": Attack(_wide, 20.0, "one"),
    "shrink": Attack(_shrink, 0.25, "some", spreads=True),
    "needle": Attack(_needle, 1e-6, "one", spreads=True),
    "sneak": Attack(_sneak, 1000.0, "one"),
    "component": Attack(_component, 15.0, "one"),
    "duplicate": Attack(_duplicate, harmless=True),
    "permute": Attack(_permute, harmless=True),
    "malformed": Attack(_honest),
    **{
        name: Attack(_honest, fault.size, stages=("rows",), rows=fault.strike, share=fault.share)
        for name, fault in FAULTS.items()
    },
}


def _named(knowledge: Knowledge, usual: int | None = None) -> Chosen:
    """Components that are struck, as ``known`` numbers them: all, unless some were named."""
    everything = range(knowledge.known.n_components) if usual is None else [usual]
    named = everything if knowledge.components is None else knowledge.components
    return np.asarray(list(named), dtype=np.intp)


def _struck(mixture: Mixture, knowledge: Knowledge, usual: int | None = None) -> Chosen:
    """Find one's own components that match those that are to be struck."""
    named = _named(knowledge, usual)
    if mixture is knowledge.known or len(named) == mixture.n_components:
        return named
    return _matched(mixture, knowledge.known)[named]


def _matched(mixture: Mixture, known: Mixture) -> Chosen:
    """Return which component of a mixture matches each of what all know."""
    divergence = mixture.family.kl(known.params, mixture.params)
    matched = linear_sum_assignment(saturated_cost(divergence, mixture.n_features))[1]
    return np.asarray(matched, dtype=np.intp)


def _moved(mixture: Mixture, struck: Chosen, length: float, rng: np.random.Generator) -> Attacked:
    """Move means by a length in the whitened coordinates of each component, in random ways.

    Of other families natural parameters are moved, in deviations of a row.
    """
    if not _has_means(mixture):
        chart = _chart(mixture)
        vectors = chart.vectors(mixture.params)
        ways = rng.standard_normal(vectors.shape)
        ways *= length / np.linalg.norm(ways, axis=1, keepdims=True)
        return mixture.weights, _replaced(mixture, chart.params(vectors + ways), struck)
    means = mixture.params["means"]
    ways = rng.standard_normal(means.shape)
    ways *= length / np.linalg.norm(ways, axis=1, keepdims=True)
    if "covariances" in mixture.params:
        lower = np.linalg.cholesky(mixture.params["covariances"])
        steps = (lower @ ways[:, :, None])[:, :, 0]
    else:
        steps = np.sqrt(mixture.params["variances"]) * ways
    return mixture.weights, _with_means(mixture, means + steps, struck)


def _has_means(mixture: Mixture) -> bool:
    return "means" in mixture.params


def _chart(mixture: Mixture) -> Chart:
    """Return vectors of parameters about a mixture's; raise where its family has none."""
    if not covered(mixture.family):
        raise ValueError(f"the attack moves parameters; {mixture.family.name!r} has no chart")
    made: Chart = getattr(mixture.family, "chart")(mixture.params)  # noqa: B009
    return made


def _replaced(mixture: Mixture, params: Params, struck: Chosen) -> Params:
    """Take over all parameters of the components that are struck."""
    changed = dict(mixture.params)
    for name, values in params.items():
        changed = dict(_with(changed, name, struck, values))
    return changed


def _scaled(mixture: Mixture, struck: Chosen, factor: float) -> Params:
    name = "covariances" if "covariances" in mixture.params else "variances"
    spread = mixture.params[name]
    return _with(mixture.params, name, _sharing(mixture, struck), factor * spread)


def _with_means(mixture: Mixture, means: NDArray[np.float64], struck: Chosen) -> Params:
    return _with(mixture.params, "means", struck, means)


def _with(params: Params, name: str, struck: Chosen, values: NDArray[np.float64]) -> Params:
    """Take over new values for the components that are struck, and no others."""
    changed = params[name].copy()
    changed[struck] = values[struck]
    return {**params, name: changed}


def _sharing(mixture: Mixture, struck: Chosen) -> Chosen:
    """Add the components that share the covariance of those that are struck."""
    return np.arange(mixture.n_components) if _tied(mixture) else struck


def _tied(mixture: Mixture) -> bool:
    return bool(getattr(mixture.family, "tied", False))


def _traces(mixture: Mixture) -> NDArray[np.float64]:
    """How broad and light each component is: the trace of its covariance over its weight.

    Of other families than Gaussians, how light.
    """
    params = mixture.params
    if not _has_means(mixture):
        return np.asarray(1.0 / mixture.weights)
    if "covariances" in params:
        variances = np.diagonal(params["covariances"], axis1=1, axis2=2)
    else:
        variances = params["variances"]
    return np.asarray(variances.sum(axis=1) / mixture.weights)
