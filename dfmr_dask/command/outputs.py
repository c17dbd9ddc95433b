"""What a run leaves behind beside its model and its labels: a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dfmr_dask.data.source import Source
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.labelling import labels
from dfmr_dask.show.pictures.segmentation import (
    Segmentation,
    disagreement,
    segmentation_picture,
    thinned,
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
