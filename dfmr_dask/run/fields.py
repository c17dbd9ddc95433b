"""What an answer on a grid keeps of the data that it is about: where it lies, not its values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

# Attributes that speak of the values of the features, and would be wrong on an answer about them.
OF_VALUES = frozenset(
    {
        *(
            "units",
            "standard_name",
            "long_name",
            "short_name",
            "cell_methods",
            "ancillary_variables",
        ),
        *("valid_min", "valid_max", "valid_range", "actual_range", "missing_value", "_FillValue"),
        *("flag_values", "flag_meanings", "flag_masks", "scale_factor", "add_offset"),
    }
)
# How a coordinate was laid out in its store says nothing about the one where answers will lie.
OF_MEANING = frozenset({"units", "calendar", "dtype", "_FillValue", "scale_factor", "add_offset"})


def describing_attributes(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Leave out the attributes that describe the features' values and not the place."""
    return {name: value for name, value in attrs.items() if name not in OF_VALUES}


def coordinates_along(data: xr.DataArray, dims: tuple[Any, ...]) -> Any:
    """Return the coordinates that lie along some dimensions and nothing else."""
    others = [name for name, one in data.coords.items() if not set(one.dims) <= set(dims)]
    kept = data.drop_vars(others).copy(deep=False).coords
    for one in kept.values():
        one.encoding = {name: one.encoding[name] for name in OF_MEANING & set(one.encoding)}
    return kept
