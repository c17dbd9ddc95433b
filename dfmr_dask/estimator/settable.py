"""The parameters of estimators whose components are not Gaussians."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from dfmr_dask.corruption import Corruption
from dfmr_dask.estimator.answers import FLOATS
from dfmr_dask.estimator.fitting import Fitting
from dfmr_dask.estimator.parameters import SHARED
from dfmr_dask.run.settings import MAX_COMPONENTS

WHOLE = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)


@dataclass(eq=False, repr=False, kw_only=True)
class Settable(Fitting):
    """What these estimators share; scikit-learn sees the parameters in ``__init__``."""

    n_components: int | str = field(default=1, kw_only=False)
    tol: float = 1e-6
    max_iter: int = 500
    n_init: int = 2
    init_params: str = "overfit"
    warm_start: bool = False
    random_state: Any = None
    n_partitions: int | None = None
    rows_per_partition: int | None = None
    plan: str | None = None
    method: str = "blocks"
    weights: str = "shared"
    gates: tuple[str, ...] | None = None
    rho: float | None = None
    unit: str = "partition"
    aggregator: str = "dfmr"
    polish: int = 0
    corruption: Corruption | None = None
    max_components: int = MAX_COMPONENTS
    min_gain: float | None = None
    places: str = "flag"

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = SHARED

    def _accepted(self) -> dict[str, Any]:
        return {"dtype": (*FLOATS, *WHOLE), "ensure_all_finite": "allow-nan"}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.positive_only = True
        return tags
