"""Are the pieces of a store samples of one population? A test, its size, and what follows."""

from dfmr_dask.likeness.examination import ROUTES, Likeness, examined

__all__ = ["ROUTES", "Likeness", "examined"]
