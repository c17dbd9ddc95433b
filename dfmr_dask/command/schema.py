"""What a configuration may say: sections, keys, their types and defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

from dask.utils import parse_bytes
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from dfmr_dask.aggregate.aggregators import AGGREGATORS
from dfmr_dask.aggregate.filtering import GATES
from dfmr_dask.aggregate.gates import UNITS
from dfmr_dask.command.complaints import check_component, not_among, unfitting
from dfmr_dask.corruption import ATTACKS, STAGES, Corruption
from dfmr_dask.data.choosing import KINDS, Wish
from dfmr_dask.data.integrity import CHOICES
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
from dfmr_dask.run.settings import MAX_COMPONENTS, METHODS, PLACES, WEIGHTS, WORK_DTYPES
from dfmr_dask.run.waiting import WORKER_TIMEOUT, Waiting


def one_of(names: Iterable[str]) -> PlainValidator:
    """Allow the names of a table of the method, and no others."""
    allowed = tuple(names)

    def checked(value: Any) -> Any:
        if not isinstance(value, str) or value not in allowed:
            raise not_among(allowed)
        return value

    return PlainValidator(checked)


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
Names = Annotated[tuple[str, ...], Field(strict=False)]  # a YAML list
Features = str | int | Names  # variables, the dimension, or its number
Seed = Annotated[int, Field(ge=0)]
Aggregator = Annotated[str, one_of(AGGREGATORS)]
Components = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False)]
Stages = Annotated[tuple[Annotated[str, one_of(STAGES)], ...], Field(strict=False)]
Gates = Annotated[tuple[Annotated[str, one_of(GATES)], ...], Field(strict=False)]


def _bytes(value: int | str) -> int | str:
    try:
        parse_bytes(value)
    except ValueError:
        raise ValueError("an amount of memory, such as 512MiB or 2GB") from None
    return value


class Section(BaseModel):
    """A part of a configuration: no unknown keys, no silent conversions, no changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class SourceSection(Section):
    """Where rows come from; the keys are the arguments of :func:`dfmr_dask.open_source`."""

    path: str
    kind: Literal["genotypes"] | None = None
    group: str | None = None
    features: Features | None = None
    plan: Annotated[str, one_of(KINDS)] | None = None
    rows_per_partition: PositiveInt | None = None
    n_partitions: PositiveInt | None = None
    storage_options: dict[str, Any] | None = None
    sample_weight: str | None = None
    missing_chunks: Annotated[str, one_of(CHOICES)] = "fail"

    @model_validator(mode="after")
    def _plan_has_its_sizes(self) -> SourceSection:
        try:
            Wish(self.plan, self.rows_per_partition, self.n_partitions)
        except ValueError as error:
            came = {
                "n_partitions": self.n_partitions,
                "rows_per_partition": self.rows_per_partition,
            }
            given = {key: value for key, value in came.items() if value is not None}
            raise unfitting("plan", self.plan, f"sizes that fit it: {error}", given) from None
        return self


class GaussianRecipe(Section):
    """A simulated store: rows of a Gaussian mixture, written to ``source.path``."""

    kind: Literal["gaussian"]
    rows: PositiveInt
    n_components: PositiveInt
    n_features: PositiveInt
    chunk_rows: PositiveInt
    separation: PositiveFloat = 4.0
    scales: Annotated[tuple[PositiveFloat, ...], Field(strict=False)] | None = None
    dtype: Literal["float32", "float64"] = "float64"
    seed: Seed = 0


class PhotographsRecipe(Section):
    """The two photographs that come with scikit-learn, written to ``source.path``."""

    kind: Literal["photographs"]
    chunk_rows: PositiveInt
    stride: PositiveInt = 1
    seed: Seed = 0


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


class CorruptionSection(Section):
    """Which share of the partitions lies, and how: for experiments."""

    attack: Annotated[str, one_of(ATTACKS)]
    fraction: Annotated[float, Field(ge=0.0, lt=1.0)]
    stages: Stages = ()
    size: PositiveFloat | None = None
    component: Annotated[int, Field(ge=0)] | Literal["random"] | Components | None = None
    claimed_rows: PositiveInt | None = None
    replacement: SourceSection | None = None

    def corruption(self) -> Corruption:
        """Return the attack that the section tells of."""
        return Corruption(**self.model_dump(exclude={"replacement"}))

    @model_validator(mode="after")
    def _parts_fit(self) -> CorruptionSection:
        told: dict[str, Any] = {"attack": self.attack, "fraction": self.fraction}
        parts = {"stages": "stages that fit", "size": "a size that fits"}
        parts |= {"component": "what fits", "claimed_rows": "rows that can be claimed"}
        for key, what in parts.items():
            try:
                Corruption(**told, **{key: getattr(self, key)})
            except ValueError as error:
                raise unfitting(key, getattr(self, key), f"{what}: {error}") from None
        if (self.attack == "data") != (self.replacement is not None):
            wanted = "{path: ...} with attack: data, and with no other attack"
            raise unfitting("replacement", self.replacement, wanted, {"attack": self.attack})
        return self


class AggregateSection(Section):
    """How messages become a model; ``polish`` reads rows again, and ``places`` is for the fits."""

    aggregator: Aggregator = "dfmr"
    method: Annotated[str, one_of(METHODS)] = "blocks"
    weights: Annotated[str, one_of(WEIGHTS)] = "shared"
    gates: Gates | None = None
    rho: Annotated[float, Field(ge=1.0)] | None = None
    unit: Annotated[str, one_of(UNITS)] = "partition"
    compare: Annotated[tuple[Aggregator, ...], Field(strict=False)] = ()
    polish: Annotated[int, Field(ge=0)] = 0
    places: Annotated[str, one_of(PLACES)] = "flag"


class LabelsSection(Section):
    """What is labeled with the model: by default the rows of ``source``, where they lie."""

    write: bool = True
    path: str | None = None
    group: str | None = None
    features: Features | None = None
    storage_options: dict[str, Any] | None = None


class TlsSection(Section):
    """Certificate files for a scheduler that speaks TLS."""

    ca: str
    cert: str
    key: str


class ClusterSection(Section):
    """Who computes: the Dask client that is there, else this scheduler, else local processes."""

    address: str | None = None
    scheduler_file: str | None = None
    tls: TlsSection | None = None
    n_workers: PositiveInt | None = None
    memory_per_worker: Annotated[int | str, AfterValidator(_bytes)] | None = None

    @model_validator(mode="after")
    def _one_scheduler(self) -> ClusterSection:
        if self.address is not None and self.scheduler_file is not None:
            raise unfitting("scheduler_file", self.scheduler_file, "nothing beside an address")
        if self.tls is not None and self.address is None and self.scheduler_file is None:
            raise unfitting("address", None, "tls://host:port (or scheduler_file) beside tls")
        return self


class WaitingSection(Section):
    """How long is waited for partitions; the keys are the arguments of :class:`Waiting`."""

    partition_timeout: PositiveFloat | None = None
    quorum: PositiveInt | PositiveFloat | None = None
    deadline: PositiveFloat | None = None
    worker_timeout: PositiveFloat = WORKER_TIMEOUT

    def waiting(self) -> Waiting:
        """Return what the section tells of."""
        return Waiting(**self.model_dump())

    @model_validator(mode="after")
    def _quorum_is_one(self) -> WaitingSection:
        try:
            Waiting(quorum=self.quorum)
        except ValueError as error:
            raise unfitting("quorum", self.quorum, f"one that there can be: {error}") from None
        return self


class RunSection(Section):
    """Where the results go, and the seed of everything that is drawn."""

    folder: str
    seed: Seed = 0


Recipe = Annotated[GaussianRecipe | PhotographsRecipe, Field(discriminator="kind")]


class RunConfig(Section):
    """All settings of a run.

    Examples
    --------
    >>> from dfmr_dask.command.config import configuration
    >>> config = configuration({"source": {"path": "a.zarr"}, "mixture": {"n_components": 3},
    ...                         "run": {"folder": "runs/a"}})
    >>> config.mixture.family, config.mixture.components(), config.aggregate.aggregator
    ('gaussian', Gaussian(tied=False), 'dfmr')
    """

    source: SourceSection
    mixture: MixtureSection
    run: RunSection
    simulate: Recipe | None = None
    corruption: CorruptionSection | None = None
    aggregate: AggregateSection = AggregateSection()
    labels: LabelsSection = LabelsSection()
    picture: bool = False
    cluster: ClusterSection = ClusterSection()
    waiting: WaitingSection = WaitingSection()

    @model_validator(mode="after")
    def _oracle_has_liars(self) -> RunConfig:
        for key, value in (
            ("aggregator", self.aggregate.aggregator),
            ("compare", self.aggregate.compare),
        ):
            if self.corruption is None and (value == "oracle" or "oracle" in tuple(value)):
                wanted = "a corruption section beside the oracle, which is told who lies"
                raise unfitting(f"aggregate.{key}", value, wanted)
        return self

    @model_validator(mode="after")
    def _component_is_there(self) -> RunConfig:
        if self.corruption is not None:
            given = self.mixture.n_components
            order = self.mixture.max_components if given == "auto" else given
            check_component(self.corruption.corruption(), order, "corruption.component")
        return self

    @model_validator(mode="after")
    def _picture_has_labels(self) -> RunConfig:
        if self.picture and not self.labels.write:
            wanted = "true where picture is true, since the picture shows the labels"
            raise unfitting("labels.write", False, wanted)
        return self
