"""What geneticists look at: allele frequencies, how far populations lie apart, who belongs where.

All of it follows from a mixture of genotypes. Functions of a mixture alone also tell how sure they
are, with ``model.standard_error(function)``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import InvalidMixture
from dfmr_dask.families.base import Rows
from dfmr_dask.mixture import Mixture

Array = NDArray[np.float64]
SAMPLES_AT_ONCE = 1024


def allele_frequencies(mixture: Mixture) -> Array:
    """Return the frequency of the counted allele in each component, (K, d).

    Raises
    ------
    InvalidMixture
        When the mixture is none of genotypes.

    Examples
    --------
    >>> from dfmr_dask.families import Binomial
    >>> from dfmr_dask.genetics import allele_frequencies
    >>> from dfmr_dask.mixture import Mixture
    >>> one = Mixture(Binomial(2), [1.0], {"frequencies": [[0.1, 0.4]]})
    >>> allele_frequencies(one).tolist()
    [[0.1, 0.4]]
    """
    if "frequencies" not in mixture.params:
        raise InvalidMixture(
            f"a mixture of genotypes is wanted, such as BinomialMixture fits; this is one of "
            f"{mixture.family}"
        )
    return np.asarray(mixture.params["frequencies"])


def pairwise_fst(mixture: Mixture) -> Array:
    """Return Hudson's F_ST between components, as a ratio of sums over SNPs, (K, K).

    Frequencies are taken as they are: those of many people need no correction for their number.
    Two components without a common variant SNP, for which it is not defined, have 0.

    Raises
    ------
    InvalidMixture
        When the mixture is none of genotypes.

    References
    ----------
    Hudson, Slatkin & Maddison (Genetics 132, 1992); Bhatia, Patterson, Sankararaman & Price (Genome
    Research 23, 2013), equation 10, for the ratio of sums.

    Examples
    --------
    >>> from dfmr_dask.families import Binomial
    >>> from dfmr_dask.genetics import pairwise_fst
    >>> from dfmr_dask.mixture import Mixture
    >>> two = Mixture(Binomial(2), [0.5, 0.5], {"frequencies": [[0.2, 0.5], [0.6, 0.5]]})
    >>> pairwise_fst(two).round(3).tolist()
    [[0.0, 0.151], [0.151, 0.0]]
    """
    p = allele_frequencies(mixture)
    squares = (p**2).sum(axis=1)
    both = p @ p.T
    apart = squares[:, None] + squares[None] - 2.0 * both
    sums = p.sum(axis=1)
    between = sums[:, None] + sums[None] - 2.0 * both
    found = np.divide(apart, between, out=np.zeros_like(apart), where=between > 0.0)
    np.fill_diagonal(found, 0.0)
    return np.asarray(np.maximum(found, 0.0))


def memberships(mixture: Mixture, genotypes: Rows) -> Array:
    """Return how sure each sample belongs to each component, (n, K); rows sum up to 1.

    Parameters
    ----------
    mixture : Mixture
    genotypes : ndarray of shape (n, d)
        Counts of alleles; -1 or NaN is missing, and says nothing. A sample without any call
        belongs to the components by their weights.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import Binomial
    >>> from dfmr_dask.genetics import memberships
    >>> from dfmr_dask.mixture import Mixture
    >>> two = Mixture(Binomial(2), [0.5, 0.5], {"frequencies": [[0.1] * 9, [0.9] * 9]})
    >>> memberships(two, np.array([[0] * 9, [2] * 9, [-1] * 9], dtype=np.int8)).round(2).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]
    """
    parts = [
        mixture.responsibilities(genotypes[start : start + SAMPLES_AT_ONCE])
        for start in range(0, len(genotypes), SAMPLES_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty((0, mixture.n_components))


def in_order(found: Array) -> NDArray[np.intp]:
    """Return samples grouped by the component they most belong to, the surest of each first.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.genetics import in_order
    >>> in_order(np.array([[0.2, 0.8], [0.6, 0.4], [0.9, 0.1]])).tolist()
    [2, 1, 0]
    """
    return np.lexsort((-found.max(axis=1), found.argmax(axis=1)))


class Axes(NamedTuple):
    """Principal components of genotypes.

    Attributes
    ----------
    scores : ndarray of shape (n, q)
        Where samples lie.
    centers : ndarray of shape (K, q)
        Where the means of components lie.
    explained : ndarray of shape (q,)
        Shares of the variance.
    """

    scores: Array
    centers: Array
    explained: Array


def principal_components(genotypes: Rows, mixture: Mixture, n_components: int = 2) -> Axes:
    """Return the first principal components of samples, and where a mixture's components lie.

    Counts are centered and scaled by sqrt(n p (1 - p)), n the ploidy, p the frequency over all
    samples; what is missing stands at the mean, and SNPs that do not vary are left out.

    Parameters
    ----------
    genotypes : ndarray of shape (n, d)
    mixture : Mixture
    n_components : int

    References
    ----------
    Patterson, Price & Reich (PLoS Genetics 2, 2006).

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask.families import Binomial
    >>> from dfmr_dask.genetics import principal_components
    >>> from dfmr_dask.mixture import Mixture
    >>> two = Mixture(Binomial(2), [0.5, 0.5], {"frequencies": [[0.1] * 50, [0.9] * 50]})
    >>> x, labels = two.sample(40, np.random.default_rng(0))
    >>> axes = principal_components(x, two)
    >>> bool(((axes.scores[:, 0] > 0) == (labels == (axes.centers[1, 0] > 0))).all())
    True
    """
    ploidy = int(mixture.family.options.get("n_trials", 1))
    table = genotypes.astype(np.float32)
    known = table >= 0
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, table, 0.0).sum(axis=0) / count
    share = mean / ploidy
    scale = np.sqrt(ploidy * share * (1.0 - share))
    vary = scale > 0.0
    unit = np.where(vary, 1.0 / np.where(vary, scale, 1.0), 0.0)
    away = np.where(known, (table - mean) * unit, 0.0)
    few = away.shape[0] <= away.shape[1]  # the smaller of the two products is decomposed
    values, vectors = np.linalg.eigh((away @ away.T if few else away.T @ away).astype(np.float64))
    first = np.argsort(values)[::-1][:n_components]
    spread = np.sqrt(np.maximum(values[first], 1e-300))
    ways = away.T @ vectors[:, first] / spread if few else vectors[:, first]
    centers = (ploidy * allele_frequencies(mixture) - mean) * unit
    total = max(float((away.astype(np.float64) ** 2).sum()), 1e-300)
    return Axes(
        np.asarray(away @ ways, dtype=np.float64),
        np.asarray(centers @ ways, dtype=np.float64),
        np.asarray(np.maximum(values[first], 0.0) / total),
    )
