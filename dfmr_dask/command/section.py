"""What all sections of a configuration have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, PlainValidator

from dfmr_dask.command.complaints import not_among


def one_of(names: Iterable[str]) -> PlainValidator:
    """Allow the names of a table of the method, and no others."""
    allowed = tuple(names)

    def checked(value: Any) -> Any:
        if not isinstance(value, str) or value not in allowed:
            raise not_among(allowed)
        return value

    return PlainValidator(checked)


class Section(BaseModel):
    """A part of a configuration: no unknown keys, no silent conversions, no changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
