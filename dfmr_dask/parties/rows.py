"""The rows of a site: opened as one partition, compared with the exchange, sampled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from dfmr_dask.data.readers import WeightedRows
from dfmr_dask.data.source import Source, open_source
from dfmr_dask.errors import DegenerateRows, InvalidSource
from dfmr_dask.parties.exchange import Exchange
from dfmr_dask.randomness import Stage, generator
from dfmr_dask.run import partition
from dfmr_dask.run.partition import Drawn, LocalSettings
from dfmr_dask.run.settings import MAX_COMPONENTS
from dfmr_dask.run.tasks import Failure, InProcess

ROWS_FOR_SEED = 1000
Value = TypeVar("Value")


def opened_whole(
    data: Any, features: Any, opening: Mapping[str, Any], exchange: Exchange | None = None
) -> Source:
    """Open data as one partition; without other words, with the features of the exchange."""
    if isinstance(data, Source):
        source = data
    else:
        whole = {"plan": "rows", "n_partitions": 1, **opening}
        source = _as_known(data, features, whole, exchange)
    if len(source.plan) != 1:
        raise InvalidSource(
            f"a site is one partition, and {source.location} was opened as {len(source.plan)}; "
            "open it with n_partitions=1"
        )
    source.plan.check_memory()
    return source


def _as_known(
    data: Any, features: Any, whole: Mapping[str, Any], exchange: Exchange | None
) -> Source:
    if features is not None or exchange is None:
        return open_source(data, features=features, **whole)
    source = open_source(data, **whole)
    if source.features == exchange.features or not source.named:
        return source
    return open_source(data, features=list(exchange.features), **whole)


def known_units(source: Source, units: Mapping[str, str] | None) -> dict[str, str]:
    """Return the units that are known, those given before those of the data."""
    known = {str(name): str(unit) for name, unit in {**source.units, **(units or {})}.items()}
    unknown = sorted(set(known) - set(source.features))
    if unknown:
        raise InvalidSource(f"units of {', '.join(unknown)}: features are {source.features}")
    return known


def check_alike(source: Source, units: Mapping[str, str] | None, exchange: Exchange) -> None:
    """Raise when rows are not those that the exchange is about."""
    for name, own, wanted in (
        ("features", list(source.features), list(exchange.features)),
        ("units", known_units(source, units), dict(exchange.units)),
        ("sample_weight", source.weighted, exchange.weighted),
    ):
        if own != wanted:
            raise InvalidSource(f"{name} of {source.location} are {own}; the exchange has {wanted}")


def private_seed(source: Source, site: str, seed: int | None) -> int:
    """Return the seed of a site, by default one that only who has its rows can find."""
    if seed is not None:
        return seed
    reader = source.sample_rows(0, ROWS_FOR_SEED, generator(0, Stage.SAMPLE_BLOCKS))
    rows = given(InProcess().submit("start", ("seed", 0), _bytes_of, reader))
    return int(hashlib.sha256(site.encode() + rows).hexdigest()[:32], 16)


def _bytes_of(reader: Any) -> bytes:
    came = reader() if callable(reader) else reader
    return np.ascontiguousarray(came.rows if isinstance(came, WeightedRows) else came).tobytes()


def drawn_samples(source: Source, local: LocalSettings) -> Drawn:
    """Draw the samples A and B, the same rows whenever they are drawn."""
    order = max(local.n_components, MAX_COMPONENTS)  # so that other orders read the same rows
    sizes = local.order_of(order).sample_sizes(source.plan.partitions[0].rows or 1 << 62)
    reader = source.sample_rows(0, sum(sizes), generator(local.seed, Stage.SAMPLE_BLOCKS))
    drawn: Drawn = given(
        InProcess().submit("start", ("sample", 0), partition.draw, 0, reader, local)
    )
    return drawn


def given(value: Value | Failure) -> Value:
    """Return what was found, or raise why there is nothing: no reason ever leaves a site."""
    if isinstance(value, Failure):
        raise DegenerateRows(value.reason)
    return value
