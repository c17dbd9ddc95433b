"""Standard errors as a table beside the parameters, and in a run's folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dfmr_dask.aggregate.jackknife import LEVEL, Jackknifed
from dfmr_dask.aggregate.uncertainty import StandardErrors
from dfmr_dask.data.files import read_mixture
from dfmr_dask.data.stores import write_dataset
from dfmr_dask.errors import InvalidMixture, InvalidSource, NoStandardErrors
from dfmr_dask.families import COVARIANCE_TYPES
from dfmr_dask.families.base import Params
from dfmr_dask.families.covariance_types import covariances_of, params_of
from dfmr_dask.mixture import Mixture

FILE = "standard_errors.zarr"
DIMS = {
    "full": ("component", "feature", "feature_"),
    "tied": ("feature", "feature_"),
    "diag": ("component", "feature"),
    "spherical": ("component",),
}
SUFFIXES = {"value": "", "standard_error": "_standard_error", "lower": "_lower", "upper": "_upper"}
Array = NDArray[np.float64]


def errors_table(
    errors: StandardErrors,
    features: Sequence[str],
    units: Mapping[str, str] | None = None,
    level: float = LEVEL,
) -> xr.Dataset:
    """Return weights, means and covariances with standard errors and intervals.

    Parameters
    ----------
    errors : StandardErrors
    features : sequence of str
    units : mapping of features to str, optional
    level : float
        Of the intervals, with Student's t.

    Returns
    -------
    xarray.Dataset
        ``weights`` (component), ``means`` (component, feature), ``covariances`` (component,
        feature, feature_) or in the shape of the covariance type (of other families than Gaussians
        their own parameters: ``frequencies``, ``rates``, ...), each also with ``_standard_error``,
        ``_lower`` and ``_upper``. ``level`` and what the errors don't cover
        are attributes; a coordinate has the units of the features. Intervals of weights are
        symmetric in their log odds, and those of variances in their logarithms.

    Examples
    --------
    >>> import numpy as np
    >>> from dfmr_dask import GaussianMixture
    >>> X = np.random.default_rng(0).normal(size=(20_000, 2))
    >>> model = GaussianMixture(n_partitions=20, random_state=0).fit(X)
    >>> model.standard_errors_["means_standard_error"].values.round(3)  # 1 / sqrt(20 000) = .007
    array([[0.008, 0.009]])
    """
    kind, shape = _laid_out(errors.mixture)
    found = errors.parameters(level)
    columns = {}
    for name, dims in shape.items():
        for field, suffix in SUFFIXES.items():
            columns[name + suffix] = (dims, _values(kind, found, name, field))
    names = np.array([str(name) for name in features], dtype=object)
    told = np.array([(units or {}).get(name, "") for name in names], dtype=object)
    coords: dict[str, Any] = {"feature": names, "units": ("feature", told)}
    square = any("feature_" in dims for dims in shape.values())
    coords |= {"feature_": names} if square else {}
    attrs: dict[str, Any] = {"level": level, "notes": list(errors.notes)}
    attrs |= {"covariance_type": kind} if kind else {"family": errors.mixture.family.name}
    return xr.Dataset(columns, coords, attrs)


def write_errors(
    folder: Path,
    errors: StandardErrors | NoStandardErrors,
    features: Sequence[str],
    units: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Write how sure a mixture is into its folder, where that is known, and name the file.

    The mixtures without one partition each are written as well, for functions of the mixture that
    somebody asks for later. What an earlier result left there goes.
    """
    path = folder / FILE
    if path.exists():
        shutil.rmtree(path)
    if not isinstance(errors, StandardErrors):
        return {}
    write_dataset(path, _with_parts(errors, features, units))
    return {"standard_errors": str(path)}


def told_of(errors: StandardErrors | NoStandardErrors) -> dict[str, Any]:
    """Say whether there are standard errors, and what they don't cover, or why there are none.

    Examples
    --------
    >>> from dfmr_dask.errors import NoStandardErrors
    >>> from dfmr_dask.run.standard_errors import told_of
    >>> told_of(NoStandardErrors("one partition alone was merged"))
    {'known': False, 'partitions': 0, 'notes': ['one partition alone was merged']}
    """
    if isinstance(errors, StandardErrors):
        return {"known": True, "partitions": len(errors), "notes": list(errors.notes)}
    return {"known": False, "partitions": 0, "notes": [str(errors)] if str(errors) else []}


def _with_parts(
    errors: StandardErrors, features: Sequence[str], units: Mapping[str, str] | None
) -> xr.Dataset:
    kind, shape = _laid_out(errors.mixture)
    many = dict(errors.params) | {"weights": errors.weights}
    if kind:
        each = [covariances_of(kind, _at(errors.params, i)) for i in range(len(errors))]
        many["covariances"] = np.stack(each)
    without: dict[str, Any] = {
        f"{name}_without": (("left_out", *dims), many[name]) for name, dims in shape.items()
    }
    return (
        errors_table(errors, features, units)
        .assign(share=("left_out", errors.shares), **without)
        .assign_attrs(alone=list(errors.alone))
    )


def _laid_out(mixture: Mixture) -> tuple[str | None, dict[str, tuple[str, ...]]]:
    """Return the covariance type, if there is one, and the dimensions of every parameter."""
    if mixture.family in COVARIANCE_TYPES.values():
        kind = covariance_type(mixture)
        dims = {"means": ("component", "feature"), "covariances": DIMS[kind]}
        return kind, {"weights": ("component",), **dims}
    found: dict[str, tuple[str, ...]] = {"weights": ("component",)}
    for name, array in mixture.params.items():
        along = "feature" if array.shape[1:] == (mixture.n_features,) else f"{name}_parameter"
        inner = tuple(f"{along}_{i}" if i else along for i in range(array.ndim - 1))
        found[name] = ("component", *inner)
    return None, found


def read_standard_errors(folder: str | Path) -> StandardErrors:
    """Read how sure the model of a run is, or one of its aggregates, from its folder.

    Parameters
    ----------
    folder : path
        Of a run, of an aggregate in it, or of a hub's inbox.

    Returns
    -------
    StandardErrors
        ``of(function)`` tells how sure any function of the mixture is.

    Raises
    ------
    NoStandardErrors
        When there are none in the folder.
    InvalidMixture
        When the files do not hold what they should.
    """
    place = Path(folder)
    if not (place / FILE).is_dir():
        raise NoStandardErrors(
            f"{place} has no {FILE}: it is no folder of a finished run, or its summary says why "
            "there are none"
        )
    mixture = read_mixture(place / "model.npz")
    try:
        table = xr.open_zarr(place / FILE, chunks=None).load()
        params = _without(mixture, table)
        shares, weights = table["share"].values, table["weights_without"].values
        alone, notes = table.attrs["alone"], table.attrs["notes"]
    except (KeyError, ValueError, OSError, InvalidSource) as error:
        raise InvalidMixture(f"{place / FILE} holds no standard errors: {error}") from error
    return StandardErrors(
        mixture, shares, weights, params, tuple(int(k) for k in alone), tuple(map(str, notes))
    )


def _without(mixture: Mixture, table: xr.Dataset) -> Params:
    """Return the parameters without one partition each, stacked."""
    kind, shape = _laid_out(mixture)
    if kind is None:
        return {name: table[f"{name}_without"].values for name in shape if name != "weights"}
    stacks = [
        params_of(kind, means, covariances)
        for means, covariances in zip(
            table["means_without"].values, table["covariances_without"].values, strict=True
        )
    ]
    return {name: np.stack([one[name] for one in stacks]) for name in stacks[0]}


def covariance_type(mixture: Mixture) -> str:
    """Return the name that scikit-learn has for the covariances of a mixture.

    Raises
    ------
    InvalidMixture
        When it is no Gaussian mixture.
    """
    for name, family in COVARIANCE_TYPES.items():
        if family == mixture.family:
            return name
    raise InvalidMixture(f"a Gaussian mixture is wanted, not one of {mixture.family!r}")


def _values(kind: str | None, found: Mapping[str, Jackknifed], name: str, field: str) -> Array:
    params = {key: getattr(one, field) for key, one in found.items()}
    return covariances_of(kind, params) if kind and name == "covariances" else params[name]


def _at(params: Params, i: int) -> Params:
    return {name: array[i] for name, array in params.items()}
