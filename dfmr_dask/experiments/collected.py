"""Rows that somebody has collected, as the world of a comparison."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.experiments.worlds import Labels
from dfmr_dask.families.base import Family, Rows
from dfmr_dask.local import em, start
from dfmr_dask.local.merging import Trial
from dfmr_dask.mixture import Mixture
from dfmr_dask.randomness import Stage, generator

HELD_OUT = 0.25  # of the honest rows: what is scored is in no partition
FLOOR = 1e-6  # smallest eigenvalue of a covariance in units of the rows' variances
PILOTS = 4  # starts of the fit to all rows


@dataclass(frozen=True, slots=True, eq=False)
class Collected:
    """Rows in memory, from which partitions draw.

    Attributes
    ----------
    truth, other : Mixture
        The fits to all honest and to all alien rows.
    rows : ndarray of shape (n, d)
        Honest ones that partitions draw from.
    held_out : ndarray of shape (n', d)
        Honest ones that are in no partition.
    labels : ndarray of shape (n',) or None
        True classes of the rows held out.
    aliens : ndarray of shape (n'', d)
    replace : bool
        Partitions draw with replacement, as many rows as they like: for small data. Otherwise
        no row is in two of them.
    """

    truth: Mixture
    other: Mixture
    rows: Rows
    held_out: Rows
    labels: Labels | None
    aliens: Rows
    replace: bool = False

    def honest(self, sizes: Sequence[int], seed: int, drift: float | None = None) -> list[Rows]:
        """Draw the rows of honest partitions.

        Raises
        ------
        InvalidConfiguration
            When there are fewer rows than the partitions ask for, or their weights should drift.
        """
        if drift is not None:
            raise InvalidConfiguration("weights can drift in simulated populations only")
        if self.replace:
            return [
                generator(seed, Stage.DRAW, j).choice(self.rows, n) for j, n in enumerate(sizes)
            ]
        if sum(sizes) > len(self.rows):
            raise InvalidConfiguration(
                f"{len(sizes)} partitions ask for {sum(sizes)} rows; there are {len(self.rows)} "
                f"beside the {len(self.held_out)} held out. Ask for fewer, or set replace: true, "
                "so that partitions draw with replacement"
            )
        order = generator(seed, Stage.DRAW).permutation(len(self.rows))[: sum(sizes)]
        return [self.rows[index] for index in np.split(order, np.cumsum(sizes)[:-1])]

    def alien(self, partition: int, size: int, seed: int) -> Rows:
        """Draw alien rows, with replacement: liars need not be independent of each other."""
        return generator(seed, Stage.ALIEN_ROWS, partition).choice(self.aliens, size)

    def fresh(self, size: int, seed: int) -> tuple[Rows, Labels | None]:
        """Return rows that are held out, as many as asked for if there are so many."""
        return self.held_out[:size], None if self.labels is None else self.labels[:size]


def collected(
    rows: Rows,
    labels: Labels | None,
    aliens: Rows,
    *,
    family: Family,
    n_components: int,
    replace: bool = False,
) -> Collected:
    """Hold out a quarter of the honest rows; the fit to all others counts as the truth.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    labels : ndarray of shape (n,) or None
        Where they name as many classes as there are components, the fit starts from the classes.
    aliens : ndarray of shape (n', d)
    family : Family
    n_components : int
    replace : bool

    Raises
    ------
    DegenerateRows
        When rows are too few for the order, or a column is constant.
    """
    order = generator(0, Stage.FRESH_ROWS).permutation(len(rows))
    last, rest = np.split(order, [int(HELD_OUT * len(rows))])
    classes = None if labels is None else labels[rest]
    truth = _fitted(rows[rest], classes, family, n_components)
    other = _fitted(aliens, None, family, n_components)
    known = None if labels is None else labels[last]
    return Collected(truth, other, rows[rest], rows[last], known, aliens, replace)


def digits(
    honest: Collection[int],
    alien: Collection[int],
    n_features: int,
    *,
    family: Family,
    n_components: int | None = None,
) -> Collected:
    """Make a world of scikit-learn's handwritten digits: some are honest, others alien.

    There are 180 images of each digit: partitions draw from them with replacement.

    Parameters
    ----------
    honest, alien : collections of int
        Digits.
    n_features : int
        Principal components of all their images that are the features.
    family : Family
    n_components : int, optional
        One for each honest digit unless given.

    Examples
    --------
    >>> from dfmr_dask.experiments.collected import digits
    >>> from dfmr_dask.families import Gaussian
    >>> world = digits([0, 1], [7], 2, family=Gaussian())
    >>> world.rows.shape, world.held_out.shape, world.truth.n_components
    ((270, 2), (90, 2), 2)
    """
    images, names = load_digits(return_X_y=True)
    ours, theirs = np.isin(names, list(honest)), np.isin(names, list(alien))
    seen = PCA(n_features, svd_solver="full").fit(images[ours | theirs])
    return collected(
        seen.transform(images[ours]),
        names[ours].astype(np.intp),
        seen.transform(images[theirs]),
        family=family,
        n_components=n_components or len(set(honest)),
        replace=True,
    )


def _fitted(x: Rows, labels: Labels | None, family: Family, order: int) -> Mixture:
    """Fit all rows, from their classes where those are known, else from a pilot."""
    strength = len(x) ** -0.5
    classes = None if labels is None else np.unique(labels, return_inverse=True)
    if classes is not None and len(classes[0]) == order:
        first = Trial(family, x, strength, FLOOR).grouped(classes[1].astype(np.intp), order)
    else:
        rng = generator(0, Stage.PROPOSE)
        sample = start.draw_sample(x, start.Order(family, order, x.shape[1], alone=True), rng)
        first = start.propose(sample, family, order, rng, n_init=PILOTS, alone=True)
    return em.fit(x, first, strength=strength, floor=FLOOR).mixture.canonical()
