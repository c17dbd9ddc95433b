"""What users' functions of a mixture say, checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.errors import NoStandardErrors
from dfmr_dask.mixture import Mixture

Array = NDArray[np.float64]


def value_of(
    function: Callable[[Mixture], Any], mixture: Mixture, of: str, shape: tuple[int, ...] | None
) -> Array:
    """Call a user's function, and check what came.

    Parameters
    ----------
    function : callable
    mixture : Mixture
    of : str
        What the mixture is called in an error.
    shape : tuple of int, or None
        Of what came for another mixture.

    Raises
    ------
    NoStandardErrors
        When it raises, or returns no finite numbers, or an array of another shape.
    """
    try:
        came = function(mixture)
    except Exception as error:
        raise NoStandardErrors(f"the function raised {error!r} for {of}") from error
    try:
        value = np.asarray(came, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise NoStandardErrors(
            f"the function returned {came!r:.80} for {of}; wanted a number or an array of them"
        ) from error
    if shape is not None and value.shape != shape:
        raise NoStandardErrors(
            f"the function returned an array of shape {value.shape} for {of}, and of {shape} for "
            "the mixture; wanted the same shape for both"
        )
    if not np.isfinite(value).all():
        raise NoStandardErrors(
            f"the function returned {came!r:.80} for {of}; wanted finite numbers. A function that "
            "is not defined for all mixtures near this one has no standard error"
        )
    return value
