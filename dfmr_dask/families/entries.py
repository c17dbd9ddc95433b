"""What one entry of a column is like, and rows of them, some of which may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dfmr_dask.families.base import Floats, Rows

MISSING = -1  # in signed integers
Array = NDArray[np.float64]


class Design(NamedTuple):
    """Rows as what is summed up.

    Attributes
    ----------
    values : ndarray of shape (n, q)
        Sufficient statistics t(x), 0 where an entry is missing.
    there : ndarray of shape (n, d), or None where nothing is missing
        1 where an entry is there, 0 where not; of the same dtype as ``values``.
    """

    values: Floats
    there: Floats | None


class Entries:
    """What one entry of a column is like, and rows as what is summed up.

    A subclass is a frozen dataclass that sets the three names and writes the methods that raise
    ``NotImplementedError`` here. They take arrays of parameters of any shape, element by element.
    """

    __slots__ = ()
    name: ClassVar[str]  # in the table of families
    parameter: ClassVar[str]  # of the one array of parameters, "rates"
    singular: ClassVar[str]  # of one of them, "rate"
    needs_spread: ClassVar[bool] = False
    takes_missing: ClassVar[bool] = True

    plain_values: ClassVar[bool] = True  # statistics are the entries themselves

    # What a family says of one entry.

    @property
    def options(self) -> Mapping[str, Any]:  # noqa: D102
        return {}

    @property
    def scale(self) -> float:
        """How many times its parameter the mean of a statistic is."""
        return 1.0

    @property
    def highest(self) -> float:
        """The largest value that a parameter may have."""
        raise NotImplementedError

    def natural(self, eta: Array) -> Array:
        """Theta of each parameter."""
        raise NotImplementedError

    def from_natural(self, theta: Array) -> Array:
        """Parameter of each theta, within what is possible."""
        raise NotImplementedError

    def log_partition(self, eta: Array) -> Array:
        """F of each column, at theta of its parameter."""
        raise NotImplementedError

    def log_base(self, x: Array) -> Array:
        """Log h of entries that are there; or write :meth:`base`."""
        raise NotImplementedError

    def variance(self, eta: Array) -> Array:
        """Variance of a statistic, by its parameter."""
        raise NotImplementedError

    def stabilized(self, eta: Array) -> Array:
        """Coordinates in which an estimate from n rows has variance 1/n; or write blocks."""
        raise NotImplementedError

    def log_products(self, p: Array, q: Array) -> Array:
        """Log of the sum over all values of f(x; p) f(x; q), column by column."""
        raise NotImplementedError

    def draw(self, eta: Array, rng: np.random.Generator) -> Array:
        """One entry for each parameter."""
        raise NotImplementedError

    def impossible(self, x: Array) -> NDArray[np.bool_]:
        """Tell which of the values that are there cannot be."""
        return np.asarray(~((x >= 0.0) & (x == np.floor(x)) & (x < np.inf)))

    wanted: ClassVar[str] = "whole numbers, not negative"

    # What follows for rows.

    def floats(self, x: Rows) -> Array:
        """Return rows as float64, with NaN for what is missing."""
        if x.dtype.kind != "i":
            return x.astype(np.float64, copy=False)
        out = x.astype(np.float64)
        out[x == MISSING] = np.nan
        return out

    def complaint(self, x: Rows) -> str:
        """Say what is wrong with a value that cannot be; nothing where all can."""
        bad = self._impossible(x)
        if not bad.any():
            return ""
        row, column = (int(i) for i in np.argwhere(bad)[0])
        return f"{x[row, column]} in column {column}; {self.name} wants {self.wanted}"

    def usable(self, x: Rows) -> NDArray[np.bool_]:
        """Tell which rows (n, d) have an entry, and none that cannot be."""
        gone = np.isnan(x) if x.dtype.kind == "f" else x == MISSING
        return np.asarray(~gone.all(axis=1) & ~self._impossible(x).any(axis=1))

    def _impossible(self, x: Rows) -> NDArray[np.bool_]:
        values = self.floats(x)
        return np.asarray(self.impossible(values) & ~np.isnan(values))

    def design(self, x: Rows, dtype: DTypeLike = np.float64) -> Design:
        """Return rows as what is summed up."""
        if x.dtype.kind == "f":
            gone = np.isnan(x)
            if not gone.any():
                return Design(x.astype(dtype, copy=False), None)
            return Design(np.where(gone, 0.0, x).astype(dtype), (~gone).astype(dtype))
        values = x.astype(dtype)
        if x.dtype.kind == "u" or not x.size or x.min() >= 0:
            return Design(values, None)
        there = (x >= 0).astype(dtype)
        values *= there
        return Design(values, there)

    def spread(self, columns: Array) -> Array:
        """Repeat what each column (..., d) has for each of its parameters, (..., q)."""
        return columns

    def base(self, x: Rows) -> Array:
        """Sum of log h over the entries that are there, (n,)."""
        values = self.floats(x)
        return np.asarray(np.where(np.isnan(values), 0.0, self.log_base(values)).sum(axis=1))

    def base_of_squares(self) -> tuple[float, float] | None:
        """Return a and b where log h is a x + b x², for kernels that sum up squares; else None."""
        return None
