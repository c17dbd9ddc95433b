"""What ``dfmr compare`` does: from a configuration to the tasks, tables and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import ValidationError

from dfmr_dask import __version__
from dfmr_dask.aggregate.aggregators import rule_named
from dfmr_dask.command.comparison import (
    MOST_DRAWS,
    CompareConfig,
    DigitsSection,
    LabelsSection,
    OverlapSection,
    RowsSection,
    SeparatedSection,
    StoreSection,
    title_of,
)
from dfmr_dask.command.complaints import complaints
from dfmr_dask.command.config import read_values
from dfmr_dask.command.jobs import Say, silent, tasks_for
from dfmr_dask.command.preparation import opened
from dfmr_dask.command.schema import SourceSection
from dfmr_dask.data.opening import inside
from dfmr_dask.data.remote import scrubbed
from dfmr_dask.errors import InvalidConfiguration
from dfmr_dask.experiments.cells import Attack, Design
from dfmr_dask.experiments.collected import Collected, collected, digits
from dfmr_dask.experiments.compare import Comparison, Population, begin, compare, remaining
from dfmr_dask.experiments.judging import Contender
from dfmr_dask.experiments.overlap import population_with_overlap
from dfmr_dask.experiments.populations import population
from dfmr_dask.experiments.rivals import RIVALS
from dfmr_dask.experiments.tables import summary_text
from dfmr_dask.experiments.worlds import Simulated
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.families.base import Rows
from dfmr_dask.run.events import Emit, ignore
from dfmr_dask.run.record import without_credentials


def read_comparison(path: Path, overrides: Sequence[str] = ()) -> CompareConfig:
    """Read the configuration of a comparison, and lay overrides ``key=value`` over it.

    Raises
    ------
    InvalidConfiguration
        When the file is missing, no YAML, or says something that the schema does not know.
    """
    return comparison_of(read_values(path, overrides, "grid: {...}"))


def comparison_of(values: Mapping[str, Any]) -> CompareConfig:
    """Validate settings that are plain values.

    Raises
    ------
    InvalidConfiguration
        One line for each key that is wrong: its dotted name, what came, what is allowed.
    """
    try:
        return CompareConfig.model_validate(dict(values))
    except ValidationError as error:
        told = "\n".join(complaints(CompareConfig, error.errors()))
        raise InvalidConfiguration(told) from None


def run(
    config: CompareConfig, *, overwrite: bool = False, emit: Emit = ignore, say: Say = silent
) -> dict[str, Any]:
    """Do what is left of a comparison, and return what :func:`compare` returns.

    Raises
    ------
    DfmrError
        Of the kind that tells what is wrong; see :mod:`dfmr_dask.errors`.
    """
    folder, comparison, settings = Path(config.run.folder), comparison_in(config), described(config)
    begin(folder, settings, overwrite=overwrite)  # before a cluster is started
    with tasks_for(config.cluster, not remaining(comparison, folder), say) as tasks:
        return compare(comparison, folder, tasks, settings=settings, emit=emit)


def described(config: CompareConfig) -> dict[str, Any]:
    """Return what tells a comparison from another one: not where it lies, nor who computes."""
    values = config.model_dump(mode="json", exclude={"cluster": True, "run": {"folder"}})
    return {"version": __version__, **without_credentials(values)}


def text_of(found: dict[str, Any]) -> str:
    """Return what a comparison has found, as a text for people."""
    files = "\n".join(f"{name}: {path}" for name, path in found["files"].items())
    return f"{summary_text(found['summary'])}\n\n{found['cells']} cells\n{files}"


def comparison_in(config: CompareConfig) -> Comparison:
    """Return the comparison that a configuration asks for; nothing is read or drawn."""
    grid, fits = config.grid, config.fits
    design = Design(
        attacks=tuple(Attack(one.title, one.attack, one.options) for one in grid.attacks),
        alphas=grid.alphas,
        contenders=tuple(
            Contender(one.title, RIVALS.get(one.aggregator, one.aggregator), rule_named(**one.rule))
            for one in config.aggregators
        ),
        rows=grid.rows,
        fresh_rows=grid.fresh_rows,
        weights_dirichlet=grid.weights_dirichlet,
        **fits.model_dump(),
    )
    populations = tuple(one for section in config.populations for one in _populations(section))
    seeds = tuple(range(config.run.seed, config.run.seed + grid.repetitions))
    return Comparison(populations, grid.partitions, seeds, design)


def _populations(
    section: OverlapSection | SeparatedSection | DigitsSection | StoreSection,
) -> Iterator[Population]:
    name = title_of(section)
    if isinstance(section, StoreSection):
        yield Population(name, 0, partial(_stored, section))
    elif isinstance(section, DigitsSection):
        yield Population(name, 0, partial(_digits, section))
    else:
        for draw in range(section.draws):
            yield Population(name, draw, partial(_simulated, section, section.seed + draw))


def _simulated(section: OverlapSection | SeparatedSection, seed: int) -> Simulated:
    k, d = section.n_components, section.n_features
    if isinstance(section, OverlapSection):
        make = partial(population_with_overlap, k, d, section.max_overlap)
    else:
        make = partial(population, k, d, separation=section.separation, scales=section.scales)
    return Simulated(make(seed=seed), make(seed=seed + MOST_DRAWS))


def _digits(section: DigitsSection) -> Collected:
    return digits(
        section.honest,
        section.alien,
        section.n_features,
        family=COVARIANCE_TYPES[section.covariance_type],
        n_components=section.n_components,
    )


def _stored(section: StoreSection) -> Collected:
    """Read the rows of a store into memory, without those that hold NaN or infinity."""
    name = title_of(section)
    rows = _rows(section.honest, f"{name}.honest")
    aliens = _rows(section.alien, f"{name}.alien")
    if rows.shape[1] != aliens.shape[1]:
        raise InvalidConfiguration(
            f"{name}.alien: {section.alien.path} has {aliens.shape[1]} features; wanted "
            f"{rows.shape[1]} like {section.honest.path}"
        )
    labels = None if section.labels is None else _labels(section.labels, len(rows), name)
    good, others = np.isfinite(rows).all(axis=1), np.isfinite(aliens).all(axis=1)
    return collected(
        rows[good],
        None if labels is None else labels[good],
        aliens[others],
        family=COVARIANCE_TYPES[section.covariance_type],
        n_components=section.n_components,
        replace=section.replace,
    )


def _rows(section: RowsSection, name: str) -> Rows:
    source = opened(SourceSection(**section.model_dump()), 0, name)
    values: NDArray[np.float64] = source.as_dataarray().values.astype(np.float64)
    return values.reshape(-1, source.n_features)


def _labels(section: LabelsSection, rows: int, name: str) -> NDArray[np.intp]:
    try:
        node = inside(
            zarr.open(section.path, mode="r", storage_options=section.storage_options),
            section.group,
        )
        found = np.asarray(node[...]).ravel()
    except Exception as error:  # backends of fsspec raise what they like
        reason = scrubbed(f"{type(error).__name__}: {error}", section.storage_options)
        raise InvalidConfiguration(
            f"{name}.labels: {section.path} cannot be read as an array of labels ({reason})"
        ) from None
    if len(found) != rows or not np.issubdtype(found.dtype, np.integer):
        raise InvalidConfiguration(
            f"{name}.labels: came {len(found)} values of dtype {found.dtype}; wanted {rows} "
            "integers, one for each honest row"
        )
    return found.astype(np.intp)
