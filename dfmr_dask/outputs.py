"""What a run leaves behind beside its model: labels and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from zarr.codecs import Crc32cCodec, ZstdCodec

from dfmr_dask.data.source import Source
from dfmr_dask.experiments.populations import appearing_whole
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.labelling import NO_LABEL, labels
from dfmr_dask.show.picture import Segmentation, disagreement, segmentation_picture, thinned

CODECS = (ZstdCodec(), Crc32cCodec())  # labels compress well; a flipped bit must not pass
MEANING = frozenset({"_FillValue", "dtype", "units", "calendar", "scale_factor", "add_offset"})


def write_labels(path: Path, mixture: Mixture, source: Source) -> None:
    """Label every row where it lies, chunk by chunk, as the variable ``label`` of a Zarr group.

    The group appears when it is whole; every chunk has a checksum.

    Raises
    ------
    InvalidSource
        When ``path`` is there already.
    """
    found: xr.DataArray = labels(mixture, source)
    even = found.chunk({dim: max(sizes) for dim, sizes in found.chunksizes.items()})
    dataset = even.drop_vars("feature", errors="ignore").to_dataset(name="label")
    encoding = {str(name): _encoding(one) for name, one in dataset.variables.items()}
    encoding["label"]["fill_value"] = NO_LABEL  # what a lost chunk reads as
    with appearing_whole(path) as partial:
        dataset.drop_encoding().to_zarr(
            partial, mode="w-", encoding=encoding, consolidated=False, write_empty_chunks=True
        )


def write_picture(
    path: Path, source: Source, mixture: Mixture, compared: Mapping[str, Mixture], name: str
) -> dict[str, float]:
    """Draw the segmentation beside the original and beside those of the other aggregates.

    Parameters
    ----------
    path : Path
    source : Source
        Rows on a grid of two dimensions.
    mixture : Mixture
    compared : mapping of aggregators to Mixture
    name : str
        The aggregator that the mixture comes from.

    Returns
    -------
    dict
        For each of the others, the share of pixels that it labels otherwise.
    """
    grid = thinned(source.as_dataarray()).compute()
    found = [
        Segmentation(title, np.asarray(labels(one, grid, features="feature")), one)
        for title, one in [(name, mixture), *compared.items()]
    ]
    segmentation_picture(path, grid.values, source.features, found)
    return {one.title: disagreement(found[0].labels, one.labels) for one in found[1:]}


def _encoding(variable: xr.Variable) -> dict[str, Any]:
    """What values mean stays as in the source; how its chunks were packed does not."""
    kept = {key: value for key, value in variable.encoding.items() if key in MEANING}
    return {**kept, "compressors": CODECS}
