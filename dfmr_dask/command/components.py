"""The section of the mixture: which components, how many, and how they are fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from dfmr_dask.command.complaints import unfitting
from dfmr_dask.command.section import Section, one_of
from dfmr_dask.families import (
    COVARIANCE_TYPES,
    Bernoulli,
    Binomial,
    Categorical,
    Family,
    Poisson,
    Product,
)
from dfmr_dask.local.start import STARTS
from dfmr_dask.run.settings import MAX_COMPONENTS, WORK_DTYPES


def _gaussian(covariance_type: str = "full") -> Family:
    return COVARIANCE_TYPES[covariance_type]


# What the components may be, and which options tell it.
COMPONENTS: Mapping[str, tuple[Callable[..., Family], tuple[str, ...]]] = {
    "gaussian": (_gaussian, ("covariance_type",)),
    "binomial": (Binomial, ("n_trials",)),
    "bernoulli": (Bernoulli, ()),
    "poisson": (Poisson, ()),
    "categorical": (Categorical, ("levels",)),
    "product": (Product, ()),
}
Levels = Annotated[tuple[PositiveInt, ...], Field(strict=False)]


class ComponentsSection(Section):
    """What the components are: a family, and what else it must know."""

    family: Annotated[str, one_of(COMPONENTS)] = "gaussian"
    covariance_type: Annotated[str, one_of(COVARIANCE_TYPES)] = "full"
    n_trials: PositiveInt | None = None
    levels: Levels | None = None

    def components(self) -> Family:
        """Return the family that the section tells of."""
        return COMPONENTS[self.family][0](**self._told())

    def _told(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in COMPONENTS[self.family][1]}
        return {name: value for name, value in given.items() if value is not None}

    @model_validator(mode="after")
    def _options_fit(self) -> ComponentsSection:
        for name in ("covariance_type", "n_trials", "levels"):
            given = name in self.model_fields_set and getattr(self, name) is not None
            if given and name not in COMPONENTS[self.family][1]:
                wanted = f"nothing: it is no option of family {self.family}"
                raise unfitting(name, getattr(self, name), wanted, {"family": self.family})
        if self.family == "categorical" and self.levels is None:
            wanted = "how many levels each column has, [3, 2, ...], with family: categorical"
            raise unfitting("levels", None, wanted)
        return self


class PartSection(ComponentsSection):
    """A group of columns of a product, and its family."""

    family: Annotated[str, one_of([name for name in COMPONENTS if name != "product"])] = "gaussian"
    columns: PositiveInt


class MixtureSection(ComponentsSection):
    """The mixture to fit and how; names and meanings are scikit-learn's."""

    parts: Annotated[tuple[PartSection, ...], Field(strict=False)] | None = None
    n_components: PositiveInt | Literal["auto"]
    max_components: PositiveInt = MAX_COMPONENTS
    min_gain: Annotated[float, Field(ge=0.0)] | None = None
    init_params: Annotated[str, one_of(STARTS)] = "overfit"
    n_init: PositiveInt = 2
    tol: Annotated[float, Field(ge=0.0)] = 1e-6
    reg_covar: Annotated[float, Field(ge=0.0)] = 1e-6
    max_iter: PositiveInt = 500
    outliers: PositiveFloat | None = None
    dtype_work: Annotated[str, one_of(WORK_DTYPES)] = "float64"

    def components(self) -> Family:
        """Return the family that the section tells of."""
        if self.parts is None:
            return super().components()
        return Product(tuple((part.components(), part.columns) for part in self.parts))

    @model_validator(mode="after")
    def _parts_are_of_a_product(self) -> MixtureSection:
        if (self.family == "product") != (self.parts is not None):
            wanted = "a list of {family: ..., columns: ...} with family: product, and no other"
            raise unfitting("parts", self.parts, wanted, {"family": self.family})
        if self.outliers is not None and self.family != "gaussian":
            wanted = "null: only values of Gaussians can lie too far away"
            raise unfitting("outliers", self.outliers, wanted, {"family": self.family})
        return self
