"""A start made of the components that most partitions have, where some partitions lack some.

No partition's own pilot will do then: one that lacks a component has cut another one in its place,
and a vote on whole pilots is a vote on which components to lack.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.families.base import Family, flatten, stack, take
from dfmr_dask.mixture import Mixture

MANY = 30  # columns beyond which components are told apart by distances in standard errors
FEWEST_ROWS = 10.0  # a component of fewer rows matches none
MARGIN, DEVIATIONS = 1.05, 4.0  # of mean squares in standard errors: 1 between honest estimates
Array = NDArray[np.float64]


def consensus(pilots: Sequence[Mixture], rows: float) -> Mixture | None:
    """Return the mixture of the components that most pilots match, as many as each pilot has.

    One after the other: the component of a pilot that has a match in the most pilots, merged with
    these; what has been matched is not asked again. None where components are not told apart in
    this way: of columns that are few, or estimated together, as those of full Gaussians are.

    Parameters
    ----------
    pilots : sequence of Mixture
        Of one family and order, each from a partition of its own.
    rows : float
        That a pilot was found on.

    References
    ----------
    EVIDENCE 8: components ranked by how many partitions match them; all are refitted from it.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.aggregate.consensus import consensus
    >>> from dfmr_dask.families import Binomial
    >>> from dfmr_dask.mixture import Mixture
    >>> rng = np.random.default_rng(0)
    >>> p = rng.uniform(0.2, 0.8, (3, 200))
    >>> def pilot(kinds):
    ...     found = p[kinds] + 0.01 * rng.standard_normal((2, 200))
    ...     return Mixture(Binomial(2), [0.5, 0.5], {"frequencies": found})
    >>> start = consensus([pilot([0, 1]), pilot([0, 2]), pilot([1, 0])], rows=400.0)
    >>> bool(np.abs(start.params["frequencies"] - p[[0, 1]]).max() < 0.05)
    True
    """
    if not pilots or not applies(pilots[0].family, pilots[0].n_features):
        return None
    family, order = pilots[0].family, pilots[0].n_components
    params = flatten(stack([one.params for one in pilots]))
    weights = np.concatenate([one.weights for one in pilots])
    owner = np.repeat(np.arange(len(pilots)), order)
    near, farthest = _distances(family, params, weights * rows)
    alive = weights * rows >= FEWEST_ROWS
    groups: list[NDArray[np.intp]] = []
    while len(groups) < order and alive.any():
        members = _most_matched(near, farthest, alive, owner)
        groups.append(members)
        alive[members] = False
        alive &= ~(near[members] <= farthest).any(axis=0)
    if len(groups) < order:
        return None
    mass = np.zeros((order, len(weights)))
    for k, members in enumerate(groups):
        mass[k, members] = 1.0
    merged = family.pool(family.expected_statistics(params, weights), mass)
    shares = np.array([weights[members].mean() for members in groups])
    return Mixture(family, shares / shares.sum(), family.from_statistics(merged))


def applies(family: Family, n_features: int) -> bool:
    """Tell whether components of a family are told apart by distances in standard errors alone."""
    return not family.needs_spread and n_features > MANY


def _most_matched(
    near: Array, farthest: float, alive: NDArray[np.bool_], owner: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return the components, one a pilot, that match the one which most pilots match."""
    n_pilots = int(owner.max()) + 1
    blocked = np.where(alive, near, np.inf).reshape(len(near), n_pilots, -1)
    closest = blocked.min(axis=2)
    matched = closest <= farthest
    radius = np.where(matched, closest, 0.0).sum(axis=1) / np.maximum(matched.sum(axis=1), 1)
    rank = np.where(alive, matched.sum(axis=1) - radius / (1.0 + radius.max()), -np.inf)
    best = int(np.argmax(rank))
    each = np.arange(n_pilots) * blocked.shape[2] + blocked[best].argmin(axis=1)
    return np.union1d(each[matched[best]], [best])


def _distances(family: Family, params: dict[str, Array], rows: Array) -> tuple[Array, float]:
    """Mean squares of differences in standard errors between all components, (A, A).

    And the largest that estimates of one component have: of p coordinates, chi-squared over p.
    """
    one = stack([take(params, slice(None))])
    middle = family.pool(family.expected_statistics(params, rows), np.ones((len(rows), len(rows))))
    square, width = np.zeros((len(rows), len(rows))), 0
    for block in family.blocks(one, family.from_statistics(middle)):
        z = block.coordinates[0]
        lengths = np.einsum("ij,ij->i", z, z)
        square += np.maximum(lengths[:, None] + lengths - 2.0 * z @ z.T, 0.0)
        width += z.shape[1]
    variance = 1.0 / np.maximum(rows, 1e-300)
    farthest = MARGIN + DEVIATIONS * float(np.sqrt(2.0 / width))
    return square / (variance[:, None] + variance) / width, farthest
