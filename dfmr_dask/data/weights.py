"""What weighs the rows: the name of a variable or column, or numbers beside a table."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dfmr_dask.data.features import kind_text, numbers
from dfmr_dask.errors import InvalidSource

GIVEN = "given beside the rows"  # what weights are called that have no name


def check_weight(name: Any, known: Sequence[Any], features: Any, dtype: Any = None) -> None:
    """Refuse a name that does not exist, is a feature as well, or holds no numbers.

    Raises
    ------
    InvalidSource
    """
    if not isinstance(name, str):
        raise InvalidSource(
            f"sample_weight= is a {type(name).__name__}; wanted the name of the variable or "
            f"column that weighs the rows, one of {', '.join(map(str, known))}"
        )
    if name not in known:
        near = get_close_matches(name, [str(one) for one in known], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidSource(
            f"sample_weight={name!r} not found; there are: {', '.join(map(str, known))}{hint}"
        )
    if not isinstance(features, str) and isinstance(features, Sequence) and name in features:
        raise InvalidSource(f"sample_weight={name!r} is among features= as well; take it out")
    if dtype is not None and not numbers(dtype):
        raise InvalidSource(
            f"sample_weight={name!r} holds {kind_text(dtype)}; wanted numbers that are not negative"
        )


def no_weight(weight: Any, what: str) -> None:
    """Refuse weights where there is nothing that could hold them.

    Raises
    ------
    InvalidSource
    """
    if weight is not None:
        raise InvalidSource(
            f"sample_weight= came with {what}, which has no variable beside the rows; open the "
            "group, or put rows and weights into an xarray.Dataset, and give the weights' name"
        )


def given_weights(weight: Any, n_rows: int) -> NDArray[np.float64] | None:
    """Return the weights of a table in memory as float64.

    Raises
    ------
    InvalidSource
        When they are no n numbers, or some are negative, NaN or infinite.
    """
    if weight is None:
        return None
    try:
        weights = np.array(weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidSource(
            f"sample_weight={weight!r:.80} for an array; wanted one number for each row"
        ) from error
    if weights.shape != (n_rows,):
        raise InvalidSource(f"sample_weight has shape {weights.shape}; wanted ({n_rows},)")
    if not (np.isfinite(weights) & (weights >= 0.0)).all():
        raise InvalidSource("sample_weight has negative values, NaN or infinity; wanted 0 or more")
    return weights
