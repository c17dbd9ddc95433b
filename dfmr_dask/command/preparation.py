"""From a configuration to what a run takes: stores that are there, open sources, settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr

from dfmr_dask.command.schema import GaussianRecipe, LabelsSection, RunConfig, SourceSection
from dfmr_dask.data.remote import scrubbed
from dfmr_dask.data.source import GENOTYPES, Source, open_source
from dfmr_dask.errors import InvalidConfiguration, InvalidSource, TooLittleMemory
from dfmr_dask.experiments.populations import (
    Count,
    nothing,
    population,
    recipe_of,
    truth_path,
    write_gaussians,
    write_photographs,
)
from dfmr_dask.run.demands import check_replacement, check_sizes
from dfmr_dask.run.places import check_place
from dfmr_dask.run.settings import Settings, order_settings


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """The data of a run, opened.

    Attributes
    ----------
    source : Source
        What is fitted.
    labeled : Source
        What gets labels.
    replacement : Source or None
        Rows that the data attack puts in the place of a partition's own.
    """

    source: Source
    labeled: Source
    replacement: Source | None


def make_store(config: RunConfig, count: Count = nothing) -> bool:
    """Write the simulated store of a configuration, unless it is there already.

    Returns
    -------
    bool
        Whether it was written now.

    Raises
    ------
    InvalidConfiguration
        When there is another store under its name, or no recipe to make one from.
    OSError
        When nothing can be written there.
    """
    if config.simulate is None:
        raise InvalidConfiguration("simulate: this section is missing; there is nothing to make")
    path, recipe = Path(config.source.path), config.simulate.model_dump(mode="json")
    if "://" in config.source.path:
        raise InvalidConfiguration(
            f"source.path: came {config.source.path!r}; wanted a local path, since a simulated "
            "store is written under another name and renamed when it is whole"
        )
    if path.exists():
        _check_same(path, recipe)
        return False
    check_place(path)
    if isinstance(config.simulate, GaussianRecipe):
        _write_gaussians(path, config.simulate, recipe, count)
    else:
        made = config.simulate
        write_photographs(
            path,
            chunk_rows=made.chunk_rows,
            stride=made.stride,
            seed=made.seed,
            recipe=recipe,
            count=count,
        )
    return True


def truth_of(config: RunConfig) -> Path | None:
    """Return where the true mixture of the simulated store lies, if it has one."""
    made = isinstance(config.simulate, GaussianRecipe)
    return truth_path(Path(config.source.path)) if made else None


def open_inputs(config: RunConfig) -> Inputs:
    """Open what a run reads, and refuse what does not fit together before anything is computed.

    Raises
    ------
    InvalidSource
        When data cannot be opened.
    InvalidConfiguration
        When features differ between them, or a picture is asked of rows that lie on no plane.
    DegenerateRows
        When no partition has rows enough.
    """
    memory = config.cluster.memory_per_worker
    source = opened(config.source, config.run.seed, memory=memory)
    labeled = _labeled(config, source)
    attack, place = config.corruption, "corruption.replacement"
    replacement = (
        opened(attack.replacement, config.run.seed, place, memory)
        if attack and attack.replacement
        else None
    )
    others = {"labels": labeled, "corruption.replacement": replacement}
    for name, other in others.items():
        if other is not None and other.n_features != source.n_features:
            raise InvalidConfiguration(
                f"{name}: {other.location} has {other.n_features} features {other.features}; "
                f"wanted {source.n_features} like the source: {source.features}"
            )
    if config.picture and len(labeled.sample_dims) != 2:
        raise InvalidConfiguration(
            f"picture: came True; wanted false, or a grid under labels, since rows of "
            f"{labeled.location} lie on {labeled.sample_dims} and not on two dimensions"
        )
    _check_memory(source)
    settings = fit_settings(config)
    check_sizes(source, settings)
    check_replacement(source, settings, replacement)
    return Inputs(source, labeled, replacement)


def opened(
    section: SourceSection, seed: int, name: str = "source", memory: int | str | None = None
) -> Source:
    """Open the data of a section.

    Parameters
    ----------
    section : SourceSection
    seed : int
        Of plans that draw.
    name : str
        What the section is called in errors.
    memory : int or str, optional
        What a worker has; what it cannot hold is cut or streamed.

    Raises
    ------
    InvalidSource
        When there is no such store.
    InvalidConfiguration
        When there is one, and the other keys of the section do not fit it.
    """
    try:
        keys = section.model_dump(exclude={"path"})
        return open_source(_stores(section), seed=seed, memory_per_worker=memory, **keys)
    except InvalidSource as error:
        told = scrubbed(str(error), section.storage_options)
        reason = None if section.storage_options else error  # its text may hold credentials
        if _is_store(section):
            raise InvalidConfiguration(f"{name}: {told}") from reason
        raise InvalidSource(told) from reason


def _stores(section: SourceSection) -> str | dict[str, str]:
    """Return the store, or those of all sites that a pattern stands for, by their names."""
    if section.kind != GENOTYPES or "*" not in section.path:
        return section.path
    place = Path(section.path).expanduser()
    found = sorted(place.parent.glob(place.name))
    if not found:
        raise InvalidSource(f"{section.path}: there is no such store; wanted VCF Zarr, one a site")
    return {path.stem: str(path) for path in found}


def _is_store(section: SourceSection) -> bool:
    """Tell whether there is a Zarr store, whatever else is asked of it."""
    try:
        if "://" in section.path:
            zarr.open(section.path, mode="r", storage_options=section.storage_options)
        else:
            zarr.open(Path(section.path).expanduser(), mode="r")
    except Exception:  # backends of fsspec raise what they like
        return False
    return True


def fit_settings(config: RunConfig) -> Settings:
    """Return what a configuration says about the fit and the aggregation."""
    attack = config.corruption
    order = ("n_components", "max_components", "min_gain")
    told = ("family", "covariance_type", "n_trials", "levels", "parts")
    fitted = config.mixture.model_dump(exclude={*told, *order})
    fitted |= order_settings(*(getattr(config.mixture, name) for name in order))
    return Settings(
        family=config.mixture.components(),
        seed=config.run.seed,
        sample_rows=config.run.sample_rows,
        corruption=attack.corruption() if attack else None,
        **fitted,
        **config.aggregate.model_dump(),
    )


def _labeled(config: RunConfig, source: Source) -> Source:
    """Open what gets labels; the source itself where nothing else is named."""
    given: LabelsSection = config.labels
    if given.path is None and given.group is None and given.features is None:
        return source
    features = config.source.features if given.features is None else given.features
    same_store = given.path is None or given.path == config.source.path
    section = SourceSection(
        path=given.path or config.source.path,
        group=given.group if given.group or not same_store else config.source.group,
        features=features,
        storage_options=given.storage_options
        or (config.source.storage_options if same_store else None),
    )
    return opened(section, config.run.seed, "labels")


def _check_memory(source: Source) -> None:
    """Refuse a plan that cannot fit, and name the setting to change."""
    try:
        source.plan.check_memory()
    except TooLittleMemory as error:
        raise InvalidConfiguration(f"cluster.{error}") from error


def _write_gaussians(
    path: Path, made: GaussianRecipe, recipe: dict[str, Any], count: Count
) -> None:
    truth = population(
        made.n_components,
        made.n_features,
        separation=made.separation,
        scales=made.scales,
        seed=made.seed,
    )
    write_gaussians(
        path,
        truth,
        made.rows,
        chunk_rows=made.chunk_rows,
        dtype=made.dtype,
        seed=made.seed,
        recipe=recipe,
        count=count,
    )


def _check_same(path: Path, recipe: dict[str, Any]) -> None:
    """Refuse a store that was made from something else: results would not be about the recipe."""
    found = recipe_of(path)
    if found == recipe:
        return
    if found is None:
        told = "it was not made by this command. Take the simulate section out to read it"
    else:
        keys = sorted(k for k in recipe.keys() | found.keys() if recipe.get(k) != found.get(k))
        told = ", ".join(f"{k} is {found.get(k)!r} there, {recipe.get(k)!r} here" for k in keys)
        told += ". Remove it"
    raise InvalidConfiguration(
        f"simulate: {path} is there already, and {told}, or name another path"
    )
