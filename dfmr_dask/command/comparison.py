"""What ``dfmr compare`` takes: a grid of populations, attacks and aggregators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from dfmr_dask.aggregate.aggregators import AGGREGATORS
from dfmr_dask.aggregate.gates import PARTS
from dfmr_dask.command.complaints import check_component, unfitting
from dfmr_dask.command.schema import (
    ClusterSection,
    Components,
    Features,
    Gates,
    RunSection,
    Seed,
)
from dfmr_dask.command.section import Section, one_of
from dfmr_dask.corruption import ATTACKS, Corruption
from dfmr_dask.experiments.cells import PENALTIES
from dfmr_dask.experiments.cells import STARTS as PLACES
from dfmr_dask.experiments.judging import ORACLE
from dfmr_dask.experiments.rivals import RIVALS
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.local.start import STARTS
from dfmr_dask.run.settings import METHODS, WEIGHTS

FILTERING = "dfmr"
MOST_DRAWS = 1000  # populations of one recipe; the alien one has the seed of the honest + this
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Digits = Annotated[tuple[Annotated[int, Field(ge=0, le=9)], ...], Field(strict=False)]
Covariances = Annotated[str, one_of(COVARIANCE_TYPES)]


class SimulatedSection(Section):
    """A Gaussian mixture; ``draws`` of them, whose seeds follow each other, are one population."""

    name: str | None = None
    n_components: PositiveInt
    n_features: PositiveInt
    seed: Seed = 0
    draws: Annotated[int, Field(ge=1, le=MOST_DRAWS)] = 1


class OverlapSection(SimulatedSection):
    """A mixture whose two components that overlap most have a given overlap."""

    kind: Literal["overlap"]
    max_overlap: Annotated[float, Field(gt=0.0, lt=1.0)]


class SeparatedSection(SimulatedSection):
    """A mixture whose two closest means have a given Mahalanobis distance."""

    kind: Literal["separated"]
    separation: PositiveFloat = 4.0
    scales: Annotated[tuple[PositiveFloat, ...], Field(strict=False)] | None = None


class DigitsSection(Section):
    """Scikit-learn's handwritten digits, in their principal components."""

    kind: Literal["digits"]
    name: str | None = None
    honest: Digits
    alien: Digits
    n_features: PositiveInt = 10
    n_components: PositiveInt | None = None
    covariance_type: Covariances = "full"

    @model_validator(mode="after")
    def _both_are_there(self) -> DigitsSection:
        _check_list("honest", self.honest)
        _check_list("alien", self.alien)
        return self


class LabelsSection(Section):
    """An array of integers, one for each honest row: the classes that labels are compared with."""

    path: str
    group: str | None = None
    storage_options: dict[str, Any] | None = None


class RowsSection(LabelsSection):
    """An array or group of rows."""

    features: Features | None = None


class StoreSection(Section):
    """Rows that a user has: honest ones, alien ones, and what the honest ones truly are."""

    kind: Literal["store"]
    name: str | None = None
    honest: RowsSection
    alien: RowsSection
    labels: LabelsSection | None = None
    n_components: PositiveInt
    covariance_type: Covariances = "full"
    replace: bool = False


def _spelled_out(key: str) -> BeforeValidator:
    """Let a bare name stand for a section with nothing but that name."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


class AttackSection(Section):
    """An attack; a bare name is the attack with its usual size."""

    name: str | None = None
    attack: Annotated[str, one_of(ATTACKS)]
    size: PositiveFloat | None = None
    component: Annotated[int, Field(ge=0)] | Literal["random"] | Components | None = None
    claimed_rows: PositiveInt | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What is said beside the attack's name."""
        given = {key: getattr(self, key) for key in ("size", "component", "claimed_rows")}
        return {key: value for key, value in given.items() if value is not None}

    @property
    def title(self) -> str:
        """What the attack is called in tables."""
        if self.name is not None:
            return self.name
        words = {"size": "{:g}", "component": "component {}", "claimed_rows": "claims {:g} rows"}
        told = [words[key].format(value) for key, value in self.options.items()]
        return ", ".join([self.attack, *told])

    @model_validator(mode="after")
    def _options_fit(self) -> AttackSection:
        for key, value in self.options.items():
            try:
                Corruption(self.attack, 0.0, **{key: value})
            except ValueError as error:
                wanted = f"what fits the attack: {error}"
                raise unfitting(key, value, wanted, {"attack": self.attack}) from None
        return self


class AggregatorSection(Section):
    """An aggregator; the keys of its rule are those of ``dfmr aggregate``."""

    name: str | None = None
    aggregator: Annotated[str, one_of([*AGGREGATORS, *RIVALS])] = FILTERING
    method: Annotated[str, one_of(METHODS)] = "blocks"
    weights: Annotated[str, one_of(WEIGHTS)] = "shared"
    gates: Gates | None = None
    rho: Annotated[float, Field(ge=1.0)] | None = None
    without: Annotated[tuple[Annotated[str, one_of(PARTS)], ...], Field(strict=False)] = ()

    @property
    def rule(self) -> dict[str, Any]:
        """What is said of the filter."""
        keys = {"method", "weights", "gates", "rho", "without"}
        return self.model_dump(include=keys, exclude_defaults=True)

    @property
    def title(self) -> str:
        """What the aggregator is called in tables."""
        if self.name is not None:
            return self.name
        words = {"method": "{}", "weights": "weights {}", "gates": "{}", "rho": "rho {:g}"}
        words["without"] = "without {}"
        told = {k: "+".join(v) if isinstance(v, tuple) else v for k, v in self.rule.items()}
        return ", ".join([self.aggregator, *(words[key].format(v) for key, v in told.items())])

    @model_validator(mode="after")
    def _rule_is_used(self) -> AggregatorSection:
        if self.aggregator != FILTERING and self.rule:
            key, value = next(iter(self.rule.items()))
            wanted = f"no rule, since {self.aggregator} does not filter by one"
            raise unfitting(key, value, wanted, {"aggregator": self.aggregator})
        return self


class GridSection(Section):
    """How many partitions of which sizes, which attacks on which shares of them, how often."""

    partitions: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(strict=False)]
    rows: PositiveInt | Annotated[tuple[PositiveInt, PositiveInt], Field(strict=False)]
    attacks: Annotated[
        tuple[Annotated[AttackSection, _spelled_out("attack")], ...], Field(strict=False)
    ]
    alphas: Annotated[tuple[Share, ...], Field(strict=False)]
    repetitions: PositiveInt = 20
    fresh_rows: PositiveInt = 5000
    weights_dirichlet: PositiveFloat | None = None

    @model_validator(mode="after")
    def _lists_fit(self) -> GridSection:
        if isinstance(self.rows, tuple) and self.rows[0] > self.rows[1]:
            raise unfitting("rows", list(self.rows), "the smaller number first")
        if any(self.alphas) and not self.attacks:
            raise unfitting("attacks", [], "an attack at the least, or no alphas but 0")
        for key in ("partitions", "alphas"):
            _check_list(key, getattr(self, key))
        if self.attacks:
            _check_list("attacks", [one.title for one in self.attacks])
        return self


class FitsSection(Section):
    """How each partition is fitted; names and meanings are those of a run."""

    start: Annotated[str, one_of(PLACES)] = "truth"
    penalty: Annotated[str, one_of(PENALTIES)] = "total"
    init_params: Annotated[str, one_of(STARTS)] = "overfit"
    n_init: PositiveInt = 2
    tol: Annotated[float, Field(ge=0.0)] = 1e-6
    reg_covar: Annotated[float, Field(ge=0.0)] = 1e-6
    max_iter: PositiveInt = 500


PopulationSection = Annotated[
    OverlapSection | SeparatedSection | DigitsSection | StoreSection, Field(discriminator="kind")
]


class CompareConfig(Section):
    """All settings of a comparison.

    Examples
    --------
    >>> from dfmr_dask.command.comparison import CompareConfig
    >>> config = CompareConfig.model_validate({
    ...     "populations": [{"kind": "separated", "n_components": 3, "n_features": 2}],
    ...     "grid": {"partitions": [20], "rows": 500, "alphas": [0.3],
    ...              "attacks": ["mean", {"attack": "shift", "size": 5.0}]},
    ...     "aggregators": ["vanilla", {"method": "paper", "rho": 2.0}],
    ...     "run": {"folder": "comparisons/a"}})
    >>> [one.title for one in config.grid.attacks], [one.title for one in config.aggregators]
    (['mean', 'shift, 5'], ['vanilla', 'dfmr, paper, rho 2'])
    """

    populations: Annotated[tuple[PopulationSection, ...], Field(strict=False)]
    grid: GridSection
    aggregators: Annotated[
        tuple[Annotated[AggregatorSection, _spelled_out("aggregator")], ...],
        Field(strict=False),
    ]
    fits: FitsSection = FitsSection()
    run: RunSection
    cluster: ClusterSection = ClusterSection()

    @model_validator(mode="after")
    def _names_differ(self) -> CompareConfig:
        _check_list("populations", [title_of(one) for one in self.populations])
        _check_list("aggregators", [one.title for one in self.aggregators])
        for one in self.aggregators:
            if one.title == ORACLE != one.aggregator:
                wanted = "another name: the oracle takes part always, and is called so"
                raise unfitting("aggregators", one.name, wanted, {"aggregator": one.aggregator})
        return self

    @model_validator(mode="after")
    def _components_are_there(self) -> CompareConfig:
        those = self.populations  # of digits: a component for each, unless it is said
        order = min(one.n_components or len(getattr(one, "honest", ())) for one in those)
        for i, attack in enumerate(self.grid.attacks):
            struck = Corruption(attack.attack, 0.0, **attack.options)
            check_component(struck, order, f"grid.attacks.{i}.component")
        return self

    @model_validator(mode="after")
    def _weights_can_drift(self) -> CompareConfig:
        drift, sections = self.grid.weights_dirichlet, self.populations
        if drift is not None and not all(isinstance(s, SimulatedSection) for s in sections):
            wanted = "nothing, since weights can drift in simulated populations only"
            raise unfitting("grid.weights_dirichlet", drift, wanted)
        return self


def title_of(one: OverlapSection | SeparatedSection | DigitsSection | StoreSection) -> str:
    """Return what a population is called in tables."""
    if one.name is not None or isinstance(one, DigitsSection | StoreSection):
        return one.name or one.kind
    size = f"K {one.n_components}, d {one.n_features}"
    if isinstance(one, OverlapSection):
        return f"overlap {one.max_overlap:g}, {size}"
    return f"separation {one.separation:g}, {size}"


def _check_list(key: str, values: Sequence[Any]) -> None:
    """Refuse an empty list, and what would lie twice in one place of the table."""
    if not values:
        raise unfitting(key, [], "one value at the least")
    twice = [value for value, times in Counter(values).items() if times > 1]
    if twice:
        raise unfitting(key, list(values), f"{twice[0]!r} once; give one of them another name")
