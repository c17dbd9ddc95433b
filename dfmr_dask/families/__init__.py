"""Families of component distributions, and the table of them by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dfmr_dask.errors import InvalidMixture
from dfmr_dask.families.base import Block, Family, Params, Rows, Statistics
from dfmr_dask.families.binomial import Bernoulli, Binomial
from dfmr_dask.families.categorical import Categorical
from dfmr_dask.families.gaussian import Gaussian
from dfmr_dask.families.gaussian_diagonal import DiagonalGaussian
from dfmr_dask.families.poisson import Poisson
from dfmr_dask.families.product import Product


def _product(parts: Any) -> Product:
    """Make a product again from the plain values that stand in a file."""
    if not isinstance(parts, list | tuple):
        raise InvalidMixture(f"parts of a product are {parts!r:.80}; wanted a list")
    made = []
    for part in parts:
        if not isinstance(part, Mapping) or set(part) != {"family", "options", "columns"}:
            raise InvalidMixture(
                f"a part of a product is {part!r:.80}; wanted family, options, columns"
            )
        if part["family"] == Product.name or not isinstance(part["options"], Mapping):
            raise InvalidMixture(f"a part of a product is {part!r:.80}")
        made.append((family_named(str(part["family"]), part["options"]), part["columns"]))
    return Product(tuple(made))


FAMILIES: dict[str, Callable[..., Family]] = {
    "gaussian": Gaussian,
    "diagonal_gaussian": DiagonalGaussian,
    "binomial": Binomial,
    "poisson": Poisson,
    "categorical": Categorical,
    "product": _product,
}

COVARIANCE_TYPES: Mapping[str, Family] = {
    "full": Gaussian(),
    "tied": Gaussian(tied=True),
    "diag": DiagonalGaussian(),
    "spherical": DiagonalGaussian(spherical=True),
}


def family_named(name: str, options: Mapping[str, Any]) -> Family:
    """Make a family again from its name and options, as they stand in a file.

    Raises
    ------
    InvalidMixture
        When the name is not in :data:`FAMILIES`, or the options do not fit it.

    Examples
    --------
    >>> from dfmr_dask.families import family_named
    >>> family_named("gaussian", {"tied": True})
    Gaussian(tied=True)
    """
    if name not in FAMILIES:
        raise InvalidMixture(f"unknown family {name!r}; known are {sorted(FAMILIES)}")
    try:
        return FAMILIES[name](**options)
    except TypeError as error:
        raise InvalidMixture(f"family {name!r} does not take {dict(options)!r}") from error


__all__ = [
    "COVARIANCE_TYPES",
    "FAMILIES",
    "Bernoulli",
    "Binomial",
    "Block",
    "Categorical",
    "DiagonalGaussian",
    "Family",
    "Gaussian",
    "Params",
    "Poisson",
    "Product",
    "Rows",
    "Statistics",
    "family_named",
]
