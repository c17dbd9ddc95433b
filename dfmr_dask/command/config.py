"""A run's settings: YAML with a schema, where an unknown or misspelt key is an error.

Paths are relative to the current directory. Every error names the key, what came, and what is
allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from dask.utils import parse_bytes
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from dfmr_dask.command.complaints import complaints
from dfmr_dask.corruption import Corruption
from dfmr_dask.errors import InvalidConfiguration

Names = Annotated[tuple[str, ...], Field(strict=False)]  # a YAML list
Seed = Annotated[int, Field(ge=0)]
Aggregator = Literal["dfmr", "vanilla", "coat", "trim", "oracle"]
Stages = Annotated[tuple[Literal["rows", "proposals", "messages"], ...], Field(strict=False)]
Gates = Annotated[tuple[Literal["blocks", "ctd", "fisher", "l2"], ...], Field(strict=False)]
CovarianceType = Literal["full", "tied", "diag", "spherical"]


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
    group: str | None = None
    features: str | Names | None = None
    plan: Literal["chunks", "rows", "interleaved"] | None = None
    rows_per_partition: PositiveInt | None = None
    n_partitions: PositiveInt | None = None
    storage_options: dict[str, Any] | None = None


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


class MixtureSection(Section):
    """The mixture to fit and how; names and meanings are scikit-learn's."""

    n_components: PositiveInt
    covariance_type: CovarianceType = "full"
    init_params: Literal["overfit", "k-means++", "kmeans", "random"] = "overfit"
    n_init: PositiveInt = 2
    tol: PositiveFloat = 1e-6
    reg_covar: Annotated[float, Field(ge=0.0)] = 1e-6
    max_iter: PositiveInt = 500


class CorruptionSection(Section):
    """Which share of the partitions lies, and how: for experiments."""

    attack: Literal["mean", "covariance", "weight", "data"]
    fraction: Annotated[float, Field(ge=0.0, lt=1.0)]
    stages: Stages = ()
    replacement: SourceSection | None = None

    @model_validator(mode="after")
    def _replacement_fits(self) -> CorruptionSection:
        try:
            Corruption(self.attack, self.fraction, self.stages)
        except ValueError as error:
            raise ValueError(f"stages that fit: {error}") from None
        if (self.attack == "data") != (self.replacement is not None):
            raise ValueError("replacement: {path: ...} for attack: data, and for no other attack")
        return self


class AggregateSection(Section):
    """How messages become a model; the keys are those of ``dfmr aggregate``."""

    aggregator: Aggregator = "dfmr"
    method: Literal["blocks", "paper"] = "blocks"
    weights: Literal["shared", "free"] = "shared"
    gates: Gates | None = None
    rho: Annotated[float, Field(ge=1.0)] | None = None
    compare: Annotated[tuple[Aggregator, ...], Field(strict=False)] = ()


class LabelsSection(Section):
    """What is labeled with the model: by default the rows of ``source``, where they lie."""

    write: bool = True
    path: str | None = None
    group: str | None = None
    features: str | Names | None = None
    storage_options: dict[str, Any] | None = None


class ClusterSection(Section):
    """Who computes: the Dask client that is there, else this address, else local processes."""

    address: str | None = None
    n_workers: PositiveInt | None = None
    memory_limit: Annotated[int | str, AfterValidator(_bytes)] | None = None


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
    >>> config.mixture.covariance_type, config.aggregate.aggregator
    ('full', 'dfmr')
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

    @model_validator(mode="after")
    def _oracle_has_liars(self) -> RunConfig:
        asked = {self.aggregate.aggregator, *self.aggregate.compare}
        if "oracle" in asked and self.corruption is None:
            raise ValueError(
                "a corruption section where aggregate names the oracle, which is told who lies"
            )
        return self

    @model_validator(mode="after")
    def _picture_has_labels(self) -> RunConfig:
        if self.picture and not self.labels.write:
            raise ValueError(
                "labels.write: true where picture: true, since the picture shows the labels"
            )
        return self


def read_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration file and lay overrides ``key=value`` over it.

    Parameters
    ----------
    path : Path
    overrides : sequence of str
        Dotted keys and YAML values: ``mixture.n_components=5``, ``source.features=[a, b]``.

    Raises
    ------
    InvalidConfiguration
        When the file is missing, no YAML, or says something that the schema does not know.
    """
    try:
        values = _parsed(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfiguration(f"cannot read the configuration {path}: {error}") from error
    if not isinstance(values, dict):
        raise InvalidConfiguration(
            f"{path}: wanted sections with keys, such as source: {{path: ...}}"
        )
    for override in overrides:
        values = _overridden(values, override)
    return configuration(values)


def configuration(values: Mapping[str, Any]) -> RunConfig:
    """Validate settings that are plain values.

    Raises
    ------
    InvalidConfiguration
        One line for each key that is wrong: its dotted name, what came, what is allowed.

    Examples
    --------
    >>> from dfmr_dask.command.config import configuration
    >>> try:
    ...     configuration({"source": {"path": "a.zarr"}, "mixture": {"n_component": 3},
    ...                    "run": {"folder": "runs/a"}})
    ... except ValueError as error:
    ...     print(str(error).split(" (")[0])
    mixture.n_component: unknown key; did you mean n_components?
    """
    try:
        return RunConfig.model_validate(dict(values))
    except ValidationError as error:
        raise InvalidConfiguration("\n".join(complaints(RunConfig, error.errors()))) from None


def settings_of(config: RunConfig) -> dict[str, Any]:
    """Return the settings with all defaults spelled out, as values for JSON."""
    return config.model_dump(mode="json")


class _Loader(yaml.SafeLoader):
    """Plain values only; 1e-6 is a number (YAML 1.1 reads a text), a key comes once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that comes twice: the first value would be lost without a word."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} comes twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep=deep)


_NUMBER = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))


def _parsed(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # a subclass of SafeLoader
    except yaml.YAMLError as error:
        raise InvalidConfiguration(f"{where} is no YAML: {error}") from error


def _overridden(values: dict[str, Any], override: str) -> dict[str, Any]:
    """Return settings with one ``key=value`` laid over them."""
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise InvalidConfiguration(f"--set {override}: wanted key=value, as in mixture.tol=1e-4")
    return _replaced(values, key.split("."), _parsed(text, f"the value of --set {key}"), key)


def _replaced(values: Any, keys: list[str], value: Any, name: str) -> dict[str, Any]:
    if values is not None and not isinstance(values, dict):
        raise InvalidConfiguration(f"--set {name}: {values!r} stands where keys were wanted")
    inner = (values or {}).get(keys[0])
    changed = _replaced(inner, keys[1:], value, name) if len(keys) > 1 else value
    return {**(values or {}), keys[0]: changed}
